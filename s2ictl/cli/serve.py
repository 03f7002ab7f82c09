"""`serve`: deliveries become builds and rollouts; and the hidden command that does one of them in its own process."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

import s2ictl
from s2ictl import build as building
from s2ictl import deploy as deploying
from s2ictl import jobs, kubeconfig, logins, names
from s2ictl import serve as story
from s2ictl.addresses import is_loopback
from s2ictl.cli import keyring
from s2ictl.cli import workshop as works
from s2ictl.cli.engine import open_engine
from s2ictl.cli.flags import AllowHttp, duration, lets_http
from s2ictl.cli.places import state_directory
from s2ictl.cli.registries import Registries
from s2ictl.cli.rollout import try_address
from s2ictl.cli.session import Session, World, command
from s2ictl.cluster import open_cluster
from s2ictl.errors import InvalidConfiguration, InvalidUsage, Refused, Unauthorized
from s2ictl.events import Emit, Notice
from s2ictl.listener import Address, Limits
from s2ictl.models import (
    AppConfig,
    DeployConfig,
    Entry,
    ImageFacts,
    Login,
    Logins,
    Outcome,
    Reference,
    Rollout,
    parse_size,
)
from s2ictl.sources import FetchOptions, parse_source

_LARGEST_BODY = 25 << 20
_DEFAULT_LISTEN = "127.0.0.1:8088"


def _size(text: str | int) -> int:
    return parse_size(str(text))


Apps = Annotated[Path, typer.Option("--apps", metavar="DIR", help="Every *.yaml in it is one s2i.yaml.")]
State = Annotated[
    Path | None, typer.Option("--state", metavar="DIR", help="Where the queue and the logs lie (S2ICTL_STATE).")
]
Listen = Annotated[str, typer.Option("--listen", metavar="HOST:PORT", help="Where deliveries are posted to.")]
PlainHttp = Annotated[bool, typer.Option("--plain-http", help="Listen beyond this machine without TLS.")]
Workers = Annotated[int, typer.Option("--workers", min=1, max=64, help="How many jobs are done at once.")]
Grace = Annotated[
    int,
    typer.Option(
        "--grace", parser=duration, metavar="DURATION", help="What jobs get to finish at TERM.", show_default="30s"
    ),
]
MaxBody = Annotated[
    int, typer.Option("--max-body", parser=_size, metavar="SIZE", help="The largest delivery.", show_default="5MiB")
]


def register(app: typer.Typer) -> None:
    command(app, "serve", example="s2ictl serve --apps /etc/s2ictl/apps --state /var/lib/s2ictl")(serve)
    command(app, "work", example="s2ictl work --apps DIR --state DIR ENTRY LIFELINE", hidden=True)(work)


def serve(
    session: Session,
    apps: Apps,
    state: State = None,
    listen: Listen = _DEFAULT_LISTEN,
    plain_http: PlainHttp = False,
    workers: Workers = 2,
    grace: Grace = 30,
    max_body: MaxBody = 5 << 20,
    allow_http: AllowHttp = False,
) -> None:
    """Wait for deliveries of a forge, and build and roll out what they announce."""
    world = session.world
    place = world.cwd / apps
    request = story.ServeRequest(
        state=world.cwd / state if state else state_directory(world),
        address=_address(listen, plain_http=plain_http),
        limits=Limits(body=_body_limit(max_body)),
        workers=workers,
        grace=grace,
    )
    hooks, faults = story.load_hooks(place, world.environ)
    for fault in faults:
        session.emit(Notice(text=f"not loaded: {fault.message}", level="warning"))
    if not hooks:
        secrets_alone = bool(faults) and all(isinstance(fault, Unauthorized) for fault in faults)
        kind = Unauthorized if secrets_alone else InvalidConfiguration
        why = "\n".join(fault.message for fault in faults) or "there is no *.yaml in it"
        raise kind(f"no app in {place} can be triggered", detail=why, hint=faults[0].hint if faults else "")
    story.serve(
        request,
        hooks=hooks,
        worker=_worker(place, request.state, allow_http=lets_http(world, allow_http)),
        environ=_worker_environ(world),
        clock=time.time,
        emit=session.emit,
    )


def work(
    session: Session,
    entry: Annotated[str, typer.Argument(metavar="ENTRY")],
    lifeline: Annotated[int, typer.Argument(metavar="LIFELINE")],
    apps: Apps,
    state: Annotated[Path, typer.Option("--state", metavar="DIR")],
    allow_http: AllowHttp = False,
) -> None:
    """Do one job of the queue and record what came of it: `serve` starts this."""
    story.work(
        entry,
        state=state,
        lifeline=lifeline,
        perform=partial(_perform, session, apps, allow_http=allow_http),
        clock=time.time,
    )


# ------------------------------------------------------------------------------------------------------------ one job


def _perform(
    session: Session, apps: Path, entry: Entry, emit: Emit, built: story.Built, *, allow_http: bool
) -> Outcome:
    """Build and roll out, with what this machine has; what is said goes into the job's own log."""
    session = replace(session, emit=emit)
    world, app = session.world, story.find_app(apps, entry)
    secret = keyring.secret_logins(app.registry_secret, session) if app.registry_secret else ()
    request = jobs.build_request(
        entry,
        app,
        source=parse_source(
            app.source,
            ref=entry.commit,
            context_dir=app.build.context_dir,
            submodules=app.build.submodules is True,
            lfs=app.build.lfs,
            allow_http=allow_http,
            cwd=apps,
        ),
        names=tuple(names.final_name(str(name), secret=secret, push=True) for name in jobs.names_of(entry, app)),
        surroundings=works.package_sources(world.environ),
        ca_bundle=works.bundle(world, None),
    )
    registry = works.registry_logins(secret, app.registry_secret, world)
    forge = _forge_logins(app, world)
    registries = Registries(world=world, find_login=registry, ca_bundle=request.ca_bundle)
    with open_engine(world, emit, registries=registries) as engine:
        options = FetchOptions(ca_bundle=request.ca_bundle, public_only=True, let_in=True)
        prefix = app.builders.prefix
        bench = works.workshop(world, engine, options=options, find_login=registry, find_git_login=forge, prefix=prefix)

        def deploy(asked: DeployConfig, image: Reference) -> Rollout:
            facts = engine.facts(str(image), pull="if-not-present", login=registry(image.registry), emit=emit)
            return _roll_out(session, entry, app, asked, image, facts or ImageFacts(id=""), secret)

        return jobs.perform(
            entry,
            app,
            name=request.names[0],
            build=lambda: building.build(request, bench, emit=emit),
            built=built,
            deploy=deploy,
        )


