"""What a cluster says of an app's objects becomes values: how far a rollout is, what is wrong, where it answers.

Deployments, ReplicaSets, Pods and Services are read here and nowhere else, so the story above asks questions instead
of digging in dictionaries. Nothing is contacted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from s2ictl.expressions import expression
from s2ictl.models import Manifest
from s2ictl.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """How far a rollout is: `ready` counts pods of the newest version alone, `serving` those of all."""

    ready: int
    wanted: int
    serving: int
    complete: bool
    blocked: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Why a pod does not run; `patience` is how many seconds this may still turn out to be nothing."""

    where: str
    what: str
    why: str
    hint: str
    patience: float
    logs_of: str = ""
    scaling_may_help: bool = False


# The kubelet tries a pull at 0, 10 and 30 seconds: one failure is a hiccup, three are an answer.
_THREE_PULLS = 35.0
# A kubelet that has not seen the pull Secret of this very moment asks without a login; its second try is the answer.
_TWO_PULLS = 20.0
_HICCUP = 5.0
_AUTOSCALER = 30.0
_CRASHES = 2
_NOT_THERE = expression(r"not found|manifest unknown|no match for platform", re.IGNORECASE)
_LOGIN_REFUSED = expression(r"unauthorized|denied|forbidden", re.IGNORECASE)
_PULL = frozenset({"ErrImagePull", "ImagePullBackOff"})
_BROKEN = frozenset({"CreateContainerConfigError", "CreateContainerError", "InvalidImageName", "ErrImageNeverPull"})
_LONGEST = 1000


def state_of(deployment: Manifest) -> State:
    """Read a Deployment as `kubectl rollout status` does."""
    status: Manifest = deployment.get("status") or {}
    wanted = int(deployment["spec"].get("replicas", 1))
    seen = status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
    updated, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    old = status.get("replicas", 0) - updated
    return State(
        ready=max(0, available - old) if seen else 0,
        wanted=wanted,
        serving=available,
        complete=seen and updated >= wanted and old <= 0 and available >= updated,
        blocked=_blocked(status) if seen else "",
    )


def _blocked(status: Manifest) -> str:
    for condition in status.get("conditions") or ():
        if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
            return str(condition.get("message", ""))[:_LONGEST]
    return ""


def blocked_trouble(name: str, message: str) -> Trouble:
    """What keeps the cluster from even making a pod: a quota, an admission policy."""
    hint = "run the image as a numeric user other than root, or choose a namespace that allows it"
    if "PodSecurity" not in message:
        hint = f"kubectl describe quota,limitrange; kubectl describe deployment {name}"
    return Trouble(
        where=f"deployment/{name}",
        what="the cluster refuses to make its pods",
        why=message,
        hint=hint,
        patience=_HICCUP,
    )


def replica_set_of(deployment: Manifest, replica_sets: tuple[Manifest, ...]) -> str:
    """The hash that the pods of the newest version bear as a label; "" while there are none."""
    revision = annotations_of(deployment).get("deployment.kubernetes.io/revision")
    for replica_set in replica_sets:
        if revision and annotations_of(replica_set).get("deployment.kubernetes.io/revision") == revision:
            return str(replica_set["metadata"].get("labels", {}).get("pod-template-hash", ""))
    return ""


def annotations_of(manifest: Manifest) -> Mapping[str, str]:
    """The annotations of an object, also where it has none."""
    return manifest["metadata"].get("annotations") or {}


def is_ending(pod: Manifest) -> bool:
    """Whether a pod has been told to end."""
    return "deletionTimestamp" in pod["metadata"]


