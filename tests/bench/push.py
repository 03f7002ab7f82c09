"""Builds that end in a registry, with and without a daemon, beside the older tool and the push of what it made."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from tests.bench import ground
from tests.bench.goals import Goal, Measured, beside
from tests.bench.timing import S2ICTL, Times, alternate, in_turn, timed, together, weighed
from tests.bench.trees import FORESTS, Forest, weights
from tests.engine import tiny

PEER, PUSHER = "s2i", "docker"
ABSENT = f"`{PEER}` and `{PUSHER}` are not both on PATH, so there is nothing to compare with"
Road = Literal["embedded", "docker"]

# What each road may take of the other tool's time, by the forests of the build itself, the smallest first.
LIMITS: Mapping[Road, tuple[float | None, ...]] = {
    "embedded": (0.25, 0.15, 0.12, 0.10),
    "docker": (None, 0.35, 0.35, 0.35),
}
AT_ONCE, ROUNDS, OF_EIGHT = 8, 5, 0.3

_PEER = """
set -e
s2i build --copy --pull-policy never -q "$1" "$2" "$3" >/dev/null
docker push -q "$3" >/dev/null
"""


def measured() -> Iterator[Measured]:
    able = all(map(shutil.which, (PEER, PUSHER)))
    with ground.engine() as host, ground.registry() as registry, ground.client(host) as api, ground.builder(api):
        for number, forest in enumerate(FORESTS):
            with tempfile.TemporaryDirectory(prefix="s2ictl-bench-") as directory:
                place = Place(directory=Path(directory), registry=registry, host=host, api=api, able=able)
                yield from _beside(place, forest, {road: limits[number] for road, limits in LIMITS.items()})
        with tempfile.TemporaryDirectory(prefix="s2ictl-bench-") as directory:
            place = Place(directory=Path(directory), registry=registry, host=host, api=api, able=able)
            yield from _at_once(place, FORESTS[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where it is measured; `able` says whether the other tool is there."""

    directory: Path
    registry: str
    host: str
    api: Any
    able: bool

    @property
    def environment(self) -> Mapping[str, str]:
        return {"DOCKER_HOST": self.host, "S2ICTL_STATE": str(self.directory / "state")}

    def ours(self, road: Road, source: Path, name: str = "ours") -> Sequence[str]:
        words = ("-q", str(source), ground.BUILDER, f"{self.registry}/bench/{name}-{road}:1")
        return (*S2ICTL, "build", "--copy", "--engine", road, "--push", *words)

    def theirs(self, source: Path, name: str = "theirs") -> Sequence[str]:
        return ("sh", "-c", _PEER, "sh", str(source), ground.BUILDER, f"{self.registry}/bench/{name}:1")

    def forget(self, *names: str) -> None:
        """A build whose name is taken leaves the earlier image behind without one."""
        tiny.remove_named(self.api, *(f"{self.registry}/bench/{name}" for name in names))


# ------------------------------------------------------------------------------------------------------- one at a time


def _beside(place: Place, forest: Forest, limits: Mapping[Road, float | None]) -> Iterator[Measured]:
    print(f"\nbuild and push of {forest.name}, {forest.turns} turns each, builder present, its layers pushed before")
    source = forest.grow(place.directory / "source")
    commands: dict[str, Sequence[str]] = {road: place.ours(road, source) for road in limits}
    if place.able:
        commands[PEER] = place.theirs(source)

    def after() -> None:
        place.forget("theirs")
        change(source)

    for command in commands.values():
        timed(command, place.environment)
        after()
    times = {each.name: each for each in alternate(commands, forest.turns, place.environment, after=after)}
    print(*times.values(), sep="\n")
    for road, limit in limits.items():
        yield _compared(f"build and push of {forest.name}, {road}", times[road], times.get(PEER), limit)
    pushed = replace(forest, name=f"{forest.name} and its push, embedded")
    yield from weights(pushed, weighed(commands["embedded"], place.environment))


def change(source: Path) -> None:
    """Another first file, of as many bytes: so the layer is another one, and nobody has it yet."""
    file = source / "0" / "0.bin"
    with file.open("r+b") as opened:
        opened.write(os.urandom(min(file.stat().st_size, 1000)))


def _compared(what: str, ours: Times, theirs: Times | None, limit: float | None) -> Measured:
    goal = Goal(what=f"{what}, beside {PEER} and push", unit="ratio", limit=limit)
    if theirs is None:
        return Measured(goal=goal, value=None, why=ABSENT)
    why = beside(ours.median, theirs.median, limit=limit or 1.0)
    return Measured(goal=goal, value=ours.median / theirs.median, why=why)


# ------------------------------------------------------------------------------------------------------ several at once


def _at_once(place: Place, forest: Forest) -> Iterator[Measured]:
    print(f"\n{AT_ONCE} builds and pushes of {forest.name} at once, {ROUNDS} rounds each")
    sources = [forest.grow(place.directory / str(number)) for number in range(AT_ONCE)]
    crowds: dict[str, Sequence[Sequence[str]]] = {
        "embedded": [place.ours("embedded", source, f"ours-{source.name}") for source in sources]
    }
    if place.able:
        crowds[PEER] = [place.theirs(source, f"theirs-{source.name}") for source in sources]

    def after() -> None:
        place.forget("theirs-")
        for source in sources:
            change(source)

    runs = {name: partial(together, commands, place.environment) for name, commands in crowds.items()}
    for run in runs.values():
        run()
        after()
    times = {each.name: each for each in in_turn(runs, ROUNDS, after=after)}
    print(*times.values(), sep="\n")
    what = f"{AT_ONCE} builds and pushes of {forest.name} at once, embedded"
    yield _compared(what, times["embedded"], times.get(PEER), OF_EIGHT)
