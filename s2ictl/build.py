"""STORY: source → tree → builder → image → digest. A builder's own image is made here too, on the same road."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace

from s2ictl import scripts
from s2ictl.assemblies import Earlier, Parts, certificates, describe, describe_builder, excluding
from s2ictl.builders import (
    MADE_OF,
    Folder,
    RuntimePlan,
    detect,
    fingerprint,
    near_to,
    outdated,
    promised,
    promised_runtime,
)
from s2ictl.engines import Engine
from s2ictl.errors import (
    CommitContainerFailed,
    InvalidUsage,
    LimitReached,
    PullBuilderImageFailed,
    Refused,
    Unauthorized,
    Unreachable,
)
from s2ictl.events import Emit, Findings, Notice, step
from s2ictl.labels import canonical
from s2ictl.models import (
    Assembly,
    Builder,
    BuildRequest,
    Image,
    ImageFacts,
    Logins,
    PullPolicy,
    Reference,
    Source,
    Tree,
    parse_place,
)
from s2ictl.names import DOCKER_HUB
from s2ictl.runtimes import bare_root, describe_runtime

DONE = "Build completed successfully"
_OURS = "docker.io/s2ictl/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """What a build works with; `root_filesystem` makes a base of a distribution's suite where no registry has one."""

    engine: Engine
    fetch: Callable[[Source, Emit], AbstractContextManager[Tree]]
    find_login: Logins
    folders: tuple[Folder, ...]
    root_filesystem: Callable[[str, Emit], AbstractContextManager[Iterator[bytes]]]
    download: scripts.Download


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A build of which everything is known and nothing has run."""

    assembly: Assembly
    builder: str
    commit: str


def build(request: BuildRequest, workshop: Workshop, *, emit: Emit) -> Image:
    """Turn a source into an image, named by its digest once it is pushed."""
    with ExitStack() as opened:
        with prepare(request, workshop, emit=emit) as prepared:
            opened.enter_context(_replacing(request, workshop, emit))
            with step("assemble", prepared.builder, emit) as assembled:
                built = workshop.engine.assemble(prepared.assembly, emit)
                assembled.size = built.size
        digest = ""
        if request.push:
            with step("deliver", ", ".join(str(name) for name in request.names), emit):
                digest = deliver(request.names, workshop, emit)
    emit(Notice(text=DONE))
    return Image(names=request.names, id=built.id, digest=digest, builder=prepared.builder, commit=prepared.commit)


@contextmanager
def prepare(request: BuildRequest, workshop: Workshop, *, emit: Emit) -> Iterator[Prepared]:
    """What the engine is to perform, described; the source is there while the context lasts."""
    check(request)
    with ExitStack() as opened:
        with step("fetch", request.source.location, emit) as fetched:
            tree = opened.enter_context(workshop.fetch(request.source, emit))
            fetched.size, fetched.cached = tree.size, tree.cached
        with step("choose builder", request.builder or "by detection", emit) as chosen:
            builder = choose(request, tree, workshop, emit, chosen)
        brought = scripts.collect(request.scripts_url, tree, download=workshop.download, emit=emit)
        parts = Parts(
            tree=tree,
            builder=builder,
            scripts=brought,
            previous=_previous(request, builder, brought, workshop, emit) if request.incremental else None,
            runtime=_runtime(request, builder, brought, workshop, emit),
        )
        commit = tree.commit.id if tree.commit else ""
        yield Prepared(assembly=describe(request, parts, emit), builder=builder.image, commit=commit)


def check(request: BuildRequest) -> None:
    """Refuse what would be found out only after the work."""
    if request.push and not request.names:
        raise InvalidUsage("a push needs a name for the image", hint="--tag registry.example.com/team/app:1.0")
    if any(name.digest for name in request.names):
        raise InvalidUsage("a digest cannot be chosen: it follows from the content", hint="name a tag instead")
    for what, taken in (("builder", request.builder), ("runtime image", request.runtime_image)):
        if taken:
            _spare(taken, request, what=what)
    if request.incremental and request.runtime_image:
        raise InvalidUsage(
            "--incremental and --runtime-image exclude each other",
            detail="artifacts are saved in the earlier image, and a runtime image has neither them nor the script",
            hint="leave out one of them",
        )
    if request.runtime_artifacts and not request.runtime_image:
        raise InvalidUsage("--runtime-artifact says nothing without --runtime-image", hint="--runtime-image IMAGE")
    if request.destination:
        parse_place(request.destination)
    excluding(request.exclude)
    certificates(request.ca_bundle)


def _spare(taken: str, request: BuildRequest, *, what: str) -> None:
    if any(canonical(str(name)) == canonical(taken) for name in request.names):
        raise Refused(f"the result would replace its own {what} {taken}", hint="choose another --tag")


def choose(request: BuildRequest, tree: Tree, workshop: Workshop, emit: Emit, found: Findings) -> Builder:
    """The builder that was named, by the name of an image or of one of our own, or else the one that fits."""
    folder = _named(request.builder, workshop.folders) if request.builder else None
    if request.builder and folder is None:
        return _foreign(request, workshop, emit, found)
    if folder is None:
        choice = detect(tree.paths, workshop.folders)
        emit(Notice(text=f"builder {choice.folder.name}, because of {choice.because}"))
        folder = choice.folder
    return _ours(folder, request, workshop, emit, found)


def _named(builder: str, folders: tuple[Folder, ...]) -> Folder | None:
    own = (each for each in folders if builder == each.name or canonical(builder) == canonical(str(each.image)))
    return next(own, None)


def _foreign(request: BuildRequest, workshop: Workshop, emit: Emit, found: Findings) -> Builder:
    image = request.builder
    # Another version of one of ours is never pulled either: on Docker Hub the name could be anybody's.
    policy = "never" if canonical(image).startswith(_OURS) else request.pull_policy
    if near := near_to(image, workshop.folders):
        text = f"no builder here is called {image}, so an image of that name is looked for; did you mean {near}?"
        emit(Notice(text=text, level="warning"))
    facts, found.cached = had(image, policy, workshop, emit)
    if facts is None:
        raise nowhere("builder image", image, policy)
    for word in outdated(image, facts):
        emit(Notice(text=word, level="warning"))
    return promised(image, facts, destination=request.destination)


def _ours(folder: Folder, request: BuildRequest, workshop: Workshop, emit: Emit, found: Findings) -> Builder:
    _spare(str(folder.image), request, what="builder")
    # Never pulled: the name has no registry of ours, and on Docker Hub it could be anybody's.
    facts, _ = had(str(folder.image), "never", workshop, emit)
    found.cached = facts is not None and facts.labels.get(MADE_OF) == fingerprint(folder)
    if facts is None or not found.cached:
        why = "is not here yet" if facts is None else "was made of another version of its folder"
        emit(Notice(text=f"{folder.image} {why}: it is built now, once"))
        facts = _made(folder, request, workshop, emit)
    return promised(str(folder.image), facts, destination=request.destination)


def had(image: str, policy: PullPolicy, workshop: Workshop, emit: Emit) -> tuple[ImageFacts | None, bool]:
    """What an image says, and whether it was here already; a login is looked for only where something is pulled."""
    if policy != "always":
        facts = workshop.engine.facts(image, pull="never", login=None, emit=emit)
        if facts is not None or policy == "never":
            return facts, facts is not None
    login = workshop.find_login(host_of(Reference.parse(image)))
    return workshop.engine.facts(image, pull=policy, login=login, emit=emit), False


def nowhere(what: str, image: str, policy: PullPolicy) -> PullBuilderImageFailed:
    return PullBuilderImageFailed(
        f"there is no {what} {image}",
        detail="looked in the engine" + ("" if policy == "never" else " and in its registry"),
        hint="check the name, or log in to its registry",
    )


# ------------------------------------------------------------------------------------------------ the runtime image


def _runtime(
    request: BuildRequest, builder: Builder, brought: scripts.Scripts, workshop: Workshop, emit: Emit
) -> Builder | None:
    """What the result is put onto: the image that the user names, else the one that belongs to one of our builders."""
    if request.runtime_image:
        return _foreign_runtime(request, workshop, emit)
    folder = _named(builder.image, workshop.folders)
    if folder is None or folder.blueprint.runtime is None:
        return None
    if why := _staying(request, brought):
        emit(Notice(text=f"the result stays on {builder.image}: {why}"))
        return None
    return _our_runtime(folder, folder.blueprint.runtime, request, builder, workshop, emit)


def _staying(request: BuildRequest, brought: scripts.Scripts) -> str:
    """Why a result needs more than the builder's runtime image has; "" when it does not."""
    if request.incremental:
        return "what --incremental saves for the next build is kept there"
    if request.keep_source:
        return "that is where --keep-source keeps it"
    if brought.place or any(script.name == "run" for script in brought.brought):
        return "a run script that is not the builder's may need what is there"
    return ""


