"""A builder's own image, and the one that its results run on: made here, of its folder and its base."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from s2ictl.assemblies import METADATA, certificates
from s2ictl.builders import Folder, RuntimePlan, builder_labels
from s2ictl.environments import handed_on
from s2ictl.errors import PullBuilderImageFailed, Refused, Unauthorized, Unreachable
from s2ictl.events import Emit, Notice, step
from s2ictl.labels import merged
from s2ictl.models import Assembly, BuildRequest, Image, ImageConfig, ImageFacts, Reference
from s2ictl.runtimes import bare_root, describe_runtime
from s2ictl.uploads import folder_entries, upload
from s2ictl.workshop import Workshop, deliver, had, just_made

_VERSION = "BUILDER_VERSION"  # the variable that tells `install` which one to make
_WORKSHOP = "/tmp"  # noqa: S108  (in the container: where a builder's own folder is put while it is made)


def build_builder(folder: Folder, request: BuildRequest, workshop: Workshop, *, emit: Emit) -> Image:
    """Make the image of one of our own builders; of the request, only what concerns the container matters."""
    facts = made(folder, request, workshop, emit)
    digest = _published(folder, workshop, emit) if request.push else ""
    return Image(names=_names(folder, folder.image), id=facts.id, digest=digest, builder=str(folder.blueprint.base))


def check_push(folder: Folder) -> None:
    """Refuse before the work what would have nowhere to go."""
    if not folder.has_registry:
        raise Refused(
            f"{folder.image} names no registry to push to",
            detail="our own builders are pulled from the place that they are pushed to, and none is named",
            hint="name it: S2ICTL_BUILDERS=registry.example.com/team, or `builders: {prefix: …}` in s2i.yaml",
        )


def _published(folder: Folder, workshop: Workshop, emit: Emit) -> str:
    """Send the images to where builders are pulled from; what the builder's results run on before the builder."""
    runtime = _names(folder, folder.runtime_image) if folder.blueprint.runtime else ()
    names = _names(folder, folder.image)
    with step("deliver", ", ".join(map(str, (*runtime, *names))), emit):
        if runtime:
            deliver(runtime, workshop, emit)
        return deliver(names, workshop, emit)


def _names(folder: Folder, image: Reference) -> tuple[Reference, ...]:
    """The first of several versions is the one that is meant without any."""
    is_first = folder.version == folder.blueprint.version
    return (image, replace(image, tag="latest")) if is_first else (image,)


def made(folder: Folder, request: BuildRequest, workshop: Workshop, emit: Emit) -> ImageFacts:
    with step("base", str(folder.blueprint.base), emit):
        base = _base_of(folder, request, workshop, emit)
    names = _names(folder, folder.image)
    with step("build builder", str(folder.image), emit):
        workshop.engine.assemble(describe_builder(folder, base, replace(request, names=names)), emit)
    facts = just_made(folder.image, workshop, emit)
    if folder.blueprint.runtime is not None:
        made_runtime(folder, folder.blueprint.runtime, facts, request, workshop, emit)
    return facts


def describe_builder(folder: Folder, base: ImageFacts, request: BuildRequest) -> Assembly:
    """The container that makes a builder's image of its folder: `install` is its assemble, and runs as root."""
    plan = folder.blueprint
    config = ImageConfig(
        command=(f"{plan.scripts}/usage",),
        entrypoint=base.entrypoint,
        user=plan.user,
        workdir=plan.workdir,
        env=tuple({**base.variables, **plan.env}.items()),
        labels=merged(base.labels, builder_labels(folder), {}),
        exposed=(f"{plan.port}/tcp",),
    )
    return Assembly(
        image=str(plan.base),
        image_id=base.id,
        digest=base.digest,
        owner=request.owner,
        command=(f"{_WORKSHOP}/src/install",),
        programs=(),
        user="0:0",
        upload=partial(upload, partial(folder_entries, folder, _WORKSHOP)),
        workspace=f"{_WORKSHOP}/.s2ictl",
        leftovers=(f"{_WORKSHOP}/src", f"{_WORKSHOP}/artifacts"),
        env=(),
        build_env=handed_on(request),
        ca_bundle=certificates(request.ca_bundle),
        timeout=request.timeout,
        metadata=METADATA,
        config=lambda _: config,
        names=request.names,
        exports=((_VERSION, folder.version),),
    )


def made_runtime(
    folder: Folder, plan: RuntimePlan, builder: ImageFacts, request: BuildRequest, workshop: Workshop, emit: Emit
) -> ImageFacts:
    image = folder.runtime_image
    names = _names(folder, image)
    with step("build runtime image", str(image), emit):
        root = bare_root(plan, folder.blueprint.user)
        bare = workshop.engine.load_base(iter((root,)), image, command=plan.command)
        assembly = describe_runtime(folder, plan, builder, bare, replace(request, names=names))
        workshop.engine.assemble(assembly, emit)
    return just_made(image, workshop, emit)


def _base_of(folder: Folder, request: BuildRequest, workshop: Workshop, emit: Emit) -> ImageFacts:
    """The base from the engine, else from a registry, else from the distribution's packages."""
    name = folder.blueprint.base
    try:
        facts, here = had(str(name), request.pull_policy, workshop, emit)
    except (Unreachable, Unauthorized, PullBuilderImageFailed) as error:
        emit(Notice(text=error.in_passing, level="warning"))
        facts, here = None, False
    if facts is not None:
        emit(Notice(text=f"the base {name} " + ("is here already" if here else "was pulled")))
        return facts
    with workshop.root_filesystem(folder.blueprint.suite, emit) as filesystem:
        return workshop.engine.load_base(filesystem, name, command=("/bin/bash",))