def troubles_of(pod: Manifest) -> Iterator[Trouble]:
    """Everything that is plainly wrong with a pod, and with its containers."""
    where = f"pod/{pod['metadata']['name']}"
    status: Manifest = pod.get("status") or {}
    for condition in status.get("conditions") or ():
        if condition.get("reason") == "Unschedulable":
            yield Trouble(
                where=where,
                what="no node takes it",
                why=str(condition.get("message", ""))[:_LONGEST],
                hint="give the cluster room, or ask for less; kubectl describe nodes shows what is taken",
                patience=_AUTOSCALER,
                scaling_may_help=True,
            )
    for container in status.get("containerStatuses") or ():
        yield from _container_troubles(where, container)


def _container_troubles(where: str, container: Manifest) -> Iterator[Trouble]:
    waiting: Manifest = (container.get("state") or {}).get("waiting") or {}
    reason, message = waiting.get("reason", ""), str(waiting.get("message", ""))[:_LONGEST]
    if reason in _PULL:
        yield _pull_trouble(where, str(container.get("image", "")), message)
    elif reason in _BROKEN:
        hint = "the message above names the setting; correct it and deploy again"
        yield Trouble(
            where=where, what=f"its container cannot be made ({reason})", why=message, hint=hint, patience=_HICCUP
        )
    elif reason == "CrashLoopBackOff" and container.get("restartCount", 0) >= _CRASHES:
        yield _crash_trouble(where, container)


def _pull_trouble(where: str, image: str, message: str) -> Trouble:
    hint, patience = "check that nodes reach the registry by this name, and that it still has the image", _THREE_PULLS
    if _LOGIN_REFUSED.search(message):
        hint, patience = "give the node a login with --registry-secret NAME or --pull-secret-from-login", _TWO_PULLS
    elif _NOT_THERE.search(message):
        patience = _HICCUP
    return Trouble(where=where, what=f"pulling {image} failed", why=message, hint=hint, patience=patience)


def _crash_trouble(where: str, container: Manifest) -> Trouble:
    ended: Manifest = (container.get("lastState") or {}).get("terminated") or {}
    code, reason = ended.get("exitCode", 0), ended.get("reason", "")
    what = f"its container ends again and again, with status {code}"
    hint = f"all that it said: kubectl logs --previous {where}"
    if reason == "OOMKilled":
        what, hint = "its container needs more memory than it is allowed", "raise the limit of memory"
    return Trouble(
        where=where,
        what=what,
        why=f"{container['restartCount']} restarts",
        hint=hint,
        patience=0.0,
        logs_of=str(container["name"]),
    )


def owns_replicas(deployment: Manifest, manager: str) -> bool:
    """Whether a field manager's last apply wrote the number of replicas."""
    for entry in deployment["metadata"].get("managedFields") or ():
        if entry.get("manager") == manager and entry.get("operation") == "Apply":
            return "f:replicas" in (entry.get("fieldsV1") or {}).get("f:spec", {})
    return False


def address_of(service: Manifest, pods: tuple[Manifest, ...], *, node_address: str = "") -> str:
    """Where the first port of a Service answers from outside; "" while the cluster has not said."""
    port = service["spec"]["ports"][0]
    kind = service["spec"].get("type")
    if kind == "NodePort" and port.get("nodePort"):
        return _url(node_address or next(_node_addresses(pods), ""), port["nodePort"])
    if kind == "LoadBalancer":
        given = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or [{}]
        return _url(given[0].get("ip") or given[0].get("hostname") or "", port["port"])
    return ""


def _url(host: str, port: int) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}/" if host else ""


def _node_addresses(pods: tuple[Manifest, ...]) -> Iterator[str]:
    """The nodes that run a ready pod: their address stands on the pod, so no right to read nodes is needed."""
    ready = (
        pod
        for pod in pods
        if not is_ending(pod)
        and any(_is(condition, "Ready") for condition in (pod.get("status") or {}).get("conditions") or ())
    )
    yield from sorted({pod["status"]["hostIP"] for pod in ready if pod["status"].get("hostIP")})


def _is(condition: Manifest, kind: str) -> bool:
    return bool(condition.get("type") == kind and condition.get("status") == "True")
