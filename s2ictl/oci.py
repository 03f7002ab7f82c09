"""The documents of an OCI image as values, read with suspicion and written in one canonical form.

Whatever the base was made with (Docker's schema 2 or OCI), what we write is OCI, so that the same layers and settings
give the same bytes, and so the same digest, from every source to every target.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Protocol, TypeVar

import msgspec

from s2ictl.errors import PullBuilderImageFailed, S2IError, WrongPlatform
from s2ictl.models import ImageFacts

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
TAG = "org.opencontainers.image.ref.name"

_DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
ACCEPTED = f"{MANIFEST}, {INDEX}, {_DOCKER_MANIFEST}, {_DOCKER_INDEX}"

_LAYERS = {
    LAYER: LAYER,
    f"{LAYER}+gzip": f"{LAYER}+gzip",
    f"{LAYER}+zstd": f"{LAYER}+zstd",
    "application/vnd.docker.image.rootfs.diff.tar": LAYER,
    "application/vnd.docker.image.rootfs.diff.tar.gzip": f"{LAYER}+gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd": f"{LAYER}+zstd",
}
LARGEST_DOCUMENT = 4 << 20
MOST_LAYERS = 127  # overlayfs takes no more, so neither does any engine

T = TypeVar("T")
Digest = Annotated[str, msgspec.Meta(pattern=r"^sha256:[0-9a-f]{64}\Z")]
Size = Annotated[int, msgspec.Meta(ge=0, le=1 << 50)]
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Platform(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    architecture: str
    os: str
    variant: str = ""

    def __str__(self) -> str:
        return f"{self.os}/{self.architecture}" + (f"/{self.variant}" if self.variant else "")


class Descriptor(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """What something is, how long it is, and the digest of its bytes."""

    media_type: str
    digest: Digest
    size: Size
    platform: Platform | None = None
    annotations: dict[str, str] | None = None


class Manifest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    schema_version: Annotated[int, msgspec.Meta(ge=2, le=2)]
    media_type: str = ""
    config: Descriptor
    layers: tuple[Descriptor, ...]


class Index(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    schema_version: Annotated[int, msgspec.Meta(ge=2, le=2)]
    media_type: str = ""
    manifests: tuple[Descriptor, ...]
    annotations: dict[str, str] | None = None


class Settings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="pascal"):
    """How a container of the image runs, unless it is told otherwise."""

    user: str | None = None
    exposed_ports: dict[str, dict[str, str]] | None = None
    env: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    volumes: dict[str, dict[str, str]] | None = None
    working_dir: str | None = None
    labels: dict[str, str] | None = None
    stop_signal: str | None = None
    on_build: tuple[str, ...] | None = None


class Step(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    created: str | None = None
    created_by: str | None = None
    author: str | None = None
    comment: str | None = None
    empty_layer: bool = False


class Layers(msgspec.Struct, frozen=True, kw_only=True):
    type: str = "layers"
    diff_ids: tuple[Digest, ...] = ()


class Config(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The configuration of an image; what engines note about their own past in it is left behind."""

    architecture: str
    os: str
    variant: str = ""
    created: str | None = None
    author: str | None = None
    config: Settings | None = None
    rootfs: Layers
    history: tuple[Step, ...] | None = None

    @property
    def platform(self) -> Platform:
        return Platform(architecture=self.architecture, os=self.os, variant=self.variant)


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
    """What an image stands on: its layers, wherever they lie, and its configuration. `digest` is "" for nothing."""

    name: str
    digest: str
    config: Config
    layers: tuple[Blob, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An image where it lies: its own digest, not that of an index that led to it."""

    digest: str
    manifest: Manifest
    config: Config


class Source(Protocol):
    """Where an image can be read, every part of it checked against the digest by which it is asked for."""

    def manifest(self, descriptor: Descriptor) -> bytes: ...

    def document(self, descriptor: Descriptor) -> bytes: ...

    def read(self, descriptor: Descriptor) -> Iterator[bytes]: ...


class Target(Protocol):
    """Where an image can be put, blobs first and the manifest last."""

    def write(self, blob: Blob) -> Descriptor:
        """Have these bytes there, by the shortest way."""

    def tag(self, manifest: bytes, tags: tuple[str, ...]) -> str:
        """Make the blobs an image under these tags, and answer its digest."""


# ------------------------------------------------------------------------------------------------- bytes and documents


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def is_digest(text: str) -> bool:
    return _DIGEST.fullmatch(text) is not None


def encode(document: msgspec.Struct) -> bytes:
    """Render a document in its one form: fields in their order, names of maps sorted."""
    return msgspec.json.encode(document, order="deterministic")


def inline(document: msgspec.Struct, media_type: str) -> Blob:
    """A document as the bytes that it is stored as."""
    content = encode(document)
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


def find(source: Source, first: Descriptor, platform: str) -> Found:
    """Follow an index to the image for a platform, and read what it says of itself."""
    subject = str(source)
    document = _read_manifest(source.manifest(first), subject)
    if isinstance(document, Index):
        first = choose(document, platform, subject=subject)
        document = _read_manifest(source.manifest(first), subject)
    if isinstance(document, Index):
        raise PullBuilderImageFailed(f"{subject} is an index of indexes", hint="name the image itself, by its digest")
    config = _decode(source.document(document.config), Config, subject)
    if len(config.rootfs.diff_ids) != len(document.layers):
        detail = f"it has {len(document.layers)} layers, and its configuration {len(config.rootfs.diff_ids)}"
        raise PullBuilderImageFailed(f"{subject} is broken", detail=detail)
    if not fits(config.platform, platform):
        raise _wrong_platform(subject, platform, [str(config.platform)])
    return Found(digest=first.digest, manifest=document, config=config)


def base_of(source: Source, found: Found, *, name: str, home: str) -> Base:
    """Make what was found something to stand on."""

    def layer(descriptor: Descriptor) -> Blob:
        return Blob(
            media_type=_layer_type(descriptor, str(source)),
            digest=descriptor.digest,
            size=descriptor.size,
            chunks=lambda: source.read(descriptor),
            home=home,
        )

    layers = tuple(layer(descriptor) for descriptor in found.manifest.layers)
    return Base(name=name, digest=found.digest, config=found.config, layers=layers)


def document(chunks: Iterator[bytes], descriptor: Descriptor, *, error: Callable[[str], S2IError]) -> bytes:
    """The whole of something that must be small, because it is kept in memory."""
    if descriptor.size > LARGEST_DOCUMENT:
        raise error(f"{descriptor.digest} is {descriptor.size} bytes long, which is too much for a document")
    return b"".join(chunks)


def _read_manifest(content: bytes, subject: str) -> Manifest | Index:
    """Read a manifest or an index; one that could be taken for both is refused (CVE-2021-41190)."""
    keys = _decode(content, dict[str, msgspec.Raw], subject)
    if "manifests" in keys and not keys.keys() & {"layers", "config", "fsLayers"}:
        return _decode(content, Index, subject)
    if "layers" in keys and "manifests" not in keys:
        manifest = _decode(content, Manifest, subject)
        if len(manifest.layers) > MOST_LAYERS:
            raise PullBuilderImageFailed(f"{subject} has {len(manifest.layers)} layers; the limit is {MOST_LAYERS}")
        return manifest
    raise PullBuilderImageFailed(
        f"{subject} has a manifest of a form that is not supported",
        detail="supported are OCI images and indexes, and Docker's schema 2",
    )


def choose(index: Index, platform: str, *, subject: str) -> Descriptor:
    """Choose the image for a platform such as linux/amd64 or linux/arm/v7 out of an index."""
    offered = [entry for entry in index.manifests if entry.platform and entry.platform.os != "unknown"]
    for entry in offered:
        if str(entry.platform) == platform:
            return entry
    for entry in offered:
        if entry.platform and fits(entry.platform, platform):
            return entry
    raise _wrong_platform(subject, platform, [str(entry.platform) for entry in offered])


def fits(has: Platform, wanted: str) -> bool:
    """Whether an image runs there; a variant counts only where both name one."""
    os, architecture, variant = (*wanted.split("/", 2), "", "")[:3]
    return (has.os, has.architecture) == (os, architecture) and (
        has.variant == variant or not (has.variant and variant)
    )


def _wrong_platform(subject: str, wanted: str, offered: list[str]) -> WrongPlatform:
    return WrongPlatform(
        f"{subject} is not for {wanted}",
        detail=f"it is for {', '.join(sorted(set(offered))) or 'no platform at all'}",
        hint="name a base image of the right platform, or build the artifact for this one",
    )


def _layer_type(descriptor: Descriptor, subject: str) -> str:
    """The OCI name of a layer's type."""
    known = _LAYERS.get(descriptor.media_type)
    if known is None:
        raise PullBuilderImageFailed(
            f"{subject} has a layer that cannot be carried on", detail=f"its type is {descriptor.media_type[:100]!r}"
        )
    return known


def facts_of(found: Found) -> ImageFacts:
    """What choosing and building need to know of an image."""
    settings = found.config.config or Settings()
    return ImageFacts(
        id=found.manifest.config.digest,
        digest=found.digest,
        labels=dict(settings.labels or {}),
        env=settings.env or (),
        user=settings.user or "",
        workdir=settings.working_dir or "",
        entrypoint=settings.entrypoint or (),
        command=settings.cmd or (),
        exposed=tuple(settings.exposed_ports or {}),
        onbuild=settings.on_build or (),
        platform=str(found.config.platform),
    )


def _decode(content: bytes, kind: type[T], subject: str) -> T:
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise PullBuilderImageFailed(
            f"{subject} is not described by a valid document", detail=str(error)[:300]
        ) from error
