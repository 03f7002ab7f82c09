"""STORY: the same source built twice → the first image, if nothing tells the two apart."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from s2ictl.build import delivered, make
from s2ictl.dependencies import image_of
from s2ictl.engines import Comparing, Difference
from s2ictl.errors import InvalidUsage, NotReproducible
from s2ictl.events import Emit, Notice, step
from s2ictl.labels import DEPENDENCIES
from s2ictl.models import BuildRequest, Image, ImageFacts, Reference
from s2ictl.workshop import Workshop, just_made

_TOLD = 20
_LONGEST_PATH = 300
_BEHIND = {
    "time": "it is the time of the build: at its end, assemble may touch all that it made, -d @$SOURCE_DATE_EPOCH",
    "content": "often a time, a temporary path or an order that was written into it; tools that read SOURCE_DATE_EPOCH"
    " write that time",
    "presence": "often a log, a cache or a temporary file: assemble may remove it",
    "mode": "often what was downloaded, or unpacked, by a tool that keeps modes",
    "owner": "often what was unpacked by a tool that keeps owners",
    "kind": "often a link in place of a copy, where a cache was found",
    "target": "often a link to a temporary path",
    "order": "the files are alike, and were written in another order: so it is with some that write in parallel",
}


def build_twice(request: BuildRequest, workshop: Workshop, *, compare: Comparing, emit: Emit) -> Image:
    """Build it, and once more with nothing of the first; what differs is not delivered, and keeps its names here."""
    if request.incremental:
        raise InvalidUsage(
            "--check-reproducible and --incremental exclude each other",
            detail="what an earlier image saves is a part of the one build, and the other is to have nothing of it",
            hint="leave out one of them",
        )
    request = replace(request, settled=True, force=True)
    image = make(replace(request, push=False, targets=()), workshop, emit=emit)
    first = just_made(image.id, workshop, emit)
    with (
        _again(first, _alone(request, image), workshop, emit) as second,
        step("compare", ", ".join(map(str, request.names)) or image.id, emit),
    ):
        if first.layers != second.layers:
            raise _unlike(compare.differences(first.id, second.id))
    emit(Notice(text=f"the same again: {len(first.layers)} layers, the last is {first.layers[-1]}"))
    return delivered(image, request, workshop, emit=emit)


def _alone(request: BuildRequest, first: Image) -> BuildRequest:
    """The same build, of that very commit, that touches no name and uses nothing of an earlier one."""
    source = request.source
    if source.kind == "git" and first.commit:
        source = replace(source, ref=first.commit)  # its branch may have moved on
    return replace(request, source=source, names=(), push=False, targets=(), remove_previous=False, cache=False)


@contextmanager
def _again(first: ImageFacts, request: BuildRequest, workshop: Workshop, emit: Emit) -> Iterator[ImageFacts]:
    """What is made of the same now; it is gone afterwards, and what was installed for it too."""
    engine, name = workshop.engine, image_of(first.labels.get(DEPENDENCIES, "none"))
    before = engine.facts(str(name), pull="never", login=None, emit=emit)
    second: ImageFacts | None = None
    try:
        second = just_made(make(request, workshop, emit=emit).id, workshop, emit)
        yield second
    finally:
        if second is not None and second.id != first.id:
            engine.remove(second.id)
        if before is not None:
            _put_back(before, name, workshop, emit)


def _put_back(before: ImageFacts, name: Reference, workshop: Workshop, emit: Emit) -> None:
    now = workshop.engine.facts(str(name), pull="never", login=None, emit=emit)
    workshop.engine.name(before.id, (name,))
    if now is not None and now.id != before.id:
        workshop.engine.remove(now.id)


# ------------------------------------------------------------------------------------------------------- what is said


def _unlike(differences: tuple[Difference, ...]) -> NotReproducible:
    found = tuple(dict.fromkeys(differences))  # what two layers hold is told of both
    count = f"{len(found)} path{'s' * (len(found) > 1)} differ{'s' * (len(found) == 1)}"
    return NotReproducible(
        f"two builds of the same are not alike: {count}",
        detail="\n".join(_told(found)),
        hint="the image has its names here, and was not pushed; without --check-reproducible it is delivered as it is",
    )


def _shown(path: str) -> str:
    """A name that assemble has chosen, on one line: it may hold any byte."""
    shown = "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in path)
    return shown if len(shown) <= _LONGEST_PATH else f"{shown[:_LONGEST_PATH]}…"


def _told(found: tuple[Difference, ...]) -> Iterator[str]:
    """The first of them, and what usually stands behind such."""
    yield from (f"{_shown(each.path)}: {', '.join(each.ways)}" for each in found[:_TOLD])
    yield from [f"and {len(found) - _TOLD} more"] if len(found) > _TOLD else []
    ways = dict.fromkeys(way for each in found for way in each.ways)
    yield from (f"{way}: {_BEHIND[way]}" for way in ways if way in _BEHIND)
