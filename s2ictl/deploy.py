"""STORY: an image becomes a Deployment and a Service, is rolled out, and answers at an address.

Everything is tried on the server before anything is changed, so a conflict or a missing right leaves no half of it.
What failed is said in the words of the cluster, as early as it is plain, and with what to do about it. The version
that ran before keeps running until the new one is ready.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from s2ictl.cluster import MANAGER, Cluster
from s2ictl.errors import Conflict, ImageNotFound, RecordNotFound, RolloutFailed
from s2ictl.events import Emit, Notice, Progress, step
from s2ictl.manifests import (
    BUILD,
    COMMIT,
    INSTANCE,
    MANAGED_BY,
    OURS,
    image_of,
    namespace_of,
    objects_of,
    pull_secret_name,
    replicas_of,
    runs_as_user,
)
from s2ictl.models import App, AppStatus, ImageFacts, Manifest, Reference, Rollout
from s2ictl.values import dataclass
from s2ictl.workloads import (
    State,
    Trouble,
    address_of,
    annotations_of,
    blocked_trouble,
    is_ending,
    owns_replicas,
    replica_set_of,
    state_of,
    troubles_of,
)

SCALER = f"{MANAGER}-scale"  # owns the number of replicas once nobody asks for one any more
_LOOK_SECONDS = 2  # how long a rollout is only watched before its pods are looked at
_PAUSE_SECONDS = 0.5
_ANSWER_SECONDS = 60.0
_NODE_RULES_SECONDS = 3.0
_NOBODY_YET = (None, 502, 503, 504)  # what stands before the app answers so while it has nobody to ask
_LOG_LINES = 10

TryAddress = Callable[[str], int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


CLOCK = Clock()


def deploy(
    app: App,
    *,
    cluster: Cluster,
    try_address: TryAddress,
    emit: Emit,
    pull_secret: bytes | None = None,
    wait: bool = True,
    timeout: float = 300.0,
    create_namespace: bool = False,
    force_conflicts: bool = False,
    node_address: str = "",
    clock: Clock = CLOCK,
) -> Rollout:
    """Put an image on the cluster, and answer once it serves."""
    deadline = clock.now() + timeout
    objects = objects_of(app, pull_secret)
    _say_what_is_risky(app, emit)
    with step("apply", f"{app.namespace}/{app.name}", emit):
        if create_namespace:
            _have_namespace(app.namespace, cluster)
        before = _rehearse(objects, cluster, force=force_conflicts)
        _hand_over_replicas(app, before[-2], cluster)
        for manifest, old in zip(objects, before, strict=True):
            _apply(manifest, old, cluster, force=force_conflicts, emit=emit)
    if not wait:
        return _rollout(app, State(ready=0, wanted=app.replicas or 1, serving=0, complete=False, blocked=""), "")
    with step("roll out", image_of(app), emit):
        state = _await_rollout(app, cluster, deadline, timeout, clock, emit)
    if app.expose == "none":
        return _rollout(app, state, "")
    with step("try the address", f"{app.namespace}/service/{app.name}", emit):
        return _rollout(app, state, _await_answer(app, cluster, node_address, try_address, deadline, clock))


class Registry(Protocol):
    """What is asked of the registry that holds the image."""

    def resolve(self) -> str: ...

    def facts(self, platform: str) -> ImageFacts | None: ...


def look_up(name: Reference, registry: Registry, *, platform: str) -> tuple[Reference, ImageFacts]:
    """The image by the digest that its registry has it under now, and what it says of itself."""
    digest = name.digest or registry.resolve()
    facts = registry.facts(platform) if digest else None
    if facts is None:
        raise ImageNotFound(
            f"{name} is not in its registry",
            detail="nodes pull from a registry, not from the engine of this machine",
            hint=f"send it there first: s2ictl push {name}",
        )
    return name.at(digest), facts


def status(cluster: Cluster, *, namespace: str, name: str = "") -> tuple[AppStatus, ...]:
    """How the apps of a namespace stand, or of all namespaces where none is named."""
    labels = OURS | ({INSTANCE: name} if name else {})
    deployments = cluster.find("Deployment", namespace=namespace, labels=labels)
    if name and not deployments:
        raise _no_such_app(name, namespace)
    services = {_place(each): each for each in cluster.find("Service", namespace=namespace, labels=labels)}
    pods = cluster.find("Pod", namespace=namespace, labels=labels)
    return tuple(_status_of(each, services.get(_place(each)), pods) for each in deployments)


@dataclass(frozen=True, slots=True, kw_only=True)
class Belonging:
    """One object of an app, as it is named to the user."""

    kind: str
    name: str
    namespace: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.kind.lower()}/{self.name}"


def belongings(name: str, *, cluster: Cluster, namespace: str) -> tuple[Belonging, ...]:
    """Everything that `delete` would remove: what bears our labels and nothing else."""
    found = {}
    for kind, called in (("Deployment", name), ("Service", name), ("Secret", pull_secret_name(name))):
        manifest = cluster.get(kind, called, namespace=namespace)
        if manifest is not None:
            found[Belonging(kind=kind, name=called, namespace=namespace)] = _is_ours(manifest, name)
    if not any(found.values()):
        foreign = ", ".join(f"{each} was not made by s2ictl" for each in found)
        raise Conflict(f"{name} is somebody else's", detail=foreign) if found else _no_such_app(name, namespace)
    return tuple(each for each, ours in found.items() if ours)


def delete(
    things: tuple[Belonging, ...], *, cluster: Cluster, timeout: float, emit: Emit, clock: Clock = CLOCK
) -> None:
    """Remove these objects and all that they own, and return once they are gone."""
    deadline = clock.now() + timeout
    for thing in things:
        with step("delete", str(thing), emit):
            cluster.delete(thing.kind, thing.name, namespace=thing.namespace)
            while cluster.get(thing.kind, thing.name, namespace=thing.namespace) is not None:
                if clock.now() >= deadline:
                    raise RolloutFailed(
                        f"{thing} is still there after {timeout:g} s",
                        detail="its pods have not ended yet, or a finalizer holds it",
                        hint=f"kubectl -n {thing.namespace} get {thing.kind.lower()} {thing.name} -o yaml",
                    )
                clock.sleep(_PAUSE_SECONDS)


# ------------------------------------------------------------------------------------------------------------ apply


def _say_what_is_risky(app: App, emit: Emit) -> None:
    if not runs_as_user(app):
        who = f"the user {app.user!r}" if app.user else "root"
        text = f"the image runs as {who}, so runAsNonRoot is left out; a numeric user in the image would allow it"
        emit(Notice(text=text, level="warning"))
    for port in app.ports:
        if port.container < 1024 and app.user.partition(":")[0] not in ("", "0", "root"):
            text = f"port {port.container} is below 1024: an ordinary user may not listen there on every cluster"
            emit(Notice(text=text, level="warning"))


def _have_namespace(name: str, cluster: Cluster) -> None:
    if cluster.get("Namespace", name) is None:
        cluster.apply(namespace_of(name))


def _rehearse(objects: tuple[Manifest, ...], cluster: Cluster, *, force: bool) -> tuple[Manifest | None, ...]:
    """Let the server try everything and keep nothing; answers the objects as they are now."""
    before = []
    for manifest in objects:
        metadata = manifest["metadata"]
        found = cluster.get(manifest["kind"], metadata["name"], namespace=metadata["namespace"])
        if found is not None and not force and not _is_ours(found, metadata["labels"][INSTANCE]):
            raise _somebody_elses(found)
        cluster.apply(manifest, force=force, dry_run=True)
        before.append(found)
    return tuple(before)


def _somebody_elses(found: Manifest) -> Conflict:
    namespace, name = _place(found)
    managers = {entry.get("manager", "") for entry in found["metadata"].get("managedFields") or ()}
    return Conflict(
        f"{namespace}/{found['kind'].lower()}/{name} is somebody else's",
        detail=f"it was written by {', '.join(sorted(managers)) or 'an unknown manager'}; nothing was changed",
        hint="choose another --name, or take it over with --force-conflicts",
    )


def _hand_over_replicas(app: App, deployment: Manifest | None, cluster: Cluster) -> None:
    # A field that its only owner no longer applies goes back to its default: three replicas would become one.
    if app.replicas is None and deployment is not None and owns_replicas(deployment, MANAGER):
        cluster.apply(replicas_of(app, deployment["spec"]["replicas"]), manager=SCALER)


def _apply(manifest: Manifest, old: Manifest | None, cluster: Cluster, *, force: bool, emit: Emit) -> None:
    new = cluster.apply(manifest, force=force)
    same = old is not None and old["metadata"]["resourceVersion"] == new["metadata"]["resourceVersion"]
    what = "created" if old is None else "unchanged" if same else "changed"
    emit(Notice(text=f"{manifest['kind'].lower()}/{manifest['metadata']['name']} {what}"))


# ---------------------------------------------------------------------------------------------------------- roll out


def _await_rollout(app: App, cluster: Cluster, deadline: float, timeout: float, clock: Clock, emit: Emit) -> State:
    first_seen: dict[tuple[str, str], float] = {}
    said: State | None = None
    while True:
        began = clock.now()
        deployment: Manifest | None = None
        seconds = max(1, min(_LOOK_SECONDS, math.ceil(deadline - began)))
        for deployment in cluster.watch("Deployment", app.name, namespace=app.namespace, seconds=seconds):
            state = state_of(deployment)
            if state != said:
                emit(Progress(subject=app.name, done=state.ready, total=state.wanted, unit="replicas"))
                said = state
            if state.complete:
                return state
        if deployment is None:
            raise RolloutFailed(f"deployment/{app.name} was deleted while it was rolled out", hint="deploy again")
        troubles = tuple(_troubles(app, deployment, cluster))
        for trouble in troubles:
            since = _since(trouble, first_seen, clock, emit)
            if since >= trouble.patience and not _help_is_coming(trouble, app, cluster):
                raise _failed(app, trouble, deployment, cluster)
        if clock.now() >= deadline:
            raise _too_late(app, troubles, deployment, timeout, cluster)
        clock.sleep(max(0.0, began + _PAUSE_SECONDS - clock.now()))


def _since(trouble: Trouble, first_seen: dict[tuple[str, str], float], clock: Clock, emit: Emit) -> float:
    key = (trouble.where, trouble.what)
    if key not in first_seen:
        first_seen[key] = clock.now()
        emit(Notice(text=f"{trouble.where}: {trouble.what}: {trouble.why}", level="warning"))
    return clock.now() - first_seen[key]


def _troubles(app: App, deployment: Manifest, cluster: Cluster) -> Iterator[Trouble]:
    """What is wrong with the newest version; the pods of older ones are nobody's concern here."""
    if blocked := state_of(deployment).blocked:
        yield blocked_trouble(app.name, blocked)
    labels = OURS | {INSTANCE: app.name}
    newest = replica_set_of(deployment, cluster.find("ReplicaSet", namespace=app.namespace, labels=labels))
    for pod in cluster.find("Pod", namespace=app.namespace, labels=labels | {"pod-template-hash": newest}):
        yield from troubles_of(pod)


