"""A build as a fixed row of events, with everything in it that a look has to cope with."""

from __future__ import annotations

from dataclasses import dataclass

from s2ictl.build import DONE
from s2ictl.errors import AssembleFailed, S2IError
from s2ictl.events import Event, Line, Notice, Progress, StepFinished, StepStarted

START = 1_700_000_000.0
SOURCE = "https://git.example.com/team/shop.git#main:backend"
BUILDER = "s2ictl/python:3.13"
TARGET = "registry.example.com/team/shop/backend:2026.7"

OUTPUT = (
    "Collecting flask",
    "\x1b[32mInstalled\x1b[0m 12 packages\x1b[K",
    "\x1b]0;owned\x07\x1b[2J\x1b[Hcursor, screen and title",
    "依赖安装完成 📦 한국어 ✔\ufe0f",
    "name\tversion\tsize",
    "fetching  10%\rfetching  55%\rfetching 100%",
    "[/evil] [bold red]markup[/] :smile:",
    "right to left \u202egnp.exe and bytes \udcff\udcfe",
    "x" * 70 * 1024,
    "::set-env name=PATH::/tmp",
    "  ::stop-commands::token",
    "std::vector and an ##[error]of GitHub, ##vso[task.setvariable variable=A]b",
    "\x1b[0Ksection_start:1:evil\r\x1b[0Kevil",
    "one\u2028two",
)


@dataclass(frozen=True, slots=True)
class Moment:
    """What happens at a time: an event, the story's error, or a look at the screen, by its name."""

    at: float
    what: Event | S2IError | str


_BEFORE = (
    Moment(0.0, StepStarted(name="fetch", subject=SOURCE)),
    Moment(0.2, Progress(subject=SOURCE, done=620_000)),
    Moment(0.3, "fetching, nobody knows how much"),
    Moment(0.4, StepFinished(name="fetch", seconds=0.4, cached=True, size=1_234_567)),
    Moment(0.4, StepStarted(name="choose builder", subject="by detection")),
    Moment(0.5, Notice(text="builder python, because of requirements.txt: dependencies for pip")),
    Moment(0.5, Notice(text=f"{BUILDER} is not here yet: it is built now, once")),
    Moment(0.5, StepStarted(name="base", subject="debian:13-slim")),
    Moment(0.6, Progress(subject="debian:13-slim", done=2_000_000, total=40_000_000)),
    Moment(1.1, Progress(subject="debian:13-slim", done=10_000_000, total=40_000_000)),
    Moment(1.7, Progress(subject="debian:13-slim", done=25_000_000, total=40_000_000)),
    Moment(1.8, "a step within a step, and its rate"),
    Moment(2.5, StepFinished(name="base", seconds=2.0, size=40_000_000)),
    Moment(2.5, StepStarted(name="build builder", subject=BUILDER)),
    Moment(2.7, Line(text="Setting up python3.13")),
    Moment(2.8, "the last line of output, cut to the width"),
    Moment(14.5, StepFinished(name="build builder", seconds=12.0)),
    Moment(14.5, "the outer step again"),
    Moment(14.6, StepFinished(name="choose builder", seconds=14.2)),
    Moment(14.6, StepStarted(name="assemble", subject=BUILDER)),
)

_ASSEMBLING = tuple(
    moment
    for number, text in enumerate(OUTPUT, 1)
    for moment in (
        Moment(14.6 + number, Line(text=text, stream="stderr" if number % 5 == 0 else "stdout")),
        Moment(14.6 + number, f"line {number} of the output"),
    )
)

_WARNING = Moment(
    30.0,
    Notice(text="nothing is locked: 100% of\nthe next builds may differ", level="warning"),
)

_AFTER = (
    Moment(75.0, StepFinished(name="assemble", seconds=60.4, size=81_000_000)),
    Moment(75.0, StepStarted(name="deliver", subject=TARGET)),
    Moment(75.1, Progress(subject=TARGET, done=1_000_000, total=81_000_000)),
    Moment(75.6, Progress(subject=TARGET, done=20_000_000, total=81_000_000)),
    Moment(77.1, Progress(subject=TARGET, done=61_000_000, total=81_000_000)),
    Moment(77.1, "on its way"),
    Moment(78.0, StepFinished(name="deliver", seconds=3.0)),
    Moment(78.0, Notice(text=DONE)),
)


def tail_of(output: tuple[str, ...]) -> str:
    """The last lines as the engine's verdict tells them: each of a bounded length."""
    return "\n".join(text[:500] for text in output)


_FAILING = (
    Moment(31.0, StepFinished(name="assemble", seconds=16.4, failed=True)),
    Moment(31.0, AssembleFailed("assemble ended with 3", detail=tail_of(OUTPUT), hint="s2ictl build -v")),
)

GOOD = (*_BEFORE, *_ASSEMBLING, _WARNING, *_AFTER)
FAILED = (*_BEFORE, *_ASSEMBLING, _WARNING, *_FAILING)
