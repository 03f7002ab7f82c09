"""Images on this machine for the engine that has no daemon: pulled, loaded or built here, each layer unpacked once.

They lie in one OCI layout, beside it the trees of their layers, which can be made again from that at any time. Whoever
uses any of it holds the lock of all and shares it with others; only who has it alone takes something away.

register    which images there are, under which names
bringing    several blobs on their way at once
trees       layers, unpacked
sweeping    what goes, and what is there that could
ground      the directory, its locks, and how it is told that somebody was killed in it
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from s2ictl import oci
from s2ictl.compression import NO_ZSTD
from s2ictl.errors import (
    CommitContainerFailed,
    ImageNotFound,
    InvalidUsage,
    PullBuilderImageFailed,
    S2IError,
)
from s2ictl.events import Emit, Moving, Notice
from s2ictl.images import register, sweeping, trees
from s2ictl.images.bringing import bring
from s2ictl.images.ground import Ground
from s2ictl.images.register import Record, Records, called
from s2ictl.images.sweeping import Kept, Room, forget, kept
from s2ictl.images.trees import Layer, Unpacker
from s2ictl.layouts import picture_at
from s2ictl.models import ImageFacts, Reference

__all__ = ["Kept", "Room", "Store", "Unpacker", "forget", "kept", "known", "looked_into", "opened"]

_ZSTD = f"{oci.LAYER}+zstd"


@contextmanager
def opened(directory: Path, *, unpacker: Callable[[], Unpacker], room: Room | None = None) -> Iterator[Store]:
    """The images in this directory; nothing is taken away from it while the context lasts. At its end whoever is alone
    clears up, perhaps with the unpacker."""
    ground = Ground(directory)
    try:
        yield Store(ground, unpacker=unpacker)
    finally:
        ground.close(lambda: sweeping.sweep(ground, unpacker, room=room or Room(), now=time.time()))


@contextmanager
def looked_into(directory: Path) -> Iterator[Callable[[str], oci.Base | None]]:
    """What the images in this directory are as bases, by a name or an id, for whoever only looks: nothing is made or
    cleared up for it."""
    with _read_only(directory) as store:
        yield lambda image: store.base(image) if store.held(image) else None


def known(directory: Path, image: str) -> ImageFacts | None:
    """What an image that is here says of itself, for whoever only looks."""
    with _read_only(directory) as store:
        return store.held(image)


@contextmanager
def _read_only(directory: Path) -> Iterator[Store]:
    ground = Ground(directory)
    try:
        yield Store(ground, unpacker=_nobody)
    finally:
        ground.let_go()


def _nobody() -> Unpacker:
    raise CommitContainerFailed("nothing is unpacked where somebody only looks")


class Store:
    """The images in one directory, which need not be there."""

    def __init__(self, ground: Ground, *, unpacker: Callable[[], Unpacker]) -> None:
        self._ground = ground
        self._layout = ground.layout
        self._unpacker = unpacker

    # -------------------------------------------------------------------------------------------------------- reading

    def held(self, image: str) -> ImageFacts | None:
        """What the image of this name or id says of itself; one of which a part is missing is as good as none."""
        record = self._meant(image)
        found = self._found(record) if record else None
        return self._facts(record, found, image) if record and found else None

    def find(self, label: str, value: str) -> ImageFacts | None:
        """The newest image of which its label says this, and that was made here: anybody can publish any label."""
        for record in reversed(self._records()):
            found = self._found(record) if record.made else None
            if found and ((found.config.config or oci.Settings()).labels or {}).get(label) == value:
                return self._facts(record, found, "")
        return None

    def names(self) -> tuple[str, ...]:
        """Every name that leads to an image here."""
        return tuple(sorted(name for record in self._records() for name in record.names))

    def base(self, image: str) -> oci.Base:
        """An image that is held, as what another stands on: its layers can be read here, and mounted from home."""
        record, found = self._known(image)
        base = oci.base_of(self._layout, replace(found, digest=register.digest_in(record, image)), name=image, home="")
        homes = self._homes(record, base)
        layers = (replace(layer, home=homes.get(layer.digest, "")) for layer in base.layers)
        return replace(base, layers=tuple(layers))

    def trees(self, image: str, emit: Emit) -> tuple[str, ...]:
        """The trees of its layers, the topmost first, by their names below `layers/`; made where they are missing."""
        record, found = self._known(image)
        names = trees.chain_ids(found.config.rootfs.diff_ids)
        if not all(trees.is_there(self._ground, name) for name in names):
            self._ground.begin()
            try:
                self._unpack(found, names, next(iter(record.names), image), emit)
            except PullBuilderImageFailed:
                if not record.made:  # it can be had again, and better
                    self._change(lambda records: register.without(records, (record.id,)))
                raise
        trees.used(self._ground, names)
        return names[::-1]

    def save(self, image: str) -> Iterator[bytes]:
        """An image with all its layers, as the tar that `load` of every engine takes; with the name by which it was
        asked for."""
        from s2ictl.tarballs import tarball

        record, found = self._known(image)
        asked = tuple(Reference.parse(name) for name in record.names if name in _names((image,)))
        return tarball(picture_at(self._layout, record.manifest), asked, platform=str(found.config.platform))

    # ------------------------------------------------------------------------------------------------------ taking in

    def pull(self, base: oci.Base, name: Reference, emit: Emit, *, digest: str = "") -> ImageFacts:
        """Have an image that a registry or a layout has, under this name: of its layers those that are not here yet.

        `digest` is what the name leads to there, which of an image for several platforms is not its own.
        """
        manifest = oci.blob_of(base.manifest, _kind(base.manifest, str(name)))
        config = oci.blob_of(base.document, oci.CONFIG)
        _check_layers(base)
        self._ground.begin()
        home = next((layer.home for layer in base.layers), "")
        wanted = () if self._staying(config.digest, home) else base.layers
        missing = {layer.digest: layer for layer in wanted if not self._layout.has(layer)}
        moving = Moving(str(name), emit, total=sum(layer.size for layer in missing.values()))
        try:
            bring(tuple(missing.values()), self._take, moving)
            described = [self._layout.write(blob) for blob in (config, manifest)][-1]
        except CommitContainerFailed as error:
            raise PullBuilderImageFailed(f"could not pull {name}", detail=error.in_passing, hint=error.hint) from error
        known = (digest, name.digest, base.digest)
        return self._register(
            Record(
                id=config.digest,
                manifest=described,
                names=() if name.digest else (called(name),),
                digests=tuple(f"{register.repository_of(name)}@{digest}" for digest in dict.fromkeys(known) if digest),
                home=home,
            ),
            str(name),
        )

    def load(self, image: Iterator[bytes], names: tuple[Reference, ...] = ()) -> ImageFacts:
        """Have an image as another engine saves it, under the same id, and under these names or those that it has."""
        from s2ictl import saved

        self._ground.begin()
        try:
            taken = saved.taken(image, self._layout.write)
        except CommitContainerFailed as error:
            raise CommitContainerFailed("could not load the image", detail=error.in_passing, hint=error.hint) from error
        described = self._layout.write(oci.blob_of(taken.manifest, oci.MANIFEST))
        wanted = _called(names) or tuple(_names(taken.names))
        return self._register(Record(id=taken.id, manifest=described, names=wanted), "")

    def write(self, blob: oci.Blob) -> oci.Descriptor:
        """Have these bytes here, for an image that is made of them next."""
        self._ground.begin()
        return self._layout.write(blob)

    def keeping(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Pass these bytes on to where they are sent, and have them here once all of them have passed."""
        self._ground.begin()
        return self._layout.keeping(chunks)

    def read(self, descriptor: oci.Descriptor) -> Iterator[bytes]:
        """What was written."""
        return self._layout.read(descriptor)

    def keep(self, picture: oci.Picture, names: tuple[Reference, ...]) -> ImageFacts:
        """Make an image of one platform, under all of these names or, without any, under its id alone; those of its
        blobs that are not here are brought."""
        wanted = _called(names)
        for blob in picture.blobs:
            self.write(blob)
        described = self.write(oci.blob_of(picture.manifest, picture.kind))
        return self._register(Record(id=picture.id, manifest=described, names=wanted, made=True), picture.id)

    # ------------------------------------------------------------------------------------------------------- changing

    def name(self, image: str, names: tuple[Reference, ...]) -> None:
        """Give an image all of these names, or none of them."""
        wanted, record = _called(names), self._meant(image)
        self._change(lambda records: register.named(records, record.id if record else image, wanted))

    def forget(self, name: str) -> None:
        """Take a name away, and with its last one the image."""
        if self._meant(name):
            self._change(lambda records: register.unnamed(records, called(Reference.parse(name))))

    def remove(self, image: str) -> None:
        """Forget the image of this id, when no name leads to it any more."""
        if self._meant(image):
            self._change(lambda records: tuple(each for each in records if each.id != image or each.names))

    def registered(self, image: str, name: Reference, digest: str) -> None:
        """A registry was sent the image as it lies here, and has it under this digest: from there its layers can be
        mounted next time."""
        if record := self._meant(image):
            self._change(lambda records: register.sent(records, record.id, name, digest))

    # ------------------------------------------------------------------------------------------------------ inside

    def _records(self) -> Records:
        if not self._ground.is_there():
            return ()
        with suppress(S2IError):  # an index that cannot be read is as good as none, until something is to be written
            return register.read(self._layout)
        return ()

    def _meant(self, image: str) -> Record | None:
        return register.meant(self._records(), image)

    def _found(self, record: Record) -> oci.Found | None:
        """The image, if it is whole."""
        with suppress(S2IError):  # what cannot be read is as good as not there: it is taken in again
            found = oci.find_all(self._layout, record.manifest)[0]
            if all(map(self._layout.has, found.manifest.layers)):
                return found
        return None

    def _known(self, image: str) -> tuple[Record, oci.Found]:
        record = self._meant(image)
        found = self._found(record) if record else None
        if record is None or found is None:
            raise ImageNotFound(f"there is no image {image} on this machine", hint="check its name or its id")
        self._use(record)
        return record, found

    def _facts(self, record: Record, found: oci.Found, asked: str) -> ImageFacts:
        """As the Docker engine says it."""
        self._use(record)
        facts = oci.config_facts(found.config, id=record.id, digest=register.digest_in(record, asked))
        platform = f"{found.config.os}/{found.config.architecture}"
        return replace(facts, platform=platform, exposed=tuple(sorted(facts.exposed)))

    def _use(self, record: Record) -> None:
        """What was used last goes last."""
        with suppress(OSError):
            os.utime(self._layout.path(record.manifest.digest))

    def _homes(self, record: Record, base: oci.Base) -> dict[str, str]:
        """The repository that has each of these layers, if any is known to."""
        if record.home:
            return {layer.digest: record.home for layer in base.layers}
        others = [(each, self._found(each)) for each in self._records() if each.home]
        return {layer.digest: each.home for each, found in others if found for layer in found.manifest.layers}

    def _take(self, blob: oci.Blob, waiting: Callable[[], None]) -> None:
        with self._ground.turn(blob.digest.removeprefix("sha256:"), waiting=waiting):
            self._layout.write(blob)

    def _register(self, record: Record, asked: str) -> ImageFacts:
        """The image under its names."""
        if old := self._staying(record.id, record.home):
            record = replace(record, manifest=old.manifest, home=old.home)
        found = self._found(record)
        if found is None:
            raise trees.broken(asked or "the image", "its parts do not fit each other")
        self._change(lambda records: register.added(records, record))
        current = next((each for each in self._records() if each.id == record.id), record)
        return self._facts(current, found, asked)

    def _staying(self, image: str, home: str) -> Record | None:
        """What is here of this image already, perhaps in other packing; it gives way to what can be mounted from home,
        if it cannot itself."""
        old = next((each for each in self._records() if each.id == image), None)
        return old if old and (old.home or not home) and self._found(old) else None

    def _change(self, how: Callable[[Records], Records]) -> None:
        self._ground.begin()
        register.change(self._layout, how)

    def _unpack(self, found: oci.Found, names: tuple[str, ...], image: str, emit: Emit) -> None:
        missing = [number for number, name in enumerate(names) if not trees.is_there(self._ground, name)]
        sizes = [found.manifest.layers[number].size for number in missing]
        moving, done, waiting = Moving(image, emit, total=sum(sizes)), 0, _told_once(image, emit)
        for number, size in zip(missing, sizes, strict=True):
            layer = self._layer(found, number, image, moving, done)
            below = names[:number][::-1]
            trees.make(self._ground, names[number], layer, on=below, unpacker=self._unpacker(), waiting=waiting)
            done += size
        moving.end(done)

    def _layer(self, found: oci.Found, number: int, image: str, moving: Moving, before: int) -> Layer:
        stored = found.manifest.layers[number]

        def chunks() -> Iterator[bytes]:
            done = before
            for chunk in self._layout.read(stored):
                yield chunk
                done += len(chunk)
                moving.tell(done)

        return Layer(image=image, diff_id=found.config.rootfs.diff_ids[number], chunks=chunks)


