"""STORY: source → tree → builder → image → digest. A builder's own image is made here too, on the same road."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace

from s2ictl.assemblies import certificates, describe, describe_builder
from s2ictl.builders import Folder, detect, promised
from s2ictl.engines import Engine
from s2ictl.errors import InvalidUsage, PullBuilderImageFailed, Refused, Unauthorized, Unreachable
from s2ictl.events import Emit, Notice, step
from s2ictl.labels import canonical
from s2ictl.models import Builder, BuildRequest, Image, ImageFacts, Logins, Reference, Source, Tree
from s2ictl.names import DOCKER_HUB

DONE = "Build completed successfully"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """What a build works with; `root_filesystem` makes a base of a distribution's suite where no registry has one."""

    engine: Engine
    fetch: Callable[[Source, Emit], AbstractContextManager[Tree]]
    find_login: Logins
    folders: tuple[Folder, ...]
    root_filesystem: Callable[[str, Emit], AbstractContextManager[Iterator[bytes]]]


def build(request: BuildRequest, workshop: Workshop, *, emit: Emit) -> Image:
    """Turn a source into an image, named by its digest once it is pushed."""
    check(request)
    with ExitStack() as opened:
        with step("fetch", request.source.location, emit) as fetched:
            tree = opened.enter_context(workshop.fetch(request.source, emit))
            fetched.size, fetched.cached = tree.size, tree.cached
        with step("choose builder", request.builder or "by detection", emit):
            builder = choose(request, tree, workshop, emit)
            _spare(builder.image, request)  # one of our own, or one that was detected, has this name only now
        with step("assemble", builder.image, emit) as assembled:
            built = workshop.engine.assemble(describe(request, tree, builder, emit), emit)
            assembled.size = built.size
    digest = ""
    if request.push:
        with step("deliver", ", ".join(str(name) for name in request.names), emit):
            digest = deliver(request.names, workshop, emit)
    emit(Notice(text=DONE))
    commit = tree.commit.id if tree.commit else ""
    return Image(names=request.names, id=built.id, digest=digest, builder=builder.image, commit=commit)


def check(request: BuildRequest) -> None:
    """Refuse what would be found out only after the work."""
    if request.push and not request.names:
        raise InvalidUsage("a push needs a name for the image", hint="--tag registry.example.com/team/app:1.0")
    if any(name.digest for name in request.names):
        raise InvalidUsage("a digest cannot be chosen: it follows from the content", hint="name a tag instead")
    if request.builder:
        _spare(request.builder, request)
    certificates(request.ca_bundle)


def _spare(builder: str, request: BuildRequest) -> None:
    if any(canonical(str(name)) == canonical(builder) for name in request.names):
        raise Refused(f"the result would replace its own builder {builder}", hint="choose another --tag")


def choose(request: BuildRequest, tree: Tree, workshop: Workshop, emit: Emit) -> Builder:
    """The builder that was named, by the name of an image or of one of our own, or else the one that fits."""
    own = {folder.name: folder for folder in workshop.folders}
    if request.builder and request.builder not in own:
        return _foreign(request, workshop, emit)
    folder = own.get(request.builder)
    if folder is None:
        choice = detect(tree.paths, workshop.folders)
        emit(Notice(text=f"builder {choice.folder.name}, because of {choice.because}"))
        folder = choice.folder
    return _ours(folder, request, workshop, emit)


def _foreign(request: BuildRequest, workshop: Workshop, emit: Emit) -> Builder:
    image = request.builder
    login = workshop.find_login(host_of(Reference.parse(image)))
    facts = workshop.engine.facts(image, pull=request.pull_policy, login=login, emit=emit)
    if facts is None:
        raise PullBuilderImageFailed(
            f"there is no builder image {image}",
            detail="looked in the engine" + ("" if request.pull_policy == "never" else " and in its registry"),
            hint="check the name, or log in to its registry",
        )
    return promised(image, facts)


def _ours(folder: Folder, request: BuildRequest, workshop: Workshop, emit: Emit) -> Builder:
    # Never pulled: the name has no registry of ours, and on Docker Hub it could be anybody's.
    facts = workshop.engine.facts(str(folder.image), pull="never", login=None, emit=emit)
    if facts is None:
        emit(Notice(text=f"{folder.image} is not here yet: it is built now, once"))
        facts = _made(folder, request, workshop, emit)
    return promised(str(folder.image), facts)


def deliver(names: tuple[Reference, ...], workshop: Workshop, emit: Emit) -> str:
    """Push under every name; the digest is the same for all."""
    digests = [workshop.engine.push(name, login=workshop.find_login(host_of(name)), emit=emit) for name in names]
    return digests[0]


def host_of(name: Reference) -> str:
    """The registry that a name means."""
    return name.registry or DOCKER_HUB


# ------------------------------------------------------------------------------------------- a builder's own image


def build_builder(folder: Folder, request: BuildRequest, workshop: Workshop, *, emit: Emit) -> Image:
    """Make the image of one of our own builders; of the request, only what concerns the container matters."""
    facts = _made(folder, request, workshop, emit)
    names = (folder.image, replace(folder.image, tag="latest"))
    return Image(names=names, id=facts.id, builder=str(folder.blueprint.base))


def _made(folder: Folder, request: BuildRequest, workshop: Workshop, emit: Emit) -> ImageFacts:
    with step("base", str(folder.blueprint.base), emit):
        base = base_of(folder, request, workshop, emit)
    names = (folder.image, replace(folder.image, tag="latest"))
    with step("build builder", str(folder.image), emit):
        workshop.engine.assemble(describe_builder(folder, base, replace(request, names=names)), emit)
    facts = workshop.engine.facts(str(folder.image), pull="never", login=None, emit=emit)
    if facts is None:
        raise PullBuilderImageFailed(f"{folder.image} was built and is gone again", hint="build it again")
    return facts


def base_of(folder: Folder, request: BuildRequest, workshop: Workshop, emit: Emit) -> ImageFacts:
    """The base from the engine, else from a registry, else from the distribution's packages."""
    name = folder.blueprint.base
    try:
        login = workshop.find_login(host_of(name))
        facts = workshop.engine.facts(str(name), pull=request.pull_policy, login=login, emit=emit)
    except (Unreachable, Unauthorized, PullBuilderImageFailed) as error:
        emit(Notice(text=f"{error.message}: {error.detail}", level="warning"))
        facts = None
    if facts is not None:
        return facts
    with workshop.root_filesystem(folder.blueprint.suite, emit) as filesystem:
        return workshop.engine.load_base(filesystem, name, command=("/bin/bash",))
