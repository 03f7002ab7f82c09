"""How long whole commands take, in turn; and how much memory one takes with all that it starts."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[2]
S2ICTL = (sys.executable, "-m", "s2ictl")
_WEIGH = (sys.executable, "-I", "-S", str(Path(__file__).with_name("weigh.py")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    name: str
    seconds: tuple[float, ...]

    @property
    def least(self) -> float:
        return min(self.seconds)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def __str__(self) -> str:
        return f"{self.name:28} min {self.least * 1000:7.0f} ms  median {self.median * 1000:7.0f} ms"


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """Megabytes of the largest process of a command, and of all of them at the worst moment."""

    largest: float
    together: float


def nothing() -> None:
    """What is done after a turn, where nothing is."""


def alternate(
    commands: Mapping[str, Sequence[str]],
    turns: int,
    environment: Mapping[str, str] | None = None,
    *,
    after: Callable[[], None] = nothing,
) -> list[Times]:
    """Run the commands in turn and answer the times of each; what is done after a turn is not timed."""
    known = environment or {}
    runs = {name: partial(timed, command, known) for name, command in commands.items()}
    return in_turn(runs, turns, after=after)


def in_turn(runs: Mapping[str, Callable[[], float]], turns: int, *, after: Callable[[], None] = nothing) -> list[Times]:
    """The same of whatever says itself how long it takes."""
    spent: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(turns):
        for name, run in runs.items():
            spent[name].append(run())
            after()
    return [Times(name=name, seconds=tuple(seconds)) for name, seconds in spent.items()]


def timed(command: Sequence[str], environment: Mapping[str, str]) -> float:
    """How long a command takes; what it says is shown only when it fails."""
    began = time.perf_counter()
    _run(command, environment)
    return time.perf_counter() - began


def together(commands: Sequence[Sequence[str]], environment: Mapping[str, str]) -> float:
    """How long commands take that are all begun at once, until the last of them has ended."""
    began = time.perf_counter()
    with ThreadPoolExecutor(len(commands)) as crowd:
        list(crowd.map(lambda command: _run(command, environment), commands))
    return time.perf_counter() - began


def weighed(command: Sequence[str], environment: Mapping[str, str]) -> Weight:
    """How much memory a command takes."""
    with tempfile.NamedTemporaryFile(suffix=".json") as answer:
        _run((*_WEIGH, answer.name, *command), environment)
        kilobytes = json.loads(answer.read())
    return Weight(largest=kilobytes["largest"] / 1024, together=kilobytes["together"] / 1024)


def _run(command: Sequence[str], environment: Mapping[str, str]) -> None:
    done = subprocess.run(command, env={**os.environ, **environment}, cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}\n{done.stderr.decode(errors='replace')}")
