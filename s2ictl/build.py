"""STORY: source → tree → builder → image → digest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from s2ictl import caches, dependencies, scripts, unchanged
from s2ictl.assemblies import Parts, certificates, describe, excluding, with_saved
from s2ictl.choosing import choose, previous_of, runtime_of, spare
from s2ictl.dependencies import Dependencies
from s2ictl.errors import CommitContainerFailed, InvalidUsage, Unreachable
from s2ictl.events import Emit, Notice, step
from s2ictl.labels import DEPENDENCIES, OURS, RECIPE
from s2ictl.models import Assembly, BuildRequest, Image, ImageConfig, Tree, parse_place
from s2ictl.recipes import recipe_of
from s2ictl.targets import check as check_targets
from s2ictl.targets import destinations, places
from s2ictl.values import dataclass
from s2ictl.workshop import Outlet, Workshop, deliver

DONE = "Build completed successfully"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A build of which everything is known and nothing has run."""

    assembly: Assembly
    builder: str
    commit: str


def build(request: BuildRequest, workshop: Workshop, *, emit: Emit) -> Image:
    """Turn a source into an image, named by its digest once it is pushed; or find the one that is that already."""
    return delivered(make(request, workshop, emit=emit), request, workshop, emit=emit)


def make(request: BuildRequest, workshop: Workshop, *, emit: Emit) -> Image:
    """The same, as far as the engine comes. Where the image is everywhere already, or has gone there at once, its
    digest is known."""
    with _gathered(request, workshop, emit) as parts:
        assembly = describe(request, parts, emit)
        wanted = dependencies.needed(request, parts, assembly)
        assembly = _labelled(assembly, DEPENDENCIES, wanted.id) if wanted else assembly
        recipe = recipe_of(request, parts, assembly)
        known = _known(recipe, request, parts, workshop, emit) if request.cache and not request.force else None
        if known is not None:
            emit(Notice(text=f"unchanged: nothing to build (recipe {recipe[:19]})"))
            return known
        assembly = _with_earlier(assembly, request, parts, workshop, emit)
        return _made(_stamped(assembly, recipe, parts.tree), wanted, request, parts, workshop, emit)


def delivered(image: Image, request: BuildRequest, workshop: Workshop, *, emit: Emit) -> Image:
    """The image where it was wanted, which is the end of a build."""
    _say_what_is_taken_along(request, emit)
    if image.digest:
        """It is there."""
    elif request.targets:
        # All of them from one packing of its layers, the registry too: the engine's own would give it another digest.
        with step("deliver", ", ".join(places(destinations(request), request.names)), emit):
            image = replace(image, digest=workshop.carry(image.id, destinations(request), request.names, emit))
    elif request.push:
        with step("deliver", ", ".join(str(name) for name in request.names), emit):
            image = replace(image, digest=deliver(request.names, workshop, emit))
    emit(Notice(text=DONE))
    return image


def _say_what_is_taken_along(request: BuildRequest, emit: Emit) -> None:
    source = request.source.path if request.source.kind == "directory" else None
    for target in request.targets:
        if source is not None and target.path is not None and target.path.resolve().is_relative_to(source.resolve()):
            text = f"{target} lies in the source: the next build takes it along, unless .s2iignore leaves it out"
            emit(Notice(text=text, level="warning"))


@contextmanager
def prepare(request: BuildRequest, workshop: Workshop, *, emit: Emit) -> Iterator[Prepared]:
    """What the engine is to perform, described; the source is there while the context lasts."""
    with _gathered(request, workshop, emit) as parts:
        assembly = _with_earlier(describe(request, parts, emit), request, parts, workshop, emit)
        yield Prepared(assembly=assembly, builder=parts.builder.image, commit=_commit(parts.tree))


# ---------------------------------------------------------------------------------------------- before anything runs


def check(request: BuildRequest) -> None:
    """Refuse what would be found out only after the work."""
    if request.push and not request.names:
        raise InvalidUsage("a push needs a name for the image", hint="--tag registry.example.com/team/app:1.0")
    if any(name.digest for name in request.names):
        raise InvalidUsage("a digest cannot be chosen: it follows from the content", hint="name a tag instead")
    for what, taken in (("builder", request.builder), ("runtime image", request.runtime_image)):
        if taken:
            spare(taken, request, what=what)
    if forged := next((name for name, _ in request.labels if name.startswith(OURS)), ""):
        raise InvalidUsage(
            f"the label {forged[:80]} is not for anybody to choose: by such labels s2ictl knows what an image is",
            hint=f"give it a name that does not begin with {OURS}",
        )
    if request.runtime_artifacts and not request.runtime_image:
        raise InvalidUsage("--runtime-artifact says nothing without --runtime-image", hint="--runtime-image IMAGE")
    if not request.cache:
        _refuse_to_save(request)
    if request.destination:
        parse_place(request.destination)
    check_targets(request.targets)
    caches.check(request)
    excluding(request.exclude)
    certificates(request.ca_bundle)


def _refuse_to_save(request: BuildRequest) -> None:
    if request.incremental and request.runtime_image:
        raise InvalidUsage(
            "--incremental and --runtime-image exclude each other where no cache is kept",
            detail="artifacts are saved in the earlier image, and a runtime image has neither them nor the script",
            hint="leave out one of them, or say which directory is kept between builds: --cache DIR",
        )


