"""A layer on its way: what assemble left behind, read once, and had wherever the image is wanted.

To one repository it goes while it is read, compressed and hashed, and where the engine keeps images as they are sent,
it is kept in the same pass. For several places it is packed once, into a place of our own, and goes to all from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Protocol

from s2ictl import oci
from s2ictl.engines import Carrier, Layered
from s2ictl.engines.outcomes import only_to_send
from s2ictl.engines.stacking import Added, packed, stacked
from s2ictl.errors import PullBuilderImageFailed, S2IError
from s2ictl.events import Emit, Moving, Notice, step
from s2ictl.models import Assembly, ImageFacts, Reference, Target
from s2ictl.names import by_repository
from s2ictl.targets import REGISTRY, Ways, put
from s2ictl.values import dataclass

Write = Callable[[oci.Blob], oci.Descriptor]


class Place(Protocol):
    """A place of our own for layers."""

    def write(self, blob: oci.Blob) -> oci.Descriptor:
        """Have these bytes here."""

    def read(self, descriptor: oci.Descriptor) -> Iterator[bytes]:
        """What was written."""


class Keeping(Place, Protocol):
    """One in which images stay."""

    def keeping(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Pass these bytes on to where they are sent, and have them here once all of them have passed."""

    def keep(self, picture: oci.Picture, names: tuple[Reference, ...]) -> object:
        """Have the image of these layers, under all of these names."""

    def registered(self, image: str, name: Reference, digest: str) -> None:
        """A registry has the image of this id under this digest."""


class Bases(Protocol):
    """A repository, as somewhere that images can be read."""

    def bases(self, platforms: tuple[str, ...] = ()) -> tuple[oci.Base, ...]:
        """The image of its name, for each of these platforms."""


class Kept(Protocol):
    """Images that were taken out of an engine once."""

    def held(self, image: str) -> oci.Base | None:
        """The image of this id."""

    def keep(self, facts: ImageFacts, image: Iterator[bytes], *, name: str) -> oci.Base:
        """Take in an image as an engine saves it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """Where a layer is packed, where one place is not enough; `keeping` is the same where the image stays there."""

    place: Callable[[], Place]
    keeping: Keeping | None = None


def base_of(
    last: Assembly, engine: Carrier, repository: Callable[[Reference], Bases] | None, shelf: Kept, emit: Emit
) -> oci.Base:
    """What a container of an engine stands on, whose layers are not to be had there as they are sent: by the digest
    that the image has in its registry, where that may be asked, else taken out of the engine once."""
    facts = engine.held(last.image_id)
    if facts is None:
        raise PullBuilderImageFailed(f"{last.image} is not in the engine any more", hint="build again")
    if last.digest and repository:
        name = Reference.parse(last.image)
        try:
            for base in repository(name.at(last.digest)).bases((facts.platform,)):
                if oci.digest_of(base.document) == last.image_id:
                    return base
        except S2IError as error:
            emit(Notice(text=f"{error.in_passing}; so {last.image} is sent as the engine has it", level="warning"))
    if kept := shelf.held(last.image_id):
        return kept
    with step("keep", last.image, emit), engine.save(last.image_id) as saved:
        return shelf.keep(facts, saved, name=last.image)


def send(
    left: Layered,
    base: oci.Base,
    targets: Sequence[Target],
    names: tuple[Reference, ...],
    ways: Ways,
    packing: Packing,
    *,
    emit: Emit,
) -> ImageFacts:
    """Have what assemble left behind as an image on this base, in every target under all its names."""
    moving = Moving("the layer", emit, total=left.size)
    told = replace(left, chunks=lambda: _told(left.chunks(), moving))
    try:
        added = _packed(told, targets, names, ways, packing)
    except S2IError:
        _save_the_work(told, base, names, packing, emit)
        raise
    picture = stacked(base, (added,), left.config, epoch=left.epoch)
    if packing.keeping:
        packing.keeping.keep(picture, names)
    try:
        put(picture, targets, names, ways, emit=emit)
    except S2IError:
        if packing.keeping:
            emit(only_to_send())
        raise
    if packing.keeping and REGISTRY in targets:
        for name in names:
            packing.keeping.registered(picture.id, name, picture.digest)
    return _facts_of(picture)


def _packed(
    left: Layered, targets: Sequence[Target], names: tuple[Reference, ...], ways: Ways, packing: Packing
) -> Added:
    """Where it goes to one repository alone, there; else to our own place."""
    repositories = by_repository(names)
    if tuple(targets) != (REGISTRY,) or len(repositories) != 1:
        place = packing.place()
        return _read_from(place, packed(left, place.write))
    (name,) = repositories
    write, keeping = ways.repository(name).write, packing.keeping
    if keeping is None:
        return packed(left, write)
    return _read_from(keeping, packed(left, partial(_both, write=write, keeping=keeping)))


def _both(blob: oci.Blob, *, write: Write, keeping: Keeping) -> oci.Descriptor:
    return write(replace(blob, chunks=lambda: keeping.keeping(blob.chunks())))


def _read_from(place: Place, added: Added) -> Added:
    """The same layer, without the container that it came from."""
    return replace(added, blob=replace(added.blob, chunks=lambda: place.read(oci.descriptor_of(added.blob))))


def _save_the_work(left: Layered, base: oci.Base, names: tuple[Reference, ...], packing: Packing, emit: Emit) -> None:
    """What did not arrive is kept where the engine has a place for it: the next build only has to send it."""
    if packing.keeping is not None:
        with suppress(S2IError):  # why it did not arrive is what the user has to hear
            added = packed(left, packing.keeping.write)
            packing.keeping.keep(stacked(base, (added,), left.config, epoch=left.epoch), names)
            emit(only_to_send())


def _facts_of(picture: oci.Picture) -> ImageFacts:
    config = b"".join(picture.blobs[-1].chunks())
    return oci.config_facts(oci.read_config(config, "the image"), id=picture.id, digest=picture.digest)


def _told(chunks: Iterator[bytes], moving: Moving) -> Iterator[bytes]:
    done = 0
    for chunk in chunks:
        yield chunk
        done += len(chunk)
        moving.tell(done)
    moving.end(done)
