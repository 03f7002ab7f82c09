"""A cluster in memory, with just enough of server-side apply; it keeps the contract in cluster_contract.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from s2ictl import refusals
from s2ictl.cluster import MANAGER
from s2ictl.models import Manifest
from s2ictl.refusals import Attempt, Refusal

Path = tuple[str, ...]
Leaves = dict[Path, Any]
Key = tuple[str, str, str]
MADE = "2026-11-21T12:00:00Z"


@dataclass(slots=True)
class FakeTime:
    """A clock that passes only where somebody waits."""

    seconds: float = 1000.0

    def now(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


@dataclass(slots=True)
class Stored:
    """One object: its fields one by one, who applied each, and what controllers say of it."""

    leaves: Leaves
    owners: dict[Path, set[str]]
    version: int = 0
    generation: int = 1
    status: Manifest = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)


def _idle(_cluster: FakeCluster, _deployment: Manifest) -> None:
    """Nobody is at work."""


@dataclass(slots=True)
class FakeCluster:
    namespaces: set[str] = field(default_factory=lambda: {"default"})
    controller: Callable[[FakeCluster, Manifest], None] = field(default=_idle)
    time: FakeTime = field(default_factory=FakeTime)
    said: dict[str, tuple[str, ...]] = field(default_factory=dict)
    stored: dict[Key, Stored] = field(default_factory=dict)
    applied: list[tuple[str, str]] = field(default_factory=list)
    versions: Iterator[int] = field(default_factory=lambda: count(1))

    def apply(
        self, manifest: Manifest, *, manager: str = MANAGER, force: bool = False, dry_run: bool = False
    ) -> Manifest:
        key = _key(manifest)
        attempt = Attempt(verb="apply", kind=key[0], name=key[2], namespace=key[1])
        if key[0] != "Namespace" and key[1] not in self.namespaces:
            raise refusals.error_of(Refusal(code=404, message=f'namespaces "{key[1]}" not found'), attempt)
        before = self.stored.get(key)
        after = deepcopy(before) if before else Stored(leaves={}, owners={})
        wanted = dict(_flat(_own(manifest)))
        others = [
            (path, owner)
            for path, value in wanted.items()
            for owner in sorted(after.owners.get(path, set()) - {manager})
            if after.leaves.get(path) != value
        ]
        ours = all(name.partition("-")[0] == MANAGER for name in (manager, *(owner for _, owner in others)))
        if others and not force and not ours:
            owned = tuple((f".{'.'.join(path)}", owner) for path, owner in others)
            raise refusals.error_of(Refusal(code=409, message="conflict", owned=owned), attempt)
        _let_go(after, set(wanted), manager)
        for path, value in wanted.items():
            same = after.leaves.get(path, _NOTHING) == value
            after.owners[path] = (after.owners.get(path, set()) if same else set()) | {manager}
            after.leaves[path] = value
        self._default(key[0], after)
        if before is None or (after.leaves, after.owners) != (before.leaves, before.owners):
            after.version = next(self.versions)
            after.generation += before is not None and _spec(after) != _spec(before)
        if not dry_run:
            self.applied.append((key[0], key[2]))
            self.stored[key] = after
            if key[0] == "Namespace":
                self.namespaces.add(key[2])
        return _document(key, after)

    def get(self, kind: str, name: str, *, namespace: str = "") -> Manifest | None:
        key = (kind, namespace, name)
        if kind == "Namespace" and name in self.namespaces and key not in self.stored:
            return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "resourceVersion": "0"}}
        return _document(key, self.stored[key]) if key in self.stored else None

    def find(
        self, kind: str, *, namespace: str, labels: Mapping[str, str], fields: Mapping[str, str] | None = None
    ) -> tuple[Manifest, ...]:
        found = (_document(key, each) for key, each in self.stored.items() if key[0] == kind)
        return tuple(
            each
            for each in found
            if namespace in ("", each["metadata"].get("namespace"))
            and labels.items() <= each["metadata"].get("labels", {}).items()
            and all(_at(each, path.split(".")) == value for path, value in (fields or {}).items())
        )

    def delete(self, kind: str, name: str, *, namespace: str) -> bool:
        if kind == "Deployment":
            for key in [key for key in self.stored if key[0] in ("Pod", "ReplicaSet") and key[2].startswith(name)]:
                del self.stored[key]
        return self.stored.pop((kind, namespace, name), None) is not None

    def watch(self, kind: str, name: str, *, namespace: str, seconds: int) -> Iterator[Manifest]:
        current = self.get(kind, name, namespace=namespace)
        if current is None:
            return
        yield current
        self.time.sleep(seconds)
        self.controller(self, current)
        changed = self.get(kind, name, namespace=namespace)
        if changed is not None and changed != current:
            yield changed

    def logs(self, pod: str, *, namespace: str, container: str, lines: int) -> tuple[str, ...]:
        return self.said.get(pod, ())[-lines:]

    # ------------------------------------------------------------------------------------- what controllers do

    def put(self, manifest: Manifest) -> None:
        """Write an object as a controller does: owned by nobody who applies."""
        key = _key(manifest)
        said = manifest["metadata"].get("annotations", {})
        leaves = dict(_flat(_own(manifest)))
        status = manifest.get("status", {})
        self.stored[key] = Stored(
            leaves=leaves, owners={}, version=next(self.versions), status=status, annotations=said
        )

    def say(self, deployment: Manifest, *, revision: str = "1", **status: Any) -> None:
        """Set the status of a Deployment."""
        stored = self.stored[_key(deployment)]
        stored.status = {"observedGeneration": stored.generation, **status}
        stored.annotations = {"deployment.kubernetes.io/revision": revision}

    def _default(self, kind: str, stored: Stored) -> None:
        if kind == "Deployment":
            stored.leaves.setdefault(("spec", "replicas"), 1)
        if kind != "Service":
            return
        elements = {path[:3] for path in stored.leaves if path[:2] == ("spec", "ports") and len(path) == 4}
        for element in elements:
            chosen = (*element, "nodePort")
            if stored.leaves.get(("spec", "type")) != "NodePort" or (*element, "port") not in stored.leaves:
                stored.leaves.pop(chosen, None)
            elif chosen not in stored.leaves:
                stored.leaves[chosen] = self._free_port()

    def _free_port(self) -> int:
        taken = {
            value for each in self.stored.values() for path, value in each.leaves.items() if path[-1] == "nodePort"
        }
        return next(port for port in count(30080) if port not in taken)


_NOTHING = object()
_KEYS = ("name", "containerPort", "port")


def _key(manifest: Manifest) -> Key:
    metadata = manifest["metadata"]
    return manifest["kind"], metadata.get("namespace", ""), metadata["name"]


def _own(manifest: Manifest) -> Manifest:
    metadata = {key: value for key, value in manifest["metadata"].items() if key in ("labels", "annotations")}
    rest = {key: value for key, value in manifest.items() if key not in ("apiVersion", "kind", "metadata", "status")}
    return {"metadata": metadata, **rest}


def _flat(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _flat(each, (*path, key))
    elif isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
        for each in value:
            named = next(key for key in _KEYS if key in each)
            yield from _flat(each, (*path, f"[{named}={each[named]}]"))
    else:
        yield path, value


def _let_go(stored: Stored, wanted: set[Path], manager: str) -> None:
    for path, owners in list(stored.owners.items()):
        if manager in owners and path not in wanted:
            owners.discard(manager)
            if not owners:
                del stored.owners[path]
                stored.leaves.pop(path, None)


def _spec(stored: Stored) -> Leaves:
    return {path: value for path, value in stored.leaves.items() if path[0] != "metadata"}


def _document(key: Key, stored: Stored) -> Manifest:
    document = _nested(stored.leaves)
    metadata = document.setdefault("metadata", {})
    metadata |= {"name": key[2], "uid": f"uid-{key[2]}", "resourceVersion": str(stored.version)}
    metadata |= {"generation": stored.generation, "creationTimestamp": MADE}
    metadata |= {"namespace": key[1]} if key[1] else {}
    if stored.annotations:
        metadata["annotations"] = metadata.get("annotations", {}) | stored.annotations
    managers = sorted({owner for owners in stored.owners.values() for owner in owners})
    metadata["managedFields"] = [_managed(stored, manager) for manager in managers]
    status = {"status": deepcopy(stored.status)} if stored.status else {}
    return {"apiVersion": "v1", "kind": key[0], **document, **status}


def _nested(leaves: Leaves) -> Manifest:
    tree: Manifest = {}
    for path, value in leaves.items():
        at = tree
        for part in path[:-1]:
            at = at.setdefault(part, {})
        at[path[-1]] = deepcopy(value)
    nested: Manifest = _with_lists(tree)
    return nested


def _with_lists(tree: Any) -> Any:
    if not isinstance(tree, dict):
        return tree
    if tree and all(key.startswith("[") for key in tree):
        return [_with_lists(each) for each in tree.values()]
    return {key: _with_lists(each) for key, each in tree.items()}


def _managed(stored: Stored, manager: str) -> Manifest:
    fields: Manifest = {}
    for path in (path for path, owners in stored.owners.items() if manager in owners):
        at = fields
        for part in path:
            at = at.setdefault(f"k:{part}" if part.startswith("[") else f"f:{part}", {})
    return {"manager": manager, "operation": "Apply", "fieldsV1": fields}


def _at(document: Any, path: list[str]) -> Any:
    for part in path:
        document = document.get(part) if isinstance(document, dict) else None
    return document


# -------------------------------------------------------------------------------------------------- how rollouts end


def rolls_out(cluster: FakeCluster, deployment: Manifest) -> None:
    """A controller and a node that do what they are told."""
    _newest(cluster, deployment, {"conditions": [{"type": "Ready", "status": "True"}], "hostIP": "10.0.0.7"})
    wanted = deployment["spec"]["replicas"]
    cluster.say(deployment, replicas=wanted, updatedReplicas=wanted, availableReplicas=wanted)


def stuck(**pod_status: Any) -> Callable[[FakeCluster, Manifest], None]:
    """A node on which the new pod stays like this, while one pod of the version before serves."""

    def controller(cluster: FakeCluster, deployment: Manifest) -> None:
        _newest(cluster, deployment, pod_status)
        cluster.say(deployment, replicas=2, updatedReplicas=1, availableReplicas=1)

    return controller


def refused(message: str) -> Callable[[FakeCluster, Manifest], None]:
    """A cluster that makes no pod at all."""

    def controller(cluster: FakeCluster, deployment: Manifest) -> None:
        condition = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}
        cluster.say(deployment, conditions=[condition])

    return controller


def _newest(cluster: FakeCluster, deployment: Manifest, pod_status: Manifest) -> None:
    name, namespace = deployment["metadata"]["name"], deployment["metadata"]["namespace"]
    labels = deployment["spec"]["template"]["metadata"]["labels"] | {"pod-template-hash": "new"}
    head = {"apiVersion": "v1", "kind": "Pod"}
    metadata = {"name": f"{name}-new-1", "namespace": namespace, "labels": labels}
    cluster.put(head | {"metadata": metadata, "status": pod_status})
    said = {"deployment.kubernetes.io/revision": "1"}
    replica_set = {"name": f"{name}-new", "namespace": namespace, "labels": labels, "annotations": said}
    cluster.put({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": replica_set})
