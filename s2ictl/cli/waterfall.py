"""Where the time of a build went, drawn with characters: a line for each step, its bar where it lay in time."""

from __future__ import annotations

from collections.abc import Sequence

from s2ictl import ui
from s2ictl.journal import Span
from s2ictl.ui.terminal import UNICODE, Marks

WIDTH = 80
_LONGEST_NAME = 30
_SHORTEST_BAR = 10


def draw(spans: Sequence[Span], *, width: int = WIDTH, marks: Marks = UNICODE) -> str:
    """The steps one below the other."""
    if not spans:
        return ""
    names = [("  " * span.depth + ui.printable(span.name))[:_LONGEST_NAME] for span in spans]
    times = [ui.seconds(span.seconds) for span in spans]
    notes = [_notes(span) for span in spans]
    name_width, time_width, note_width = (max(map(len, texts)) for texts in (names, times, notes))
    room = max(_SHORTEST_BAR, width - name_width - time_width - note_width - 6)
    scale = room / max(max(span.began + span.seconds for span in spans), 0.001)
    bars = [_bar(span, scale, room, marks) for span in spans]
    lines = zip(names, times, bars, notes, strict=True)
    return "\n".join(
        f"{name:<{name_width}}  {time:>{time_width}}  {bar}{'  ' if note else ''}{note}"
        for name, time, bar, note in lines
    )


def _bar(span: Span, scale: float, room: int, marks: Marks) -> str:
    first = min(round(span.began * scale), room - 1)
    cells = min(round((span.began + span.seconds) * scale), room) - first
    return " " * first + (marks.bar * cells if cells > 0 else marks.tick)


def _notes(span: Span) -> str:
    said = (
        span.size and ui.size(span.size),
        span.cached and "cached",
        span.failed and "failed",
        not span.finished and "not finished",
    )
    return "  ".join(text for text in said if text)
