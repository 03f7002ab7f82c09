"""The steps at work, the outer ones first: what is said meanwhile belongs to the innermost."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import field

from s2ictl.events import StepFinished, StepStarted
from s2ictl.ui.text import harmless
from s2ictl.values import dataclass

_LONGEST_SUBJECT = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    name: str
    subject: str
    depth: int
    began: float
    slug: str

    @property
    def title(self) -> str:
        return f"{self.name}  {self.subject}".rstrip()

    @property
    def indent(self) -> str:
        return "  " * self.depth


@dataclass(slots=True)
class Steps:
    at_work: list[Step] = field(default_factory=list)
    _begun: Counter[str] = field(default_factory=Counter)

    @property
    def indent(self) -> str:
        """What stands before a line that is said now."""
        return self.at_work[-1].indent if self.at_work else ""

    def begin(self, event: StepStarted, at: float) -> Step:
        step = Step(
            name=event.name,
            subject=harmless(event.subject[:_LONGEST_SUBJECT]),
            depth=len(self.at_work),
            began=at,
            slug=self._slug(event.name),
        )
        self.at_work.append(step)
        return step

    def finish(self, event: StepFinished) -> Step:
        """The step that is over; those that began within it and never ended (a journal may be torn) go with it."""
        for depth in reversed(range(len(self.at_work))):
            if self.at_work[depth].name == event.name:
                step = self.at_work[depth]
                del self.at_work[depth:]
                return step
        return Step(name=event.name, subject="", depth=len(self.at_work), began=0.0, slug=self._slug(event.name))

    def _slug(self, name: str) -> str:
        """A name that no other step of this log has."""
        self._begun[name] += 1
        slug = re.sub(r"[^a-z0-9]+", "_", name.lower())
        return slug if self._begun[name] == 1 else f"{slug}_{self._begun[name]}"
