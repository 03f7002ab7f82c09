"""Builds of directories of several sizes, with a builder that only moves them to their place, beside the older tool."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.bench import ground
from tests.bench.goals import Goal, Measured, beside
from tests.bench.timing import S2ICTL, Times, Weight, alternate, nothing, timed, weighed
from tests.engine import tiny

PEER = "s2i"
OURS, THEIRS = "bench/ours:1", "bench/theirs:1"
ABSENT = f"no `{PEER}` on PATH, so there is nothing to compare with"
UNCHANGED, LARGEST, TOGETHER = 300, 60, 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Forest:
    """Source without meaning, of as many files of one size; a build of it takes turns so often.

    `limit` and `stretch` are what it may take of the other tool's time. `because` is written by hand, of what was
    found out once about a limit that is missed.
    """

    name: str
    files: int
    size: int
    turns: int
    limit: float
    stretch: float | None = None
    because: str = ""

    def grow(self, place: Path) -> Path:
        """Lay it down; the bytes are random, so that no file system and no layer makes them fewer."""
        for number in range(self.files):
            file = place / f"{number // 100}" / f"{number}.bin"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(os.urandom(self.size))
        return place


FORESTS = (
    Forest(name="10 files", files=10, size=1000, turns=7, limit=1.0),
    Forest(name="2,000 files, 40 MB", files=2000, size=20_000, turns=5, limit=0.75, stretch=0.55),
    Forest(name="20,000 files, 80 MB", files=20_000, size=4000, turns=3, limit=0.65, stretch=0.55),
    Forest(name="one file, 500 MB", files=1, size=500_000_000, turns=3, limit=0.80, stretch=0.55),
)


def measured() -> Iterator[Measured]:
    peer = shutil.which(PEER)
    with ground.engine() as host, ground.client(host) as api, ground.builder(api):
        for forest in FORESTS:
            with tempfile.TemporaryDirectory(prefix="s2ictl-bench-") as directory:
                yield from Yard(
                    forest=forest,
                    commands=_commands(forest.grow(Path(directory, "source")), peer),
                    environment={"DOCKER_HOST": host, "S2ICTL_STATE": f"{directory}/state"},
                    # A build whose name is taken leaves the earlier image behind without one.
                    remove=partial(tiny.remove_named, api, OURS, THEIRS),
                ).measured()


def _commands(source: Path, peer: str | None) -> dict[str, Sequence[str]]:
    words = ("build", "--copy", "--pull-policy", "never", "-q", str(source), ground.BUILDER)
    commands: dict[str, Sequence[str]] = {"s2ictl": (*S2ICTL, *words, OURS)}
    if peer:
        commands[PEER] = (peer, *words, THEIRS)
    return commands


@dataclass(frozen=True, slots=True, kw_only=True)
class Yard:
    """One tree, and the commands that build it, ours first."""

    forest: Forest
    commands: Mapping[str, Sequence[str]]
    environment: Mapping[str, str]
    remove: Callable[[], None]

    def measured(self) -> Iterator[Measured]:
        print(f"\nbuild of {self.forest.name} in a directory, {self.forest.turns} turns each, builder present")
        yield beside_the_peer(self.forest, self._turns(after=self.remove))
        for command in self.commands.values():
            timed(command, self.environment)
        print("the same once more, nothing having changed")
        yield unchanged(self.forest, self._turns(after=nothing))
        self.remove()
        weight = weighed(self.commands["s2ictl"], self.environment)
        self.remove()
        yield from weights(self.forest, weight)

    def _turns(self, *, after: Callable[[], None]) -> list[Times]:
        times = alternate(self.commands, self.forest.turns, self.environment, after=after)
        print(*times, sep="\n")
        return times


def beside_the_peer(forest: Forest, times: Sequence[Times]) -> Measured:
    """Our time and the other tool's, as their ratio."""
    what = f"build of {forest.name}, beside {PEER}"
    goal = Goal(what=what, unit="ratio", limit=forest.limit, stretch=forest.stretch)
    ours, *theirs = (each.median for each in times)
    if not theirs:
        return Measured(goal=goal, value=None, why=ABSENT)
    said = beside(ours, theirs[0], limit=forest.limit)
    why = f"{said}; known of it: {forest.because}" if forest.because else said
    return Measured(goal=goal, value=ours / theirs[0], why=why)


def unchanged(forest: Forest, times: Sequence[Times]) -> Measured:
    """Our time for what is built already; the other tool builds it again."""
    ours, *theirs = (each.median * 1000 for each in times)
    peer = f"; {PEER} takes {theirs[0]:,.0f} ms" if theirs else ""
    goal = Goal(what=f"unchanged {forest.name}", unit="ms", limit=UNCHANGED)
    return Measured(goal=goal, value=ours, why=f"{ours - UNCHANGED:,.0f} ms more than the limit{peer}")


def weights(forest: Forest, weight: Weight) -> Iterator[Measured]:
    for which, value, limit in (
        ("largest process", weight.largest, LARGEST),
        ("all processes", weight.together, TOGETHER),
    ):
        goal = Goal(what=f"memory for {forest.name}, {which}", unit="MB", limit=limit)
        yield Measured(goal=goal, value=value, why=f"{value - limit:,.0f} MB more than the limit")
