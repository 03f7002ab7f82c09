"""What is said while work is done.

Below `cli` nothing prints: code emits one of these values, and `ui` decides how it looks. So the same build can be
a live line on a terminal, plain lines in CI, JSON for a program, and a log file in the ledger.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from s2ictl.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStarted:
    """A part of the story begins: its verb, and what it is done to."""

    name: str
    subject: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFinished:
    """It is over: how long it took, whether it only found what was there already, and the bytes that came of it."""

    name: str
    seconds: float
    failed: bool = False
    cached: bool = False
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line that a program of somebody else printed: untrusted text, escaped where it is shown."""

    text: str
    stream: Literal["stdout", "stderr"] = "stdout"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What has been moved so far, in bytes if nothing else is said; `total` is 0 while nobody knows it."""

    subject: str
    done: int
    total: int = 0
    unit: str = "bytes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something the user should know, that stops nothing."""

    text: str
    level: Literal["info", "warning"] = "info"


Event = StepStarted | StepFinished | Line | Progress | Notice
Emit = Callable[[Event], None]

_APART = 0.25  # seconds between two words of how far it is


class Moving:
    """Says how much of something has come, a few times a second and only when that is more than before."""

    def __init__(self, subject: str, emit: Emit, *, total: int = 0) -> None:
        self._subject = subject
        self._emit = emit
        self._total = total
        self._said = 0
        self._at = time.monotonic()

    def tell(self, done: int) -> None:
        if done > self._said and time.monotonic() - self._at >= _APART:
            self._emit(Progress(subject=self._subject, done=done, total=self._total))
            self._said, self._at = done, time.monotonic()

    def end(self, done: int) -> None:
        """All of it is there; of what went by at once nobody is told."""
        if self._said:
            self._emit(Progress(subject=self._subject, done=done, total=done))


@dataclass(slots=True)
class Findings:
    """What a step finds out about itself while it runs."""

    cached: bool = False
    size: int = 0


@contextmanager
def step(name: str, subject: str, emit: Emit) -> Iterator[Findings]:
    """Say that a step begins, and what came of it when it ends, also when it fails."""
    emit(StepStarted(name=name, subject=subject))
    began = time.monotonic()
    found = Findings()
    failed = True
    try:
        yield found
        failed = False
    finally:
        spent = time.monotonic() - began
        emit(StepFinished(name=name, seconds=spent, failed=failed, cached=found.cached, size=found.size))
