"""Lines in the order of things, for logs and for those who cannot see a moving terminal; in a CI they fold."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import field
from typing import TextIO

from s2ictl.events import Event, Line, Notice, Progress, StepFinished, StepStarted
from s2ictl.ui.forges import NONE, Forge, annotation
from s2ictl.ui.steps import Steps
from s2ictl.ui.streams import tell
from s2ictl.ui.text import facts, harmless, moved
from s2ictl.values import dataclass

_PROGRESS_SECONDS = 1.0


@dataclass(slots=True)
class Plain:
    stream: TextIO
    forge: Forge = NONE
    verbose: int = 0
    clock: Callable[[], float] = time.time
    _steps: Steps = field(default_factory=Steps)
    _told: dict[str, float] = field(default_factory=dict)

    def show(self, event: Event) -> None:
        lines = self._lines(event)
        if lines:
            tell(self.stream, "".join(f"{line}\n" for line in lines))

    def _lines(self, event: Event) -> list[str]:
        match event:
            case StepStarted():
                return self._begun(event)
            case StepFinished():
                return self._ended(event)
            case Line(text=text):
                return [f"{self._steps.indent}  | {harmless(text)}"]
            case Notice():
                return self._noticed(event)
            case Progress():
                return self._progressed(event) if self.verbose else []

    def _begun(self, event: StepStarted) -> list[str]:
        step = self._steps.begin(event, self.clock())
        title = step.indent + step.title
        if not self._folds(step.depth):
            return [title]
        return [self.forge.opens.format(title=title, slug=step.slug, now=int(step.began))]

    def _ended(self, event: StepFinished) -> list[str]:
        step = self._steps.finish(event)
        self._told.clear()
        spent, *others = facts(event)
        how = "failed after" if event.failed else "done in"
        said = f"{step.indent}{step.name}: {', '.join([f'{how} {spent}', *others])}"
        if not (self.forge.closes and self._folds(step.depth)):
            return [said]
        return [self.forge.closes.format(slug=step.slug, now=int(self.clock())), said]

    def _folds(self, depth: int) -> bool:
        return self.forge.nests or depth == 0

    def _noticed(self, event: Notice) -> list[str]:
        """Later lines of one text stand further in, so that no foreign name with a line break forges a line of ours."""
        lines = [harmless(line) for line in event.text.splitlines()]
        if event.level == "warning" and self.forge.annotates:
            return [self.forge.warning + annotation("\n".join(lines), self.forge)]
        head = self.forge.warning if event.level == "warning" else ""
        return [f"{self._steps.indent}{'  ' if number else head}{line}" for number, line in enumerate(lines)]

    def _progressed(self, event: Progress) -> list[str]:
        now = self.clock()
        if now - self._told.get(event.subject, now - _PROGRESS_SECONDS) < _PROGRESS_SECONDS:
            return []
        self._told[event.subject] = now
        return [f"{self._steps.indent}  . {harmless(event.subject)}  {moved(event)}"]
