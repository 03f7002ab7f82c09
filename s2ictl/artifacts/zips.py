"""A zip as a pack, by a reader of our own: its directory at the end decides, as it does for Java.

The standard library makes an object of every entry before anything can be counted, and believes what stands there. Here
the directory is counted while it is read, what could be read in two ways is refused, and of the content only so much is
unpacked, in memory, as somebody asks for.
"""

from __future__ import annotations

import io
import os
import stat
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import BinaryIO

from s2ictl.archives import CHUNK, Limits, called
from s2ictl.archives.members import FREE, RATIO, inside
from s2ictl.archives.unpacked import Window
from s2ictl.artifacts.packs import Entry
from s2ictl.errors import InvalidArtifact, LimitReached, Refused
from s2ictl.expressions import expression
from s2ictl.values import dataclass

MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
SCRIPT = b"#!"  # what a jar that is itself executable begins with
_DIRECTORY, _DIRECTORY64, _LOCATOR64 = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
_END = struct.Struct("<4s4H2LH")
_END64_SIZE, _LOCATOR_SIZE = 56, 20
_LISTED = struct.Struct("<4s6H3L5H2L")
_LOCAL_SIZE = 30
_LONGEST_COMMENT = 0xFFFF
_FULL = 0xFFFFFFFF
_ENCRYPTED = 0x2041  # any of the ways to do it
_STORED, _DEFLATED = 0, 8
_UNIX = 3  # who made the entry, and so what its mode means
_ODD = expression(rb"^[/.]|/[/.]|[\\\0]")  # in a name; the others, of which there are thousands, need no second look
_RATIO = RATIO // 5  # of all together: one file may be a row of zeros, and a whole application never is
_ROOM = 256  # read beside the bytes of a head, for its local header


@dataclass(frozen=True, slots=True, kw_only=True)
class Zip:
    """An open file whose directory has been read and judged: the files in it, and the links that are no part of it."""

    file: BinaryIO
    name: str
    entries: Sequence[Entry]
    links: Sequence[Entry] = ()

    def head(self, entry: Entry, size: int) -> bytes:
        """Read at once, header and all: an application has thousands of classes, and each is asked for its level."""
        header = os.pread(self.file.fileno(), _LOCAL_SIZE + len(entry.path) + _ROOM + size, entry.at)
        content = header[_beginning(header, self.name) :][: entry.packed]
        if entry.method == _STORED:
            found = content[:size]
        else:
            with_rest = zlib.decompressobj(-zlib.MAX_WBITS)
            try:
                found = with_rest.decompress(content, size)
            except zlib.error as error:
                raise _damaged(self.name, f"{called(entry.path)}: {error}") from error
        if len(found) < min(size, entry.size):
            with self.open(entry) as file:
                return file.read(size)
        return found

    def open(self, entry: Entry) -> BinaryIO:
        content = _Content(self.file, entry, self.name)
        return io.BufferedReader(content, CHUNK)


def read_zip(file: BinaryIO, *, name: str, limits: Limits) -> Zip:
    """Read the directory of a zip, or say why nobody should."""
    window = Window(file, name)
    start, directory, count = _directory(window, name, limits)
    entries = tuple(_listed(directory, name, limits))
    if len(entries) != count:
        raise _damaged(name, f"its directory speaks of {count} files and has {len(entries)}")
    window.seek(0)
    head = window.read(4) or b""
    entries = _moved(entries, start.shift, head, name)
    _refuse_bomb(entries, start.at, name, limits)
    _refuse_overlap(entries, start.at, head, name)
    return Zip(
        file=file,
        name=name,
        entries=tuple(entry for entry in entries if not entry.path.endswith("/") and not entry.is_link),
        links=tuple(entry for entry in entries if entry.is_link),
    )


def has_directory(file: BinaryIO, *, name: str) -> bool:
    """Whether a file that begins as something else ends as a zip."""
    return _find_end(Window(file, name))[1].startswith(_DIRECTORY)


# -------------------------------------------------------------------------------------------------- the directory


@dataclass(frozen=True, slots=True, kw_only=True)
class _Start:
    """Where the directory begins, and how far that is from where it says itself: something was put in front."""

    at: int
    shift: int


