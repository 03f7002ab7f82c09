"""A base with layers on it, as the documents that make it an image; where its bytes lie, and whither they go, is no
matter here."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from s2ictl import oci
from s2ictl.compression import compressed
from s2ictl.engines import Layered
from s2ictl.errors import LimitReached
from s2ictl.models import ImageConfig
from s2ictl.oci import Picture
from s2ictl.values import dataclass

_PACKED = f"{oci.LAYER}+gzip"
_BY = "s2ictl assemble"


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """A layer: its bytes as they are stored, the digest of the plain tar in them, and what history says of it; `size`
    is that of the plain tar, where it is known."""

    blob: oci.Blob
    diff_id: str
    by: str
    comment: str = ""
    size: int = 0


def packed(left: Layered, write: Callable[[oci.Blob], oci.Descriptor]) -> Added:
    """Have what assemble left behind where `write` puts it: read, hashed, compressed and gone in one pass."""
    whole = _Whole(left.chunks)
    blob = oci.Blob(media_type=_PACKED, digest="", size=-1, chunks=lambda: compressed(whole.chunks()))
    written = write(blob)
    known = oci.Blob(
        media_type=written.media_type,
        digest=written.digest,
        size=written.size,
        chunks=lambda: compressed(left.chunks()),
    )
    return Added(blob=known, diff_id=whole.digest, by=_BY, size=whole.size)


class _Whole:
    """Bytes that are asked for, perhaps again; the digest and the size are those of the last time to the end."""

    def __init__(self, chunks: Callable[[], Iterator[bytes]]) -> None:
        self._chunks = chunks
        self.digest, self.size = "", 0

    def chunks(self) -> Iterator[bytes]:
        seen, size = hashlib.sha256(), 0
        for chunk in self._chunks():
            seen.update(chunk)
            size += len(chunk)
            yield chunk
        self.digest, self.size = f"sha256:{seen.hexdigest()}", size


def stacked(base: oci.Base, added: tuple[Added, ...], said: ImageConfig, *, epoch: int) -> Picture:
    """The image of these layers on that base, which says so of itself; `epoch` stands for every time in it."""
    config = oci.inline(_config(base, added, said, epoch), oci.CONFIG)
    if config.size > oci.LARGEST_DOCUMENT:
        raise LimitReached(f"what the image says of itself has {config.size} bytes", hint="shorten --env and --label")
    layers = (*base.layers, *(layer.blob for layer in added))
    manifest = oci.Manifest(
        schema_version=2,
        media_type=oci.MANIFEST,
        config=oci.descriptor_of(config),
        layers=tuple(map(oci.descriptor_of, layers)),
    )
    return Picture(blobs=(*layers, config), manifest=oci.encode(manifest), id=config.digest)


def _config(base: oci.Base, added: tuple[Added, ...], said: ImageConfig, epoch: int) -> oci.Config:
    below = base.config
    created = datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    steps = (oci.Step(created=created, created_by=layer.by, comment=layer.comment or None) for layer in added)
    return oci.Config(
        architecture=below.architecture,
        os=below.os,
        variant=below.variant,
        created=created,
        config=_settings(said, below.config or oci.Settings()),
        rootfs=oci.Layers(diff_ids=(*below.rootfs.diff_ids, *(layer.diff_id for layer in added))),
        history=(*_past(base), *steps),
    )


def _past(base: oci.Base) -> tuple[oci.Step, ...]:
    """What the base tells of its layers, where it tells it of each: engines refuse another number than there are."""
    history = base.config.history or ()
    told = sum(not step.empty_layer for step in history)
    return history if told == len(base.layers) else tuple(oci.Step() for _ in base.layers)


def _settings(said: ImageConfig, below: oci.Settings) -> oci.Settings:
    """What is said of the image, and the rest as the base has it; what is to be done on it is not done twice."""
    return oci.Settings(
        user=said.user or None,
        exposed_ports={port: {} for port in said.exposed} or None,
        env=tuple(f"{name}={value}" for name, value in said.env) or None,
        entrypoint=said.entrypoint or None,
        cmd=said.command or None,
        volumes=below.volumes,
        working_dir=said.workdir or None,
        labels=dict(said.labels) or None,
        stop_signal=below.stop_signal,
        healthcheck=below.healthcheck,
    )
