"""`build`: source becomes an image."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import typer

from s2ictl import scripts, uids
from s2ictl.cli import bygone, confinement, destination, flags, inputs, making, origin, project
from s2ictl.cli import workshop as works
from s2ictl.cli.session import Session, command
from s2ictl.models import BuildConfig, BuildRequest, PullPolicy, RuntimeArtifact, parse_place

BuilderName = Annotated[str, typer.Argument(metavar="[BUILDER]", help="The same as --builder.", show_default=False)]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuilderFlags:
    """What makes the image of it."""

    builder: Annotated[
        str,
        typer.Option("--builder", "-b", metavar="NAME|IMAGE", help="What assembles it.", show_default="by detection"),
    ] = ""
    pull_policy: Annotated[PullPolicy, typer.Option("--pull-policy", "-p", help="When the builder is pulled.")] = (
        "if-not-present"
    )
    scripts_url: Annotated[
        str,
        typer.Option(
            "--scripts-url",
            "-s",
            metavar="URL",
            help="Scripts that go before all others: image:///DIR, file:///DIR, https://HOST/DIR.",
        ),
    ] = ""
    destination: Annotated[
        str,
        typer.Option("--destination", "-d", metavar="DIR", help="Where it assembles.", show_default="the builder's"),
    ] = ""
    assemble_user: Annotated[
        str, typer.Option("--assemble-user", metavar="USER", help="As whom it assembles.", show_default="the builder's")
    ] = ""
    allowed_uids: Annotated[
        str, typer.Option("--allowed-uids", "-u", metavar="RANGES", help="As whom it may: 1001, 1000-1999, 1-.")
    ] = ""
    exclude: Annotated[str, typer.Option("--exclude", metavar="REGEX", help="What of the source it is not given.")] = ""
    incremental: Annotated[
        bool | None,
        typer.Option("--incremental/--no-incremental", help="Take what the image of the same name has saved for it."),
    ] = None
    incremental_pull_policy: Annotated[
        PullPolicy, typer.Option("--incremental-pull-policy", help="When that image is pulled.")
    ] = "if-not-present"
    rm: Annotated[bool, typer.Option("--rm", help="Remove the image that had the name before.")] = False
    runtime_image: Annotated[
        str, typer.Option("--runtime-image", metavar="IMAGE", help="Put what was assembled onto this one.")
    ] = ""
    runtime_artifact: Annotated[
        list[str] | None,
        typer.Option("--runtime-artifact", "-a", metavar="PATH[:DIR]", help="What is put there."),
    ] = None
    runtime_pull_policy: Annotated[
        PullPolicy, typer.Option("--runtime-pull-policy", help="When that image is pulled.")
    ] = "if-not-present"
    assemble_runtime_user: Annotated[
        str,
        typer.Option(
            "--assemble-runtime-user", metavar="USER", help="As whom assemble-runtime runs.", show_default="the image's"
        ),
    ] = ""
    keep_source: Annotated[bool, typer.Option("--keep-source", help="Leave the source in the image.")] = False
    keep: Annotated[bool, typer.Option("--keep", help="Leave the container where assemble failed.")] = False


def register(app: typer.Typer) -> None:
    command(app, "build", example="s2ictl build . --tag registry.example.com/team/shop:1.4 --push")(build)


def build(
    session: Session,
    source: origin.From = "",
    builder_name: BuilderName = "",
    tag_name: flags.Name = "",
    *,
    wanted: origin.SourceFlags,
    fetched: origin.FetchFlags,
    made: BuilderFlags,
    lasting: inputs.LastingFlags,
    fleeting: inputs.FleetingFlags,
    container: confinement.ContainerFlags,
    result: flags.ResultFlags,
    deploy: flags.Deploy = False,
    port: flags.Ports = None,
    given: flags.DeployFlags,
    after: making.AfterFlags,
    older: bygone.BygoneFlags,
) -> None:
    """Turn source into an image."""
    bygone.say_why_not(older, session.emit)
    described = project.to_make(session, typed=flags.one_of("source", source, wanted.source_flag))
    app, http = described.app, flags.lets_http(session.world, fetched.allow_http)
    request = BuildRequest(
        source=origin.source_of(wanted, app, allow_http=http, cwd=described.directory),
        builder=flags.one_of("builder", builder_name, made.builder) or app.build.builder,
        names=(),
        ca_bundle=works.bundle(session.world, fetched.ca),
    )
    request = _made_so(request, made, app.build, older, session, allow_http=http)
    request = inputs.lasting(request, lasting, app, session)
    request = inputs.fleeting(request, fleeting, session)
    request = confinement.confined(request, container)
    wish = destination.wish(
        result, given, app, session, named=tag_name, deploy=deploy, ports=tuple(port or ()), ca_bundle=request.ca_bundle
    )
    making.carry_out(
        making.Plan(kind="build", app=app, request=request, wish=wish, fetched=fetched, result=result, after=after),
        session,
    )


def _made_so(
    request: BuildRequest,
    made: BuilderFlags,
    configured: BuildConfig,
    older: bygone.BygoneFlags,
    session: Session,
    *,
    allow_http: bool,
) -> BuildRequest:
    """The request with what the flags, over s2i.yaml, say of builder and runtime image."""
    url = bygone.newer("--scripts-url", made.scripts_url, "--scripts", older.scripts, session.emit)
    place = bygone.newer("--destination", made.destination, "--location", older.location, session.emit)
    artifacts = [text for several in made.runtime_artifact or () for text in several.split(";") if text]
    return replace(
        request,
        scripts_url=scripts.parse_url(url, allow_http=allow_http, cwd=session.world.cwd) if url else "",
        destination=parse_place(place) if place else "",
        assemble_user=made.assemble_user,
        allowed_uids=uids.parse(made.allowed_uids),
        exclude=made.exclude,
        incremental=configured.incremental if made.incremental is None else made.incremental,
        incremental_pull_policy=made.incremental_pull_policy,
        remove_previous=made.rm,
        runtime_image=made.runtime_image or configured.runtime_image,
        runtime_artifacts=tuple(map(RuntimeArtifact.parse, artifacts)) or configured.runtime_artifacts,
        runtime_pull_policy=made.runtime_pull_policy,
        assemble_runtime_user=made.assemble_runtime_user,
        pull_policy=made.pull_policy,
        keep=made.keep,
        keep_source=made.keep_source,
    )