def _forge_logins(app: AppConfig, world: World) -> Logins:
    """The forge's token for the forge's host, and what this user has for any other."""
    login, others = jobs.forge_login(app, world.environ), works.git_logins(world)

    def find(host: str) -> Login | None:
        return login if login and login.host == host else others(host)

    return find


def _roll_out(
    session: Session,
    entry: Entry,
    app: AppConfig,
    asked: DeployConfig,
    image: Reference,
    facts: ImageFacts,
    secret: tuple[Login, ...],
) -> Rollout:
    world = session.world
    access = kubeconfig.locate(environ=world.environ, home=world.home, cwd=world.cwd)
    placed = replace(asked, namespace=asked.namespace or access.namespace)
    wanted = jobs.workload(entry, app, placed, image=image, facts=facts)
    namespace, _, name = app.registry_secret.rpartition("/")
    content = None
    if name and (namespace or access.namespace) == wanted.namespace:
        wanted = replace(wanted, pull_secret=name)
    elif name:
        content = logins.pull_secret(logins.login_of(secret, wanted.image.name, name=app.registry_secret))
    with open_cluster(access, environ=world.environ, emit=session.emit) as cluster:
        return deploying.deploy(
            wanted, cluster=cluster, pull_secret=content, try_address=try_address, emit=session.emit
        )


# ---------------------------------------------------------------------------------------------------- flags, read


def _address(listen: str, *, plain_http: bool) -> Address:
    host, colon, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise InvalidUsage(f"--listen {listen!r} is not HOST:PORT", hint=f"--listen {_DEFAULT_LISTEN}")
    if not plain_http and not is_loopback(host):
        raise Refused(
            f"listening on {listen} without TLS would let others read deliveries",
            detail="the signature keeps them from being changed, not from being read",
            hint="put a proxy with TLS before it and listen on loopback, or allow it with --plain-http",
        )
    return Address(host=host, port=int(port))


def _body_limit(size: int) -> int:
    if not 1024 <= size <= _LARGEST_BODY:
        raise InvalidUsage(f"--max-body {size} is not between 1k and 25m", hint="no forge posts more than 25 MiB")
    return size


def _worker(apps: Path, state: Path, *, allow_http: bool) -> tuple[str, ...]:
    flags = ("--allow-http",) if allow_http else ()
    return (sys.executable, "-P", "-m", "s2ictl", "work", "--apps", str(apps), "--state", str(state), *flags)


def _worker_environ(world: World) -> dict[str, str]:
    """The server's own, and where this s2ictl lies: `-P` keeps Python from taking one out of the current directory."""
    home = str(Path(s2ictl.__file__).parent.parent)
    inherited = world.environ.get("PYTHONPATH", "")
    return {**world.environ, "PYTHONPATH": os.pathsep.join(filter(None, (home, inherited)))}
