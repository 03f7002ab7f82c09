"""`run`: an image at work on this machine, whichever engine has it."""

from __future__ import annotations

from typing import Annotated

import typer

from s2ictl.cli import engine as engines
from s2ictl.cli import flags
from s2ictl.cli import workshop as works
from s2ictl.cli.running import run_named
from s2ictl.cli.session import Session, command
from s2ictl.errors import InvalidUsage
from s2ictl.models import PullPolicy, Reference
from s2ictl.workshop import had, nowhere

_Image = Annotated[str, typer.Argument(metavar="IMAGE", help="A name or an id in the engine, or a name in a registry.")]
_Pull = Annotated[PullPolicy, typer.Option("--pull-policy", "-p", help="When it is pulled.")]


def register(app: typer.Typer) -> None:
    command(app, "run", example="s2ictl run shop:1.4 --env GREETING=hello")(run)


def run(
    session: Session,
    image: _Image,
    env: flags.Env = None,
    pull_policy: _Pull = "if-not-present",
    engine: engines.Engine = None,
) -> None:
    """Run an image here with its ports on loopback, until it ends or Ctrl-C."""
    world = session.world
    if (world.cwd / image).is_dir():
        raise InvalidUsage(f"{image} is a directory, and run takes an image", hint=f"s2ictl build {image} --run")
    Reference.parse(image)
    variables = dict(flags.pairs("--env", env or (), flags.VARIABLE, session.emit))
    with engines.open_engine(world, session.emit, engines.wanted(world, engine, holding=image)) as opened:
        facts, _ = had(image, pull_policy, works.workshop(world, opened), session.emit)
        if facts is None:
            raise nowhere("image", image, pull_policy)
        run_named(image, facts, opened, session, variables)
