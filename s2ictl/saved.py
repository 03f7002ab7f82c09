"""An image as engines save it, read from beginning to end and packed: a tar of layers, of documents and of much else.

Docker's older form has a directory for each layer and links between those that are the same, its newer one and Podman's
have blobs by digest, perhaps compressed. What is a layer of the image is told in the same way in all of them, by the
digest of its bytes, which its configuration names. So no name in the archive decides anything, and no link is followed.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterator
from dataclasses import field
from itertools import chain

import msgspec

from s2ictl import layouts, oci
from s2ictl.archives import Limits, Reader, read_tar, reader_of
from s2ictl.compression import NO_ZSTD, compressed
from s2ictl.errors import CommitContainerFailed, FetchSourceFailed, LimitReached, Refused, S2IError
from s2ictl.values import dataclass

_LIMITS = Limits(members=20_000, size=64 << 30)
_MOST_DOCUMENTS = 64 << 20  # bytes of all of them, which are held in memory
_CHUNK = 1 << 20
_SMALLEST_TAR = 512
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_PACKED = f"{oci.LAYER}+gzip"

Write = Callable[[oci.Blob], oci.Descriptor]


class _Listed(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """An image in Docker's own list."""

    config: str
    repo_tags: tuple[str, ...] | None = None


@dataclass(slots=True)
class _Found:
    """What has come so far: layers by the digest of their plain bytes, and whatever may be a document, by its name."""

    layers: dict[str, oci.Descriptor] = field(default_factory=dict)
    documents: dict[str, bytes] = field(default_factory=dict)
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What came of it: the manifest of all, the id of the image, and what its archive calls it, a name or not."""

    manifest: bytes
    id: str
    names: tuple[str, ...]


def manifest_of(image: Iterator[bytes], write: Write, *, annotations: dict[str, str] | None = None) -> bytes:
    """Put the layers and the configuration of an image where `write` has them, and answer the manifest of all."""
    return taken(image, write, annotations=annotations).manifest


def taken(image: Iterator[bytes], write: Write, *, annotations: dict[str, str] | None = None) -> Taken:
    """The same, and what else is said of the image."""
    found = _Found()
    try:
        for member, read in read_tar(reader_of(image), name="the saved image", limits=_LIMITS):
            if member.kind == "file":
                _take(member.path, member.size, read, write, found)
    except (FetchSourceFailed, Refused) as error:
        raise _broken(error.in_passing) from error
    content, names = _listed(found)
    config = oci.read_config(content, "the saved image")
    if len(config.rootfs.diff_ids) > oci.MOST_LAYERS:
        raise _broken(f"it has {len(config.rootfs.diff_ids)} layers; the limit is {oci.MOST_LAYERS}")
    manifest = oci.Manifest(
        schema_version=2,
        media_type=oci.MANIFEST,
        config=write(oci.blob_of(content, oci.CONFIG)),
        layers=tuple(_layer(diff_id, found, write) for diff_id in config.rootfs.diff_ids),
        annotations=annotations,
    )
    return Taken(manifest=oci.encode(manifest), id=manifest.config.digest, names=names)


def _broken(detail: str) -> S2IError:
    return CommitContainerFailed("what the engine saved is not a whole image", detail=detail[:500])


# ------------------------------------------------------------------------------------------------------------- layers


def _take(path: str, size: int, read: Reader, write: Write, found: _Found) -> None:
    """Keep what may be a document, pack what may be a layer; what it was is known at the end."""
    if size > oci.LARGEST_DOCUMENT:
        _pack(_pieces(read), write, found)
        return
    content = b"".join(_pieces(read))
    if content.lstrip()[:1] in (b"{", b"["):
        found.size += len(content)
        if found.size > _MOST_DOCUMENTS:
            raise LimitReached(f"the saved image has more than {_MOST_DOCUMENTS} bytes of documents")
        found.documents[path] = content
    elif size >= _SMALLEST_TAR or content.startswith((_GZIP, _ZSTD)):
        _pack(iter((content,)), write, found)


def _pack(plain: Iterator[bytes], write: Write, found: _Found) -> None:
    """A layer that is compressed already stays as it is: so it is the very blob that its registry has."""
    first = next(plain, b"")
    if first.startswith(_ZSTD):
        raise _broken(NO_ZSTD)
    digest, pieces = hashlib.sha256(), chain((first,), plain)
    packed = _watched(pieces, digest) if first.startswith(_GZIP) else compressed(_hashed(pieces, digest))
    try:
        descriptor = write(oci.Blob(media_type=_PACKED, digest="", size=-1, chunks=lambda: packed))
    except zlib.error as error:
        raise _broken(f"a layer of it cannot be unpacked: {error}") from error
    found.layers[f"sha256:{digest.hexdigest()}"] = descriptor


def _pieces(read: Reader) -> Iterator[bytes]:
    return iter(lambda: read(_CHUNK), b"")


def _hashed(chunks: Iterator[bytes], digest: hashlib._Hash) -> Iterator[bytes]:
    for chunk in chunks:
        digest.update(chunk)
        yield chunk


def _watched(chunks: Iterator[bytes], digest: hashlib._Hash) -> Iterator[bytes]:
    """The same bytes, while the digest is taken of what they unpack to."""
    unpacker, size = zlib.decompressobj(wbits=31), 0
    for chunk in chunks:
        yield chunk
        left = chunk
        while left:
            if unpacker.eof:
                unpacker = zlib.decompressobj(wbits=31)
            plain = unpacker.decompress(left, _CHUNK)
            digest.update(plain)
            size += len(plain)
            if size > _LIMITS.size:
                raise LimitReached(f"a layer of the saved image unpacks to more than {_LIMITS.size} bytes")
            left = unpacker.unconsumed_tail or unpacker.unused_data
    if not unpacker.eof:
        raise zlib.error("it ends in the middle")


def _layer(diff_id: str, found: _Found, write: Write) -> oci.Descriptor:
    if diff_id not in found.layers:  # a layer may begin as a document does: its first member's name stands there
        likely = next((each for each in found.documents.values() if oci.digest_of(each) == diff_id), b"")
        if not likely:
            raise _broken(f"it lacks the layer {diff_id}")
        _pack(iter((likely,)), write, found)
    return found.layers[diff_id]


# ---------------------------------------------------------------------------------------------------------- documents


def _listed(found: _Found) -> tuple[bytes, tuple[str, ...]]:
    """The configuration of the one image that was asked for, and its names."""
    try:
        if "manifest.json" in found.documents:
            (listed,) = msgspec.json.decode(found.documents["manifest.json"], type=tuple[_Listed, ...])
            return found.documents[listed.config], listed.repo_tags or ()
        (entry,) = msgspec.json.decode(found.documents["index.json"], type=oci.Index).manifests
        manifest = msgspec.json.decode(found.documents[layouts.blob_path(entry.digest)], type=oci.Manifest)
        named = (entry.annotations or {}).get(layouts.FULL_NAME, "")
        return found.documents[layouts.blob_path(manifest.config.digest)], (named,) if named else ()
    except (KeyError, ValueError, RecursionError) as error:
        raise _broken(f"its list of images cannot be followed: {error}") from error
