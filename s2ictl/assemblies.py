"""A build described: pure functions from request and parts to the one or two containers that an engine performs."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from s2ictl import scripts, uids
from s2ictl.archives import Entry
from s2ictl.builders import MADE_OF, artifacts_of, is_below
from s2ictl.caches import OWN_PLACES, caches_of
from s2ictl.environments import environment_of, handed_on, parse_environment, too_large
from s2ictl.errors import InvalidUsage, LimitReached, PullBuilderImageFailed
from s2ictl.events import Emit, Event, Notice
from s2ictl.labels import labels_of, merged, read_metadata, record_of
from s2ictl.models import (
    Assembly,
    Builder,
    BuildRequest,
    ImageConfig,
    ImageFacts,
    Runtime,
    RuntimeArtifact,
    Salvage,
    Tree,
)
from s2ictl.scripts import Located, Script, Scripts
from s2ictl.uploads import script_entries, source_entries, upload
from s2ictl.values import dataclass

METADATA = "/tmp/.s2i/image_metadata.json"  # noqa: S108  (in the container, as the contract says)
_METADATA_LIMIT = 256 * 1024
EPOCH = "SOURCE_DATE_EPOCH"
_RUNTIME = "RUNTIME_IMAGE"  # the variable that tells scripts what the result is put onto
_ENVIRONMENT, _OLD_ENVIRONMENT = ".s2i/environment", ".sti/environment"
_LARGEST_BUNDLE = 4 << 20
_LONGEST_PATTERN = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """An image that has one of the result's names until now."""

    image: str
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a build is made of, all of it found before anything runs.

    `runtime` is the image that is to run the result, where that is another one; `server` is its name where it is the
    builder that was asked for, and `builder` the one that builds for it.
    """

    tree: Tree
    builder: Builder
    scripts: Scripts
    runtime: Builder | None = None
    server: str = ""


def describe(request: BuildRequest, parts: Parts, emit: Emit) -> Assembly:
    """What makes an application's image of its source."""
    builder = parts.builder
    caches = caches_of(request, parts.tree, builder, emit)
    _refuse_volumes(request, builder)
    environment = environment_of(request, *_environment_file(parts.tree, emit), emit)
    both = replace(request, runtime_image=request.runtime_image or parts.server)  # a rebuild is by the same two
    record = record_of(both, allowed_uids=uids.shown(request.allowed_uids))
    labels = labels_of(request, parts.tree, builder, record)
    assemble = _required("assemble", parts)
    run = _required("run", parts) if parts.runtime is None else None
    user = _user("--assemble-user", request.assemble_user, builder, request, emit)
    first = Assembly(
        image=builder.image,
        image_id=builder.facts.id,
        digest=builder.facts.digest,
        owner=request.owner,
        command=(assemble.path,),
        programs=_own(assemble, run),
        user=user,
        upload=partial(upload, _source(request, parts)),
        workspace=f"{builder.destination}/.s2ictl",
        leftovers=_leftovers(request, builder, emit),
        env=tuple(environment.items()),
        build_env=handed_on(request),
        ca_bundle=certificates(request.ca_bundle),
        timeout=request.timeout,
        metadata=METADATA,
        config=_config(builder.facts, run, environment, labels),
        names=request.names,
        secrets=request.secrets,
        injections=request.injections,
        confinement=request.confinement,
        keep=request.keep,
        exports=_exports(request, parts.tree, environment),
        caches=caches,
        epoch=_epoch(request, parts.tree) if _settles(request, parts.tree) else None,
    )
    return first if parts.runtime is None else _in_two(first, request, parts.scripts, parts.runtime, labels, emit)


def _in_two(
    first: Assembly,
    request: BuildRequest,
    available: Scripts,
    image: Builder,
    labels: Mapping[str, str],
    emit: Emit,
) -> Assembly:
    """The same in two stages: what was built goes into an image that keeps its own ways, and that is the result."""
    facts, destination = image.facts, image.destination
    # A place that the user named is in the builder's image; what this one has, its own label says.
    brought = replace(available, place="")
    assemble = scripts.locate("assemble-runtime", brought, destination=destination, own=image.scripts)
    run = scripts.locate("run", brought, destination=destination, own=image.scripts)
    root = facts.workdir or "/"
    second = replace(
        first,
        image=image.image,
        image_id=facts.id,
        digest=facts.digest,
        command=(assemble.path,) if assemble else (),
        programs=_own(assemble, run),
        user=_runtime_user(request, image, assemble, emit),
        upload=partial(upload, partial(script_entries, destination, _named(brought, "run", "assemble-runtime"))),
        workspace=f"{destination}/.s2ictl",
        leftovers=(),
        config=_config(facts, run, dict(first.env), labels),
        secrets=(),
        injections=(),
        caches=(),
        # As in the older tool a volume is for what assembles in the builder: here it would only hide the artifacts.
        confinement=replace(first.confinement, volumes=()),
    )
    runtime = Runtime(assembly=second, artifacts=_artifacts(request, image, root), root=root)
    exports = (*first.exports, (_RUNTIME, image.image))
    return replace(first, names=(), config=second.config, exports=exports, runtime=runtime)


