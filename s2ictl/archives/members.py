"""What every archive is read into, and the rules that hold for all of them, however they are packed.

What would leave the tree when unpacked is refused here and once, the whole archive with it: nobody after this needs to
look again, and nothing is skipped in silence. Names are bytes to an archive and to the kernel; here they are text with
the undecodable bytes escaped (`os.fsdecode`), and come out as the very bytes that went in.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from s2ictl.errors import LimitReached, Refused
from s2ictl.models import Member

Reader = Callable[[int], bytes]
Entry = tuple[Member, Reader]

CHUNK = 256 * 1024
FREE, RATIO = 8 << 20, 1000  # so much may come out of anything; beyond it, so many times what went in
_LONGEST_SHOWN = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much of somebody else's archive is taken: members, bytes of all files, of one name, of all names; and how
    many directories may lie in each other."""

    members: int
    size: int
    name: int = 32 * 1024
    names: int = 64 << 20
    depth: int = 256


class Seen:
    """The names of an archive so far: what a later member may stand on, and what it must not be written through."""

    def __init__(self, name: str, limits: Limits) -> None:
        self._name = name
        self._limits = limits
        self._kinds: dict[str, str] = {}
        self._members = self._size = self._names = 0

    def admit(self, member: Member) -> None:
        """Count a member, and refuse it where those before it make it lead elsewhere than it says."""
        self._count(member)
        self._refuse_misplaced(member)
        if member.kind == "hardlink":
            self._refuse_astray(member)
        self._remember(member.path, member.kind)

    def _count(self, member: Member) -> None:
        self._members, self._size = self._members + 1, self._size + member.size
        if self._members > self._limits.members:
            raise LimitReached(f"{self._name} has more than {self._limits.members} members")
        if self._size > self._limits.size:
            raise LimitReached(f"the files of {self._name} have more than {self._limits.size} bytes")
        if len(member.path) > self._limits.name:
            raise LimitReached(f"{self._name} has a name of more than {self._limits.name} bytes")
        if member.path.count("/") > self._limits.depth:
            raise LimitReached(f"{called(member.path)} lies below more than {self._limits.depth} directories")

    def _remember(self, path: str, kind: str) -> None:
        if path not in self._kinds:
            self._names += len(path)
        if self._names > self._limits.names:
            raise LimitReached(f"the names in {self._name} have more than {self._limits.names} bytes")
        self._kinds[path] = kind

    def _refuse_misplaced(self, member: Member) -> None:
        before = self._kinds.get(member.path)
        if before == "link":
            raise self._through_link(member)
        if before is not None and (before == "directory") != (member.kind == "directory"):
            raise Refused(f"{called(member.path)} in {self._name} is both a directory and something else")
        # A directory that is known needs no second look at what is above it.
        parent = member.path.rpartition("/")[0]
        while parent and (kind := self._kinds.get(parent)) != "directory":
            if kind == "link":
                raise self._through_link(member)
            if kind is not None:
                raise Refused(f"{called(member.path)} in {self._name} lies below a file")
            self._remember(parent, "directory")
            parent = parent.rpartition("/")[0]

    def _refuse_astray(self, member: Member) -> None:
        if member.target == member.path or self._kinds.get(member.target) not in ("file", "hardlink"):
            raise Refused(
                f"the hard link {called(member.path)} in {self._name} leads to no file before it",
                detail=f"it names {called(member.target)}",
            )

    def _through_link(self, member: Member) -> Refused:
        return Refused(f"{called(member.path)} in {self._name} would be written through a link")


def inside(raw: bytes, name: str) -> str:
    """The path below the root, without the dots; one that is absolute or climbs is refused."""
    parts = [part for part in raw.split(b"/") if part not in (b"", b".")]
    if raw.startswith(b"/") or b".." in parts or b"\0" in raw:
        raise Refused(f"{called(os.fsdecode(raw))} in {name} leads out of the archive")
    return os.fsdecode(b"/".join(parts))


def called(path: str) -> str:
    """A path for a message, which has to stay one line."""
    return path if len(path) <= _LONGEST_SHOWN else f"{path[: _LONGEST_SHOWN - 3]}..."
