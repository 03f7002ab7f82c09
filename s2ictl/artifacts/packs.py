"""Files that lie together, in a zip or in a directory, and how what is asked of a jar or a war is asked of both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import BinaryIO, Protocol

from s2ictl.archives import Limits
from s2ictl.values import dataclass

LIMITS = Limits(members=100_000, size=16 << 30, name=4096, names=16 << 20)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file, by its path from the root; in a zip, where it lies and how it is packed. A link is no file."""

    path: str
    size: int
    at: int = 0
    packed: int = 0
    method: int = 0
    checksum: int = 0
    is_link: bool = False


class Pack(Protocol):
    """What the readers of Java's files need to know."""

    @property
    def name(self) -> str:
        """What it is called in a message."""
        ...

    @property
    def entries(self) -> Sequence[Entry]:
        """Its files."""
        ...

    def head(self, entry: Entry, size: int) -> bytes:
        """The first bytes of a file, no more than are asked for."""
        ...

    def open(self, entry: Entry) -> BinaryIO:
        """A file from its beginning; going back in it costs reading it again."""
        ...