def _help_is_coming(trouble: Trouble, app: App, cluster: Cluster) -> bool:
    """An autoscaler that has been woken up needs minutes to bring a node; it says so in an event."""
    if not trouble.scaling_may_help:
        return False
    fields = {"involvedObject.name": trouble.where.removeprefix("pod/"), "reason": "TriggeredScaleUp"}
    return bool(cluster.find("Event", namespace=app.namespace, labels={}, fields=fields))


def _failed(app: App, trouble: Trouble, deployment: Manifest, cluster: Cluster) -> RolloutFailed:
    return RolloutFailed(
        f"{app.namespace}/deployment/{app.name} could not be rolled out: {trouble.where}: {trouble.what}",
        detail="\n".join([trouble.why, *_last_words(app, trouble, cluster), *_still_serving(deployment)]),
        hint=trouble.hint,
    )


def _too_late(
    app: App, troubles: tuple[Trouble, ...], deployment: Manifest, timeout: float, cluster: Cluster
) -> RolloutFailed:
    state = state_of(deployment)
    reasons = [f"{each.where}: {each.what}: {each.why}" for each in troubles]
    words = [line for each in troubles[:1] for line in _last_words(app, each, cluster)]
    return RolloutFailed(
        f"{app.namespace}/deployment/{app.name} was not ready after {timeout:g} s",
        detail="\n".join(
            [f"{state.ready} of {state.wanted} replicas are ready", *reasons, *words, *_still_serving(deployment)]
        ),
        hint=troubles[0].hint if troubles else "check the readiness probe and the port; --timeout 10m waits longer",
    )