@contextmanager
def _gathered(request: BuildRequest, workshop: Workshop, emit: Emit) -> Iterator[Parts]:
    """What the build is made of; the source is there while the context lasts."""
    check(request)
    with ExitStack() as opened:
        with step("fetch", request.source.location, emit) as fetched:
            tree = opened.enter_context(workshop.fetch(request.source, emit))
            fetched.size, fetched.cached = tree.size, tree.cached
        with step("choose builder", request.builder or "by detection", emit) as found:
            chosen = choose(request, tree, workshop, emit, found)
        if not (chosen.builder.caches or request.caches):
            _refuse_to_save(request)
        brought = scripts.collect(request.scripts_url, tree, download=workshop.download, emit=emit)
        runtime = runtime_of(request, chosen, brought, workshop, emit)
        server = str(chosen.server.image) if chosen.server else ""
        yield Parts(tree=tree, builder=chosen.builder, scripts=brought, runtime=runtime, server=server)


def _with_earlier(assembly: Assembly, request: BuildRequest, parts: Parts, workshop: Workshop, emit: Emit) -> Assembly:
    """The same, begun with what an earlier image saves, where that was asked for and there is one."""
    if not request.incremental:
        return assembly
    if parts.runtime is not None:
        kept = ", ".join(cache.target for cache in assembly.caches)
        emit(Notice(text=f"a runtime image saves nothing for --incremental: what is kept for the next build is {kept}"))
        return assembly
    earlier = previous_of(request, parts.builder, parts.scripts, workshop, emit)
    return with_saved(assembly, request, parts, earlier) if earlier else assembly


def _commit(tree: Tree) -> str:
    return tree.commit.id if tree.commit else ""


# ----------------------------------------------------------------------------------------------- found, or else made


def _known(recipe: str, request: BuildRequest, parts: Parts, workshop: Workshop, emit: Emit) -> Image | None:
    """The image of this recipe under all its names, and its digest if every place where it is wanted has it so."""
    if not recipe:
        return None
    there = unchanged.everywhere(recipe, request, parts.builder.facts.platform, workshop)
    with _replacing(request, workshop, emit):
        here = unchanged.in_engine(recipe, request.names, workshop)
    found = here if request.here else there or here
    if found is None:
        return None
    return replace(_image(request, parts, found.id, digest=there.digest if there else ""), unchanged=True, facts=there)


def _made(
    assembly: Assembly,
    wanted: Dependencies | None,
    request: BuildRequest,
    parts: Parts,
    workshop: Workshop,
    emit: Emit,
) -> Image:
    if wanted is not None:
        image = dependencies.provided(wanted, request, workshop, emit=emit)
        assembly = dependencies.standing_on(assembly, wanted, image)
    with _replacing(request, workshop, emit):
        if outlet := _outlet(request, workshop):
            return _sent(assembly, outlet, request, parts, emit)
        with step("assemble", parts.builder.image, emit) as assembled:
            built = workshop.engine.assemble(assembly, emit)
            assembled.size = built.size
    return _image(request, parts, built.id)


def _outlet(request: BuildRequest, workshop: Workshop) -> Outlet | None:
    """The straight way to where the image is wanted, where nobody wants it in an engine that it would pass by, and the
    next build can ask all its places whether anything has changed since: a tar tells nothing."""
    outlet, wanted = workshop.outlet, destinations(request)
    if outlet is None or not wanted:
        return None
    is_wanted_here = request.here or request.remove_previous or request.incremental
    passes = not is_wanted_here and all(target.kind in ("registry", "oci") for target in wanted)
    return outlet if outlet.keeps or passes else None


def _sent(assembly: Assembly, outlet: Outlet, request: BuildRequest, parts: Parts, emit: Emit) -> Image:
    """Made and delivered in one: the layer goes where it is wanted while it is read."""
    base = outlet.base(assembly.runtime.assembly if assembly.runtime else assembly, emit)
    with ExitStack() as opened:
        with step("assemble", parts.builder.image, emit):
            left = opened.enter_context(outlet.layered(assembly, emit))
        with step("deliver", ", ".join(places(destinations(request), request.names)), emit):
            facts = outlet.send(left, base, destinations(request), request.names, emit)
    return replace(_image(request, parts, facts.id, digest=facts.digest), facts=facts)


def _image(request: BuildRequest, parts: Parts, image: str, *, digest: str = "") -> Image:
    return Image(names=request.names, id=image, digest=digest, builder=parts.builder.image, commit=_commit(parts.tree))


def _stamped(assembly: Assembly, recipe: str, tree: Tree) -> Assembly:
    """The same with the recipe in its image, unless the source is another by then than the one that was looked at."""
    if not recipe:
        return assembly
    before = tree.digest()
    return _said(assembly, lambda: {RECIPE: recipe} if tree.digest() == before else {})


def _labelled(assembly: Assembly, label: str, value: str) -> Assembly:
    return _said(assembly, lambda: {label: value})


def _said(assembly: Assembly, more: Callable[[], Mapping[str, str]]) -> Assembly:
    """The same with more labels, which are asked for when the image is committed."""
    plain = assembly.config

    def config(metadata: bytes | None) -> ImageConfig:
        made = plain(metadata)
        return replace(made, labels={**made.labels, **more()})

    runtime = assembly.runtime
    if runtime is not None:
        runtime = replace(runtime, assembly=replace(runtime.assembly, config=config))
    return replace(assembly, config=config, runtime=runtime)


@contextmanager
def _replacing(request: BuildRequest, workshop: Workshop, emit: Emit) -> Iterator[None]:
    """Forget the images that lose their names to the result, also when what follows is interrupted."""
    names = request.names if request.remove_previous else ()
    known = [workshop.engine.held(str(name)) for name in names]
    try:
        yield
    finally:
        for image in sorted({facts.id for facts in known if facts is not None}):
            _forget(image, workshop, emit)


def _forget(image: str, workshop: Workshop, emit: Emit) -> None:
    try:
        workshop.engine.remove(image)
    except (CommitContainerFailed, Unreachable) as error:
        emit(Notice(text=f"the earlier image {image} stays: {error.message}", level="warning"))
