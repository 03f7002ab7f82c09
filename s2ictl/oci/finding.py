"""An image found where it lies: through an index, for the platforms that are wanted, and nothing of it believed."""

from __future__ import annotations

from s2ictl.errors import LimitReached, PullBuilderImageFailed, WrongPlatform
from s2ictl.oci.documents import (
    LAYERS,
    MOST_PLATFORMS,
    Descriptor,
    Index,
    Manifest,
    Platform,
    read_config,
    read_manifest,
)
from s2ictl.oci.images import Base, Blob, Found, Source


def find(source: Source, first: Descriptor, platform: str) -> Found:
    """Follow an index to the image for a platform, and read what it says of itself."""
    return find_all(source, first, (platform,))[0]


def find_all(source: Source, first: Descriptor, platforms: tuple[str, ...] = ()) -> tuple[Found, ...]:
    """The same for several platforms, or for all of Linux that an index has where none is named, in its order."""
    subject = str(source)
    content = source.manifest(first)
    document = read_manifest(content, subject)
    if isinstance(document, Manifest):
        return (_found(source, first, content, platforms),)
    chosen = [_choose(document, platform, subject=subject) for platform in platforms] or _offered(document, subject)
    images = {entry.digest: entry for entry in chosen}
    return tuple(_found(source, entry, source.manifest(entry), (str(entry.platform),)) for entry in images.values())


def _found(source: Source, descriptor: Descriptor, content: bytes, platforms: tuple[str, ...]) -> Found:
    subject = str(source)
    manifest = read_manifest(content, subject)
    if isinstance(manifest, Index):
        raise PullBuilderImageFailed(f"{source} is an index of indexes", hint="name the image itself, by its digest")
    document = source.document(manifest.config)
    config = read_config(document, subject)
    if len(config.rootfs.diff_ids) != len(manifest.layers):
        detail = f"it has {len(manifest.layers)} layers, and its configuration {len(config.rootfs.diff_ids)}"
        raise PullBuilderImageFailed(f"{subject} is broken", detail=detail)
    for platform in platforms:
        if not fits(config.platform, platform):
            raise _wrong_platform(subject, platform, [str(config.platform)])
    return Found(digest=descriptor.digest, manifest=manifest, config=config, content=content, document=document)


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
    return Base(
        name=name,
        digest=found.digest,
        config=found.config,
        layers=layers,
        manifest=found.content,
        document=found.document,
    )


# -------------------------------------------------------------------------------------------------------- platforms


def _choose(index: Index, platform: str, *, subject: str) -> Descriptor:
    """Choose the image for a platform such as linux/amd64 or linux/arm/v7 out of an index."""
    there = _runnable(index)
    for entry in there:
        if str(entry.platform) == platform:
            return entry
    for entry in there:
        if entry.platform and fits(entry.platform, platform):
            return entry
    raise _wrong_platform(subject, platform, [str(entry.platform) for entry in there])


def _offered(index: Index, subject: str) -> list[Descriptor]:
    """The images of an index for Linux, each platform once and in the index's order."""
    found: dict[str, Descriptor] = {}
    for entry in _runnable(index):
        if entry.platform and entry.platform.os == "linux":
            found.setdefault(str(entry.platform), entry)
    if not found:
        raise _wrong_platform(subject, "linux", [str(entry.platform) for entry in _runnable(index)])
    if len(found) > MOST_PLATFORMS:
        raise LimitReached(
            f"{subject} is for {len(found)} platforms; the limit is {MOST_PLATFORMS}",
            hint="name those that are meant: --platform linux/amd64",
        )
    return list(found.values())


def _runnable(index: Index) -> list[Descriptor]:
    """What of an index can be run: a builder's attestations stand beside its images, for a platform unknown."""
    return [
        entry
        for entry in index.manifests
        if entry.platform and "unknown" not in (entry.platform.os, entry.platform.architecture)
    ]


def fits(has: Platform, wanted: str) -> bool:
    """Whether an image runs there; a variant counts only where both name one."""
    asked = Platform.parse(wanted)
    return (has.os, has.architecture) == (asked.os, asked.architecture) and (
        has.variant == asked.variant or not (has.variant and asked.variant)
    )


def _wrong_platform(subject: str, wanted: str, offered: list[str]) -> WrongPlatform:
    return WrongPlatform(
        f"{subject} is not for {wanted}",
        detail=f"it is for {', '.join(sorted(set(offered))[:MOST_PLATFORMS]) or 'no platform at all'}",
        hint="name a base image of the right platform, or build the artifact for this one",
    )


def _layer_type(descriptor: Descriptor, subject: str) -> str:
    """The OCI name of a layer's type."""
    known = LAYERS.get(descriptor.media_type)
    if known is None:
        private = "foreign" in descriptor.media_type or "nondistributable" in descriptor.media_type
        raise PullBuilderImageFailed(
            f"{subject} has a layer that cannot be carried on",
            detail=f"its type is {descriptor.media_type[:100]!r}"
            + (": only its maker may hand it out" if private else ""),
            hint="name another base image",
        )
    return known