def _last_words(app: App, trouble: Trouble, cluster: Cluster) -> list[str]:
    if not trouble.logs_of:
        return []
    pod = trouble.where.removeprefix("pod/")
    lines = cluster.logs(pod, namespace=app.namespace, container=trouble.logs_of, lines=_LOG_LINES)
    return [f"| {line[:500]}" for line in lines[-_LOG_LINES:]]


def _still_serving(deployment: Manifest) -> list[str]:
    state = state_of(deployment)
    return ["the version before keeps serving"] if state.serving > state.ready else []


# ---------------------------------------------------------------------------------------------------------- address


def _await_answer(
    app: App, cluster: Cluster, node_address: str, try_address: TryAddress, deadline: float, clock: Clock
) -> str:
    """Ask the address until something answers there: a node's rules follow the rollout a moment later."""
    _let_older_versions_leave(app, cluster, clock)
    deadline = max(clock.now() + 1, min(deadline, clock.now() + _ANSWER_SECONDS))
    while True:
        address = _address(app, cluster, node_address)
        if address and try_address(address) not in _NOBODY_YET:
            return address
        if clock.now() >= deadline:
            raise _no_answer(app, address)
        clock.sleep(_PAUSE_SECONDS)


def _let_older_versions_leave(app: App, cluster: Cluster, clock: Clock) -> None:
    # A rollout is complete when the old pods have been told to end; a node goes on sending them questions until it has
    # heard of that, and its rules are written once a second at most.
    until = clock.now() + _NODE_RULES_SECONDS
    while clock.now() < until and any(is_ending(pod) for pod in _pods(app, cluster)):
        clock.sleep(_PAUSE_SECONDS)