def with_saved(assembly: Assembly, request: BuildRequest, parts: Parts, earlier: Earlier) -> Assembly:
    """The same, begun with what an earlier image saves.

    The script that was resolved now runs in the earlier image, so that an edited one acts at once.
    """
    builder = parts.builder
    script = scripts.locate("save-artifacts", parts.scripts, destination=builder.destination, own=builder.scripts)
    if script is None:
        return assembly
    brought = () if script.own else _named(parts.scripts, "save-artifacts")
    salvage = Salvage(
        image=earlier.image,
        image_id=earlier.id,
        command=(script.path,),
        user=assembly.user,
        upload=partial(upload, partial(script_entries, builder.destination, brought)),
        target=f"{builder.destination}/artifacts",
        confinement=request.confinement,
        timeout=request.timeout,
    )
    return replace(assembly, salvage=salvage)


def _artifacts(request: BuildRequest, image: Builder, root: str) -> tuple[RuntimeArtifact, ...]:
    artifacts = request.runtime_artifacts or artifacts_of(image.image, image.facts)
    if not artifacts:
        raise InvalidUsage(
            f"nothing is said of what goes into the runtime image {image.image}",
            detail="it has no label io.openshift.s2i.assemble-input-files either",
            hint="--runtime-artifact /PATH/IN/THE/BUILDER[:DIRECTORY]",
        )
    for volume in image.facts.volumes:
        if lost := next((each for each in artifacts if is_below(f"{root.rstrip('/')}/{each.target}", volume)), None):
            raise PullBuilderImageFailed(
                f"{image.image} declares {volume} a volume, so {lost.source} cannot be put there",
                hint=f"name another directory: --runtime-artifact {lost.source}:DIRECTORY",
            )
    return artifacts


def _config(
    facts: ImageFacts, run: Located | None, environment: Mapping[str, str], labels: Mapping[str, str]
) -> Callable[[bytes | None], ImageConfig]:
    """The image below, but for its environment and labels, and for its command where there is a script to run."""

    def config(metadata: bytes | None) -> ImageConfig:
        asked = read_metadata(metadata, METADATA, _METADATA_LIMIT) if metadata is not None else {}
        return ImageConfig(
            command=(run.path,) if run else facts.command,
            entrypoint=facts.entrypoint,
            user=facts.user,
            workdir=facts.workdir,
            env=tuple({**facts.variables, **environment}.items()),
            labels=merged(facts.labels, labels, asked),
            exposed=facts.exposed,
        )

    return config


# ------------------------------------------------------------------------------------------- scripts, users, places


def _required(name: str, parts: Parts) -> Located:
    builder = parts.builder
    script = scripts.locate(name, parts.scripts, destination=builder.destination, own=builder.scripts)
    if script is None:
        raise PullBuilderImageFailed(
            f"there is no {name} script: {builder.image} is not labelled as a builder",
            detail=f"looked for the label io.openshift.s2i.scripts-url, and for .s2i/bin/{name} in the source",
            hint="name a builder image: s2ictl build SOURCE BUILDER",
        )
    return script


def _own(*located: Located | None) -> tuple[str, ...]:
    """What the image itself must have."""
    return tuple(each.path for each in located if each and each.own)


def _named(available: Scripts, *names: str) -> tuple[Script, ...]:
    return tuple(script for script in available.brought if script.name in names)


def _user(flag: str, named: str, image: Builder, request: BuildRequest, emit: Emit) -> str:
    """Who runs the script: the user's word, then the label's, then the image's; and whether he may."""
    user = named or image.assemble_user or image.facts.user
    whose = flag if named else f"a label of {image.image}" if image.assemble_user else image.image
    uids.judge(user, request.allowed_uids, whose=whose, instead=f"name another one: {flag} UID")
    if not request.allowed_uids and uids.is_root(user):
        text = f"scripts run as root in {image.image}; {flag} UID names another user, --allowed-uids forbids it"
        emit(Notice(text=text, level="warning"))
    return user


def _runtime_user(request: BuildRequest, image: Builder, assemble: Located | None, emit: Emit) -> str:
    """The policy holds for who assembles there, and for whom the result runs as."""
    whose = f"the runtime image {image.image}"
    uids.judge(
        image.facts.user, request.allowed_uids, whose=whose, instead="name a --runtime-image with a user of its own"
    )
    if assemble is None:
        if not image.facts.labels.get(MADE_OF):  # those of our builders are made for nothing else
            text = f"there is no assemble-runtime: the artifacts are put into {image.image}, and nothing is run"
            emit(Notice(text=text))
        return image.facts.user
    return _user("--assemble-runtime-user", request.assemble_runtime_user, image, request, emit)


