"""What was said while a job was done, and when: one line of JSON for each event, shown again later.

A line is written whole and begins with its line break, so that what a kill tore apart spoils itself alone. Whoever
writes a journal holds a shared lock on it, which the kernel takes back whatever becomes of the process: so everybody
can see whether somebody is still at work. And a disk that is full costs lines, never the job.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import field, replace
from pathlib import Path
from typing import Any, get_args

import msgspec

from s2ictl.events import Emit, Event, Notice, Progress, StepFinished, StepStarted
from s2ictl.values import dataclass

MAX_BYTES = 64 << 20
_KINDS: dict[str, Any] = {kind.__name__: kind for kind in get_args(Event)}
_TAIL = 1 << 16
_FOREVER = 1e10
AGAIN = Notice(text="the job begins again")


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """An event, and when it came: seconds since the journal began, None where an older s2ictl did not say."""

    event: Event
    at: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A step on the line of time; one that stands within others is as deep as they are many."""

    name: str
    subject: str = ""
    began: float
    seconds: float = 0.0
    depth: int = 0
    finished: bool = False
    failed: bool = False
    cached: bool = False
    size: int = 0


# ---------------------------------------------------------------------------------------------------------- writing


@contextmanager
def writing(path: Path, *, limit: int = MAX_BYTES, clock: Callable[[], float] = time.monotonic) -> Iterator[Emit]:
    """Append events to a journal, within a limit; progress is for those who watch and is not kept."""
    began = clock() - _last_moment(path)  # of a job that was interrupted the time in between is not counted
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        with suppress(OSError):  # a file system without locks: then nobody is ever taken for dead
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        size = os.fstat(descriptor).st_size
        pen = _Pen(descriptor=descriptor, room=limit - size, now=lambda: clock() - began)
        if size:
            pen.write(AGAIN)
        yield pen.write
    finally:
        os.close(descriptor)


def is_being_written(path: Path) -> bool:
    """Whether the process that writes this journal lives; where that cannot be seen it does."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        return not isinstance(error, FileNotFoundError)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


@dataclass(slots=True, kw_only=True)
class _Pen:
    descriptor: int
    room: int
    now: Callable[[], float]
    lost: str = ""

    def write(self, event: Event) -> None:
        if isinstance(event, Progress):
            return
        if self.lost:
            self._put(Notice(text=f"lines are missing here: {self.lost}", level="warning"))
        self._put(event)

    def _put(self, event: Event) -> None:
        if self.room <= 0:
            return
        line = self._line(event)
        self.room -= len(line)
        if self.room <= 0:
            line = self._line(Notice(text="the log ends here: it is too long"))
        try:
            whole = os.write(self.descriptor, line) == len(line)
            self.lost = "" if whole else "the disk is full"
        except OSError as error:
            self.lost = error.strerror or str(error)

    def _line(self, event: Event) -> bytes:
        said = {"event": type(event).__name__, "at": round(self.now(), 3)}
        # Not msgspec's JSON: a line of a program may hold bytes that are no text, and they must not end the job.
        return b"\n" + json.dumps(said | msgspec.to_builtins(event)).encode("ascii")


def _last_moment(path: Path) -> float:
    """When a journal that is there already ends."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL))
            return max((moment.at or 0.0 for moment in map(_moment, file) if moment), default=0.0)
    except FileNotFoundError:
        return 0.0


# ---------------------------------------------------------------------------------------------------------- reading


def moments(path: Path) -> Iterator[Moment]:
    """What a journal holds so far; nothing when there is none yet."""
    return (moment for _, moment in _read(path, 0, whole=True) if moment)


def follow(path: Path, *, is_over: Callable[[], bool], pause: Callable[[], None]) -> Iterator[Moment]:
    """What a journal holds as it comes, until the job is over and all has been read."""
    offset = 0
    while True:
        over = is_over()
        for read, moment in _read(path, offset, whole=over):
            offset = read
            if moment:
                yield moment
        if over:
            return
        pause()


def _read(path: Path, offset: int, *, whole: bool) -> Iterator[tuple[int, Moment | None]]:
    """The lines from an offset on, and how far each leads; the last may be half written unless this is the `whole`."""
    with suppress(FileNotFoundError), path.open("rb") as file:
        file.seek(offset)
        for line in file:
            moment = _moment(line)
            if moment or whole or line.endswith(b"\n"):  # no part of an object is an object
                offset += len(line)
                yield offset, moment


def _moment(line: bytes) -> Moment | None:
    """The event that a line holds; a torn or foreign line holds none."""
    try:
        fields = json.loads(line)
        at = fields.pop("at", None)
        event = msgspec.convert(fields, _KINDS[fields.pop("event")])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return Moment(event=event, at=float(at) if _is_time(at) else None)


# ------------------------------------------------------------------------------------------------- the line of time


def timeline(path: Path) -> tuple[Span, ...]:
    """The steps of a journal in the order in which they began; what has not ended lasts until the last word."""
    draft = _Draft()
    for moment in moments(path):
        draft.take(moment)
    draft.leave(0)
    return tuple(draft.spans)


@dataclass(slots=True)
class _Draft:
    """Steps as they come. A line that was lost may have been the beginning of one, or its end."""

    spans: list[Span] = field(default_factory=list)
    within: list[int] = field(default_factory=list)  # the steps that have not ended, the innermost last
    now: float = 0.0

    def take(self, moment: Moment) -> None:
        self.now = max(self.now, moment.at or 0.0)
        match moment.event:
            case StepStarted(name=name, subject=subject):
                self.within.append(len(self.spans))
                self.spans.append(Span(name=name, subject=subject, began=self.now, depth=len(self.within) - 1))
            case StepFinished() as end:
                self._finish(end)
            case again if again == AGAIN:
                self.leave(0)

    def _finish(self, end: StepFinished) -> None:
        seconds = end.seconds if _is_time(end.seconds) else 0.0
        depth = next((d for d in reversed(range(len(self.within))) if self._at(d).name == end.name), None)
        if depth is None:
            depth, span = len(self.within), Span(name=end.name, began=max(0.0, self.now - seconds))
            self.spans.append(replace(span, depth=depth))
            self.within.append(len(self.spans) - 1)
        self.leave(depth + 1)
        ended = replace(self._at(depth), seconds=seconds, finished=True, failed=end.failed, cached=end.cached)
        self.spans[self.within.pop()] = replace(ended, size=end.size)
        self.now = max(self.now, ended.began + seconds)

    def leave(self, depth: int) -> None:
        """Give up those steps that are so deep or deeper: nobody has told their end."""
        for index in self.within[depth:]:
            self.spans[index] = replace(self.spans[index], seconds=self.now - self.spans[index].began)
        del self.within[depth:]

    def _at(self, depth: int) -> Span:
        return self.spans[self.within[depth]]


def _is_time(value: object) -> bool:
    return isinstance(value, (int, float)) and 0 <= value < _FOREVER