def _our_runtime(
    folder: Folder, plan: RuntimePlan, request: BuildRequest, builder: Builder, workshop: Workshop, emit: Emit
) -> Builder:
    image = str(folder.runtime_image)
    _spare(image, request, what="runtime image")
    with step("runtime image", image, emit) as found:
        facts, _ = had(image, "never", workshop, emit)
        found.cached = facts is not None and facts.labels.get(MADE_OF) == fingerprint(folder)
    if facts is None or not found.cached:
        facts = _made_runtime(folder, plan, builder.facts, request, workshop, emit)
    return promised_runtime(image, facts, destination=request.destination)


def _foreign_runtime(request: BuildRequest, workshop: Workshop, emit: Emit) -> Builder:
    image = request.runtime_image
    policy = "never" if canonical(image).startswith(_OURS) else request.runtime_pull_policy
    with step("runtime image", image, emit) as found:
        facts, found.cached = had(image, policy, workshop, emit)
        if facts is None:
            raise nowhere("runtime image", image, policy)
        return promised_runtime(image, facts, destination=request.destination)


# ------------------------------------------------------------------------------------------------- the earlier image


def _previous(
    request: BuildRequest, builder: Builder, brought: scripts.Scripts, workshop: Workshop, emit: Emit
) -> Earlier | None:
    """The image whose artifacts are saved. Nothing depends on it: where there is none, the build begins anew."""
    names = ", ".join(map(str, request.names))
    if not names:
        why = "an image without a name has no earlier one"
    elif not scripts.locate("save-artifacts", brought, destination=builder.destination, own=builder.scripts):
        why = "there is no save-artifacts script"
    else:
        try:
            with step("earlier image", names, emit) as found:
                earlier = _earlier(request, workshop, emit, found)
            if earlier is not None:
                return earlier
            why = f"there is no {names} yet"
        except (Unreachable, Unauthorized, PullBuilderImageFailed, LimitReached) as error:
            why = f"{error.message}: {error.detail}".removesuffix(": ")
    emit(Notice(text=f"nothing is saved from an earlier build: {why}", level="warning"))
    return None


