"""A command from its start to its end: its output is told, its mark is seen, and its end is proved.

The end of the output proves nothing: the program may have closed it, the wire may be cut, the engine may have died.
Only the engine itself, asked afterwards, knows how a container ended; and after its own death not even it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from s2ictl.engines import outcomes, streams
from s2ictl.engines.connection import outlasting
from s2ictl.engines.containers import Container
from s2ictl.errors import ConnectionLost, Unreachable
from s2ictl.events import Emit, Line, Notice
from s2ictl.values import dataclass

_POLL = 0.05
_HEAR_AGAIN = 40  # polls of a container that runs on without a wire, until it is listened to again
_LONG_SILENCE = 300.0
_KILLED = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """The line by which a command says that it has ended well, and what is then done."""

    text: str
    reached: Callable[[], None]


def follow(
    container: Container, what: str, emit: Emit, *, seconds: float, mark: Marked | None = None
) -> outcomes.Ended:
    """Start the container, tell its output, and answer how it ended."""
    limit = streams.Limit.of(what, seconds)
    watch = _Watch(container, limit, emit, mark)
    with container.attached() as wire:
        container.start()
        watch.tell(wire)
    return watch.end()


class _Watch:
    """What was seen of one command so far."""

    def __init__(self, container: Container, limit: streams.Limit, emit: Emit, mark: Marked | None) -> None:
        self._container = container
        self._limit = limit
        self._emit = emit
        self._mark = mark
        self._seen = False
        self._lost = False
        self._cut = False

    def tell(self, wire: streams.Wire) -> None:
        silence = streams.Silence(seconds=_LONG_SILENCE, heard=self._say_that_it_is_silent)
        with suppress(ConnectionError):
            lines = streams.lines(streams.pieces(streams.received(wire, self._limit, silence)))
            for line in unmarked(lines, self._mark.text, self._reached) if self._mark else lines:
                self._emit(line)

    def end(self) -> outcomes.Ended:
        """How it ended, once it truly has; one that runs on without a wire is listened to again."""
        polls = 0
        while (state := self._state())["Running"]:
            self._lost = False  # it outlived whatever befell the engine
            self._limit.check()
            time.sleep(_POLL)
            polls += 1
            if polls % _HEAR_AGAIN == 0:
                self._say_that_the_wire_broke()
                with suppress(Unreachable), self._container.attached() as wire:
                    self.tell(wire)
        self._say_what_is_missing(state)
        died = state["ExitCode"] > _KILLED and not state["OOMKilled"] and self._container.died_unseen(state)
        lost = died or (self._lost and not (self._seen and state["ExitCode"] == 0))
        return outcomes.Ended(status=state["ExitCode"], out_of_memory=state["OOMKilled"], lost=lost)

    def _state(self) -> Mapping[str, Any]:
        with suppress(Unreachable):
            return self._container.state()
        self._lost = True
        try:
            return outlasting(self._container.state, self._emit)
        except Unreachable as error:
            raise ConnectionLost(
                f"the engine was lost during {self._limit.what}", detail=error.message, hint=error.hint
            ) from error

    def _reached(self) -> None:
        if self._mark and not self._seen:
            self._seen = True
            self._mark.reached()

    def _say_that_the_wire_broke(self) -> None:
        if self._mark and not self._seen and not self._cut:  # a bare command may have closed its output itself
            text = f"the wire to {self._limit.what} broke off for a while: some of its output was not heard"
            self._emit(Notice(text=text, level="warning"))
            self._cut = True

    def _say_that_it_is_silent(self) -> None:
        self._emit(outcomes.silent(self._limit.what, for_seconds=_LONG_SILENCE, until=self._limit.seconds))

    def _say_what_is_missing(self, state: Mapping[str, Any]) -> None:
        if self._mark and not self._seen and state["ExitCode"] == 0:
            self._emit(
                Notice(text=f"the log of {self._limit.what} is incomplete: its end was not heard", level="warning")
            )


def unmarked(lines: Iterable[Line], mark: str, reached: Callable[[], None]) -> Iterator[Line]:
    """The lines without the mark, and without the empty one that stands before it to begin a line of its own."""
    held: Line | None = None
    for line in lines:
        if line == Line(text=mark):
            held = None
            reached()
            continue
        if held:
            yield held
        held = line if line == Line(text="") else None
        if held is None:
            yield line
    if held:
        yield held
