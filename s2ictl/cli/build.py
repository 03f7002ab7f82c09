"""`build`: source becomes an image."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from s2ictl import caches, scripts, uids
from s2ictl.cli import bygone, confinement, destination, flags, inputs, keeping, making, origin, project
from s2ictl.cli import engine as engines
from s2ictl.cli import workshop as works
from s2ictl.cli.session import Session, command
from s2ictl.errors import InvalidUsage
from s2ictl.models import BuildConfig, BuildRequest, PullPolicy, RuntimeArtifact, parse_place
from s2ictl.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class BuilderFlags:
    """How it is built."""

    builder: Annotated[
        str,
        typer.Option(
            "--builder",
            "-b",
            metavar="NAME|IMAGE",
            help="One of `s2ictl builders list`, or any s2i builder image.",
            show_default="by detection",
        ),
    ] = ""
    pull_policy: Annotated[PullPolicy, typer.Option("--pull-policy", "-p", help="When to pull its image.")] = (
        "if-not-present"
    )
    scripts_url: Annotated[
        str,
        typer.Option(
            "--scripts-url",
            "-s",
            metavar="URL",
            help="Look for scripts there first: image:///DIR, file:///DIR, https://HOST/DIR.",
        ),
    ] = ""
    destination: Annotated[
        str,
        typer.Option(
            "--destination",
            "-d",
            metavar="DIR",
            help="The source goes to DIR/src in the builder.",
            show_default="the builder's",
        ),
    ] = ""
    assemble_user: Annotated[
        str,
        typer.Option(
            "--assemble-user", metavar="USER", help="The user that assemble runs as.", show_default="the builder's"
        ),
    ] = ""
    allowed_uids: Annotated[
        str,
        typer.Option("--allowed-uids", "-u", metavar="RANGES", help="Refuse other users: 1001, 1000-1999, 1-."),
    ] = ""
    exclude: Annotated[str, typer.Option("--exclude", metavar="REGEX", help="Leave matching paths out.")] = ""
    keep_source: Annotated[bool, typer.Option("--keep-source", help="Leave the source in the image.")] = False
    keep: Annotated[bool, typer.Option("--keep", help="Leave the container of a script that failed, to look into.")] = (
        False
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierFlags:
    """What the earlier image of the same name is good for."""

    incremental: Annotated[
        bool | None,
        typer.Option("--incremental/--no-incremental", help="Start from what its save-artifacts hands over."),
    ] = None
    incremental_pull_policy: Annotated[
        PullPolicy, typer.Option("--incremental-pull-policy", help="When to pull it.")
    ] = "if-not-present"
    rm: Annotated[bool, typer.Option("--rm", help="Remove it once the new one is there.")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeFlags:
    """On a smaller image for running."""

    runtime_image: Annotated[
        str, typer.Option("--runtime-image", metavar="IMAGE", help="The image that the result goes onto.")
    ] = ""
    runtime_artifact: Annotated[
        list[str] | None,
        typer.Option("--runtime-artifact", "-a", metavar="PATH[:DIR]", help="What of it, and where; globs are fine."),
    ] = None
    runtime_pull_policy: Annotated[PullPolicy, typer.Option("--runtime-pull-policy", help="When to pull it.")] = (
        "if-not-present"
    )
    assemble_runtime_user: Annotated[
        str,
        typer.Option(
            "--assemble-runtime-user",
            metavar="USER",
            help="The user that assemble-runtime runs as.",
            show_default="the image's",
        ),
    ] = ""


def register(app: typer.Typer) -> None:
    command(app, "build", example="s2ictl build . --tag registry.example.com/team/shop:1.4 --push")(build)


def build(
    session: Session,
    source: origin.From = "",
    builder_name: flags.BuilderName = "",
    tag_name: flags.Name = "",
    *,
    wanted: origin.SourceFlags,
    made: BuilderFlags,
    result: flags.ResultFlags,
    lasting: inputs.LastingFlags,
    fleeting: inputs.FleetingFlags,
    fetched: origin.FetchFlags,
    earlier: EarlierFlags,
    kept: keeping.KeepingFlags,
    onto: RuntimeFlags,
    container: confinement.ContainerFlags,
    deploy: flags.Deploy = False,
    port: flags.Ports = None,
    given: flags.DeployFlags,
    engine: engines.Engine = None,
    after: making.AfterFlags,
    older: bygone.BygoneFlags,
) -> None:
    """Turn source into an image."""
    bygone.say_why_not(older, session.emit)
    described = project.to_make(session, typed=flags.one_of("source", source, wanted.source_flag))
    app, http = described.app, flags.lets_http(session.world, fetched.allow_http)
    request = BuildRequest(
        source=origin.source_of(wanted, app, allow_http=http, cwd=described.directory),
        builder=_not_a_directory(flags.one_of("builder", builder_name, made.builder)) or app.build.builder,
        names=(),
        app=app.name,
        epoch=flags.epoch(session.world.environ),
        ca_bundle=works.bundle(session.world, fetched.ca),
    )
    request = _made_so(request, made, older, session, allow_http=http)
    request = _after(request, earlier, app.build)
    request = keeping.keeping(caches.configured(request, app.build), kept)
    request = _onto(request, onto, app.build)
    request = inputs.lasting(request, lasting, app, session)
    request = inputs.fleeting(request, fleeting, session)
    request = confinement.confined(request, container)
    wish = destination.wish(
        result, given, app, session, named=tag_name, deploy=deploy, ports=tuple(port or ()), ca_bundle=request.ca_bundle
    )
    making.carry_out(
        making.Plan(
            kind="build",
            app=app,
            request=request,
            wish=wish,
            fetched=fetched,
            result=result,
            after=after,
            engine=engine,
        ),
        session,
    )


def _not_a_directory(builder: str) -> str:
    if builder.startswith((".", "/")):
        raise InvalidUsage(
            f"the builder {builder[:200]} is a directory, and its image is meant",
            hint=f"s2ictl builders build {builder[:200]}, which answers the name of its image",
        )
    return builder


def _made_so(
    request: BuildRequest, made: BuilderFlags, older: bygone.BygoneFlags, session: Session, *, allow_http: bool
) -> BuildRequest:
    """The request with what the flags say of the builder."""
    url = bygone.newer("--scripts-url", made.scripts_url, "--scripts", older.scripts, session.emit)
    place = bygone.newer("--destination", made.destination, "--location", older.location, session.emit)
    return replace(
        request,
        scripts_url=scripts.parse_url(url, allow_http=allow_http, cwd=session.world.cwd) if url else "",
        destination=parse_place(place) if place else "",
        assemble_user=made.assemble_user,
        allowed_uids=uids.parse(made.allowed_uids),
        exclude=made.exclude,
        pull_policy=made.pull_policy,
        keep=made.keep,
        keep_source=made.keep_source,
    )


def _after(request: BuildRequest, earlier: EarlierFlags, configured: BuildConfig) -> BuildRequest:
    """The request with what the flags, over s2i.yaml, say of the earlier image."""
    return replace(
        request,
        incremental=configured.incremental if earlier.incremental is None else earlier.incremental,
        incremental_pull_policy=earlier.incremental_pull_policy,
        remove_previous=earlier.rm,
    )


def _onto(request: BuildRequest, given: RuntimeFlags, configured: BuildConfig) -> BuildRequest:
    """The request with what the flags, over s2i.yaml, say of the runtime image."""
    artifacts = [text for several in given.runtime_artifact or () for text in several.split(";") if text]
    return replace(
        request,
        runtime_image=given.runtime_image or configured.runtime_image,
        runtime_artifacts=tuple(map(RuntimeArtifact.parse, artifacts)) or configured.runtime_artifacts,
        runtime_pull_policy=given.runtime_pull_policy,
        assemble_runtime_user=given.assemble_runtime_user,
    )
