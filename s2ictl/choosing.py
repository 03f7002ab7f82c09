"""Which images a build stands on: the builder, the image that its result runs on, the earlier one of the same name."""

from __future__ import annotations

from s2ictl import scripts
from s2ictl.aliases import meant
from s2ictl.assemblies import Earlier, variables_of
from s2ictl.builders import (
    MADE_OF,
    PREFIX,
    Folder,
    RuntimePlan,
    fingerprint,
    named,
    near_to,
    outdated,
    promised,
    promised_runtime,
)
from s2ictl.detection import detect, fitting, unfinished
from s2ictl.errors import LimitReached, PullBuilderImageFailed, Refused, Unauthorized, Unreachable
from s2ictl.events import Emit, Findings, Notice, step
from s2ictl.foundry import made, made_runtime
from s2ictl.labels import canonical
from s2ictl.models import Builder, BuildRequest, ImageFacts, PullPolicy, Reference, Tree
from s2ictl.values import dataclass
from s2ictl.workshop import Workshop, had, nowhere

_OURS = f"docker.io/{PREFIX}/"


def spare(taken: str, request: BuildRequest, *, what: str) -> None:
    if any(canonical(str(name)) == canonical(taken) for name in request.names):
        raise Refused(f"the result would replace its own {what} {taken}", hint="choose another --tag")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Who builds, and the builder of ours that runs what another one has built; None where there is no such one."""

    builder: Builder
    server: Folder | None = None


def choose(request: BuildRequest, tree: Tree, workshop: Workshop, emit: Emit, found: Findings) -> Chosen:
    """The builder that was named, by the name of an image or of one of our own, or else the one that fits."""
    server = _named(request.runtime_image, tree, workshop, emit) if request.runtime_image else None
    folder = _meant(request.builder, tree, workshop, emit) if request.builder else _detected(tree, workshop, emit)
    if folder is None:
        return Chosen(builder=_foreign(request, workshop, emit, found), server=server)
    maker = _maker(folder, request, tree, workshop, emit)
    if maker is None:
        return Chosen(builder=_ours(folder, request, workshop, emit, found), server=server)
    return Chosen(builder=_ours(maker, request, workshop, emit, found), server=folder)


def _detected(tree: Tree, workshop: Workshop, emit: Emit) -> Folder:
    choice = detect(tree, workshop.folders(""))
    emit(Notice(text=f"builder {choice.folder.word}, because of {choice.because}"))
    return choice.folder


def _meant(word: str, tree: Tree, workshop: Workshop, emit: Emit) -> Folder | None:
    """One of our own: by its name, by its image's, or by the name that another platform has for such a one."""
    folder = _named(word, tree, workshop, emit)
    if folder is None and (other := meant(word, workshop.folders(word))):
        emit(other.notice)
        return other.folder
    return folder


def _named(word: str, tree: Tree, workshop: Workshop, emit: Emit) -> Folder | None:
    """One of our own; in the version for which the source speaks, where none was said."""
    folder = named(word, workshop.folders(word))
    choice = fitting(folder, tree) if folder and word == folder.name else None
    if choice is None or choice.folder == folder:
        return folder
    emit(Notice(text=f"{word} is {choice.folder.word} here, because of {choice.because}"))
    return choice.folder


def _maker(folder: Folder, request: BuildRequest, tree: Tree, workshop: Workshop, emit: Emit) -> Folder | None:
    """Who makes what the builder that was named only takes finished; None where it is finished."""
    maker = folder.blueprint.made_by
    first = named(maker.builder, workshop.folders(maker.builder)) if maker and not request.runtime_image else None
    if maker is None or first is None or not unfinished(maker, tree, variables_of(request, tree)):
        return None
    emit(Notice(text=f"{first.name} builds this first, because of {maker.where}; the result runs on {folder.image}"))
    return first


