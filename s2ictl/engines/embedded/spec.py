"""The document by which an OCI runtime makes a container, as data: what it sees, what it may, and what it may use."""

from __future__ import annotations

from s2ictl.models import Confinement
from s2ictl.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A path of this machine, as the warden sees it, at a place in the container."""

    source: str
    target: str
    read_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """What is to run, and how it is held in. `network` is the path of its network namespace, "" for the machine's own;
    `cgroup` is where its limits stand, "" where none can be set."""

    root: str
    hostname: str
    command: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    workdir: str
    uid: int
    gid: int
    mounts: tuple[Mount, ...]
    confinement: Confinement
    network: str
    cgroup: str
    rootless: bool


def document(container: Container) -> bytes:
    """The runtime's config.json."""
    raise NotImplementedError
