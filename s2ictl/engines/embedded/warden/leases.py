"""Directories that somebody works in, and whether he still does: by a lock that the kernel takes back at his death.

A lock on all of them is held while one is made and while the abandoned are looked for, so that none is taken for
abandoned between its making and its locking.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from . import cgroups, kernel, trees

_GROUPS = "cgroups"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Lease:
    """A directory that is this process's, and that of its children, as long as one of them has it open."""

    def __init__(self, above: str, name: str, descriptor: int) -> None:
        self._above = above
        self.name = name
        self.directory = os.path.join(above, name)
        self._descriptor = descriptor

    def path(self, name: str) -> str:
        return os.path.join(self.directory, name)

    def note(self, group: str) -> None:
        """Remember a control group, for whoever takes this directory away."""
        descriptor = os.open(self.path(_GROUPS), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, f"{group}\n".encode())
        finally:
            os.close(descriptor)

    def unmount(self) -> None:
        """Let go of every mount in it, and of the control groups."""
        for point in kernel.mounted_below(self.directory):
            kernel.unmount(point)
        for group in self._groups():
            cgroups.remove(group)

    def remove(self) -> None:
        """Take it away."""
        above = os.open(self._above, _DIRECTORY)
        try:
            trees.remove(above, self.name)
        finally:
            os.close(above)
            os.close(self._descriptor)

    def _groups(self) -> list[str]:
        try:
            with open(self.path(_GROUPS), encoding="utf-8") as file:
                return file.read().split()
        except FileNotFoundError:
            return []


def lease(above: str, name: str) -> Lease:
    """Make a directory of this name, which must not be there."""
    with _alone(above):
        os.mkdir(os.path.join(above, name), 0o700)
        found = _locked(above, name)
    if found is None:
        raise FileNotFoundError(2, os.strerror(2), os.path.join(above, name))
    return found


def sweep(above: str) -> None:
    """Take away what the dead have left; what cannot be taken away yet stays for the next sweep."""
    with _alone(above):
        abandoned = [each for name in os.listdir(above) if (each := _locked(above, name)) is not None]
    for each in abandoned:
        try:
            each.unmount()
            each.remove()
        except OSError:
            continue


def _locked(above: str, name: str) -> Lease | None:
    try:
        descriptor = os.open(os.path.join(above, name), _DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return Lease(above, name, descriptor)


@contextmanager
def _alone(above: str) -> Iterator[None]:
    descriptor = os.open(above, _DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
