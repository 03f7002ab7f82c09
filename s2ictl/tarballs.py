"""`tar:FILE`: an image in one file that every tool takes: an OCI layout as a tar, with Docker's own list beside it.

The bytes follow from the image, its names and the platform alone: members in the order of their names, no times and no
owners. Docker has a place for one platform only, so of several it is told this machine's; all of them are in the file.
"""

from __future__ import annotations

import errno
import io
import os
import secrets
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec

from s2ictl import files, layouts, oci
from s2ictl.archives.headers import BLOCK, headers_for
from s2ictl.errors import CommitContainerFailed, InvalidUsage, PullBuilderImageFailed, S2IError
from s2ictl.events import Emit, Moving
from s2ictl.models import Member, Reference

_DOCKER = "manifest.json"
_CHUNK = 1 << 20
_MOST_MEMBERS = 10_000
_LONGEST_HEADER = 64 << 10


class _Loadable(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """An image as `docker load` reads of it."""

    config: str
    repo_tags: tuple[str, ...]
    layers: tuple[str, ...]


# ------------------------------------------------------------------------------------------------------------ writing


def write(path: Path, picture: oci.Picture, names: tuple[Reference, ...], *, platform: str, emit: Emit) -> str:
    """Have the image in this file, whole or not at all; answers its digest."""
    partial = path.with_name(f".{path.name[:200]}.{secrets.token_hex(8)}.partial")
    moving = Moving(f"tar:{path}", emit)
    done = 0
    try:
        with partial.open("xb") as file:
            for chunk in tarball(picture, names, platform=platform):
                done += file.write(chunk)
                moving.tell(done)
        partial.replace(path)
    except OSError as error:
        raise CommitContainerFailed(f"could not write tar:{path}", detail=error.strerror or "") from error
    finally:
        partial.unlink(missing_ok=True)
    moving.end(done)
    return picture.digest


def check(path: Path) -> None:
    """Refuse a file that could not be written, before there is anything to write."""
    if not files.is_directory(path.parent):
        raise InvalidUsage(f"tar:{path} lies in a directory that is not there", hint="make it first")
    if files.exists(path) and not files.is_file(path):
        raise InvalidUsage(f"{path} exists and is no file", hint="name a file that is there or not: --to tar:FILE")


def tarball(picture: oci.Picture, names: tuple[Reference, ...], *, platform: str) -> Iterator[bytes]:
    """The whole file, as it is written and as it is sent."""
    documents = {
        layouts.MARK: layouts.VERSION,
        layouts.INDEX: oci.encode(_index(picture, names)),
        _DOCKER: _docker(_for(picture, platform), names),
    }
    manifests = (oci.blob_of(content, "") for content in (*picture.children, picture.manifest))
    yield from _members(documents, (*picture.blobs, *manifests))


def loadable(
    picture: oci.Picture, names: tuple[Reference, ...], *, platform: str, held: Sequence[str] = ()
) -> Iterator[bytes]:
    """What an engine needs to take it in that holds these layers already: not the lowest that it has in this order.

    An engine looks for a layer by its content and that of all below it, before it asks for the file.
    """
    manifest = _for(picture, platform)
    blobs = {blob.digest: blob for blob in picture.blobs}
    config = blobs[manifest.config.digest]
    below = _shared(oci.read_config(b"".join(config.chunks()), "the image").rootfs.diff_ids, held)
    sent = [blobs[layer.digest] for layer in manifest.layers[below:]]
    yield from _members({_DOCKER: _docker(manifest, names)}, (config, *sent))


def loaded_id(picture: oci.Picture, *, platform: str) -> str:
    """By which id an engine of this platform knows the image, once it has taken it in."""
    return _for(picture, platform).config.digest


def _shared(ours: Sequence[str], theirs: Sequence[str]) -> int:
    """How many of the lowest layers are the same."""
    pairs = zip(ours, theirs, strict=False)
    return next((number for number, (one, other) in enumerate(pairs) if one != other), min(len(ours), len(theirs)))


def _members(documents: dict[str, bytes], blobs: Collection[oci.Blob]) -> Iterator[bytes]:
    header = headers_for(uid=0, gid=0)
    for name, content in sorted(documents.items()):
        yield header(Member(path=name, kind="file", mode=0o644, size=len(content)))
        yield content + bytes(-len(content) % BLOCK)
    for directory in (layouts.BLOBS.parent, layouts.BLOBS):
        yield header(Member(path=str(directory), kind="directory", mode=0o755))
    for digest, blob in sorted({blob.digest: blob for blob in blobs}.items()):
        yield header(Member(path=layouts.blob_path(digest), kind="file", mode=0o644, size=blob.size))
        yield from oci.verified(blob.chunks(), oci.descriptor_of(blob), error=_changed)
        yield bytes(-blob.size % BLOCK)
    yield bytes(2 * BLOCK)


def _changed(detail: str) -> S2IError:
    return CommitContainerFailed("could not write the image: a part of it changed meanwhile", detail=detail)


def _index(picture: oci.Picture, names: tuple[Reference, ...]) -> oci.Index:
    described = oci.Descriptor(media_type=picture.kind, digest=picture.digest, size=len(picture.manifest))
    named = (
        msgspec.structs.replace(described, annotations={oci.TAG: _tag(name), layouts.FULL_NAME: _full(name)})
        for name in dict.fromkeys(names)
    )
    return oci.Index(schema_version=2, media_type=oci.INDEX, manifests=tuple(named) or (described,))


def _docker(manifest: oci.Manifest, names: tuple[Reference, ...]) -> bytes:
    listed = _Loadable(
        config=layouts.blob_path(manifest.config.digest),
        repo_tags=tuple(dict.fromkeys(f"{name.name}:{_tag(name)}" for name in names)),
        layers=tuple(layouts.blob_path(layer.digest) for layer in manifest.layers),
    )
    return msgspec.json.encode([listed])


def _for(picture: oci.Picture, platform: str) -> oci.Manifest:
    """The manifest for this platform; where there is none, the first."""
    first = oci.read_manifest(picture.manifest, "the image")
    if isinstance(first, oci.Manifest):
        return first
    fitting = {each.digest for each in first.manifests if each.platform and oci.fits(each.platform, platform)}
    chosen = next((child for child in picture.children if oci.digest_of(child) in fitting), picture.children[0])
    manifest = oci.read_manifest(chosen, "the image")
    if isinstance(manifest, oci.Index):
        raise PullBuilderImageFailed("the image is an index of indexes")
    return manifest


def _tag(name: Reference) -> str:
    return name.tag or "latest"


def _full(name: Reference) -> str:
    """The name as containerd spells it, which knows no short ones."""
    if name.registry:
        return f"{name.name}:{_tag(name)}"
    return f"docker.io/{'' if '/' in name.repository else 'library/'}{name.repository}:{_tag(name)}"


# ------------------------------------------------------------------------------------------------------------ reading


@contextmanager
def opened(path: Path) -> Iterator[Tarball]:
    """The images in a file; no member of it is ever unpacked, or looked for by a name that it chose."""
    import tarfile

    try:
        with files.open_regular(path) as file:
            yield Tarball(path, file, _places(path, file))
    except FileNotFoundError as error:
        raise PullBuilderImageFailed(f"there is no file {path}", hint="tar:FILE names one") from error
    except OSError as error:
        raise PullBuilderImageFailed(f"tar:{path} is not readable", detail=error.strerror or "") from error
    except tarfile.TarError as error:
        raise PullBuilderImageFailed(f"tar:{path} is not readable", detail=str(error)[:300]) from error


def _places(path: Path, file: BinaryIO) -> dict[str, tuple[int, int]]:
    """Where each file begins, and how long it is."""
    import tarfile

    places: dict[str, tuple[int, int]] = {}
    with tarfile.open(fileobj=_Headers(file), mode="r:") as archive:
        for number, member in enumerate(archive):
            if number == _MOST_MEMBERS:
                raise PullBuilderImageFailed(f"tar:{path} has more than {_MOST_MEMBERS} members, and is no image")
            if member.isreg() and not member.issparse():
                places[member.name.removeprefix("./")] = (member.offset_data, member.size)
    return places


class _Headers(io.RawIOBase):
    """A file as the library reads it that looks for members: what one of them says of its own header is believed there,
    and all of that would be held in memory."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int = -1, /) -> bytes:
        if not 0 <= size <= _LONGEST_HEADER:
            raise OSError(errno.EFBIG, f"one of its headers has {size} bytes")
        return self._file.read(size)


class Tarball:
    """The images in one file."""

    def __init__(self, path: Path, file: BinaryIO, places: dict[str, tuple[int, int]]) -> None:
        self._path = path
        self._file = file
        self._places = places

    def __str__(self) -> str:
        return f"tar:{self._path}"

    def index(self) -> bytes:
        """What images there are."""
        if layouts.INDEX not in self._places:
            raise PullBuilderImageFailed(
                f"{self} holds no OCI layout",
                detail=f"it has no {layouts.INDEX}",
                hint="s2ictl build --to tar:FILE and skopeo copy … oci-archive:FILE write one",
            )
        return b"".join(self._pieces(layouts.INDEX, most=oci.LARGEST_DOCUMENT))

    def manifest(self, descriptor: oci.Descriptor) -> bytes:
        return self.document(descriptor)

    def document(self, descriptor: oci.Descriptor) -> bytes:
        return oci.document(self.read(descriptor), descriptor, error=self._broken)

    def read(self, descriptor: oci.Descriptor) -> Iterator[bytes]:
        """Stream a blob, checked against its digest."""
        return oci.verified(self._pieces(layouts.blob_path(descriptor.digest)), descriptor, error=self._broken)

    def _pieces(self, name: str, *, most: int = 1 << 50) -> Iterator[bytes]:
        if name not in self._places:
            raise self._broken(f"it has no {name}")
        place, left = self._places[name]
        if left > most:
            raise self._broken(f"its {name} has {left} bytes")
        while left:
            # Several blobs may be read by turns.
            self._file.seek(place)
            chunk = self._file.read(min(_CHUNK, left))
            if not chunk:
                raise self._broken(f"it ends in the middle of {name}")
            place, left = place + len(chunk), left - len(chunk)
            yield chunk

    def _broken(self, detail: str) -> S2IError:
        return PullBuilderImageFailed(f"{self} is broken", detail=detail)
