"""`b2i`: a finished artifact becomes an image."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from s2ictl import footing
from s2ictl.cli import artifact, confinement, destination, flags, inputs, project, wrapping
from s2ictl.cli import workshop as works
from s2ictl.cli.session import Session, command
from s2ictl.errors import InvalidUsage
from s2ictl.expressions import expression
from s2ictl.models import AppConfig, BuildRequest, PullPolicy, Source
from s2ictl.planning import B2IRequest
from s2ictl.roads import Engine
from s2ictl.sources import parse_file
from s2ictl.values import dataclass

_PORT = expression(r"([1-9][0-9]{0,4})(?:/(tcp|udp|sctp))?")
_USER = expression(r"[0-9]{1,10}(:[0-9]{1,10})?")
_PLATFORM = expression(r"linux/[a-z0-9]{1,32}(/v[0-9]{1,2})?")

Given = Annotated[
    str,
    typer.Argument(
        metavar="[ARTIFACT]",
        help="A war, a jar or a program for Linux; its URL[#sha256=…]; a directory or zip of one; - for stdin.",
        show_default="s2i.yaml's",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class MakingFlags:
    """How the image is made."""

    builder: Annotated[
        str,
        typer.Option(
            "--builder",
            "-b",
            metavar="NAME|IMAGE",
            help="tomcat, jar or binary; or any s2i builder image.",
            show_default="what the artifact asks for",
        ),
    ] = ""
    engine: Annotated[
        Engine,
        typer.Option(
            "--engine", help="In a container, by one engine or the other, or as layers on a base without one."
        ),
    ] = "auto"
    pull_policy: Annotated[PullPolicy, typer.Option("--pull-policy", "-p", help="When to pull a builder's image.")] = (
        "if-not-present"
    )
    keep: Annotated[bool, typer.Option("--keep", help="Leave the container of a script that failed, to look into.")] = (
        False
    )
    platform: Annotated[
        list[str] | None,
        typer.Option(
            "--platform",
            metavar="OS/ARCH[,…]",
            help="The machines that the image is for.",
            show_default="the base's, or the program's",
        ),
    ] = None
    layered: Annotated[bool, typer.Option("--layered", help="Put libraries into layers of their own.")] = False
    port: Annotated[
        list[str] | None, typer.Option("--port", metavar="[NAME=]PORT", help="A port on which the program listens.")
    ] = None
    user: Annotated[
        str,
        typer.Option(
            "--user", metavar="UID[:GID]", help="The user that it runs as.", show_default="the base's, or 1001"
        ),
    ] = ""


def register(app: typer.Typer) -> None:
    command(app, "b2i", example="s2ictl b2i target/shop.war --tag registry.example.com/team/shop:1.4 --push")(b2i)


def b2i(
    session: Session,
    given: Given = "",
    builder_name: flags.BuilderName = "",
    tag_name: flags.Name = "",
    *,
    made: MakingFlags,
    result: flags.ResultFlags,
    run_by: artifact.ArtifactFlags,
    lasting: inputs.LastingFlags,
    fetched: artifact.DownloadFlags,
    container: confinement.ContainerFlags,
    deploy: flags.Deploy = False,
    deployed: flags.DeployFlags,
) -> None:
    """Turn a finished artifact into an image, with a container engine or without."""
    described = project.to_make(session, typed=given)
    app = described.app
    if not given and app.source == ".":
        raise InvalidUsage("no artifact is named", hint="s2ictl b2i app.war; or `source: app.war` in s2i.yaml")
    builder = flags.one_of("builder", builder_name, made.builder) or ("" if given else app.build.builder)
    source = _source(app.source, described.directory, allow_http=flags.lets_http(session.world, fetched.allow_http))
    request = _request(source, builder, app, made, run_by, session)
    build = confinement.confined(inputs.lasting(request.build, lasting, app, session), container)
    wish = destination.wish(
        result,
        deployed,
        app,
        session,
        named=tag_name,
        deploy=deploy,
        ports=_served(made.port or (), deploy=deploy),
        ca_bundle=works.bundle(session.world, fetched.ca),
    )
    names = destination.check(wish, app)
    build = replace(build, names=names, push=wish.push, targets=wish.targets, ca_bundle=wish.ca_bundle)
    order = wrapping.Order(
        app=app,
        directory=described.directory,
        request=replace(request, build=build),
        wish=wish,
        fetched=fetched.fetched,
        result=result,
    )
    wrapping.carry_out(order, session)


def _source(text: str, directory: Path, *, allow_http: bool) -> Source:
    """Where the artifact is; a directory, and what is not there, is looked at when it is read."""
    found = parse_file(text, allow_http=allow_http, cwd=directory, certain=True)
    return found or Source(kind="directory", location=text, path=directory / text)


def _request(
    source: Source,
    builder: str,
    app: AppConfig,
    made: MakingFlags,
    run_by: artifact.ArtifactFlags,
    session: Session,
) -> B2IRequest:
    """What the flags say of the image; where the artifact can be read is not known yet."""
    world, wishes = session.world, replace(run_by.wishes, layered=made.layered)
    if wishes.base:
        wishes = replace(wishes, base=footing.shown(footing.parse_base(wishes.base, cwd=world.cwd)))
    return B2IRequest(
        path=Path(),
        build=BuildRequest(
            source=source,
            builder=builder,
            names=(),
            surroundings=works.package_sources(world.environ),
            pull_policy=made.pull_policy,
            keep=made.keep,
            app=app.name,
            epoch=flags.epoch(world.environ),
        ),
        wishes=wishes,
        engine=made.engine,
        platforms=_platforms(made.platform or ()),
        ports=tuple(dict.fromkeys(map(_port, made.port or ()))),
        user=_user(made.user),
    )


def _platforms(given: Iterable[str]) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(text for several in given for text in several.split(",")))
    if wrong := next((text for text in found if not _PLATFORM.fullmatch(text)), None):
        raise InvalidUsage(
            f"--platform {wrong[:80]!r} is no platform", hint="--platform linux/amd64, or linux/amd64,linux/arm64"
        )
    return found


def _port(text: str) -> str:
    match = _PORT.fullmatch(text.rpartition("=")[2])
    if match is None or int(match[1]) > 65535:
        raise InvalidUsage(f"--port {text} is no port", hint="a port is between 1 and 65535, as in 8080 or 53/udp")
    return f"{match[1]}/{match[2] or 'tcp'}"


def _served(ports: Iterable[str], *, deploy: bool) -> tuple[str, ...]:
    """The ports of the program that a Service of HTTP can lead to, by the names that they have there."""
    if deploy:
        return tuple(dict.fromkeys(port.removesuffix("/tcp") for port in ports if not port.endswith(("/udp", "/sctp"))))
    if named := next((port for port in ports if "=" in port), None):
        raise InvalidUsage(
            f"--port {named} names a port on the cluster, and --deploy is not given", hint="add --deploy"
        )
    return ()


def _user(text: str) -> str:
    if text and not _USER.fullmatch(text):
        raise InvalidUsage(
            f"--user {text} is not numeric", hint="--user UID or --user UID:GID, so that a cluster sees it"
        )
    return text
