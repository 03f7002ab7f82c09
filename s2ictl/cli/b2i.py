"""`b2i`: a finished artifact becomes an image."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from s2ictl import b2i as story
from s2ictl import logins, names, ui
from s2ictl.build import DONE
from s2ictl.cli import workshop
from s2ictl.cli.session import Session, command
from s2ictl.errors import InvalidUsage
from s2ictl.events import Emit, Event, Notice, StepFinished
from s2ictl.models import Image, Login, Reference
from s2ictl.registry import Repository
from s2ictl.transport import Transport

_LAYOUT = "oci:"
_SCRATCH = "scratch"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")
_PORT = re.compile(r"([1-9][0-9]{0,4})(?:/(tcp|udp|sctp))?")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_USER = re.compile(r"[0-9]{1,10}(:[0-9]{1,10})?")

Artifact = Annotated[Path, typer.Argument(metavar="ARTIFACT", help="A program for Linux, linked in any way.")]
BaseImage = Annotated[str, typer.Argument(metavar="[BASE]", help="The same as --base.", show_default=False)]
Name = Annotated[str, typer.Argument(metavar="[TAG]", help="The same as --tag.", show_default=False)]
Base = Annotated[
    str,
    typer.Option(
        "--base",
        metavar="IMAGE|oci:DIR[:TAG]|scratch",
        help="What the artifact is put on; scratch, for a program linked statically, is the default.",
        show_default=False,
    ),
]
Tags = Annotated[list[str] | None, typer.Option("--tag", "-t", metavar="NAME", help="What the image is called.")]
Engine = Annotated[Literal["auto", "append"], typer.Option("--engine", help="By what the image is made.")]
Push = Annotated[bool, typer.Option("--push", help="Short for --to registry.")]
To = Annotated[list[str] | None, typer.Option("--to", metavar="registry|oci:DIR", help="Where the image goes.")]
Secret = Annotated[
    str,
    typer.Option(
        "--registry-secret", metavar="[NS/]NAME", help="The cluster's Secret to push with.", show_default=False
    ),
]
Insecure = Annotated[list[str] | None, typer.Option("--insecure-registry", metavar="HOST", help="May be without TLS.")]
CaBundle = Annotated[
    Path | None, typer.Option("--ca-bundle", metavar="FILE", help="Who signed for the registry.", show_default=False)
]
Env = Annotated[list[str] | None, typer.Option("--env", "-e", metavar="NAME=VALUE", help="A variable in the image.")]
Label = Annotated[list[str] | None, typer.Option("--label", metavar="NAME=VALUE", help="A label of the image.")]
Port = Annotated[list[str] | None, typer.Option("--port", metavar="PORT", help="On which the program listens.")]
Arguments = Annotated[
    str, typer.Option("--args", metavar="WORDS", help="What the program is started with.", show_default=False)
]
User = Annotated[
    str, typer.Option("--user", metavar="UID[:GID]", help="As whom it runs.", show_default="the base's, or 1001")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would be done, and contact nothing.")]


def register(app: typer.Typer) -> None:
    command(app, "b2i", example="s2ictl b2i ./shop --tag registry.example.com/team/shop:1.4 --push")(b2i)


_ENGINES = {"auto": story.b2i, "append": story.b2i}


def b2i(
    session: Session,
    artifact: Artifact,
    base_image: BaseImage = "",
    name: Name = "",
    base: Base = "",
    tag: Tags = None,
    engine: Engine = "auto",
    push: Push = False,
    to: To = None,
    registry_secret: Secret = "",
    insecure_registry: Insecure = None,
    ca: CaBundle = None,
    env: Env = None,
    label: Label = None,
    port: Port = None,
    args: Arguments = "",
    user: User = "",
    dry_run: DryRun = False,
) -> None:
    """Turn a finished artifact into an image, without a container engine."""
    world = session.world
    targets = tuple(dict.fromkeys([*(["registry"] if push else []), *(to or ())]))
    secret = workshop.secret_logins(registry_secret, session) if registry_secret and not dry_run else ()
    request = story.B2IRequest(
        artifact=world.cwd / artifact,
        base=_base(_one(base_image, base), world.cwd),
        names=_names(
            [name, *(tag or ())], secret, completed="registry" in targets and not (registry_secret and dry_run)
        ),
        push="registry" in targets,
        layouts=tuple(_layout(target, world.cwd) for target in targets if target != "registry"),
        env=_pairs("--env", env or (), _VARIABLE, session.emit),
        labels=_pairs("--label", label or (), _LABEL, session.emit),
        ports=tuple(dict.fromkeys(map(_port, port or ()))),
        arguments=_words(args),
        user=_user(user),
        epoch=_epoch(world.environ),
    )
    if dry_run:
        session.answer(_described(request, registry_secret))
        return
    for one in request.names if secret and request.push else ():
        logins.login_of(secret, one.registry, name=registry_secret)  # found out before the work, not after it
    with Transport(world.environ, emit=session.emit, ca_bundle=workshop.bundle(world, ca)) as transport:
        repository = partial(
            Repository,
            transport=transport,
            logins=workshop.registry_logins(secret, registry_secret, world),
            insecure=frozenset(insecure_registry or ()),
        )
        session.answer(_make(request, engine, repository, session.emit))
    session.emit(Notice(text=DONE))


def _make(request: story.B2IRequest, engine: str, repository: story.OpenRepository, emit: Emit) -> ui.Answer:
    began, steps = time.monotonic(), list[StepFinished]()
    image = _ENGINES[engine](request, repository=repository, emit=partial(_noting, steps, emit))
    return _answer(image, request, steps, time.monotonic() - began)


# ---------------------------------------------------------------------------------------------------------- answers


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    name: str
    seconds: float
    cached: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Result:
    """What `-o json` says of an image that was made."""

    image: str
    tags: tuple[str, ...]
    digest: str
    id: str
    builder: str
    base: str
    commit: str
    unchanged: bool
    seconds: float
    steps: tuple[_Step, ...]


def _noting(steps: list[StepFinished], emit: Emit, event: Event) -> None:
    if isinstance(event, StepFinished):
        steps.append(event)
    emit(event)


def _answer(image: Image, request: story.B2IRequest, steps: list[StepFinished], seconds: float) -> ui.Answer:
    places = tuple(f"{place}@{image.digest}" for place in story.destinations(request))
    result = _Result(
        image=places[0],
        tags=tuple(map(str, image.names)),
        digest=image.digest,
        id=image.id,
        builder=image.builder,
        base=image.builder or _SCRATCH,
        commit="",
        unchanged=False,
        seconds=round(seconds, 3),
        steps=tuple(_Step(name=one.name, seconds=round(one.seconds, 3)) for one in steps),
    )
    return ui.Answer(text=places[0], names=places, data=result)


def _described(request: story.B2IRequest, secret: str) -> ui.Answer:
    """What would be done. The artifact is read, since it is here; nobody else is asked anything."""
    recipe = story.plan(request)
    artifact, places = recipe.artifact, story.destinations(request)
    base = str(request.base or _SCRATCH)
    lines = [
        f"read     {artifact.name}: {artifact.size} bytes, linux/{artifact.machine}, linked {artifact.linkage}ally",
        f"append   {recipe.path} to {base}",
        *(f"deliver  {place}" for place in places),
        *([f"         (a registry that is not named is taken from the secret {secret})"] if secret else []),
    ]
    data = {"dry-run": True, "artifact": artifact.digest, "base": base, "path": str(recipe.path), "to": places}
    return ui.Answer(text="\n".join(lines), names=places, data=data)


# ------------------------------------------------------------------------------------------------------- flags, read


def _one(positional: str, flag: str) -> str:
    if positional and flag and positional != flag:
        raise InvalidUsage(f"two bases are named: {positional} and {flag}", hint="leave one of them out")
    return positional or flag or _SCRATCH


def _base(text: str, cwd: Path) -> Reference | story.LayoutBase | None:
    if text == _SCRATCH:
        return None
    if not text.startswith(_LAYOUT):
        return Reference.parse(text)
    directory, colon, tag = text.removeprefix(_LAYOUT).rpartition(":")
    if not colon or not _TAG.fullmatch(tag):
        directory, tag = text.removeprefix(_LAYOUT), ""
    return story.LayoutBase(directory=cwd / directory, tag=tag)


def _layout(target: str, cwd: Path) -> Path:
    directory = target.removeprefix(_LAYOUT)
    if directory == target or not directory:
        raise InvalidUsage(f"--to {target} is no place for an image", hint="--to registry, or --to oci:DIR")
    if ":" in directory:
        raise InvalidUsage(f"--to {target} has a colon in its directory", hint="the tag is what --tag says")
    return cwd / directory


def _names(written: Iterable[str], secret: tuple[Login, ...], *, completed: bool) -> tuple[Reference, ...]:
    return tuple(dict.fromkeys(names.final_name(one, secret=secret, push=completed) for one in written if one))


def _pairs(flag: str, texts: Iterable[str], name_rule: re.Pattern[str], emit: Emit) -> tuple[tuple[str, str], ...]:
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name_rule.fullmatch(name):
            raise InvalidUsage(f"{flag} {name[:80]!r} is not NAME=VALUE", hint=f"{flag} NAME=VALUE")
        if name in pairs:
            emit(Notice(text=f"{flag} {name} is given twice; the last one counts", level="warning"))
        pairs[name] = value
    return tuple(pairs.items())


def _port(text: str) -> str:
    match = _PORT.fullmatch(text)
    if match is None or int(match[1]) > 65535:
        raise InvalidUsage(f"--port {text} is no port", hint="a port is between 1 and 65535, as in 8080 or 53/udp")
    return f"{match[1]}/{match[2] or 'tcp'}"


def _words(text: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise InvalidUsage("--args cannot be taken apart into words", detail=str(error)) from error


def _user(text: str) -> str:
    if text and not _USER.fullmatch(text):
        raise InvalidUsage(
            f"--user {text} is not numeric", hint="--user UID or --user UID:GID, so that a cluster sees it"
        )
    return text


def _epoch(environ: Mapping[str, str]) -> int:
    text = environ.get("SOURCE_DATE_EPOCH") or "0"
    if not re.fullmatch(r"[0-9]{1,10}", text):
        raise InvalidUsage(f"SOURCE_DATE_EPOCH is {text[:20]!r}", hint="it is a number of seconds since 1970")
    return int(text)