def _told_once(image: str, emit: Emit) -> Callable[[], None]:
    told = False

    def waiting() -> None:
        nonlocal told
        if not told:
            emit(Notice(text=f"another build unpacks a layer of {image}; it is waited for"))
        told = True

    return waiting


def _kind(manifest: bytes, subject: str) -> str:
    document = oci.read_manifest(manifest, subject)
    return document.media_type or oci.MANIFEST


def _check_layers(base: oci.Base) -> None:
    """Before anything is fetched that could not be unpacked."""
    if any(layer.media_type == _ZSTD for layer in base.layers):
        raise PullBuilderImageFailed(
            f"{base.name} cannot be used by an engine without a daemon",
            detail=NO_ZSTD,
            hint="name another image, or use Docker or Podman: --engine docker",
        )


def _called(names: tuple[Reference, ...]) -> tuple[str, ...]:
    """What they are called here, if all of them are names: then no image has only some of them."""
    for name in names:
        try:
            Reference.parse(str(name))
        except InvalidUsage as error:
            raise CommitContainerFailed(
                f"could not name the image {name}", detail=error.message, hint=error.hint
            ) from error
    return tuple(map(called, names))


def _names(names: tuple[str, ...]) -> Iterator[str]:
    """Those that are names: whoever made the archive may have written anything."""
    for name in names:
        with suppress(InvalidUsage):
            yield called(Reference.parse(name))