def _exports(request: BuildRequest, tree: Tree, environment: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The time that every script gives what it makes, unless the user has said another to this very build."""
    said = environment.keys() | dict(handed_on(request)).keys()
    epoch = _epoch(request, tree)
    is_known = bool(epoch) or request.epoch is not None
    return ((EPOCH, str(epoch)),) if is_known and EPOCH not in said else ()


def _epoch(request: BuildRequest, tree: Tree) -> int:
    if request.epoch is not None:
        return request.epoch
    return tree.commit.epoch if tree.commit else tree.epoch


def _settles(request: BuildRequest, tree: Tree) -> bool:
    """Whether the time that a build leaves in its layer is to be the source's: a directory's own is of little worth."""
    return tree.commit is not None or request.epoch is not None or request.settled


def _refuse_volumes(request: BuildRequest, builder: Builder) -> None:
    """A mount at our places cannot be moved or removed, as scripts do; one above hides what is uploaded.

    Whatever is put into one is put into the user's own files, and taken away there.
    """
    for volume in request.confinement.volumes:
        for name in OWN_PLACES:
            if is_below(f"{builder.destination}/{name}", volume.target):
                raise InvalidUsage(
                    f"--volume {volume.source}:{volume.target} lies over {builder.destination}/{name}",
                    detail="the source is put there, moved from there and removed again, which no mount allows",
                    hint="put the volume elsewhere; directories below are fine",
                )
        for injection in request.injections:
            place = posixpath.join(builder.facts.workdir or "/", injection.target)
            if is_below(posixpath.normpath(place), volume.target):
                raise InvalidUsage(
                    f"--inject would put {injection.source.name} into --volume {volume.source}:{volume.target}",
                    detail="there it would replace what is called so, and be removed again",
                    hint="put it into the volume yourself, or inject it elsewhere",
                )


def _leftovers(request: BuildRequest, builder: Builder, emit: Emit) -> tuple[str, ...]:
    """What is removed before the commit: nothing in which a volume lies, since that would be emptied too."""
    places = [f"{builder.destination}/{name}" for name in ("src", "artifacts")[request.keep_source :]]
    mounts = (*(volume.target for volume in request.confinement.volumes), *builder.facts.volumes)
    held = {place: mount for place in places for mount in mounts if is_below(mount, place)}
    for place, mount in held.items():
        emit(Notice(text=f"{place} stays in the image, since the volume {mount} lies in it", level="warning"))
    return tuple(place for place in places if place not in held)


def excluding(pattern: str) -> Callable[[str], bool]:
    """Whether `--exclude` leaves a path of the source out; a pattern may match anywhere in it."""
    if len(pattern) > _LONGEST_PATTERN:
        raise InvalidUsage(f"--exclude is longer than {_LONGEST_PATTERN} characters", hint="use .s2iignore instead")
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise InvalidUsage(
            f"--exclude is not a regular expression: {error}", hint=r"--exclude '(^|/)\.git(/|$)'"
        ) from error
    return lambda path: bool(pattern) and compiled.search(path) is not None


def _source(request: BuildRequest, parts: Parts) -> Callable[[], Iterator[Entry]]:
    carried = () if parts.scripts.place else _named(parts.scripts, "assemble", "run", "save-artifacts")
    # Older tools make a place for scripts in any case, and it stays in the image. Ours do not count on that.
    place = not parts.builder.facts.labels.get(MADE_OF)
    excluded = excluding(request.exclude)
    return partial(source_entries, parts.tree, carried, parts.builder.destination, excluded, place=place)


# ---------------------------------------------------------------------------------------------------- what is read


def _environment_file(tree: Tree, emit: Emit) -> tuple[bytes, str]:
    """The source's variables, and where they stand."""
    for place in (_ENVIRONMENT, _OLD_ENVIRONMENT):
        file = scripts.file_at(place, tree)
        if file is None:
            continue
        if place == _OLD_ENVIRONMENT:
            emit(Notice(text=f"{place} is taken, but its place has another name now: {_ENVIRONMENT}", level="warning"))
        try:
            return tree.read(file), place
        except LimitReached as error:
            raise too_large(place) from error
    return b"", _ENVIRONMENT


def variables_of(request: BuildRequest, tree: Tree) -> frozenset[str]:
    """The names of the variables that the user and the source set; what is wrong there is told when they are used."""
    content, place = _environment_file(tree, _untold)
    own = parse_environment(content.decode("utf-8-sig", errors="replace"), place, _untold)
    return frozenset(name for name, _ in (*own, *request.env, *request.build_env))


def _untold(_: Event) -> None:
    """Said once is enough."""


def certificates(path: Path | None) -> bytes:
    """The bundle that assemble is to trust."""
    if path is None:
        return b""
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_BUNDLE + 1)
    except OSError as error:
        raise InvalidUsage(f"could not read the CA bundle {path}: {error.strerror}") from error
    if len(content) > _LARGEST_BUNDLE or b"-----BEGIN CERTIFICATE-----" not in content:
        raise InvalidUsage(f"{path} is not a bundle of certificates in PEM form")
    return content
