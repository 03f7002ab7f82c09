"""What an artifact is put on where nothing runs for it: the base, found where it is nearest, and read only once.

One of ours comes from the registry that is said to have it, else from this machine: from where the engine without a
daemon has its images, or from our own shelf. Else it comes from the engine, which makes it on the spot where it is
missing. So the first image of a kind may need an engine, and no later one does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from s2ictl import oci
from s2ictl.artifacts.meaning import SCRATCH
from s2ictl.builders import MADE_OF, Folder, fingerprint
from s2ictl.engines.append import nothing
from s2ictl.errors import InvalidUsage, PullBuilderImageFailed, S2IError, Unreachable, WrongPlatform
from s2ictl.events import Emit, Findings, Notice, step
from s2ictl.layouts import Laid, Layout, parse_laid
from s2ictl.models import BuildRequest, ImageFacts, Reference
from s2ictl.registry import OpenRepository
from s2ictl.shelf import Shelf
from s2ictl.values import dataclass
from s2ictl.workshop import Workshop

_ELSEWHERE = {"tomcat": "tomcat:{}", "jar": "eclipse-temurin:{}-jre", "binary": "debian:{}-slim"}


Wanted = Folder | Reference | Laid | None
"""One of our own builders, any other image, one in a layout; None is `scratch`: the artifact brings all it needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Supplies:
    """Where bases and builders come from, and where images go. The workshop is that of the engine, which is opened when
    somebody asks for it first, and Unreachable where there is none. `stored` is what the engine without a daemon has
    under a name or an id, to be read where it lies. `platform` is this machine's."""

    repository: OpenRepository
    shelf: Shelf
    workshop: Callable[[], Workshop]
    platform: str
    stored: Callable[[str], oci.Base | None] = lambda _: None


def parse_base(text: str, *, cwd: Path) -> Laid | Reference | None:
    """IMAGE, oci:DIR[:TAG] or scratch."""
    if text == SCRATCH:
        return None
    laid = parse_laid(text, cwd=cwd)
    if laid is not None and laid.kind == "tar":
        raise InvalidUsage(
            f"{text[:200]} is no base: of a file only all can be taken at once",
            hint="unpack it, it is a layout: tar -xf FILE -C DIR, and --base oci:DIR",
        )
    return laid or Reference.parse(text)


def shown(wanted: Wanted) -> str:
    return str(wanted.image if isinstance(wanted, Folder) else wanted or SCRATCH)


def find(
    wanted: Wanted, platforms: tuple[str, ...], request: BuildRequest, supplies: Supplies, emit: Emit, found: Findings
) -> tuple[oci.Base, ...]:
    """The base, once for each of these platforms; without any, for all that it is there for."""
    match wanted:
        case None:
            return tuple(nothing(platform) for platform in platforms)
        case Laid(path=directory, tag=tag):
            return Layout(directory).bases(tag, platforms)
        case Folder():
            bases = _ours(wanted, platforms, request, supplies, emit, found)
        case Reference(registry=""):
            bases = _short(wanted, platforms, supplies, emit, found)
        case Reference():
            return supplies.repository(wanted).bases(platforms)
    _refuse_missing(shown(wanted), bases, platforms)
    return bases


# ----------------------------------------------------------------------------------------------------- one of our own


def _ours(
    folder: Folder,
    platforms: tuple[str, ...],
    request: BuildRequest,
    supplies: Supplies,
    emit: Emit,
    found: Findings,
) -> tuple[oci.Base, ...]:
    published = _published(folder, platforms, supplies, emit) if folder.has_registry else ()
    if published:
        return published
    if kept := _here(folder, supplies):
        found.cached = True
        return (kept,)
    try:
        workshop = supplies.workshop()
    except Unreachable as error:
        raise _nowhere(folder, error) from error

    from s2ictl.choosing import provided  # a base of somebody else is never made here

    facts, _ = provided(folder, request, request.pull_policy, workshop, emit)
    return (_kept(facts, str(folder.image), workshop, supplies, emit),)


def _here(folder: Folder, supplies: Supplies) -> oci.Base | None:
    """Made of this very folder, and on this machine."""
    name, made_of = str(folder.image), fingerprint(folder)
    stored = supplies.stored(name)
    if stored is not None and stored.facts.labels.get(MADE_OF) == made_of:
        return stored
    return supplies.shelf.find(MADE_OF, made_of, name=name)


def _published(folder: Folder, platforms: tuple[str, ...], supplies: Supplies, emit: Emit) -> tuple[oci.Base, ...]:
    """What the registry has that is said to have our images; nothing depends on it."""
    try:
        bases = supplies.repository(folder.image).bases(platforms)
    except S2IError as error:
        emit(Notice(text=error.in_passing, level="warning"))
        return ()
    if all(base.facts.labels.get(MADE_OF) == fingerprint(folder) for base in bases):
        return bases
    emit(Notice(text=f"{folder.image} in its registry was made of another version of its folder", level="warning"))
    return ()


def _nowhere(folder: Folder, error: Unreachable) -> PullBuilderImageFailed:
    another = _ELSEWHERE.get(folder.name, "IMAGE").format(folder.version.partition("-")[0])
    place, here = "registry.example.com/team", ", and the same variable here"
    if folder.has_registry:
        place, here = folder.image.name.rpartition("/")[0], ""
    return PullBuilderImageFailed(
        f"the base {folder.image} is not on this machine, and without an engine it cannot be made here",
        detail=error.in_passing,
        hint=f"where an engine is: S2ICTL_BUILDERS={place} s2ictl builders build {folder.word} --push{here}"
        f"; or another base: --base {another}",
    )


# --------------------------------------------------------------------------------------------------- any other image


def _short(
    name: Reference, platforms: tuple[str, ...], supplies: Supplies, emit: Emit, found: Findings
) -> tuple[oci.Base, ...]:
    """An image without a registry in its name: what the engine calls so, else what Docker Hub does."""
    try:
        workshop = supplies.workshop()
        facts = workshop.engine.held(str(name))
    except Unreachable:
        facts = None
    if facts is None or not all(oci.fits(oci.Platform.parse(facts.platform), each) for each in platforms):
        return supplies.repository(name).bases(platforms)
    if kept := supplies.stored(facts.id) or supplies.shelf.held(facts.id):
        found.cached = True
        return (replace(kept, name=str(name)),)  # it may have been kept under another name of the same image
    return (_kept(facts, str(name), workshop, supplies, emit),)


def _kept(facts: ImageFacts, name: str, workshop: Workshop, supplies: Supplies, emit: Emit) -> oci.Base:
    """Read out of the engine and packed, which takes its seconds once; one without a daemon has it so already."""
    if stored := supplies.stored(facts.id):
        return replace(stored, name=name)
    with step("keep", name, emit) as kept, workshop.engine.save(facts.id) as image:
        base = supplies.shelf.keep(facts, image, name=name)
        kept.size = sum(layer.size for layer in base.layers)
    return base


def _refuse_missing(name: str, bases: Iterable[oci.Base], platforms: tuple[str, ...]) -> None:
    has = [base.config.platform for base in bases]
    if missing := [wanted for wanted in platforms if not any(oci.fits(each, wanted) for each in has)]:
        raise WrongPlatform(
            f"{name} is not for {missing[0]}",
            detail=f"it is there for {', '.join(sorted(map(str, has)))}",
            hint="name a base that is: --base IMAGE",
        )
