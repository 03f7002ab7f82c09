"""`make bench`: how long whole commands take, always as a ratio against a limit or a peer measured in the same run.

Two commands take turns (A B A B), so that what else the machine does falls on both; the minimum and the median of each
are printed. Only ratios and differences carry over to another machine.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import testbed
from tests.engine import tiny

ROOT = Path(__file__).parent.parent
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Forest:
    """Source without meaning, of as many files of one size; a build of it takes turns so often."""

    name: str
    files: int
    size: int
    turns: int

    def grow(self, place: Path) -> Path:
        """Lay it down; the bytes are random, so that no file system and no layer makes them fewer."""
        for number in range(self.files):
            file = place / f"{number // 100}" / f"{number}.bin"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(os.urandom(self.size))
        return place


FORESTS = (
    Forest(name="10 files", files=10, size=1000, turns=7),
    Forest(name="2,000 files, 40 MB", files=2000, size=20_000, turns=5),
    Forest(name="20,000 files, 80 MB", files=20_000, size=4000, turns=3),
    Forest(name="one file, 500 MB", files=1, size=500_000_000, turns=3),
)
BUILDER, OURS, THEIRS = "bench/builder:1", "bench/ours:1", "bench/theirs:1"
# As the builders in the wild do it, and nothing else: what they download would hide what the tools take.
ASSEMBLE = "mv /tmp/src/* /opt/app/"


def against_s2i() -> None:
    """Builds of directories of several sizes, with a builder that only moves them to their place."""
    peer = shutil.which("s2i")
    if peer is None:
        print("build: no `s2i` on PATH, so there is nothing to compare with")
        return
    with on_an_engine() as host, builder(host) as api:
        for forest in FORESTS:
            with tempfile.TemporaryDirectory() as directory:
                source = forest.grow(Path(directory, "source"))
                compare(forest, source, peer, api, {"DOCKER_HOST": host, "S2ICTL_STATE": f"{directory}/state"})


def compare(forest: Forest, source: Path, peer: str, api: Any, environment: Mapping[str, str]) -> None:
    print(f"build of {forest.name} in a directory, {forest.turns} turns each, builder present")
    words = ("build", "--copy", "--pull-policy", "never", "-q", str(source), BUILDER)
    commands = {"s2ictl build": (*S2ICTL, *words, OURS), "s2i build": (peer, *words, THEIRS)}

    def remove() -> None:
        # The next turn would leave it behind without a name.
        tiny.remove_named(api, OURS, THEIRS)

    ours, theirs = alternate(commands, forest.turns, environment, after=remove)
    print(ours, theirs, f"ratio of the medians: {ours.median / theirs.median:.2f}", sep="\n")


@contextmanager
def builder(host: str) -> Iterator[Any]:
    """The builder, in the engine while the context lasts."""
    import docker

    api = docker.APIClient(base_url=host, version="auto")
    filesystem = tiny.rootfs({"assemble": tiny.script(ASSEMBLE), "run": tiny.script("true")})
    said = f'LABEL "io.openshift.s2i.scripts-url"="image://{tiny.SCRIPTS}"'
    try:
        with tiny.imported(api, BUILDER, filesystem, "ENV PATH=/bin", "USER 1001", "WORKDIR /opt/app", said):
            yield api
    finally:
        api.close()


@contextmanager
def on_an_engine() -> Iterator[str]:
    """Where an engine is: the one that answers here, else the testbed's, taken down again."""
    before = testbed.facts("engine")
    try:
        yield testbed.up("engine").docker_host
    finally:
        if before is None:
            testbed.down("engine")


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
    spent: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(turns):
        for name, command in commands.items():
            spent[name].append(timed(command, environment or {}))
            after()
    return [Times(name=name, seconds=tuple(seconds)) for name, seconds in spent.items()]


def timed(command: Sequence[str], environment: Mapping[str, str]) -> float:
    """How long a command takes; what it says is shown only when it fails."""
    began = time.perf_counter()
    done = subprocess.run(command, env={**os.environ, **environment}, cwd=ROOT, capture_output=True, check=False)
    spent = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}\n{done.stderr.decode(errors='replace')}")
    return spent


if __name__ == "__main__":
    main()
