"""`demo`: source becomes a running service before your eyes, with nothing of your own at stake."""

from __future__ import annotations

import typer

from s2ictl import ui
from s2ictl.cli.engine import Engine
from s2ictl.cli.flags import CaBundle, DryRun
from s2ictl.cli.folders import named
from s2ictl.cli.session import Session, command
from s2ictl.cli.trials import promises, told, trying
from s2ictl.events import Notice

_BUILDER = "python"


def register(app: typer.Typer) -> None:
    command(app, "demo", example="s2ictl demo")(demo)


def demo(session: Session, engine: Engine = None, ca: CaBundle = None, dry_run: DryRun = False) -> None:
    """Build a sample application, run it, and show what it answers."""
    folder = named(_BUILDER, session)
    if dry_run:
        session.answer(promises([folder]))
        return
    with trying(session, ca, engine) as bench:
        trial = bench.try_out(folder)
    image = str(trial.image.names[0])
    took = ", ".join(f"{step.name} {ui.seconds(step.seconds)}" for step in trial.steps)
    session.emit(Notice(text=f"{ui.seconds(trial.seconds)} in all: {took}"))
    session.emit(Notice(text=f"{image} is left for you; the same with your own source: s2ictl build ."))
    session.answer(ui.Answer(text=trial.answer, names=(image,), data=told(trial)))
