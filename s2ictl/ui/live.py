"""A terminal that somebody looks at: one moving line for the step at work, finished steps above it.

While a line moves, the cursor is hidden and rests at its head. A terminal that is made narrower folds the line and
keeps the cursor where it stood in the text; so from the cursor downwards all is ours, and is erased without counting
rows. A line is always shorter than the terminal, and is drawn by events as they come and by a thread in between.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import field
from typing import TextIO

from s2ictl.errors import S2IError
from s2ictl.events import Event, Line, Notice, Progress, StepFinished, StepStarted
from s2ictl.ui.row import fitted, latest
from s2ictl.ui.steps import Step, Steps
from s2ictl.ui.terminal import Piece, Terminal
from s2ictl.ui.text import facts, harmless, moved, seconds, size
from s2ictl.values import dataclass

_TICK_SECONDS = 0.1
_HIDDEN_LINES = 20
_HIDDEN_WIDTH = 500

_HEAD = "\r"
_ERASE = "\x1b[J"
_HIDE_CURSOR = "\x1b[?25l"
_SHOW_CURSOR = "\x1b[?25h"


@contextmanager
def held(
    stream: TextIO, *, environ: Mapping[str, str], clock: Callable[[], float], verbose: int, color: bool, tick: float
) -> Iterator[Live]:
    """Show events on a terminal; afterwards it is as it was found."""
    with closing(Live(Terminal(stream, environ, color), clock, verbose, tick)) as look:
        try:
            yield look
        except S2IError as error:
            with suppress(OSError):
                look.tell_hidden(besides=error.detail)
            raise


class Ticker:
    """Draws again and again, so that a silent step is seen to be at work."""

    def __init__(self, draw: Callable[[], None], every: float) -> None:
        self._draw = draw
        self._every = every
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="live line", daemon=True)

    def start(self) -> None:
        """Begin, unless it has begun."""
        if self._thread.ident is None:
            self._thread.start()

    def close(self) -> None:
        self._over.set()
        if self._thread.ident is not None:
            # A terminal halted by Ctrl-S may hold it for ever; it is a daemon then, and dies with the process.
            self._thread.join(timeout=1)

    def _run(self) -> None:
        while not self._over.wait(self._every):
            try:
                self._draw()
            except OSError:
                return  # whoever speaks next finds out too, and in the thread that can end the work


@dataclass(slots=True)
class Pace:
    """How fast bytes move: since the first word of it, not since the step began."""

    first: Progress
    at: float
    last: Progress

    def says(self, now: float) -> tuple[str, ...]:
        spent, came = now - self.at, self.last.done - self.first.done
        rate = f"{size(came / spent)}/s" if self.last.unit == "bytes" and spent >= 1 and came > 0 else ""
        return (moved(self.last), rate)


@dataclass(slots=True)
class Live:
    """The look itself. What it hides of a step is kept, in case the step fails and nobody else says it."""

    terminal: Terminal
    clock: Callable[[], float]
    verbose: int = 0
    tick: float = _TICK_SECONDS
    _ticker: Ticker = field(init=False)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _steps: Steps = field(default_factory=Steps)
    _pace: Pace | None = None
    _tail: str = ""
    _hidden: deque[str] = field(default_factory=lambda: deque(maxlen=_HIDDEN_LINES))
    _drawn: float = 0.0
    _cursor_hidden: bool = False

    def __post_init__(self) -> None:
        self._ticker = Ticker(self.draw, self.tick)

    def show(self, event: Event) -> None:
        with self._lock:
            match event:
                case StepStarted():
                    self._begin(event)
                case StepFinished():
                    self._finish(event)
                case Line(text=text):
                    self._line(text)
                case Notice(text=text, level=level):
                    self._notice(text, level)
                case Progress():
                    self._progress(event)

    def draw(self) -> None:
        """Draw the line at work anew, if there is one."""
        with self._lock:
            if self._steps.at_work:
                self._write(_HEAD + self._row() + _ERASE + _HEAD)

    def tell_hidden(self, *, besides: str) -> None:
        """Show what a failed step had said last, unless the error says so itself."""
        said = {line.strip() for line in besides.splitlines()}
        with self._lock:
            if self._hidden and not any(line.strip() in said for line in self._hidden):
                self._say(*(Piece(f"  | {harmless(line)}\n", "dim") for line in self._hidden))
            self._hidden.clear()

    def close(self) -> None:
        """Give the terminal back, also in the middle of a step; one that is gone needs nothing."""
        try:
            self._ticker.close()
        finally:
            with self._lock, suppress(OSError):
                self._steps.at_work.clear()
                if self._cursor_hidden:
                    self._say()

    # ------------------------------------------------------------------------------------------------ what is said

    def _begin(self, event: StepStarted) -> None:
        self._steps.begin(event, self.clock())
        self._forget()
        self._hidden.clear()
        self.draw()
        self._ticker.start()

    def _finish(self, event: StepFinished) -> None:
        step = self._steps.finish(event)
        self._forget()
        if not event.failed:
            self._hidden.clear()
        self._say(*self._ended(step, event))

    def _ended(self, step: Step, event: StepFinished) -> tuple[Piece, ...]:
        mark, style = (self.terminal.marks.bad, "red") if event.failed else (self.terminal.marks.good, "green")
        head = (Piece(f"{step.indent}{mark} ", style), Piece(step.name, style if event.failed else "bold"))
        row = fitted(head, step.subject, facts(event), "", self.terminal.width() - 1, self.terminal.marks)
        return (*row, Piece("\n"))

    def _line(self, text: str) -> None:
        if self.verbose or not self._steps.at_work:
            self._say(Piece(f"{self._steps.indent}  | {harmless(text)}\n", "dim"))
            return
        self._hidden.append(text[:_HIDDEN_WIDTH])
        self._tail = text
        self._draw_if_due()

    def _notice(self, text: str, level: str) -> None:
        head, style = ("warning: ", "yellow") if level == "warning" else ("", "")
        lines = [harmless(line) for line in text.splitlines()]
        indent = self._steps.indent
        self._say(*(Piece(f"{indent}{'  ' if number else head}{line}\n", style) for number, line in enumerate(lines)))

    def _progress(self, event: Progress) -> None:
        if self._pace is None or self._pace.first.subject != event.subject:
            self._pace = Pace(event, self.clock(), event)
        self._pace.last = event
        self._draw_if_due()

    def _forget(self) -> None:
        self._pace, self._tail = None, ""

    # ---------------------------------------------------------------------------------------------- how it is drawn

    def _draw_if_due(self) -> None:
        """A program may print a million lines a second; nobody reads more than ten of them."""
        if self.clock() - self._drawn >= _TICK_SECONDS:
            self.draw()

    def _row(self) -> str:
        step = self._steps.at_work[-1]
        now = self._drawn = self.clock()
        marks, room = self.terminal.marks, self.terminal.width() - 1
        mark = marks.turning[int((now - step.began) / _TICK_SECONDS) % len(marks.turning)]
        head = (Piece(f"{step.indent}{mark} ", "cyan"), Piece(step.name, "bold"))
        known = (seconds(now - step.began), *(self._pace.says(now) if self._pace else ()))
        return self.terminal.paint(fitted(head, step.subject, known, latest(self._tail, room), room, marks, crop=True))

    def _say(self, *pieces: Piece) -> None:
        """Print above the moving line, and leave that, or a cursor as it was, below."""
        row = self._row() + _HEAD if self._steps.at_work else ""
        self._write(_HEAD + _ERASE + self.terminal.paint(pieces) + row)

    def _write(self, text: str) -> None:
        hide = bool(self._steps.at_work)
        switch = "" if hide == self._cursor_hidden else _HIDE_CURSOR if hide else _SHOW_CURSOR
        self._cursor_hidden = self._cursor_hidden or hide
        self.terminal.write(switch + text if hide else text + switch)
        self._cursor_hidden = hide
