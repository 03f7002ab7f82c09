"""What was said while a job was done, kept as one line of JSON for each event and shown again later.

A line is written whole and begins with its line break, so that what a kill tore apart spoils itself alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import msgspec

from s2ictl.events import Emit, Event, Notice, Progress

MAX_BYTES = 64 << 20
_KINDS: dict[str, Any] = {kind.__name__: kind for kind in get_args(Event)}


@contextmanager
def writing(path: Path, *, limit: int = MAX_BYTES) -> Iterator[Emit]:
    """Append events to a journal, within a limit; progress is for those who watch and is not kept."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    room = limit - os.fstat(descriptor).st_size

    def emit(event: Event) -> None:
        nonlocal room
        if isinstance(event, Progress) or room <= 0:
            return
        line = _encoded(event)
        room -= len(line)
        os.write(descriptor, line if room > 0 else _encoded(Notice(text="the log ends here: it is too long")))

    try:
        yield emit
    finally:
        os.close(descriptor)


def replay(path: Path) -> Iterator[Event]:
    """The events of a journal so far; none when there is no journal yet."""
    if path.exists():
        yield from events_in(path.read_bytes())


def follow(path: Path, *, is_over: Callable[[], bool], pause: Callable[[], None]) -> Iterator[Event]:
    """The events of a journal as they come, until the job is over and all has been read."""
    offset = 0
    while True:
        over = is_over()
        content = _from(path, offset)
        # The last line may be half written, unless nobody writes any more.
        complete = content if over else content[: content.rfind(b"\n") + 1]
        offset += len(complete)
        yield from events_in(complete)
        if over:
            return
        pause()


def events_in(content: bytes) -> Iterator[Event]:
    """The events that the lines of a journal hold; a torn or foreign line is passed over."""
    for line in content.split(b"\n"):
        try:
            fields = json.loads(line)
            yield msgspec.convert(fields, _KINDS[fields.pop("event")])
        except (ValueError, KeyError, TypeError, AttributeError):
            continue


def _encoded(event: Event) -> bytes:
    kind = {"event": type(event).__name__}
    # Not msgspec's JSON: a line of a program may hold bytes that are no text, and they must not end the job.
    return b"\n" + json.dumps(kind | msgspec.to_builtins(event)).encode("ascii")


def _from(path: Path, offset: int) -> bytes:
    if not path.exists():
        return b""
    with path.open("rb") as file:
        file.seek(offset)
        return file.read()
