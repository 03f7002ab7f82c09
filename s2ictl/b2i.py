"""STORY: artifact → base → one layer → registry or layout → digest. No container engine has a part in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from s2ictl import oci
from s2ictl.addresses import DOCKER_HUB
from s2ictl.artifacts import read
from s2ictl.engines.append import Picture, Recipe, append, deliver, nothing
from s2ictl.errors import InvalidArtifact, InvalidUsage, Refused
from s2ictl.events import Emit, step
from s2ictl.layouts import Layout, writable
from s2ictl.models import Artifact, Binary, Image, Reference
from s2ictl.registry import Repository

OpenRepository = Callable[[Reference], Repository]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutBase:
    """An image in an OCI layout, as somebody named it."""

    directory: Path
    tag: str = ""

    def __str__(self) -> str:
        return f"oci:{self.directory}" + (f":{self.tag}" if self.tag else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class B2IRequest:
    """Flags become one value before anything happens. A base of None is `scratch`: the artifact brings all it needs."""

    artifact: Path
    base: Reference | LayoutBase | None
    names: tuple[Reference, ...]
    push: bool
    layouts: tuple[Path, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    ports: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    user: str = ""
    epoch: int = 0


def b2i(request: B2IRequest, *, repository: OpenRepository, emit: Emit) -> Image:
    """Turn an artifact into an image where it is wanted, named by its digest."""
    with step("read", str(request.artifact), emit):
        recipe = plan(request)
    with step("base", str(request.base or "scratch"), emit):
        base = _base(request, recipe.artifact, repository)
    with step("append", str(recipe.path), emit):
        picture = append(recipe, base)
    with step("deliver", ", ".join(destinations(request)), emit):
        digest = _deliver(picture, request, repository, emit)
    return Image(names=request.names, id=picture.id, digest=digest, builder=base.name)


def plan(request: B2IRequest) -> Recipe:
    """Read the artifact, and refuse what would be found out only after the work; nobody is contacted."""
    _check(request)
    artifact = read(request.artifact)
    program = program_in(artifact)
    if program.interpreter and request.base is None:
        raise InvalidUsage(
            f"{request.artifact} needs a base image: it is linked dynamically",
            detail=f"it asks for {program.interpreter}, which an empty image does not have",
            hint="name a base image that has its libraries with --base, or link it statically",
        )
    return Recipe(
        artifact=artifact,
        env=request.env,
        labels=request.labels,
        ports=request.ports,
        arguments=request.arguments,
        user=request.user,
        epoch=request.epoch,
    )


def program_in(artifact: Artifact) -> Binary:
    """The program that an artifact is; nothing else starts without a container that was made for it."""
    if artifact.binary is None or artifact.form != "file":
        raise InvalidArtifact(
            f"{artifact.path} is no single program, which is all that this version makes an image of",
            hint=f"s2ictl detect {artifact.path} says what would run it",
        )
    return artifact.binary


def destinations(request: B2IRequest) -> tuple[str, ...]:
    """Every place where the image will be had, by the name under which another tool finds it there."""
    tags = [f":{tag}" for tag in _tags(request)] or [""]
    layouts = (f"oci:{directory}{tag}" for directory in request.layouts for tag in tags)
    return (*(str(name) for name in request.names if request.push), *layouts)


def _check(request: B2IRequest) -> None:
    if not request.push and not request.layouts:
        raise InvalidUsage(
            "there is nowhere to put the image: without an engine none is kept on this machine",
            hint="--push with a --tag that names a registry, or --to oci:DIR",
        )
    if request.push and not request.names:
        raise InvalidUsage("a push needs a name for the image", hint="--tag registry.example.com/team/app:1.0")
    base = request.base
    if isinstance(base, Reference) and any(_same(name, base) for name in request.names):
        raise Refused(f"the result would replace its own base {base}", hint="choose another --tag")


def _same(name: Reference, base: Reference) -> bool:
    """Whether a result with this name takes the place of the base."""
    return (name.registry or DOCKER_HUB, name.repository, name.tag) == (
        base.registry or DOCKER_HUB,
        base.repository,
        base.tag or ("" if base.digest else "latest"),
    )


def _base(request: B2IRequest, artifact: Artifact, repository: OpenRepository) -> oci.Base:
    platform = f"linux/{program_in(artifact).machine}"
    match request.base:
        case None:
            return nothing(platform)
        case LayoutBase(directory=directory, tag=tag):
            return Layout(directory).base(tag, platform)
        case Reference() as name:
            return repository(name).base(platform)


def _deliver(picture: Picture, request: B2IRequest, repository: OpenRepository, emit: Emit) -> str:
    """Put the image into every place; its digest is the same in all of them."""
    digest = ""
    for directory in request.layouts:
        with writable(directory) as layout:
            digest = deliver(picture, layout, _tags(request), emit=emit)
    for name, tags in _by_repository(request).items():
        digest = deliver(picture, repository(name), tags, emit=emit)
    return digest


def _tags(request: B2IRequest) -> tuple[str, ...]:
    """An OCI layout knows an image by its tag alone."""
    return tuple(dict.fromkeys(name.tag for name in request.names))


def _by_repository(request: B2IRequest) -> dict[Reference, tuple[str, ...]]:
    """Each repository once, with all tags that it is to get."""
    wanted: dict[Reference, tuple[str, ...]] = {}
    for name in request.names if request.push else ():
        repository = replace(name, tag="")
        wanted[repository] = (*wanted.get(repository, ()), name.tag)
    return wanted
