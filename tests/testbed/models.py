"""What is known about a part once it is up: the only thing that travels out of the testbed.

Facts are written to `facts.json` below the testbed's directory, so that any process of the same user reads them
without asking the one that brought the part up.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeAlias

Name: TypeAlias = Literal["engine", "registry", "cluster", "forge", "user"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """A container engine that answers the Docker API.

    `own` tells that the testbed started it; a user's engine is reported as it is and never reconfigured. Containers
    of an engine of our own reach this machine at 10.124.SLOT.1 (SLOT is 0 unless S2ICTL_TESTBED_SLOT says otherwise),
    the registry and the forge among it, on the ports that their facts name.
    """

    docker_host: str
    own: bool


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """Two registries on loopback without TLS: `open` lets everybody in, `closed` asks for the login."""

    open: str
    closed: str
    username: str
    password: str = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """One Kubernetes node.

    NodePorts answer on `node_ip`; there the pods reach the registry and the forge as well, on the ports that their
    facts name, and the node pulls from `127.0.0.1:PORT` and `<node_ip>:PORT` alike. There is no cluster DNS, no
    StorageClass, no load balancer, no hostPort, and no NetworkPolicy is enforced.
    """

    kubeconfig: Path
    node_ip: str
    context: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Forge:
    """A Gitea with an administrator and a token of theirs that may do everything."""

    url: str
    username: str
    password: str = dataclasses.field(repr=False)
    token: str = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Somebody without rights, with subordinate ids, and with a home that he can reach."""

    name: str
    home: Path

    def environ(self, **more: str) -> dict[str, str]:
        """What a shell of his would have in its environment."""
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return {"HOME": str(self.home), "USER": self.name, "LOGNAME": self.name, "PATH": path, **more}


Facts: TypeAlias = Engine | Registry | Cluster | Forge | User


def to_document(facts: Facts) -> dict[str, str | bool]:
    """Facts as they stand in facts.json."""
    values = dataclasses.asdict(facts)
    return {key: str(value) if isinstance(value, Path) else value for key, value in values.items()}


def from_document(name: Name, document: Mapping[str, str | bool]) -> Facts:
    """The inverse of `to_document`."""
    words = {key: str(value) for key, value in document.items()}
    match name:
        case "engine":
            return Engine(docker_host=words["docker_host"], own=bool(document["own"]))
        case "registry":
            return Registry(**words)
        case "cluster":
            return Cluster(kubeconfig=Path(words["kubeconfig"]), node_ip=words["node_ip"], context=words["context"])
        case "forge":
            return Forge(**words)
        case "user":
            return User(name=words["name"], home=Path(words["home"]))
