"""The terminal itself: how wide it is, how wide a text is on it, how a style is written for it. Home of rich.

Rich only paints here: what it would write by itself on a broken pipe, or measure of the process's own streams, is
this module's business.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

from s2ictl.ui.streams import tell
from s2ictl.values import dataclass

if TYPE_CHECKING:
    from rich.console import Console

_USUAL_WIDTH = 80


@dataclass(frozen=True, slots=True)
class Piece:
    text: str
    style: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """The signs that a reader's encoding has."""

    good: str
    bad: str
    cut: str
    turning: str
    bar: str
    tick: str


UNICODE = Marks(good="✓", bad="✗", cut="…", turning="⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", bar="▇", tick="▏")
ASCII = Marks(good="+", bad="x", cut="~", turning="|/-\\", bar="#", tick="|")


def marks_of(stream: TextIO) -> Marks:
    return UNICODE if "utf" in (stream.encoding or "utf-8").lower() else ASCII


class Terminal:
    """Where it is drawn: how wide it is now, and how a styled text is written for it."""

    def __init__(self, stream: TextIO, environ: Mapping[str, str], color: bool) -> None:
        self._stream = stream
        self._environ = environ
        self._color = color
        self.marks = marks_of(stream)

    def width(self) -> int:
        """Asked each time: a window is resized while a step runs."""
        with suppress(OSError, ValueError):
            return os.get_terminal_size(self._stream.fileno()).columns or _USUAL_WIDTH
        return _USUAL_WIDTH

    def write(self, text: str) -> None:
        tell(self._stream, text)

    def paint(self, pieces: tuple[Piece, ...]) -> str:
        from rich.text import Text

        console = self._console
        with console.capture() as captured:
            console.print(Text.assemble(*((piece.text, piece.style) for piece in pieces)), end="", highlight=False)
        return captured.get()

    @functools.cached_property
    def _console(self) -> Console:
        from rich.console import Console

        return Console(
            force_terminal=True,
            no_color=not self._color,
            soft_wrap=True,
            markup=False,
            emoji=False,
            legacy_windows=False,
            _environ=self._environ,
        )


def cells(text: str) -> int:
    """How many columns a text takes at most: what terminals join, in emoji, is counted as if they did not."""
    from rich.cells import get_character_cell_size

    return sum(map(get_character_cell_size, text)) + text.count("\ufe0f")