def _pods(app: App, cluster: Cluster) -> tuple[Manifest, ...]:
    return cluster.find("Pod", namespace=app.namespace, labels=OURS | {INSTANCE: app.name})


def _address(app: App, cluster: Cluster, node_address: str) -> str:
    service = cluster.get("Service", app.name, namespace=app.namespace)
    return address_of(service, _pods(app, cluster), node_address=node_address) if service else ""


def _no_answer(app: App, address: str) -> RolloutFailed:
    if not address:
        return RolloutFailed(
            f"{app.namespace}/service/{app.name} was given no address",
            detail="the rollout itself is complete",
            hint=f"kubectl -n {app.namespace} describe service {app.name}; --expose nodeport needs no load balancer",
        )
    return RolloutFailed(
        f"{app.namespace}/deployment/{app.name} is rolled out, but {address} does not answer from here",
        detail="a firewall may stand between, or nodes are reached by another address, or the app does not speak HTTP",
        hint="name an address of a node that is reached from here with --node-address; --no-wait does not ask",
    )


# ------------------------------------------------------------------------------------------------------------ common


def _rollout(app: App, state: State, address: str) -> Rollout:
    return Rollout(
        image=image_of(app),
        address=address,
        namespace=app.namespace,
        name=app.name,
        ready=state.ready,
        wanted=state.wanted,
    )


def _is_ours(manifest: Manifest, name: str) -> bool:
    labels = manifest["metadata"].get("labels") or {}
    return bool(labels.get(MANAGED_BY) == OURS[MANAGED_BY] and labels.get(INSTANCE) == name)


def _no_such_app(name: str, namespace: str) -> RecordNotFound:
    where = f"in namespace {namespace}" if namespace else "in any namespace"
    return RecordNotFound(f"there is no app {name} {where}", hint="s2ictl status --all-namespaces lists them")


def _place(manifest: Manifest) -> tuple[str, str]:
    return manifest["metadata"]["namespace"], manifest["metadata"]["name"]


def _status_of(deployment: Manifest, service: Manifest | None, pods: tuple[Manifest, ...]) -> AppStatus:
    namespace, name = _place(deployment)
    state, said = state_of(deployment), annotations_of(deployment)
    own = tuple(pod for pod in pods if _place(pod)[0] == namespace and pod["metadata"]["labels"].get(INSTANCE) == name)
    return AppStatus(
        name=name,
        namespace=namespace,
        image=deployment["spec"]["template"]["spec"]["containers"][0]["image"],
        ready=state.serving,
        wanted=state.wanted,
        address=address_of(service, own) if service else "",
        build=said.get(BUILD, ""),
        commit=said.get(COMMIT, ""),
        deployed=deployment["metadata"]["creationTimestamp"],
    )