def _directory(window: Window, name: str, limits: Limits) -> tuple[_Start, bytes, int]:
    end, tail = _find_end(window)
    if len(tail) < _END.size or not tail.startswith(_DIRECTORY):
        raise InvalidArtifact(
            f"{name} is cut short: it begins as a zip, and has no directory at its end", hint="fetch or build it again"
        )
    _, disk, _, _, count, length, offset, comment = _END.unpack_from(tail)
    if _END.size + comment != len(tail):
        raise Refused(f"{name} goes on behind its end", detail="programs differ in what they make of such a file")
    before = end - _LOCATOR_SIZE - _END64_SIZE
    record = _read(window, before, _END64_SIZE + _LOCATOR_SIZE) if before >= 0 else b""
    if record.startswith(_DIRECTORY64) and record[_END64_SIZE:].startswith(_LOCATOR64):
        short = (count, length, offset)
        end, (count, length, offset) = before, struct.unpack_from("<3Q", record, 32)
        _refuse_two_directories(short, (count, length, offset), name)
    if disk not in (0, 0xFFFF) or length > end or offset + length > end:
        raise _damaged(name, "its directory is longer than itself, or lies elsewhere")
    if length > limits.names or count > limits.members:
        raise LimitReached(
            f"the directory of {name} has {count} entries and {length} bytes",
            detail=f"read are {limits.members} and {limits.names}",
        )
    at = end - length
    return _Start(at=at, shift=at - offset), _read(window, at, length), count


def _refuse_two_directories(short: tuple[int, ...], long: tuple[int, ...], name: str) -> None:
    """Of the numbers that end a large zip the short ones are full, or the same: else Java believes those alone."""
    for number, same, full in zip(short, long, (0xFFFF, _FULL, _FULL), strict=True):
        if number not in (same, full):
            raise Refused(f"{name} has two directories", detail="programs differ in which they believe")


def _find_end(window: Window) -> tuple[int, bytes]:
    """Where the last record begins, and all from there; nothing where there is none."""
    size = window.seek(0, os.SEEK_END)
    start = max(0, size - _END.size - _LONGEST_COMMENT)
    tail = _read(window, start, size - start)
    found = tail.rfind(_DIRECTORY)
    return (start + found, tail[found:]) if found >= 0 else (size, b"")


def _read(window: Window, at: int, size: int) -> bytes:
    window.seek(at)
    data = b""
    while len(data) < size and (more := window.read(size - len(data))):
        data += more
    return data


def _listed(directory: bytes, name: str, limits: Limits) -> Iterator[Entry]:
    at = 0
    while at < len(directory):
        if len(directory) - at < _LISTED.size or not directory.startswith(b"PK\x01\x02", at):
            raise _damaged(name, "its directory ends in the middle")
        fields = _LISTED.unpack_from(directory, at)
        _, made, _, flags, method, _, _, checksum, packed, size, named, extra, comment, _, _, mode, offset = fields
        at += _LISTED.size
        raw, more = directory[at : at + named], directory[at + named : at + named + extra]
        at += named + extra + comment
        if at > len(directory) or len(raw) > limits.name:
            raise _damaged(name, "a name in its directory has no end")
        if _FULL in (size, packed, offset):
            size, packed, offset = _in_full((size, packed, offset), more, name)
        path = _path(raw, name)
        _check(path, flags, method, name)
        yield Entry(
            path=path,
            size=size,
            packed=packed,
            at=offset,
            method=method,
            checksum=checksum,
            is_link=made >> 8 == _UNIX and stat.S_ISLNK(mode >> 16),
        )


def _in_full(short: tuple[int, int, int], extra: bytes, name: str) -> tuple[int, int, int]:
    """The numbers that do not fit 32 bits, from where zip64 has them: those alone, in this order."""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        if kind == 1:
            values = iter(struct.unpack_from(f"<{min(length, len(extra) - 4) // 8}Q", extra, 4))
            size, packed, offset = (next(values, -1) if number == _FULL else number for number in short)
            if min(size, packed, offset) >= 0:
                return size, packed, offset
        extra = extra[4 + length :]
    raise _damaged(name, "a size in its directory is missing")


def _path(raw: bytes, name: str) -> str:
    if not _ODD.search(raw):
        return os.fsdecode(raw)
    if b"\\" in raw:
        raise Refused(f"{called(os.fsdecode(raw))} in {name} has a backslash in its name")
    return inside(raw, name) + ("/" if raw.endswith(b"/") else "")


def _check(path: str, flags: int, method: int, name: str) -> None:
    if flags & _ENCRYPTED:
        raise InvalidArtifact(f"{called(path)} in {name} is encrypted", hint="pack it without a password")
    if method not in (_STORED, _DEFLATED):
        raise InvalidArtifact(
            f"{called(path)} in {name} is packed by method {method}", detail="Java reads 0 (stored) and 8 (deflated)"
        )


