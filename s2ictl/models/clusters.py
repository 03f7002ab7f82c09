"""What runs on a cluster, and how it stands there."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from s2ictl.models.images import Reference
from s2ictl.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterAccess:
    """Which cluster, and as whom, with nothing contacted and no program run yet.

    `kubeconfig` is empty inside a pod. `plugin` is the program that the kubeconfig says to run for a login; `exposed`
    are those of its files that others may read.
    """

    kubeconfig: str
    context: str
    server: str
    namespace: str
    verified: bool = True
    plugin: str = ""
    exposed: tuple[Path, ...] = ()


Manifest = dict[str, Any]  # one object as the Kubernetes API writes it: a document, which only manifests.py reads
Expose = Literal["none", "nodeport", "loadbalancer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    container: int
    service: int
    name: str = "http"


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """How readiness is asked: an HTTP path, a TCP connection, or not at all."""

    kind: Literal["http", "tcp", "none"]
    path: str = "/"
    port: int = 0
    delay: int = 0
    timeout: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """What is to run on the cluster."""

    name: str
    namespace: str
    image: Reference
    ports: tuple[Port, ...]
    expose: Expose
    readiness: Probe
    replicas: int | None = None
    alias: str = ""
    description: str = ""
    env: tuple[tuple[str, str], ...] = ()
    user: str = ""
    pull_secret: str = ""
    build: str = ""
    commit: str = ""
    built: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """What came of it: where it runs, and the address that answered ("" where nothing is exposed or was waited for)."""

    image: str
    address: str
    namespace: str
    name: str
    ready: int
    wanted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AppStatus:
    """How an app stands on the cluster; `deployed` is the time of the Deployment's making, in the cluster's words."""

    name: str
    namespace: str
    image: str
    ready: int
    wanted: int
    address: str
    build: str
    commit: str
    deployed: str
