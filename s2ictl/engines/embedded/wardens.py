"""The helper process that holds the mounts, seen from this side: what can be asked of it, and how it is started.

Paths in a container are absolute, and resolved as in it: links lead nowhere outside, on whatever the image holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from s2ictl.archives import Reader
from s2ictl.engines.outcomes import Ended


class Process(Protocol):
    """The command of a container, running. The descriptors are this side's, and closed with the context."""

    stdout: int
    stderr: int

    def ended(self, seconds: float) -> Ended | None:
        """How it ended; None when it has not after so many seconds."""

    def signal(self, name: str) -> None:
        """Send it a signal (KILL, TERM, …); no matter when it has ended."""


class Chamber(Protocol):
    """One container: a root of its own on layers that stay as they are. Nothing is put in or read while it runs."""

    name: str
    root: str  # its root, as the warden sees it
    handed: str  # a directory in memory, as the warden sees it: what is handed in by mounts and never in the layer

    def mode(self, path: str) -> int | None:
        """The mode of what lies at a path, links not followed at its end; None when nothing does."""

    def read(self, path: str, limit: int) -> bytes | None:
        """The first bytes of a regular file, at most one more than `limit`; None when there is none."""

    def put(self, tar: Iterator[bytes]) -> None:
        """Unpack a plain tar at the root, as it says whose everything is."""

    def hand(self, tar: Iterator[bytes]) -> None:
        """Unpack it into the directory in memory instead."""

    def taken(self, path: str) -> AbstractContextManager[Reader | None]:
        """A reader of the tar of what lies at a path, called by its last name; None when nothing does."""

    def erase(self, paths: tuple[str, ...]) -> None:
        """Remove what lies there, in this order: files, and directories that are empty by then. What else stays."""

    def mount_points(self, targets: tuple[tuple[str, bool], ...]) -> tuple[str, ...]:
        """Have a place for each of these mounts (path, whether it is a file's).

        Answers all that had to be made, parents first.
        """

    def running(self, spec: bytes, runtime: str, cgroup: str = "") -> AbstractContextManager[Process]:
        """The runtime's document `spec` at work; killed, and gone with all its processes, when the context ends."""

    def network(self, helper: tuple[str, ...]) -> str:
        """A network of its own, as a path for the spec; `helper` is the command that leads out of it, () for none."""

    def forward(self, port: int) -> int:
        """Lead a free loopback port of this machine to that port in its network; answers its number."""

    def cut_off(self) -> None:
        """End what leads out of its network and into it, when the command has ended: nobody waits for that."""

    def layer(self, skip: tuple[str, ...], *, volumes: tuple[str, ...] = (), epoch: int | None) -> Iterator[bytes]:
        """What was changed, as the canonical tar of a layer, without what lies at or below the paths of `skip`.

        What the image itself has at one of those is deleted by the layer; what it has in its `volumes` stays as it is.
        What was changed since the container was made gets the time `epoch`, unless that is None.
        """


class Warden(Protocol):
    """The process."""

    def unpack(self, tar: Iterator[bytes], *, on: tuple[str, ...], to: str) -> int:
        """Make a layer's tree `to` of its plain tar, whole or not at all; answers its bytes.

        Names are those of directories below `layers/`; `on` are the trees below it, the topmost first, which decide
        what is deleted by it and what its directories are.
        """

    def chamber(self, name: str, layers: tuple[str, ...]) -> AbstractContextManager[Chamber]:
        """A container on these trees, the topmost first; unmounted and removed when the context ends."""

    def cache(self, name: str, uid: int, gid: int) -> str:
        """The directory of a cache as the warden sees it, made for that user where it is not there yet."""

    def fill(self, tar: Iterator[bytes], *, to: str) -> None:
        """Unpack a plain tar into a directory that is there, named below the warden's own."""

    def discard(self, paths: tuple[str, ...]) -> None:
        """Remove these trees, named below the warden's own directory."""

    def size(self, path: str) -> int:
        """The bytes of a tree below it."""


def warden(
    directory: Path, *, rootless: bool, overlays: tuple[str, ...] = ("overlay",)
) -> AbstractContextManager[Warden]:
    """The process at work in this directory while the context lasts; nobody waits for its start.

    With `rootless` it is root in a user namespace alone. `overlays` are the ways to mount layers, tried in turn:
    "overlay" is the kernel's own, anything else a program.
    """
    from s2ictl.engines.embedded.starting import started

    return started(directory, rootless=rootless, overlays=overlays)
