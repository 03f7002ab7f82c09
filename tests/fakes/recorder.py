"""`make HOW`: a word that builds nothing, records it, and ends as it is told; a program too, because it is there to be
killed:  python -m tests.fakes.recorder make orders

With `orders` it says every line that it reads, and is done when there are no more.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from s2ictl import ui
from s2ictl.build import DONE
from s2ictl.cli import words
from s2ictl.cli.main import main
from s2ictl.cli.records import Record, recorded
from s2ictl.cli.session import Session, Stopped, World, command
from s2ictl.errors import AssembleFailed, RolloutFailed
from s2ictl.events import Line, Notice, step
from s2ictl.models import Image, Reference

IMAGE = Image(
    names=(Reference.parse("shop:1"), Reference.parse("shop:latest")),
    id="sha256:" + "1" * 64,
    digest="sha256:" + "d" * 64,
    builder="s2ictl/python:1",
    commit="a" * 40,
)
ADDRESS = "http://10.0.0.1:30080/"
WORDS = (*words.WORDS, words.Word("make", "Build nothing, and end as told.", lambda: sys.modules[__name__]))


def register(app: typer.Typer) -> None:
    command(app, "make", example="s2ictl make good")(make)


def make(session: Session, how: Annotated[str, typer.Argument(metavar="HOW")]) -> None:
    """Build nothing, and end as told."""
    with recorded(session, kind="build", app="shop", source="/src/shop", builder="python", tags=("shop:1",)) as record:
        with step("fetch", "/src/shop", record.emit) as found:
            found.cached, found.size = True, 1_234_567
        with step("assemble", "s2ictl/python:1", record.emit):
            _work(session, how, record)
        record.emit(Notice(text=DONE))
        record.done(IMAGE, ADDRESS)
    session.answer(ui.Answer(text=record.id, names=(record.id,), data={"build": record.id}))


def _work(session: Session, how: str, record: Record) -> None:
    match how:
        case "orders":
            session.emit(Notice(text=record.id))
            for order in session.world.stdin:
                record.emit(Line(text=order.rstrip("\n")))
        case "fail":
            raise AssembleFailed("assemble ended with 3", detail="the last line\nof it", hint="look there")
        case "lose":
            record.done(IMAGE)
            raise RolloutFailed("nothing answers")
        case "fault":
            raise ZeroDivisionError("one of ours")
        case "interrupt":
            raise KeyboardInterrupt
        case "terminate":
            raise Stopped
        case "leave":
            raise BrokenPipeError


if __name__ == "__main__":
    world = World(
        arguments=tuple(sys.argv[1:]),
        environ=os.environ,
        cwd=Path.cwd(),
        home=Path(os.environ["HOME"]),
        stdin=sys.stdin,
        stdout=sys.stdout,
        stderr=sys.stderr,
    )
    sys.exit(main(world, words=WORDS))
