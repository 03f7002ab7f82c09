"""A build described: pure functions from request and parts to the one or two containers that an engine performs."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from s2ictl import scripts, uids
from s2ictl.archives import Entry, directory_entry, file_entry, rerooted, tar_stream
from s2ictl.builders import Folder, artifacts_of, builder_labels, is_below
from s2ictl.environments import environment_of, too_large
from s2ictl.errors import InvalidUsage, LimitReached, PullBuilderImageFailed
from s2ictl.events import Emit, Notice
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

METADATA = "/tmp/.s2i/image_metadata.json"  # noqa: S108  (in the container, as the contract says)
_METADATA_LIMIT = 256 * 1024
_ENVIRONMENT, _OLD_ENVIRONMENT = ".s2i/environment", ".sti/environment"
_LARGEST_BUNDLE = 4 << 20
_LONGEST_PATTERN = 1000
_WORKSHOP = "/tmp"  # noqa: S108  (in the container: where a builder's own folder is put while it is made)


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """An image that has one of the result's names until now."""

    image: str
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a build is made of, all of it found before anything runs.

    `previous` is the image whose artifacts are saved, `runtime` the one that is to run the result; both are rare.
    """

    tree: Tree
    builder: Builder
    scripts: Scripts
    previous: Earlier | None = None
    runtime: Builder | None = None


def describe(request: BuildRequest, parts: Parts, emit: Emit) -> Assembly:
    """What makes an application's image of its source."""
    builder = parts.builder
    _refuse_volumes(request, builder)
    environment = environment_of(request, *_environment_file(parts.tree, emit), emit)
    labels = labels_of(request, parts.tree, builder, record_of(request, allowed_uids=uids.shown(request.allowed_uids)))
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
        upload=partial(_upload, partial(_source_entries, parts, excluding(request.exclude))),
        workspace=f"{builder.destination}/.s2ictl",
        leftovers=_leftovers(request, builder, emit),
        env=tuple(environment.items()),
        build_env=request.build_env,
        ca_bundle=certificates(request.ca_bundle),
        timeout=request.timeout,
        metadata=METADATA,
        config=_config(builder.facts, run, environment, labels),
        names=request.names,
        secrets=request.secrets,
        injections=request.injections,
        confinement=request.confinement,
        salvage=_salvage(request, parts, user),
        keep=request.keep,
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
        upload=partial(_upload, partial(_script_entries, destination, _named(brought, "run", "assemble-runtime"))),
        workspace=f"{destination}/.s2ictl",
        leftovers=(),
        config=_config(facts, run, dict(first.env), labels),
        secrets=(),
        injections=(),
        # As in the older tool a volume is for what assembles in the builder: here it would only hide the artifacts.
        confinement=replace(first.confinement, volumes=()),
    )
    runtime = Runtime(assembly=second, artifacts=_artifacts(request, image, root), root=root)
    return replace(first, names=(), config=second.config, runtime=runtime)


def _salvage(request: BuildRequest, parts: Parts, user: str) -> Salvage | None:
    """The script that was resolved now runs in the earlier image, so that an edited one acts at once."""
    builder = parts.builder
    script = scripts.locate("save-artifacts", parts.scripts, destination=builder.destination, own=builder.scripts)
    if parts.previous is None or script is None:
        return None
    brought = () if script.own else _named(parts.scripts, "save-artifacts")
    return Salvage(
        image=parts.previous.image,
        image_id=parts.previous.id,
        command=(script.path,),
        user=user,
        upload=partial(_upload, partial(_script_entries, builder.destination, brought)),
        target=f"{builder.destination}/artifacts",
        confinement=request.confinement,
        timeout=request.timeout,
    )


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
        upload=partial(_upload, lambda: _folder_entries(folder)),
        workspace=f"{_WORKSHOP}/.s2ictl",
        leftovers=(f"{_WORKSHOP}/src", f"{_WORKSHOP}/artifacts"),
        env=(),
        build_env=request.build_env,
        ca_bundle=certificates(request.ca_bundle),
        timeout=request.timeout,
        metadata=METADATA,
        config=lambda _: config,
        names=request.names,
    )


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
        emit(Notice(text=f"there is no assemble-runtime: the artifacts are put into {image.image}, and nothing is run"))
        return image.facts.user
    return _user("--assemble-runtime-user", request.assemble_runtime_user, image, request, emit)


def _refuse_volumes(request: BuildRequest, builder: Builder) -> None:
    """A mount at our places cannot be moved or removed, as scripts do; one above hides what is uploaded.

    Whatever is put into one is put into the user's own files, and taken away there.
    """
    for volume in request.confinement.volumes:
        for name in ("src", "artifacts", "scripts", ".s2ictl"):
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


# --------------------------------------------------------------------------------------------------------- upload


def _upload(entries: Callable[[], Iterator[Entry]], uid: int, gid: int) -> Iterator[bytes]:
    return tar_stream(entries(), uid=uid, gid=gid)


def _program(path: str, content: bytes) -> Entry:
    return file_entry(path, content, mode=0o755)


def _source_entries(parts: Parts, excluded: Callable[[str], bool]) -> Iterator[Entry]:
    tree, root = parts.tree, parts.builder.destination.strip("/")
    carried = () if parts.scripts.place else _named(parts.scripts, "assemble", "run", "save-artifacts")
    yield directory_entry(f"{root}/scripts")
    yield from (_program(f"{root}/scripts/{script.name}", script.content) for script in carried)
    gone = {script.moved for script in carried if script.moved}
    yield directory_entry(f"{root}/src")
    for member, read in tree.members():
        if member.path in gone or member.path.rpartition("/")[0] in gone or excluded(member.path):
            gone.add(member.path)
        elif member.kind == "hardlink" and member.target in gone:
            # The name that it shares its bytes with is not sent, so it brings them itself.
            content = tree.read(member.path)
            yield file_entry(f"{root}/src/{member.path}", content, mode=member.mode, mtime=member.mtime)
        else:
            yield rerooted(member, f"{root}/src"), read


def _script_entries(destination: str, brought: tuple[Script, ...]) -> Iterator[Entry]:
    root = destination.strip("/")
    if brought:
        yield directory_entry(f"{root}/scripts")
    yield from (_program(f"{root}/scripts/{script.name}", script.content) for script in brought)


def _folder_entries(folder: Folder) -> Iterator[Entry]:
    root, scripts_root = _WORKSHOP.strip("/"), folder.blueprint.scripts.strip("/")
    yield directory_entry(f"{root}/src")
    yield _program(f"{root}/src/install", (folder.path / "install").read_bytes())
    parents = scripts_root.split("/")
    yield from (directory_entry("/".join(parents[: depth + 1])) for depth in range(1, len(parents)))
    for script in sorted((folder.path / "s2i" / "bin").iterdir()):
        yield _program(f"{scripts_root}/{script.name}", script.read_bytes())


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
