"""`b2i`: a finished artifact becomes an image."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from s2ictl import b2i as story
from s2ictl import ui
from s2ictl.artifacts import content_digest
from s2ictl.build import DONE
from s2ictl.cli import destination, flags, project, results, rollout
from s2ictl.cli import workshop as works
from s2ictl.cli.records import recorded
from s2ictl.cli.session import Session, command
from s2ictl.errors import InvalidUsage
from s2ictl.events import Notice
from s2ictl.models import AppConfig, Image, Reference
from s2ictl.registry import Repository
from s2ictl.transport import Transport

_REGISTRY = "registry"
_LAYOUT = "oci:"
_SCRATCH = "scratch"
_PORT = re.compile(r"([1-9][0-9]{0,4})(?:/(tcp|udp|sctp))?")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_USER = re.compile(r"[0-9]{1,10}(:[0-9]{1,10})?")

Artifact = Annotated[Path, typer.Argument(metavar="ARTIFACT", help="A program for Linux, linked in any way.")]
BaseImage = Annotated[str, typer.Argument(metavar="[BASE]", help="The same as --base.", show_default=False)]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerFlags:
    """What the image is made of."""

    base: Annotated[
        str,
        typer.Option(
            "--base",
            metavar="IMAGE|oci:DIR[:TAG]|scratch",
            help="The image to put it on; a statically linked program needs only scratch, the default.",
            show_default=False,
        ),
    ] = ""
    engine: Annotated[Literal["auto", "append"], typer.Option("--engine", help="What makes the image.")] = "auto"
    env: flags.Env = None
    label: flags.Label = None
    port: Annotated[
        list[str] | None, typer.Option("--port", metavar="PORT", help="A port on which the program listens.")
    ] = None
    args: Annotated[
        str,
        typer.Option("--args", metavar="WORDS", help="Arguments that the program is started with.", show_default=False),
    ] = ""
    user: Annotated[
        str,
        typer.Option(
            "--user", metavar="UID[:GID]", help="The user that it runs as.", show_default="the base's, or 1001"
        ),
    ] = ""
    to: Annotated[
        list[str] | None,
        typer.Option("--to", metavar="registry|oci:DIR", help="Where the image goes; registry is the same as --push."),
    ] = None


def register(app: typer.Typer) -> None:
    command(app, "b2i", example="s2ictl b2i ./shop --tag registry.example.com/team/shop:1.4 --push")(b2i)


_ENGINES = {"auto": story.b2i, "append": story.b2i}


def b2i(
    session: Session,
    artifact: Artifact,
    base_image: BaseImage = "",
    tag_name: flags.Name = "",
    *,
    put: LayerFlags,
    result: flags.ResultFlags,
    deploy: flags.Deploy = False,
    given: flags.DeployFlags,
    ca: flags.CaBundle = None,
) -> None:
    """Turn a finished artifact into an image, without a container engine."""
    results.check(session, result.result_file)
    app = project.to_make(session, typed=str(artifact)).app
    request = _request(artifact, put, session, base=flags.one_of("base", base_image, put.base))
    wish = destination.wish(
        replace(result, push=_REGISTRY in (put.to or ()) or result.push),
        given,
        app,
        session,
        named=tag_name,
        deploy=deploy,
        ports=_listening(request.ports) if deploy else (),
        ca_bundle=works.bundle(session.world, ca),
    )
    destination.check(wish, app)
    where = destination.settle(wish, app, session, dry_run=result.dry_run)
    request = replace(request, names=where.names, push=wish.push)
    if result.dry_run:
        session.answer(_described(request, where, wish.secret))
    else:
        results.give(session, _made(request, where, wish, app, put.engine, session), result.result_file)


def _request(artifact: Path, put: LayerFlags, session: Session, *, base: str) -> story.B2IRequest:
    """What the flags say of the image; its names and whether it is pushed are settled later."""
    cwd = session.world.cwd
    return story.B2IRequest(
        artifact=cwd / artifact,
        base=_base(base or _SCRATCH, cwd),
        names=(),
        push=False,
        layouts=tuple(_layout(target, cwd) for target in dict.fromkeys(put.to or ()) if target != _REGISTRY),
        env=flags.pairs("--env", put.env or (), flags.VARIABLE, session.emit),
        labels=flags.pairs("--label", put.label or (), flags.LABEL, session.emit),
        ports=tuple(dict.fromkeys(map(_port, put.port or ()))),
        arguments=flags.words("--args", put.args),
        user=_user(put.user),
        epoch=flags.epoch(session.world.environ) or 0,
    )


def _made(
    request: story.B2IRequest,
    where: destination.Destination,
    wish: destination.Wish,
    app: AppConfig,
    engine: str,
    session: Session,
) -> ui.Answer:
    tags = tuple(map(str, request.names))
    with recorded(
        session,
        kind="b2i",
        app=destination.called(app, request.names, request.artifact.name),
        source=str(request.artifact),
        builder=str(request.base or _SCRATCH),
        tags=tags,
    ) as record:
        tally = results.Tally(emit=record.emit, build=record.id)
        with Transport(session.world.environ, emit=tally, ca_bundle=wish.ca_bundle) as transport:
            repository = partial(Repository, transport=transport, logins=where.find_login, insecure=wish.insecure)
            image = _ENGINES[engine](request, repository=repository, emit=tally)
        record.done(image)
        tally(Notice(text=DONE))
        answer, address = destination.answer(image, where, session, tally, names=_had_by(image, request))
        record.done(image, address)
    return answer


# ---------------------------------------------------------------------------------------------------------- answers


def _had_by(image: Image, request: story.B2IRequest) -> tuple[str, ...]:
    """Every place in which the image is now."""
    return tuple(f"{place}@{image.digest}" for place in story.destinations(request))


def _described(request: story.B2IRequest, where: destination.Destination, secret: str) -> ui.Answer:
    """What would be done. The artifact is read, since it is here; nobody else is asked anything."""
    recipe = story.plan(request)
    artifact, places = recipe.artifact, story.destinations(request)
    program = story.program_in(artifact)
    base = str(request.base or _SCRATCH)
    there = rollout.place_of(where.rollout.app) if where.rollout else ""
    lines = [
        f"read     {artifact.name}: {artifact.size} bytes, linux/{program.machine}, linked {program.linkage}ally",
        f"append   {recipe.path} to {base}",
        *(f"deliver  {place}" for place in places),
        *([f"         (a registry that is not named is taken from the secret {secret})"] if secret else []),
        *([f"deploy   {there}"] if there else []),
    ]
    data = {
        "dry-run": True,
        "artifact": content_digest(artifact),
        "base": base,
        "path": str(recipe.path),
        "to": places,
        "deploy": there,
    }
    return ui.Answer(text="\n".join(lines), names=places, data=data)


# ------------------------------------------------------------------------------------------------------- flags, read


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


def _port(text: str) -> str:
    match = _PORT.fullmatch(text)
    if match is None or int(match[1]) > 65535:
        raise InvalidUsage(f"--port {text} is no port", hint="a port is between 1 and 65535, as in 8080 or 53/udp")
    return f"{match[1]}/{match[2] or 'tcp'}"


def _listening(ports: tuple[str, ...]) -> tuple[str, ...]:
    """The ports of the program that a Service of HTTP can lead to."""
    return tuple(port.removesuffix("/tcp") for port in ports if port.endswith("/tcp"))


def _user(text: str) -> str:
    if text and not _USER.fullmatch(text):
        raise InvalidUsage(
            f"--user {text} is not numeric", hint="--user UID or --user UID:GID, so that a cluster sees it"
        )
    return text