# ---------------------------------------------------------------------------------------------- what is not believed


def _moved(entries: tuple[Entry, ...], shift: int, head: bytes, name: str) -> tuple[Entry, ...]:
    """With their places counted from the beginning of the file: a script in front is often put there afterwards."""
    if not shift:
        return entries
    if not head.startswith(SCRIPT):
        raise Refused(f"{name} has something before its first file", detail="only a script may stand there")
    return tuple(replace(entry, at=entry.at + shift) for entry in entries)


def _refuse_bomb(entries: Iterable[Entry], length: int, name: str, limits: Limits) -> None:
    total = 0
    for entry in entries:
        total += entry.size
        if entry.size > FREE + RATIO * entry.packed:
            raise LimitReached(f"{called(entry.path)} in {name} grows to more than {RATIO} times its size")
    if total > limits.size:
        raise LimitReached(f"the files of {name} have {total} bytes; the limit is {limits.size}")
    if total > FREE + _RATIO * length:
        raise LimitReached(f"{name} grows to more than {_RATIO} times its size", detail="so does no application")


def _refuse_overlap(entries: tuple[Entry, ...], directory: int, head: bytes, name: str) -> None:
    end = 0
    for entry in sorted(entries, key=lambda entry: entry.at):
        if entry.at < end:
            raise Refused(f"{called(entry.path)} in {name} lies over another file")
        if not end and entry.at and not head.startswith(SCRIPT):
            raise Refused(f"{name} has something before its first file", detail="only a script may stand there")
        end = entry.at + _LOCAL_SIZE + entry.packed
    if end > directory:
        raise _damaged(name, "its last file lies over its directory")


# --------------------------------------------------------------------------------------------------------- content


class _Content(io.RawIOBase):
    """The bytes of one file, exactly as many as the directory says, and with its checksum at the last."""

    def __init__(self, file: BinaryIO, entry: Entry, name: str) -> None:
        self._window = Window(file, name)
        self._entry = entry
        self._name = name
        self._rewind()

    def _rewind(self) -> None:
        self._window.seek(self._entry.at)
        header = self._window.read(_LOCAL_SIZE) or b""
        self._window.seek(self._entry.at + _beginning(header, self._name))
        self._left = self._entry.packed
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        self._waiting = b""
        self._at = self._checksum = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        offset += {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._entry.size}[whence]
        if offset < self._at:
            self._rewind()
        while self._at < offset and self._next(min(CHUNK, offset - self._at)):
            pass
        return self._at

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]  # the base takes any buffer
        data = self._next(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _next(self, size: int) -> bytes:
        size = min(size, self._entry.size - self._at)
        if not size:
            return b""
        data = self._taken(size) if self._entry.method == _STORED else self._inflated(size)
        if not data:
            raise _damaged(self._name, f"{called(self._entry.path)} ends in the middle")
        self._at += len(data)
        self._checksum = zlib.crc32(data, self._checksum)
        if self._at == self._entry.size and self._checksum != self._entry.checksum:
            raise _damaged(self._name, f"{called(self._entry.path)} is not what its checksum says")
        return data

    def _taken(self, size: int) -> bytes:
        data = self._window.read(min(size, self._left)) or b""
        self._left -= len(data)
        return data

    def _inflated(self, size: int) -> bytes:
        try:
            while not self._inflate.eof:
                self._waiting = self._waiting or self._taken(CHUNK)
                data = self._inflate.decompress(self._waiting, size)
                self._waiting, waited = self._inflate.unconsumed_tail, self._waiting
                if data or not waited:
                    return data
        except zlib.error as error:
            raise _damaged(self._name, f"{called(self._entry.path)}: {error}") from error
        return b""


def _beginning(header: bytes, name: str) -> int:
    """Where the content begins behind a local header: its name and extra field may be other than the directory's."""
    if len(header) < _LOCAL_SIZE or not header.startswith(b"PK\x03\x04"):
        raise _damaged(name, "a file is not where its directory says")
    named, extra = struct.unpack_from("<2H", header, 26)
    return int(_LOCAL_SIZE + named + extra)


def _damaged(name: str, why: str) -> InvalidArtifact:
    return InvalidArtifact(f"{name} is damaged", detail=why[:200], hint="fetch or build it again")
