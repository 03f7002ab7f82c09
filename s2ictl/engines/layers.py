"""What two images do not have alike, path by path, read from the engine's archives of them while they come.

An archive of an image is a tar of tars: by Docker's older layout with a directory for each layer, by OCI's with a blob
for each, named by its digest and perhaps compressed. Which of them is a certain layer is told the same way in both:
by the digest of its bytes, taken while it is read. Of a file only the digest is kept.
"""

from __future__ import annotations

import hashlib
import tarfile
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import fields
from itertools import chain, zip_longest
from typing import IO

from s2ictl.archives import Reader, reader_of
from s2ictl.engines import Difference, streams
from s2ictl.errors import CommitContainerFailed, LimitReached
from s2ictl.models import ImageFacts
from s2ictl.values import dataclass

_CHUNK = 256 * 1024
_MOST = 1_000_000
_GZIP, _OF_GZIP = b"\x1f\x8b", 31
_MAGIC = slice(257, 262)
_ATTRIBUTE = "SCHILY.xattr."
_KINDS = {
    tarfile.REGTYPE: "file",
    tarfile.AREGTYPE: "file",
    tarfile.DIRTYPE: "directory",
    tarfile.SYMTYPE: "link",
    tarfile.LNKTYPE: "hard link",
}


@dataclass(frozen=True, slots=True)
class Facts:
    """All in which a path can differ, each under the word for it."""

    kind: str
    content: bytes
    target: str
    mode: int
    owner: tuple[int, int]
    attributes: tuple[tuple[str, str], ...]
    time: float


Layer = Mapping[str, Facts]
Save = Callable[[str], AbstractContextManager[Iterator[bytes]]]


def differences(first: ImageFacts, second: ImageFacts, save: Save) -> tuple[Difference, ...]:
    """In what those layers of two images differ that are not the same, in the order of their paths."""
    pairs = [pair for pair in zip_longest(first.layers, second.layers, fillvalue="") if len({*pair}) > 1]
    if not pairs:
        return ()
    ones = _read(first.id, {one for one, _ in pairs} - {""}, save)
    others = _read(second.id, {other for _, other in pairs} - {""}, save)
    found = chain.from_iterable(compared(ones.get(one, {}), others.get(other, {})) for one, other in pairs)
    return tuple(sorted(found, key=lambda each: each.path)) or (Difference(path="/", ways=("order",)),)


def compared(first: Layer, second: Layer) -> Iterator[Difference]:
    """The paths that two layers do not have alike, and how."""
    for path in sorted(first.keys() | second.keys()):
        if ways := tuple(_ways(first.get(path), second.get(path))):
            yield Difference(path=path, ways=ways)


def _ways(one: Facts | None, other: Facts | None) -> Iterator[str]:
    if one is None or other is None:
        yield "presence"
    elif one.kind != other.kind:
        yield "kind"
    else:
        yield from (field.name for field in fields(Facts) if getattr(one, field.name) != getattr(other, field.name))


def _read(image: str, wanted: Collection[str], save: Save) -> Mapping[str, Layer]:
    found: dict[str, Layer] = {}
    with save(image) as saved:
        for digest, layer in layers_of(reader_of(saved)):
            if digest in wanted:
                found[digest] = layer
            if len(found) == len(wanted):
                return found
    raise CommitContainerFailed("the engine's archive of the image does not have all of its layers")


# ------------------------------------------------------------------------------------------------- archives of images


def layers_of(read: Reader) -> Iterator[tuple[str, Layer]]:
    """Each layer of an archive with the digest by which its image names it."""
    with _tar(read) as archive:
        for member in _members(archive):
            if file := archive.extractfile(member) if member.isreg() else None:
                yield from _layer(file)


def _layer(file: IO[bytes]) -> Iterator[tuple[str, Layer]]:
    """The layer that a member of the archive is, if it is one, and no configuration or list."""
    read = reader_of(_plain(file))
    begin = _exactly(read, tarfile.BLOCKSIZE)
    if begin[_MAGIC] != b"ustar" and begin.strip(b"\0"):
        return
    hashed = _Hashed(reader_of(chain((begin,), iter(lambda: read(_CHUNK), b""))))
    with _tar(hashed.read) as tar:
        layer = {f"/{member.name.removeprefix('./').strip('/')}": _facts(tar, member) for member in _members(tar)}
    while hashed.read(_CHUNK):
        """What stands behind the end of a tar belongs to its digest too."""
    yield hashed.digest(), layer


def _facts(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Facts:
    file = tar.extractfile(member) if member.isreg() else None
    own = ((name, value) for name, value in member.pax_headers.items() if name.startswith(_ATTRIBUTE))
    return Facts(
        kind=_KINDS.get(member.type, "special file"),
        content=_digest(file) if file else b"",
        target=member.linkname,
        mode=member.mode & 0o7777,
        owner=(member.uid, member.gid),
        attributes=tuple(sorted(own)),
        time=float(member.mtime),
    )


def _digest(file: IO[bytes]) -> bytes:
    content = hashlib.sha256()
    for chunk in iter(lambda: file.read(_CHUNK), b""):
        content.update(chunk)
    return content.digest()


def _members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    for _ in range(_MOST):
        member = tar.next()
        if member is None:
            return
        yield member
        tar.members.clear()  # type: ignore[attr-defined]  # it would hold all of them
    raise LimitReached(f"the image has a layer with more than {_MOST} files")


@contextmanager
def _tar(read: Reader) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(mode="r|", fileobj=streams.File(read), bufsize=_CHUNK) as tar:
            yield tar
    except (tarfile.TarError, zlib.error, ValueError) as error:
        raise CommitContainerFailed("the engine's archive of the image is damaged", detail=str(error)) from error


# -------------------------------------------------------------------------------------------------------------- bytes


class _Hashed:
    """A reader that takes the digest of what goes by."""

    def __init__(self, read: Reader) -> None:
        self._read = read
        self._hash = hashlib.sha256()

    def read(self, size: int) -> bytes:
        data = self._read(size)
        self._hash.update(data)
        return data

    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"


def _plain(file: IO[bytes]) -> Iterator[bytes]:
    """The bytes of a blob, unpacked where they are packed."""
    begin = file.read(_CHUNK)
    chunks = chain((begin,), iter(lambda: file.read(_CHUNK), b""))
    return _unpacked(chunks) if begin.startswith(_GZIP) else chunks


def _unpacked(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """What is packed in one piece or in several, never much of it at once."""
    unpacking = zlib.decompressobj(wbits=_OF_GZIP)
    for chunk in chunks:
        data = b""
        while chunk or data:
            data = unpacking.decompress(chunk, _CHUNK)
            yield data
            chunk = unpacking.unconsumed_tail
            if unpacking.eof:
                chunk, unpacking = unpacking.unused_data, zlib.decompressobj(wbits=_OF_GZIP)


def _exactly(read: Reader, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := read(size - len(data))):
        data += more
    return data
