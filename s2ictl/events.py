"""What is said while work is done.

Below `cli` nothing prints: code emits one of these values, and `ui.py` decides how it looks. So the same build can be
a live line on a terminal, plain lines in CI, JSON for a program, and a log file in the ledger.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStarted:
    """A part of the story begins: its verb, and what it is done to."""

    name: str
    subject: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFinished:
    name: str
    seconds: float
    failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line that a program of somebody else printed: untrusted text, escaped where it is shown."""

    text: str
    stream: Literal["stdout", "stderr"] = "stdout"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Bytes moved so far; `total` is 0 while nobody knows it."""

    subject: str
    done: int
    total: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something the user should know, that stops nothing."""

    text: str
    level: Literal["info", "warning"] = "info"


Event = StepStarted | StepFinished | Line | Progress | Notice
Emit = Callable[[Event], None]


@contextmanager
def step(name: str, subject: str, emit: Emit) -> Iterator[None]:
    """Say that a step begins, and how long it took when it ends, also when it fails."""
    emit(StepStarted(name=name, subject=subject))
    began = time.monotonic()
    failed = True
    try:
        yield
        failed = False
    finally:
        emit(StepFinished(name=name, seconds=time.monotonic() - began, failed=failed))
