"""What is promised and what was measured: one table with a verdict in each line, and a reason where one is missed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from s2ictl.ui import table


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """At most so much; beyond that there may be something to stretch for. Without a limit it is only shown."""

    what: str
    unit: str
    limit: float | None = None
    stretch: float | None = None

    def __str__(self) -> str:
        if self.limit is None:
            return "none"
        further = "" if self.stretch is None else f" (stretch {self._said(self.stretch)})"
        return f"at most {self._said(self.limit)}{further}"

    def _said(self, value: float) -> str:
        return shown(value, self.unit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What was found of a goal: None where it could not be measured, and then `why` says the reason."""

    goal: Goal
    value: float | None
    why: str = ""

    @property
    def verdict(self) -> str:
        limit, stretch = self.goal.limit, self.goal.stretch
        if self.value is None:
            return "not measured"
        if limit is None:
            return ""
        if self.value > limit:
            return "missed"
        return "met" if stretch is None or self.value > stretch else "met, stretch too"


def shown(value: float, unit: str) -> str:
    """A number as its unit is read; a ratio and a count have none."""
    match unit:
        case "ratio":
            return f"{value:.2f}"
        case _:
            return f"{value:,.0f} {unit}".rstrip()


def beside(ours: float, theirs: float, *, limit: float) -> str:
    """Why a ratio is what it is, in the milliseconds of the two whose ratio it is (both are seconds)."""
    mine, peer, allowed = ours * 1000, theirs * 1000, theirs * limit * 1000
    compared = f"{mine:,.0f} ms beside {peer:,.0f} ms, which is {mine - peer:+,.0f} ms"
    return f"{compared}; {mine - allowed:+,.0f} ms to the limit"


def report(found: Sequence[Measured]) -> str:
    """The table, and below it a line for everything that is not as it should be."""
    rows: list[tuple[str, ...]] = [(each.goal.what, str(each.goal), _value(each), each.verdict) for each in found]
    return "\n".join([table(("WHAT", "GOAL", "MEASURED", ""), rows), *_reasons(found)])


def _value(measured: Measured) -> str:
    return "-" if measured.value is None else shown(measured.value, measured.goal.unit)


def _reasons(found: Sequence[Measured]) -> Iterator[str]:
    for each in found:
        if each.verdict in ("missed", "not measured"):
            yield f"{each.verdict}: {each.goal.what}: {each.why or 'no reason is known'}"
