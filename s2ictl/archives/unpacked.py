"""A file that is an archive, whatever it is called: its content says how it is packed, and it is read within limits.

Everything is counted where it comes out. What a header promises is somebody's word, and a few thousand bytes can be
packed so that they never end.
"""

from __future__ import annotations

import bz2
import io
import lzma
import os
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, Protocol

from s2ictl.archives.members import CHUNK, FREE, RATIO, Entry, Limits, Reader
from s2ictl.archives.tar import is_header, read_tar
from s2ictl.errors import FetchSourceFailed, LimitReached

SUPPORTED = "supported are tar (plain, or packed by gzip, bzip2 or xz) and zip"
_MOST_MEMORY = 256 << 20  # of xz, whose files say themselves how much they need
_BLOCK = 512


def read_archive(file: BinaryIO, *, name: str, limits: Limits) -> Iterator[Entry]:
    """Read an archive of any kind from its beginning; the file's own position is neither used nor moved."""
    head = Window(file, name).read(_BLOCK) or b""
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        from s2ictl.archives.zip import read_zip

        return read_zip(io.BufferedReader(Window(file, name), CHUNK), name=name, limits=limits)
    unpack = next((unpack for magic, unpack in _PACKED if head.startswith(magic)), None)
    if unpack is None:
        _check_tar(head, name)
        return read_tar(io.BufferedReader(Window(file, name), CHUNK).read, name=name, limits=limits)
    _check_tar(_exactly(_Bounded(Window(file, name), unpack, name).read, _BLOCK), name, inside=True)
    return read_tar(_Bounded(Window(file, name), unpack, name).read, name=name, limits=limits)


def _exactly(read: Reader, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := read(size - len(data))):
        data += more
    return data


class Window(io.RawIOBase):
    """A view of an open file with a position of its own, so that two can read it at once; it closes nothing."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._descriptor = file.fileno()
        self._name = name
        self._at = 0
        self.taken = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at}
        self._at = offset + start.get(whence, 0) if whence in start else offset + os.fstat(self._descriptor).st_size
        return self._at

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]  # the base takes any buffer
        try:
            count = os.preadv(self._descriptor, [buffer], self._at)
        except OSError as error:
            raise FetchSourceFailed(f"{self._name} could not be read", detail=error.strerror or "") from error
        self._at += count
        self.taken += count
        return count


# --------------------------------------------------------------------------------------------------------- packed


class _Bounded:
    """The bytes that come out of a packed file, as long as they are in proportion to what went in."""

    def __init__(self, window: Window, unpack: Callable[[BinaryIO], Reader], name: str) -> None:
        self._window = window
        self._read = unpack(io.BufferedReader(window, CHUNK))
        self._name = name
        self._out = 0

    def read(self, size: int) -> bytes:
        try:
            data = self._read(size)
        except lzma.LZMAError as error:
            if "limit" in str(error):
                raise LimitReached(f"{self._name} needs more than {_MOST_MEMORY} bytes of memory") from error
            raise self._damaged(error) from error
        except (OSError, EOFError, zlib.error) as error:
            raise self._damaged(error) from error
        self._out += len(data)
        if self._out > FREE + RATIO * self._window.taken:
            raise LimitReached(f"{self._name} grows to more than {RATIO} times its size", detail="so does no source")
        return data

    def _damaged(self, error: Exception) -> FetchSourceFailed:
        return FetchSourceFailed(f"{self._name} is damaged", detail=str(error)[:200], hint="bring it here again")


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int = ...) -> bytes: ...


class _Streams:
    """One packed stream after another, as bzip2 and xz write them, and nothing else behind the last.

    The standard library's own files of these kinds pass over what follows, and let xz take any amount of memory.
    """

    def __init__(self, file: BinaryIO, new: Callable[[], _Decompressor]) -> None:
        self._file = file
        self._new = new
        self._decompressor = new()
        self._waiting = b""

    def read(self, size: int) -> bytes:
        while not self._decompressor.eof or self._goes_on():
            if self._decompressor.needs_input and not self._waiting:
                self._waiting = self._file.read(CHUNK)
                if not self._waiting:
                    raise EOFError("it ends in the middle")
            data = self._decompressor.decompress(self._waiting, size)
            self._waiting = b""
            if data:
                return data
        return b""

    def _goes_on(self) -> bool:
        rest = self._decompressor.unused_data.lstrip(b"\0")  # xz fills up with zeros
        while not rest and (more := self._file.read(CHUNK)):
            rest = more.lstrip(b"\0")
        if rest:
            self._decompressor, self._waiting = self._new(), rest
        return bool(rest)


def _bounded_xz() -> _Decompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MOST_MEMORY)


def _gzip(file: BinaryIO) -> Reader:
    import gzip

    return gzip.GzipFile(fileobj=file).read


def _bzip2(file: BinaryIO) -> Reader:
    return _Streams(file, bz2.BZ2Decompressor).read


def _xz(file: BinaryIO) -> Reader:
    return _Streams(file, _bounded_xz).read


_PACKED: tuple[tuple[bytes, Callable[[BinaryIO], Reader]], ...] = (
    (b"\x1f\x8b", _gzip),
    (b"BZh", _bzip2),
    (b"\xfd7zXZ\0", _xz),
)

# ------------------------------------------------------------------------------------------------ what it is instead

_FOREIGN = (
    (b"\x7fELF", "it is a program", "s2ictl b2i FILE makes an image of a finished artifact"),
    (b"\x28\xb5\x2f\xfd", "it is packed by zstd", "unpack it: zstd -d FILE"),
    (b"7z\xbc\xaf\x27\x1c", "it is a 7z archive", "pack it as tar or zip"),
    (b"Rar!", "it is a rar archive", "pack it as tar or zip"),
    (b"\x04\x22\x4d\x18", "it is packed by lz4", "unpack it: lz4 -d FILE"),
    (b"LZIP", "it is packed by lzip", "unpack it: lzip -d FILE"),
    (b"PK", "it is a part of a zip archive", "join the parts: zip -s 0"),
    (b"<", "it is an HTML or XML page", "a page is what an address of a missing file, or of a login, answers"),
)
_PACK = "pack a directory: tar -C DIR -czf app.tgz . (a finished program is for s2ictl b2i)"


def _check_tar(head: bytes, name: str, *, inside: bool = False) -> None:
    if is_header(head) or head == bytes(_BLOCK):
        return
    if inside:
        twice = any(head.startswith(magic) for magic, _ in _PACKED)
        why = "it is packed twice" if twice else "what is packed in it is no tar"
        raise FetchSourceFailed(f"{name} is no archive that can be read: {why}", detail=SUPPORTED)
    start = head.lstrip()
    found = ((why, hint) for magic, why, hint in _FOREIGN if start.startswith(magic))
    why, hint = next(found, ("it is empty" if not head else "its content is of no kind that is known here", _PACK))
    raise FetchSourceFailed(f"{name} is no archive that can be read: {why}", detail=SUPPORTED, hint=hint)
