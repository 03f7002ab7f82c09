"""Builds and pushes, recorded as every look shows them: `make docs` writes the files beside this one anew.

They are read by people who review a change of how a build looks, so what no editor shows is written out: ␛ for escape,
␍ for carriage return, and `x⟨71680 times⟩` for what is too long.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TextIO

from s2ictl import ui
from s2ictl.errors import S2IError
from s2ictl.events import Emit
from tests.recordings import pty
from tests.recordings.artifact import B2I, PUSH
from tests.recordings.screen import Screen
from tests.recordings.story import FAILED, GOOD, START, Moment

HERE = Path(__file__).parent
STORIES: Mapping[str, tuple[Moment, ...]] = {"good": GOOD, "failed": FAILED, "b2i": B2I, "push": PUSH}
Frame = Callable[[str], None]


def recordings() -> dict[str, Callable[[tuple[Moment, ...]], str]]:
    """Every look, by the name of its file."""
    return {
        "terminal-80x24": lambda story: on_terminal(story, columns=80, rows=24),
        "terminal-40x10": lambda story: on_terminal(story, columns=40, rows=10),
        "plain": lambda story: in_lines(story, ui.Appearance()),
        "plain-verbose": lambda story: in_lines(story, ui.Appearance(verbose=1)),
        "json": lambda story: in_lines(story, ui.Appearance(progress="json")),
        "github": lambda story: in_lines(story, ui.Appearance(), CI="true", GITHUB_ACTIONS="true"),
        "gitlab": lambda story: in_lines(story, ui.Appearance(), CI="true", GITLAB_CI="true"),
    }


def in_lines(story: tuple[Moment, ...], appearance: ui.Appearance, **environ: str) -> str:
    stream = io.StringIO()
    tell(story, appearance, stream, environ, frame=lambda _: None)
    return visible(stream.getvalue())


def on_terminal(story: tuple[Moment, ...], *, columns: int, rows: int) -> str:
    """The moving row at certain moments, and all that was ever on the screen in the end."""

    def show(stream: TextIO) -> None:
        # What is drawn between events depends on how fast this machine is.
        still = ui.Appearance(tick=3600)
        tell(story, still, stream, {"TERM": "xterm-256color"}, frame=lambda name: pty.mark(stream, name))

    screen = Screen(columns, rows)
    screen.feed(pty.printed(show, columns=columns, rows=rows))
    assert screen.cursor_shown
    moments = "".join(f"{name}:\n{text.splitlines()[-1]}\n" for name, text in screen.marked)
    return f"{moments}\n──── the end, scrolled back\n{screen.everything()}"


def tell(
    story: tuple[Moment, ...], appearance: ui.Appearance, stderr: TextIO, environ: Mapping[str, str], *, frame: Frame
) -> None:
    """The story as the program tells it: at its times, and with its error in the end."""
    now = START
    try:
        with ui.showing(appearance, stderr=stderr, environ=environ, clock=lambda: now) as emit:
            for moment in story:
                now = START + moment.at
                _happen(moment, emit, frame)
    except S2IError as error:
        as_json = appearance.progress == "json"
        ui.print_error(error, as_json=as_json, stderr=stderr, environ=environ)


def _happen(moment: Moment, emit: Emit, frame: Frame) -> None:
    if isinstance(moment.what, str):
        frame(moment.what)
    elif isinstance(moment.what, S2IError):
        raise moment.what
    else:
        emit(moment.what)


def visible(text: str) -> str:
    shown = text.replace("\x1b", "␛").replace("\r", "␍")
    return re.sub(r"(.)\1{99,}", lambda match: f"{match[1]}⟨{len(match[0])} times⟩", shown)
