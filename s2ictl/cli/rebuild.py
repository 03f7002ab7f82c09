"""`rebuild`: an image is made again from what its own labels say of its source."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from s2ictl import rebuild as story
from s2ictl.cli import confinement, destination, flags, inputs, keeping, keyring, making, origin
from s2ictl.cli import engine as engines
from s2ictl.cli import workshop as works
from s2ictl.cli.session import Session, command
from s2ictl.engines import Engine
from s2ictl.engines.choice import Wanted
from s2ictl.errors import ImageNotFound, Refused
from s2ictl.events import Emit
from s2ictl.models import AppConfig, BuildRequest, ImageFacts, Login, Logins, PullPolicy, Reference
from s2ictl.workshop import place_of

ImageName = Annotated[str, typer.Argument(metavar="IMAGE", help="An image that s2ictl or the older tool has made.")]
Pull = Annotated[PullPolicy, typer.Option("--pull-policy", "-p", help="When the image and its builder are pulled.")]


def register(app: typer.Typer) -> None:
    command(app, "rebuild", example="s2ictl rebuild registry.example.com/team/shop:1.4 --push")(rebuild)


def rebuild(
    session: Session,
    image: ImageName,
    tag_name: flags.Name = "",
    *,
    pull_policy: Pull = "if-not-present",
    timeout: confinement.Timeout = confinement.USUAL_TIMEOUT,
    engine: engines.Engine = None,
    fetched: origin.FetchFlags,
    fleeting: inputs.FleetingFlags,
    kept: keeping.KeepingFlags,
    result: flags.ResultFlags,
    after: making.AfterFlags,
) -> None:
    """Build an image again, from what its labels say of its source.

    The host that it is fetched from is named by the image: S2ICTL_GIT_TOKEN is not shown to it, the flags are.
    """
    http = flags.lets_http(session.world, fetched.allow_http)
    wanted = engines.wanted(session.world, engine, holding=image)
    recorded = _recorded(image, "never" if result.dry_run else pull_policy, result, session, wanted, allow_http=http)
    ca_bundle = works.bundle(session.world, fetched.ca)
    asked = replace(
        keeping.keeping(recorded, kept),
        names=(),
        # Anybody's image may name the source of one of our apps: that app's downloads are not at its disposal.
        app=f"rebuild of {image}",
        pull_policy=pull_policy,
        timeout=timeout,
        ca_bundle=ca_bundle,
        epoch=flags.epoch(session.world.environ),
    )
    request = inputs.fleeting(asked, fleeting, session)
    app = AppConfig(name=recorded.application_name, image=next(iter(recorded.names), None))
    nowhere = flags.DeployFlags()
    wish = destination.wish(result, nowhere, app, session, named=tag_name, deploy=False, ports=(), ca_bundle=ca_bundle)
    plan = making.Plan(
        kind="rebuild",
        app=app,
        request=request,
        wish=wish,
        fetched=fetched,
        result=result,
        after=after,
        engine=engine,
        holding=image,
    )
    making.carry_out(plan, session)


def _recorded(
    image: str, policy: PullPolicy, result: flags.ResultFlags, session: Session, wanted: Wanted, *, allow_http: bool
) -> BuildRequest:
    """What the image says of its build, as far as it may be believed."""
    Reference.parse(image)
    with engines.opened(session.world, session.emit, wanted, said=result.dry_run) as site:
        facts = facts_of(image, policy, site.engine, login=partial(_login, result, session), emit=session.emit)
    cwd = session.world.cwd
    request = story.request_of(facts, image, allow_http=allow_http, cwd=cwd, emit=session.emit)
    refuse_foreign_paths(request, image, cwd)
    return request


def facts_of(image: str, policy: PullPolicy, engine: Engine, *, login: Logins, emit: Emit) -> ImageFacts:
    """What the image says; its registry is asked, and a login looked for, only where the engine is not enough."""
    facts = engine.facts(image, pull="never", login=None, emit=emit) if policy != "always" else None
    if facts is None and policy != "never":
        place = place_of(Reference.parse(image))
        facts = engine.facts(image, pull=policy, login=login(place), emit=emit)
    if facts is None:
        raise ImageNotFound(
            f"there is no image {image}",
            detail="looked in the engine" + ("" if policy == "never" else " and in its registry"),
            hint="check the name, or log in to its registry",
        )
    return facts


def refuse_foreign_paths(request: BuildRequest, image: str, cwd: Path) -> None:
    """An image may name any path of this machine: only where its user stands has he said that this one is meant."""
    source, scripts, here = request.source.path, request.scripts_url.removeprefix("file://"), cwd.resolve()
    if source is not None and _place(source) != here:
        raise Refused(
            f"{image} says that its source is {source} on this machine",
            detail="anybody's image could say so of any directory, and its builder would be given what lies there",
            hint=_how_to_mean_it(request, source),
        )
    if scripts != request.scripts_url and not Path(scripts).resolve().is_relative_to(here):
        raise Refused(
            f"{image} says that its scripts are in {scripts} on this machine",
            detail="anybody's image could say so of any directory",
            hint="build it from its source: s2ictl build SOURCE BUILDER TAG --scripts-url URL",
        )


def _how_to_mean_it(request: BuildRequest, source: Path) -> str:
    by_hand = f"s2ictl build {source} {request.builder} {next(iter(request.names), 'TAG')}"
    # What was typed as a path below another directory is found neither here nor there.
    is_found_there = request.source.location == "." or Path(request.source.location).is_absolute()
    return f"cd {_place(source)}, or: {by_hand}" if is_found_there else by_hand


def _place(source: Path) -> Path:
    """The directory that is the source, or that an archive lies in."""
    return source.resolve() if source.is_dir() else source.resolve().parent


def _login(result: flags.ResultFlags, session: Session, place: str) -> Login | None:
    secret = result.registry_secret
    known = keyring.secret_logins(secret, session) if secret else ()
    file = works.login_file(session.world.cwd, result.dockercfg_path)
    return works.registry_logins(known, secret, session.world, file)(place)
