"""Class files: for which Java they are, also those of a jar in a jar, and which servlets they know.

A jar that lies in another one is looked at while it streams by, from its beginning and not for long: its directory is
at its end, and it is never unpacked for that.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from s2ictl.archives import CHUNK, Reader
from s2ictl.models import Servlet

HEAD = 8  # bytes of a class that tell its level
_FIRST = 44  # the version of Java 1.0; each level is one more
_LAST = _FIRST + 200
_LOCAL = struct.Struct("<4s5H3L2H")
_UNKNOWN_SIZE, _ENCRYPTED = 0x8, 0x2041
_MOST_UNPACKED = 4 << 20  # bytes of a jar's files, which may be packed into very few
_DESCRIPTOR = b"PK\x07\x08"
_NAMESPACES: tuple[tuple[bytes, Servlet], ...] = ((b"javax/servlet/", "javax"), (b"jakarta/servlet/", "jakarta"))


def level_of(head: bytes) -> int:
    """The level of Java that a class needs; 0 for what is no class."""
    if len(head) < HEAD:
        return 0
    magic, _, major = struct.unpack_from(">LHH", head)
    return major - _FIRST if magic == 0xCAFEBABE and _FIRST < major <= _LAST else 0


def counts(path: str) -> bool:
    """Whether a file is a class that every Java loads.

    What lies in META-INF/versions, or is a module's description, may be for a Java that is yet to come.
    """
    name = path.rpartition("/")[2]
    return path.endswith(".class") and not path.startswith("META-INF/") and name != "module-info.class"


def servlets_in(content: bytes) -> Iterator[Servlet]:
    """The namespaces that a class names: all its text stands in its pool of constants, with slashes in names of types.

    A name with dots is not looked for: frameworks ask by such whether there is the one or the other.
    """
    return (namespace for word, namespace in _NAMESPACES if word in content)


def nested_levels(read: Reader, *, most: int, room: int) -> Iterator[int]:
    """The levels of the first classes of a jar, read from its beginning and for no longer than `room` bytes."""
    stream = _Stream(read, room)
    while most and (header := stream.take(_LOCAL.size)).startswith(b"PK\x03\x04") and len(header) == _LOCAL.size:
        _, _, flags, method, _, _, _, packed, _, named, extra = _LOCAL.unpack(header)
        path = stream.take(named).decode(errors="replace")
        stream.skip(extra)
        if flags & _ENCRYPTED or method not in (0, 8) or (method == 0 and flags & _UNKNOWN_SIZE):
            return
        if counts(path):
            most -= 1
            yield level_of(stream.member(method, packed, flags))
        elif flags & _UNKNOWN_SIZE:
            stream.member(method, packed, flags)
        else:
            stream.skip(packed)


class _Stream:
    """The bytes of a jar in the order in which they lie there; after `room` of them it is at its end."""

    def __init__(self, read: Reader, room: int) -> None:
        self._read = read
        self._room = room
        self._unpacked = 0
        self._waiting = b""

    def take(self, size: int) -> bytes:
        while len(self._waiting) < size and self._more():
            pass
        taken, self._waiting = self._waiting[:size], self._waiting[size:]
        return taken

    def skip(self, size: int) -> None:
        while size > 0 and (self._waiting or self._more()):
            gone = min(size, len(self._waiting))
            size, self._waiting = size - gone, self._waiting[gone:]

    def member(self, method: int, packed: int, flags: int) -> bytes:
        """The first bytes of a member; the stream is behind it then."""
        if method == 0:
            head = self.take(min(HEAD, packed))
            self.skip(packed - len(head))
            return head
        head = self._inflated()
        if flags & _UNKNOWN_SIZE:
            self._skip_descriptor()
        return head

    def _more(self) -> bool:
        data = self._read(min(CHUNK, self._room)) if self._room else b""
        self._room -= len(data)
        self._waiting += data
        return bool(data)

    def _inflated(self) -> bytes:
        inflate, head = zlib.decompressobj(-zlib.MAX_WBITS), b""
        while not inflate.eof and (self._waiting or self._more()):
            try:
                data = inflate.decompress(self._waiting, CHUNK)
            except zlib.error:
                return self._end(b"")
            head, self._unpacked = (head + data)[:HEAD], self._unpacked + len(data)
            if self._unpacked > _MOST_UNPACKED:
                return self._end(head)
            self._waiting = inflate.unused_data or inflate.unconsumed_tail
        return head

    def _end(self, head: bytes) -> bytes:
        """What was read so far, of a jar that is not worth reading on."""
        self._room, self._waiting = 0, b""
        return head

    def _skip_descriptor(self) -> None:
        """Of a checksum and two sizes, of four bytes or of eight, with a mark before them or without."""
        rest = 12 if self.take(4) == _DESCRIPTOR else 8
        self.skip(rest)
        following = self.take(2)
        self._waiting = following + self._waiting
        if following not in (b"PK", b""):
            self.skip(8)
