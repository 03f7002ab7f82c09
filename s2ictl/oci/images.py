"""An image between two places: bytes that can be had again, what it stands on, and what it is made of."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Protocol

import msgspec

from s2ictl.errors import S2IError
from s2ictl.events import Emit, Moving
from s2ictl.models import ImageFacts
from s2ictl.oci.documents import LARGEST_DOCUMENT, MANIFEST, Config, Descriptor, Manifest, Settings, digest_of, encode
from s2ictl.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """Bytes that can be had again from the beginning, as often as it takes.

    `digest` is "" while nobody has read them; `home` names the repository that has them already, if one has.
    """

    media_type: str
    digest: str
    size: int
    chunks: Callable[[], Iterator[bytes]]
    home: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """What an image stands on: its layers, wherever they lie, and its configuration. `digest` is "" for nothing.

    `manifest` and `document` are its manifest and its configuration byte for byte, where it has a place of its own.
    """

    name: str
    digest: str
    config: Config
    layers: tuple[Blob, ...]
    manifest: bytes = b""
    document: bytes = b""

    @property
    def facts(self) -> ImageFacts:
        """What it says of itself; nobody needs to know by which id an engine would call it."""
        return config_facts(self.config, id="", digest=self.digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An image where it lies: its own digest, not that of an index that led to it; `content` and `document` are the
    bytes of its manifest and of its configuration."""

    digest: str
    manifest: Manifest
    config: Config
    content: bytes
    document: bytes


class Source(Protocol):
    """Where an image can be read, every part of it checked against the digest by which it is asked for."""

    def manifest(self, descriptor: Descriptor) -> bytes: ...

    def document(self, descriptor: Descriptor) -> bytes: ...

    def read(self, descriptor: Descriptor) -> Iterator[bytes]: ...


class Target(Protocol):
    """Where an image can be put, blobs first and the manifest last."""

    def write(self, blob: Blob) -> Descriptor:
        """Have these bytes there, by the shortest way."""

    def tag(
        self, manifest: bytes, tags: tuple[str, ...], *, kind: str = MANIFEST, children: tuple[bytes, ...] = ()
    ) -> str:
        """Make the blobs an image under these tags, and answer its digest; of an index its children come first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """An image, described: what is to be had where it goes, in this order, and the manifest that makes it one.

    `id` is the digest of its configuration. For several platforms the manifest is an index, as `kind` says, `children`
    are the manifests that it names, and `id` is that of the first.
    """

    blobs: tuple[Blob, ...]
    manifest: bytes
    id: str
    kind: str = MANIFEST
    children: tuple[bytes, ...] = ()

    @property
    def digest(self) -> str:
        return digest_of(self.manifest)


def deliver(picture: Picture, target: Target, tags: tuple[str, ...], *, emit: Emit) -> str:
    """Have the image there under these tags: blobs first and the manifest last; answers its digest."""
    moving = Moving(str(target), emit, total=sum(blob.size for blob in picture.blobs))
    done = 0
    for blob in picture.blobs:
        target.write(replace(blob, chunks=partial(_counted, blob, done, moving)))
        done += blob.size
        moving.tell(done)
    moving.end(done)
    return target.tag(picture.manifest, tags, kind=picture.kind, children=picture.children)


def _counted(blob: Blob, before: int, moving: Moving) -> Iterator[bytes]:
    for chunk in blob.chunks():
        yield chunk
        before += len(chunk)
        moving.tell(before)


# ------------------------------------------------------------------------------------------------------------- bytes


def inline(document: msgspec.Struct, media_type: str) -> Blob:
    """A document as the bytes that it is stored as."""
    return blob_of(encode(document), media_type)


def blob_of(content: bytes, media_type: str) -> Blob:
    """Bytes that are held in memory."""
    return Blob(media_type=media_type, digest=digest_of(content), size=len(content), chunks=lambda: iter((content,)))


def descriptor_of(blob: Blob) -> Descriptor:
    """How a manifest speaks of a blob whose digest is known."""
    return Descriptor(media_type=blob.media_type, digest=blob.digest, size=blob.size)


def verified(chunks: Iterator[bytes], expected: Descriptor, *, error: Callable[[str], S2IError]) -> Iterator[bytes]:
    """Pass the bytes on, and fail as soon as they cannot be the ones that were promised."""
    seen, count = hashlib.sha256(), 0
    for chunk in chunks:
        count += len(chunk)
        if count > expected.size:
            raise error(f"{expected.digest} is longer than the {expected.size} bytes that were announced")
        seen.update(chunk)
        yield chunk
    if f"sha256:{seen.hexdigest()}" != expected.digest:
        raise error(f"{expected.digest} came as other bytes")


def document(chunks: Iterator[bytes], descriptor: Descriptor, *, error: Callable[[str], S2IError]) -> bytes:
    """The whole of something that must be small, because it is kept in memory."""
    if descriptor.size > LARGEST_DOCUMENT:
        raise error(f"{descriptor.digest} is {descriptor.size} bytes long, which is too much for a document")
    return b"".join(chunks)


# ------------------------------------------------------------------------------------------------------------- facts


def facts_of(found: Found) -> ImageFacts:
    """What choosing and building need to know of an image."""
    return config_facts(found.config, id=found.manifest.config.digest, digest=found.digest)


def config_facts(config: Config, *, id: str, digest: str) -> ImageFacts:  # noqa: A002  (as everybody calls it)
    settings = config.config or Settings()
    return ImageFacts(
        id=id,
        digest=digest,
        labels=dict(settings.labels or {}),
        env=settings.env or (),
        user=settings.user or "",
        workdir=settings.working_dir or "",
        entrypoint=settings.entrypoint or (),
        command=settings.cmd or (),
        exposed=tuple(settings.exposed_ports or {}),
        volumes=tuple(settings.volumes or {}),
        onbuild=settings.on_build or (),
        platform=str(config.platform),
        created=config.created or "",
        layers=config.rootfs.diff_ids,
    )
