"""A build described: pure functions from request, tree and builder to the one container that an engine performs."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from s2ictl.archives import Entry, tar_stream
from s2ictl.builders import Folder
from s2ictl.errors import InvalidUsage, PullBuilderImageFailed
from s2ictl.events import Emit, Notice
from s2ictl.labels import labels_of, merged, read_metadata
from s2ictl.models import Assembly, Builder, BuildRequest, ImageConfig, ImageFacts, Member, Tree

METADATA = "/tmp/.s2i/image_metadata.json"  # noqa: S108  (in the container, as the contract says)
_METADATA_LIMIT = 256 * 1024
_SCRIPTS = ("assemble", "run", "save-artifacts", "usage", "assemble-runtime")
_PLACE = ".s2i/bin"
_ENVIRONMENT = ".s2i/environment"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_LARGEST_BUNDLE = 4 << 20
_WORKSHOP = "/tmp"  # noqa: S108  (in the container: where a builder's own folder is put while it is made)


def describe(request: BuildRequest, tree: Tree, builder: Builder, emit: Emit) -> Assembly:
    """The container that makes an application's image of its source."""
    own = frozenset(_own_scripts(tree))
    commands = {name: _command(name, own, builder) for name in ("assemble", "run")}
    environment = environment_of(request, tree, emit)
    labels = labels_of(request, tree, builder)

    def config(metadata: bytes | None) -> ImageConfig:
        asked = read_metadata(metadata, METADATA, _METADATA_LIMIT) if metadata is not None else {}
        return _config(builder.facts, commands["run"], environment, merged(builder.facts.labels, labels, asked))

    return Assembly(
        image=builder.image,
        image_id=builder.facts.id,
        owner=request.owner,
        command=(commands["assemble"],),
        programs=tuple(path for name, path in commands.items() if name not in own),
        user=request.assemble_user or builder.assemble_user or builder.facts.user,
        upload=partial(_upload, lambda: _source_entries(tree, own, builder.destination, emit)),
        workspace=f"{builder.destination}/.s2ictl",
        leftovers=(f"{builder.destination}/src", f"{builder.destination}/artifacts"),
        env=tuple(environment.items()),
        build_env=request.build_env,
        ca_bundle=certificates(request.ca_bundle),
        timeout=request.timeout,
        metadata=METADATA,
        config=config,
        names=request.names,
    )


def describe_builder(folder: Folder, base: ImageFacts, request: BuildRequest) -> Assembly:
    """The container that makes a builder's image of its folder: `install` is its assemble, and runs as root."""
    plan = folder.blueprint
    config = ImageConfig(
        command=(f"{plan.scripts}/usage",),
        entrypoint=base.entrypoint,
        user=plan.user,
        workdir=plan.workdir,
        env=tuple({**_variables(base), **plan.env}.items()),
        labels=merged(base.labels, plan.labels, {}),
        exposed=(f"{plan.port}/tcp",),
    )
    return Assembly(
        image=str(plan.base),
        image_id=base.id,
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


def _config(facts: ImageFacts, run: str, environment: Mapping[str, str], labels: Mapping[str, str]) -> ImageConfig:
    return ImageConfig(
        command=(run,),
        entrypoint=facts.entrypoint,
        user=facts.user,
        workdir=facts.workdir,
        env=tuple({**_variables(facts), **environment}.items()),
        labels=labels,
        exposed=facts.exposed,
    )


def _variables(facts: ImageFacts) -> dict[str, str]:
    return dict(entry.partition("=")[::2] for entry in facts.env)


# -------------------------------------------------------------------------------------------------------- scripts


def _own_scripts(tree: Tree) -> list[str]:
    return [name for name in _SCRIPTS if f"{_PLACE}/{name}" in tree.paths]


def _command(name: str, own: frozenset[str], builder: Builder) -> str:
    """Where a script lies in the container; each is looked for alone, and the source's own comes first."""
    if name in own:
        return f"{builder.destination}/scripts/{name}"
    if not builder.scripts:
        raise PullBuilderImageFailed(
            f"there is no {name} script: {builder.image} is not labelled as a builder",
            detail=f"looked for the label io.openshift.s2i.scripts-url, and for {_PLACE}/{name} in the source",
            hint="name a builder image: s2ictl build SOURCE BUILDER",
        )
    return f"{builder.scripts}/{name}"


def unix_lines(name: str, script: bytes, emit: Emit) -> bytes:
    """The script as an interpreter reads it: a first line that ends in CR LF names a program nobody has."""
    if not script.partition(b"\n")[0].endswith(b"\r"):
        return script
    emit(Notice(text=f"{_PLACE}/{name} has Windows line ends; they are made Unix ones in the upload", level="warning"))
    return script.replace(b"\r\n", b"\n")


# --------------------------------------------------------------------------------------------------------- upload


def _upload(entries: Callable[[], Iterator[Entry]], uid: int, gid: int) -> Iterator[bytes]:
    return tar_stream(entries(), uid=uid, gid=gid)


def _source_entries(tree: Tree, own: frozenset[str], destination: str, emit: Emit) -> Iterator[Entry]:
    root = destination.strip("/")
    yield _directory(f"{root}/scripts")
    for name in sorted(own):
        yield _file(f"{root}/scripts/{name}", unix_lines(name, tree.read(f"{_PLACE}/{name}"), emit))
    moved = {f"{_PLACE}/{name}" for name in own}
    yield _directory(f"{root}/src")
    for member, read in tree.members():
        if member.path not in moved:
            yield _placed(member, f"{root}/src/{member.path}"), read


def _folder_entries(folder: Folder) -> Iterator[Entry]:
    root, scripts = _WORKSHOP.strip("/"), folder.blueprint.scripts.strip("/")
    yield _directory(f"{root}/src")
    yield _file(f"{root}/src/install", (folder.path / "install").read_bytes())
    parents = scripts.split("/")
    yield from (_directory("/".join(parents[: depth + 1])) for depth in range(1, len(parents)))
    for script in sorted((folder.path / "s2i" / "bin").iterdir()):
        yield _file(f"{scripts}/{script.name}", script.read_bytes())


def _placed(member: Member, path: str) -> Member:
    return Member(
        path=path, kind=member.kind, mode=member.mode, size=member.size, target=member.target, mtime=member.mtime
    )


def _directory(path: str) -> Entry:
    return Member(path=path, kind="directory", mode=0o755), lambda _: b""


def _file(path: str, content: bytes) -> Entry:
    return Member(path=path, kind="file", mode=0o755, size=len(content)), io.BytesIO(content).read


# ---------------------------------------------------------------------------------------------------- environment


def environment_of(request: BuildRequest, tree: Tree, emit: Emit) -> dict[str, str]:
    """The variables that stay in the image; what the user said beats what the source says."""
    text = tree.read(_ENVIRONMENT).decode(errors="replace") if _ENVIRONMENT in tree.paths else ""
    return {**dict(parse_environment(text, _ENVIRONMENT, emit)), **dict(request.env)}


def parse_environment(text: str, name: str, emit: Emit) -> Iterator[tuple[str, str]]:
    """`NAME=VALUE` lines; quotes are literal, as in every tool that reads such files; a bad line is told."""
    for number, line in enumerate(text.splitlines(), start=1):
        variable, separator, value = (part.strip() for part in line.partition("="))
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if separator and _VARIABLE.fullmatch(variable) and "\0" not in value:
            yield variable, value
        else:
            emit(Notice(text=f"{name}:{number} is not NAME=VALUE and is left out", level="warning"))


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