def _earlier(request: BuildRequest, workshop: Workshop, emit: Emit, found: Findings) -> Earlier | None:
    """The first of the names that leads to an image: one of several may be new with each commit."""
    for name in request.names:
        facts, found.cached = had(str(name), _policy_for(name, request), workshop, emit)
        if facts is not None:
            return Earlier(image=str(name), id=facts.id)
    return None


def _policy_for(earlier: Reference, request: BuildRequest) -> PullPolicy:
    """Without a registry the name is ours on this machine alone, so it is not pulled unless that is said."""
    usual = request.incremental_pull_policy == "if-not-present" and not earlier.registry
    return "never" if usual else request.incremental_pull_policy


@contextmanager
def _replacing(request: BuildRequest, workshop: Workshop, emit: Emit) -> Iterator[None]:
    """Forget the images that lose their names to the result, also when what follows is interrupted."""
    names = request.names if request.remove_previous else ()
    known = [workshop.engine.facts(str(name), pull="never", login=None, emit=emit) for name in names]
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


# ------------------------------------------------------------------------------------------------------ the registry


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
    facts = _just_made(folder.image, workshop, emit)
    if folder.blueprint.runtime is not None:
        _made_runtime(folder, folder.blueprint.runtime, facts, request, workshop, emit)
    return facts


def _made_runtime(
    folder: Folder, plan: RuntimePlan, builder: ImageFacts, request: BuildRequest, workshop: Workshop, emit: Emit
) -> ImageFacts:
    image = folder.runtime_image
    names = (image, replace(image, tag="latest"))
    with step("build runtime image", str(image), emit):
        root = bare_root(plan, folder.blueprint.user)
        bare = workshop.engine.load_base(iter((root,)), image, command=plan.command)
        assembly = describe_runtime(folder, plan, builder, bare, replace(request, names=names))
        workshop.engine.assemble(assembly, emit)
    return _just_made(image, workshop, emit)


def _just_made(image: Reference, workshop: Workshop, emit: Emit) -> ImageFacts:
    facts = workshop.engine.facts(str(image), pull="never", login=None, emit=emit)
    if facts is None:
        raise PullBuilderImageFailed(f"{image} was built and is gone again", hint="build it again")
    return facts


def base_of(folder: Folder, request: BuildRequest, workshop: Workshop, emit: Emit) -> ImageFacts:
    """The base from the engine, else from a registry, else from the distribution's packages."""
    name = folder.blueprint.base
    try:
        facts, here = had(str(name), request.pull_policy, workshop, emit)
    except (Unreachable, Unauthorized, PullBuilderImageFailed) as error:
        emit(Notice(text=f"{error.message}: {error.detail}", level="warning"))
        facts, here = None, False
    if facts is not None:
        emit(Notice(text=f"the base {name} " + ("is here already" if here else "was pulled")))
        return facts
    with workshop.root_filesystem(folder.blueprint.suite, emit) as filesystem:
        return workshop.engine.load_base(filesystem, name, command=("/bin/bash",))
