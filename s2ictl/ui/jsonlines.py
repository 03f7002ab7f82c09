"""JSON lines: one object for each event, for programs that follow a build.

Every object has `event` (StepStarted, StepFinished, Line, Progress or Notice) and `at`, the seconds since the start;
the other keys are the fields of that event, always all of them. A key may be added, none is renamed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, field
from typing import Any, TextIO

from s2ictl.events import Event
from s2ictl.ui.streams import tell
from s2ictl.ui.text import harmless_json
from s2ictl.values import dataclass


@dataclass(slots=True)
class JsonLines:
    stream: TextIO
    clock: Callable[[], float] = time.time
    _began: float = field(init=False)

    def __post_init__(self) -> None:
        self._began = self.clock()

    def show(self, event: Event) -> None:
        at = round(self.clock() - self._began, 3)
        tell(self.stream, one_line({"event": type(event).__name__, "at": at, **asdict(event)}) + "\n")


def one_line(document: Mapping[str, Any]) -> str:
    """JSON in ASCII: bytes that are no text, and whatever a reader could take for the end of a line, are escaped."""
    return harmless_json(json.dumps(document, separators=(",", ":")))
