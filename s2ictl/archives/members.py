"""What every archive is read into, and the rules that hold for all of them, however they are packed.

What would leave the tree when unpacked is refused here and once, the whole archive with it: nobody after this needs to
look again, and nothing is skipped in silence. Names are bytes to an archive and to the kernel; here they are text with
the undecodable bytes escaped (`os.fsdecode`), and come out as the very bytes that went in.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from s2ictl.errors import LimitReached, Refused
from s2ictl.expressions import expression
from s2ictl.models import Member
from s2ictl.values import dataclass

Reader = Callable[[int], bytes]
Entry = tuple[Member, Reader]

CHUNK = 256 * 1024
FREE, RATIO = 8 << 20, 1000  # so much may come out of anything; beyond it, so many times what went in
_LONGEST_SHOWN = 120
_LINE_END = expression(r"[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much of somebody else's archive is taken: members, bytes of all files, of one name, of all names; and how
    many directories may lie in each other."""

    members: int
    size: int
    name: int = 32 * 1024
    names: int = 64 << 20
    depth: int = 256


class Budget:
    """How much of somebody else's source has been taken, however it is packed and wherever its parts come from."""

    def __init__(self, name: str, limits: Limits, *, hint: str = "") -> None:
        self.limits = limits
        self._name = name
        self._hint = hint
        self._members = self._size = self._names = 0

    def spend(self, path: str, size: int) -> None:
        """Take one more member of this size."""
        self._members, self._size = self._members + 1, self._size + size
        if self._members > self.limits.members:
            raise self._spent(f"{self._name} has more than {self.limits.members} members", path)
        if self._size > self.limits.size:
            raise self._spent(f"the files of {self._name} have more than {self.limits.size} bytes", path)
        if len(path) > self.limits.name:
            raise self._spent(f"{self._name} has a name of more than {self.limits.name} bytes", path)
        if path.count("/") > self.limits.depth:
            raise self._spent(f"a path in {self._name} has more than {self.limits.depth} directories", path)
        self.remember(path)

    def remember(self, path: str) -> None:
        """Take one more name: a few bytes can stand for many long ones, and all of them are held in memory."""
        self._names += len(path)
        if self._names > self.limits.names:
            raise self._spent(f"the names in {self._name} have more than {self.limits.names} bytes", path)

    def _spent(self, message: str, path: str) -> LimitReached:
        return LimitReached(message, detail=f"reached at {called(path)}", hint=self._hint)


class Seen:
    """The names of an archive so far: what a later member may stand on, and what it must not be written through."""

    def __init__(self, name: str, limits: Limits) -> None:
        self._name = name
        self._budget = Budget(name, limits)
        self._kinds: dict[str, str] = {}

    def admit(self, member: Member) -> None:
        """Count a member, and refuse it where those before it make it lead elsewhere than it says."""
        self._budget.spend(member.path, member.size)
        self._refuse_misplaced(member)
        if member.kind == "hardlink":
            self._refuse_astray(member)
        self._kinds[member.path] = member.kind

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
            self._budget.remember(parent)
            self._kinds[parent] = "directory"
            parent = parent.rpartition("/")[0]

    def _refuse_astray(self, member: Member) -> None:
        if member.target == member.path or self._kinds.get(member.target) not in ("file", "hardlink"):
            raise Refused(
                f"the hard link {called(member.path)} in {self._name} leads to no file before it",
                detail=f"it names {called(member.target)}",
            )

    def _through_link(self, member: Member) -> Refused:
        return Refused(f"{called(member.path)} in {self._name} would be written through a link")


def reader_of(chunks: Iterator[bytes]) -> Reader:
    """Read chunks as a file is read: at most so many bytes at once, and none at the end."""
    held, at = b"", 0

    def read(size: int) -> bytes:
        nonlocal held, at
        while at == len(held) and (chunk := next(chunks, None)) is not None:
            held, at = chunk, 0
        data = held[at : at + size]
        at += len(data)
        return data

    return read


def inside(raw: bytes, name: str) -> str:
    """The path below the root, without the dots; one that is absolute or climbs is refused."""
    parts = [part for part in raw.split(b"/") if part not in (b"", b".")]
    if raw.startswith(b"/") or b".." in parts or b"\0" in raw:
        raise Refused(f"{called(os.fsdecode(raw))} in {name} leads out of the archive")
    return os.fsdecode(b"/".join(parts))


def called(path: str) -> str:
    """A path for a message, which has to stay one line: a name may hold what ends one."""
    shown = path if len(path) <= _LONGEST_SHOWN else f"{path[: _LONGEST_SHOWN - 3]}..."
    return _LINE_END.sub(lambda end: f"\\x{ord(end[0]):02x}", shown)