def _foreign(request: BuildRequest, workshop: Workshop, emit: Emit, found: Findings) -> Builder:
    image = request.builder
    # Another version of one of ours is never pulled either: on Docker Hub the name could be anybody's.
    policy = "never" if canonical(image).startswith(_OURS) else request.pull_policy
    # What has an account in its name was meant to be an image.
    if "/" not in image and (near := near_to(image, workshop.folders(""))):
        text = f"no builder here is called {image}, so an image of that name is looked for; did you mean {near}?"
        emit(Notice(text=text, level="warning"))
    try:
        facts, found.cached = had(image, policy, workshop, emit)
        if facts is None:
            raise nowhere("builder image", image, policy)
    except (PullBuilderImageFailed, Unauthorized, Unreachable) as error:
        if request.names:
            raise
        hint = "; ".join(filter(None, (error.hint, f"if the result was to be called so: --tag {image}")))
        raise type(error)(error.message, detail=error.detail, hint=hint) from error
    for word in outdated(image, facts):
        emit(Notice(text=word, level="warning"))
    return promised(image, facts, destination=request.destination)


def _ours(folder: Folder, request: BuildRequest, workshop: Workshop, emit: Emit, found: Findings) -> Builder:
    spare(str(folder.image), request, what="builder")
    facts, found.cached = provided(folder, request, request.pull_policy, workshop, emit)
    return promised(str(folder.image), facts, destination=request.destination)


def provided(
    folder: Folder, request: BuildRequest, policy: PullPolicy, workshop: Workshop, emit: Emit
) -> tuple[ImageFacts, bool]:
    """The image of one of our builders, made where there is none yet, and whether it was here already."""
    facts, here = _of_this_folder(folder, folder.image, policy, workshop, emit)
    return (facts, here) if facts else (made(folder, request, workshop, emit), False)


def _of_this_folder(
    folder: Folder, image: Reference, policy: PullPolicy, workshop: Workshop, emit: Emit
) -> tuple[ImageFacts | None, bool]:
    """The image that is made of this very folder, and whether it was here already; None where it is to be built."""
    here, _ = had(str(image), "never", workshop, emit)
    facts, wanted = here, fingerprint(folder)
    fits = facts is not None and facts.labels.get(MADE_OF) == wanted
    # Without a registry that is said to be ours it is never pulled: on Docker Hub the name could be anybody's.
    asked = folder.has_registry and (policy == "always" or (policy == "if-not-present" and not fits))
    if asked:
        facts = _pulled(image, workshop, emit) or here
    if facts is not None and facts.labels.get(MADE_OF) == wanted:
        return facts, not asked
    why = "is not here yet" if facts is None else "was made of another version of its folder"
    emit(Notice(text=f"{image} {why}: it is built now, once"))
    return None, False


def _pulled(image: Reference, workshop: Workshop, emit: Emit) -> ImageFacts | None:
    """The image from the registry that is said to have it; nothing depends on that registry."""
    try:
        return had(str(image), "always", workshop, emit)[0]
    except (Unreachable, Unauthorized, PullBuilderImageFailed, LimitReached) as error:
        emit(Notice(text=error.in_passing, level="warning"))
        return None


# ------------------------------------------------------------------------------------------------ the runtime image


def runtime_of(
    request: BuildRequest, chosen: Chosen, brought: scripts.Scripts, workshop: Workshop, emit: Emit
) -> Builder | None:
    """What the result is put onto: the image that the user names, else the one that belongs to one of our builders."""
    builder = chosen.builder
    if chosen.server:
        return _served_by(chosen.server, request, workshop, emit)
    if request.runtime_image:
        return _foreign_runtime(request, workshop, emit)
    folder = named(builder.image, workshop.folders(builder.image))
    if folder is None or folder.blueprint.runtime is None:
        return None
    if why := _staying(request, brought):
        emit(Notice(text=f"the result stays on {builder.image}: {why}"))
        return None
    return _our_runtime(folder, folder.blueprint.runtime, request, builder, workshop, emit)


def _served_by(folder: Folder, request: BuildRequest, workshop: Workshop, emit: Emit) -> Builder:
    """One of our builders, as what the result of another one runs on."""
    image = str(folder.image)
    spare(image, request, what="runtime image")
    with step("runtime image", image, emit) as found:
        facts, found.cached = provided(folder, request, request.runtime_pull_policy, workshop, emit)
    return promised_runtime(image, facts, destination=request.destination)


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
    spare(image, request, what="runtime image")
    with step("runtime image", image, emit) as found:
        facts, found.cached = _of_this_folder(folder, folder.runtime_image, request.pull_policy, workshop, emit)
    if facts is None:
        facts = made_runtime(folder, plan, builder.facts, request, workshop, emit)
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


def previous_of(
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
            why = error.in_passing
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
