"""An artifact becomes layers on a base image, without any container: no engine is contacted, and nothing is run.

The bytes follow from the artifact, the base and the settings alone. So the same input gives the same digest, whatever
the path, age, owner or time zone of the file, and whoever builds it. The layers are not compressed: an artifact seldom
gains by it, and the bytes of a compressor change with its version.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial

from s2ictl import oci
from s2ictl.archives import Part, layer_stream
from s2ictl.engines.stacking import Added, stacked
from s2ictl.errors import InvalidUsage, PullBuilderImageFailed
from s2ictl.events import Emit, Moving
from s2ictl.models import ImageConfig, ImageFacts
from s2ictl.oci import Picture
from s2ictl.values import dataclass

_USER, _GROUP = 1001, 0  # as whom our builders assemble, and so whose their results are


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything, beside the base, that decides the bytes of the image.

    `config` says what the image is to say of itself, by what its base does. `epoch` stands for every time in it.
    """

    parts: tuple[Part, ...]
    config: Callable[[ImageFacts], ImageConfig]
    title: str
    epoch: int = 0


def append(recipe: Recipe, bases: tuple[oci.Base, ...], *, emit: Emit) -> Picture:
    """Describe the image, for each platform that its base is given for; what was read of the artifact is its digest.

    The layers are the same on all of them, and hashed once.
    """
    for base in bases:
        _refuse_too_many(base, recipe)
    layers = tuple(_layer(part, recipe, emit) for part in recipe.parts)
    images = [_image(recipe, base, layers) for base in bases]
    return images[0] if len(images) == 1 else _index(images, bases)


def nothing(platform: str) -> oci.Base:
    """The base of a program that needs none: it says no more than that this is nobody's root."""
    wanted, settings = oci.Platform.parse(platform), oci.Settings(user=str(_USER))
    config = oci.Config(
        architecture=wanted.architecture,
        os=wanted.os,
        variant=wanted.variant,
        config=settings,
        rootfs=oci.Layers(),
        history=(),
    )
    return oci.Base(name="", digest="", config=config, layers=())


# --------------------------------------------------------------------------------------------------------- documents


def _image(recipe: Recipe, base: oci.Base, added: tuple[oci.Blob, ...]) -> Picture:
    by = f"s2ictl b2i {recipe.title}"
    layers = tuple(
        Added(blob=blob, diff_id=blob.digest, by=by, comment=part.name)
        for part, blob in zip(recipe.parts, added, strict=True)
    )
    return stacked(base, layers, recipe.config(base.facts), epoch=recipe.epoch)


def _index(images: list[Picture], bases: tuple[oci.Base, ...]) -> Picture:
    """Several images under one name; what they share is had once."""
    platforms = [base.config.platform for base in bases]
    entries = (
        oci.Descriptor(
            media_type=oci.MANIFEST, digest=image.digest, size=len(image.manifest), platform=base.config.platform
        )
        for image, base in zip(images, bases, strict=True)
    )
    if len(set(platforms)) != len(platforms):
        raise InvalidUsage("the base is given twice for one platform", hint="name each --platform once")
    index = oci.Index(schema_version=2, media_type=oci.INDEX, manifests=tuple(entries))
    return Picture(
        blobs=tuple({blob.digest: blob for image in images for blob in image.blobs}.values()),
        manifest=oci.encode(index),
        id=images[0].id,
        kind=oci.INDEX,
        children=tuple(image.manifest for image in images),
    )


def _refuse_too_many(base: oci.Base, recipe: Recipe) -> None:
    if len(base.layers) + len(recipe.parts) > oci.MOST_LAYERS:
        raise PullBuilderImageFailed(
            f"{base.name or 'the base'} has {len(base.layers)} layers already: no room for {len(recipe.parts)} more",
            detail=f"no engine takes more than {oci.MOST_LAYERS}",
        )


# ------------------------------------------------------------------------------------------------------------ layers


def _layer(part: Part, recipe: Recipe, emit: Emit) -> oci.Blob:
    bytes_of = partial(layer_stream, part, uid=_USER, gid=_GROUP, mtime=recipe.epoch)
    seen, size = hashlib.sha256(), 0
    moving = Moving(recipe.title, emit)
    for chunk in bytes_of():
        seen.update(chunk)
        size += len(chunk)
        moving.tell(size)
    moving.end(size)
    return oci.Blob(media_type=oci.LAYER, digest=f"sha256:{seen.hexdigest()}", size=size, chunks=bytes_of)
