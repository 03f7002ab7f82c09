"""`make bench`: how long whole commands take, always as a ratio against a limit or a peer measured in the same run.

Two commands take turns (A B A B), so that what else the machine does falls on both; the minimum and the median of each
are printed. Only ratios and differences carry over to another machine.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests import testbed

ROOT = Path(__file__).parent.parent
SAMPLE = ROOT / "builders/python/sample"
S2ICTL = (sys.executable, "-m", "s2ictl")
BARE = (sys.executable, "-c", "pass")


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


def main() -> None:
    start_up()
    against_s2i()


def start_up() -> None:
    print("start-up, 20 turns each (limit: --help costs at most 120 ms above the bare interpreter)")
    bare, *ours = alternate(
        {"bare interpreter": BARE, "s2ictl --version": (*S2ICTL, "--version"), "s2ictl --help": (*S2ICTL, "--help")}, 20
    )
    print(bare)
    for times in ours:
        print(f"{times}  above bare: {(times.least - bare.least) * 1000:.0f} ms")


def against_s2i() -> None:
    peer = shutil.which("s2i")
    if peer is None:
        print("build: no `s2i` on PATH, so there is nothing to compare with")
        return
    with on_an_engine() as environment, tempfile.TemporaryDirectory() as directory:
        source = Path(directory, "source")
        shutil.copytree(SAMPLE, source)
        subprocess.run([*S2ICTL, "builders", "build", "python"], env=_with(environment), check=True)
        print("build of the Python sample, 5 turns each, source as a directory, builder present")
        ours, theirs = alternate(
            {
                "s2ictl build": (*S2ICTL, "build", str(source), "python", "bench/ours:1", "-q"),
                "s2i build --copy": (
                    peer,
                    "build",
                    "--copy",
                    "-q",
                    str(source),
                    "s2ictl/python:latest",
                    "bench/theirs:1",
                ),
            },
            5,
            environment,
        )
        print(ours, theirs, f"ratio of the medians: {ours.median / theirs.median:.2f}", sep="\n")


@contextmanager
def on_an_engine() -> Iterator[dict[str, str]]:
    """The engine that answers here, else the testbed's, taken down again."""
    before = testbed.facts("engine")
    try:
        yield {"DOCKER_HOST": testbed.up("engine").docker_host}
    finally:
        if before is None:
            testbed.down("engine")


def alternate(commands: dict[str, Sequence[str]], turns: int, environment: dict[str, str] | None = None) -> list[Times]:
    """Run the commands in turn and answer the times of each."""
    spent: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(turns):
        for name, command in commands.items():
            spent[name].append(timed(lambda command=command: _run(command, environment)))  # type: ignore[misc]
    return [Times(name=name, seconds=tuple(seconds)) for name, seconds in spent.items()]


def timed(action: Callable[[], None]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def _run(command: Sequence[str], environment: dict[str, str] | None) -> None:
    subprocess.run(command, env=_with(environment or {}), cwd=ROOT, stdout=subprocess.DEVNULL, check=True)


def _with(environment: dict[str, str]) -> dict[str, str]:
    import os

    return {**os.environ, **environment}


if __name__ == "__main__":
    main()
