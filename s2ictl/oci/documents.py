"""The documents of an OCI image as values, read with suspicion and written in one canonical form."""

from __future__ import annotations

import hashlib
from typing import Annotated, TypeVar

import msgspec

from s2ictl.errors import PullBuilderImageFailed
from s2ictl.expressions import expression

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
TAG = "org.opencontainers.image.ref.name"

_DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
ACCEPTED = f"{MANIFEST}, {INDEX}, {_DOCKER_MANIFEST}, {_DOCKER_INDEX}"

LAYERS = {  # by what they are called, what the OCI calls them
    LAYER: LAYER,
    f"{LAYER}+gzip": f"{LAYER}+gzip",
    f"{LAYER}+zstd": f"{LAYER}+zstd",
    "application/vnd.docker.image.rootfs.diff.tar": LAYER,
    "application/vnd.docker.image.rootfs.diff.tar.gzip": f"{LAYER}+gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd": f"{LAYER}+zstd",
}
LARGEST_DOCUMENT = 4 << 20
MOST_LAYERS = 127  # overlayfs takes no more, so neither does any engine
MOST_PLATFORMS = 32

T = TypeVar("T")
Digest = Annotated[str, msgspec.Meta(pattern=r"^sha256:[0-9a-f]{64}\Z")]
Size = Annotated[int, msgspec.Meta(ge=0, le=1 << 50)]
Machine = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._+-]{0,64}\Z")]  # a system, an architecture, or a variant
_DIGEST = expression(r"sha256:[0-9a-f]{64}")


class Platform(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    architecture: Machine
    os: Machine
    variant: Machine = ""

    @staticmethod
    def parse(text: str) -> Platform:
        """OS/ARCHITECTURE[/VARIANT]."""
        os, architecture, variant = (*text.split("/", 2), "", "")[:3]
        return Platform(os=os, architecture=architecture, variant=variant)

    def __str__(self) -> str:
        return f"{self.os}/{self.architecture}" + (f"/{self.variant}" if self.variant else "")


class Descriptor(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """What something is, how long it is, and the digest of its bytes."""

    media_type: str
    digest: Digest
    size: Size
    platform: Platform | None = None
    annotations: dict[str, str] | None = None
    artifact_type: str = ""


class Manifest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    schema_version: Annotated[int, msgspec.Meta(ge=2, le=2)]
    media_type: str = ""
    artifact_type: str = ""
    config: Descriptor
    layers: tuple[Descriptor, ...]
    subject: Descriptor | None = None
    annotations: dict[str, str] | None = None


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
    healthcheck: dict[str, msgspec.Raw] | None = None
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

    architecture: Machine
    os: Machine
    variant: Machine = ""
    created: str | None = None
    author: str | None = None
    config: Settings | None = None
    rootfs: Layers
    history: tuple[Step, ...] | None = None

    @property
    def platform(self) -> Platform:
        return Platform(architecture=self.architecture, os=self.os, variant=self.variant)


# ------------------------------------------------------------------------------------------------------------- bytes


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def is_digest(text: str) -> bool:
    return _DIGEST.fullmatch(text) is not None


def encode(document: msgspec.Struct) -> bytes:
    """Render a document in its one form: fields in their order, names of maps sorted."""
    return msgspec.json.encode(document, order="deterministic")


def read_manifest(content: bytes, subject: str) -> Manifest | Index:
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


def read_config(content: bytes, subject: str) -> Config:
    return _decode(content, Config, subject)


def id_of(manifest: bytes, *, subject: str) -> str:
    """What engines call the image of this manifest; "" for an index, which is several."""
    document = read_manifest(manifest, subject)
    return document.config.digest if isinstance(document, Manifest) else ""


def _decode(content: bytes, kind: type[T], subject: str) -> T:
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise PullBuilderImageFailed(
            f"{subject} is not described by a valid document", detail=str(error)[:300]
        ) from error
