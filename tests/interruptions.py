"""Builds that are cut off at any moment and in any way, on whichever engine: how they are begun, ended and counted.

A build goes through all its steps here (fetched over http, detected scripts, assembled, pushed; incremental, with
secrets and injected files, onto a runtime image), and is ended at a moment drawn from a fixed seed. `make test` does
twenty of them, `make soak` two hundred.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import s2ictl

ROOT = Path(s2ictl.__file__).parent.parent
SCRIPTS = {
    "assemble": "for i in 1 2 3 4 5 6 7 8; do echo part $i; sleep 0.1; done; mv /tmp/src/* /opt/app/",
    "save-artifacts": "sleep 0.3; tar -cf - -C /opt/app big.txt",
    "run": "true",
}
FILES = {f"src/{number}.txt": f"{number}\n" * 200 for number in range(100)} | {"big.txt": "0123456789" * 400_000}
ENDED = {  # before its first line has run, Python ends as signals end whoever knows nothing of them
    "INT": {0, 130, -signal.SIGINT},
    "TERM": {0, 143, -signal.SIGTERM},
    "HUP": {0, 143, -signal.SIGHUP},
    "INT INT": {0, 130, -signal.SIGINT},
    "TERM INT": {0, 130, 143, -signal.SIGTERM},
    "KILL": {0, -signal.SIGKILL},
    "pipe": {0, 141},
}
MARK = "S2ICTL_TEST_INTERRUPTED"

# Given a build and its way: end it so.
Strike = Callable[["subprocess.Popen[bytes]"], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interruption:
    """One of many: which build, how it is ended, and when, counted from its start and from the first signal."""

    number: int
    kind: str
    way: str
    after: float
    again: float

    def strike(self, build: subprocess.Popen[bytes]) -> None:
        """End it; a way that is no signal and no pipe is another's."""
        if self.way == "pipe":
            assert build.stderr is not None
            build.stderr.close()
            return
        for number, each in enumerate(self.way.split()):
            time.sleep(self.again * number)
            build.send_signal(signal.Signals[f"SIG{each}"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A place to build in, again and again: a source, a registry, and directories that can be counted.

    `become` makes of a command line that of whoever builds; `kinds` are the flags of each build, by its name.
    """

    root: Path
    source: str
    builder: str
    registry: str
    environ: Mapping[str, str]
    kinds: Mapping[str, tuple[str, ...]]
    become: Callable[..., list[str]] = lambda *words: list(words)
    pids: list[int] = field(default_factory=list)

    def start(self, name: str, kind: str, **how: Any) -> subprocess.Popen[bytes]:
        # The incremental ones go on from each other: whose name is taken over at the end has to go.
        tag = f"{self.registry}/interrupted/{'again' if kind == 'incremental' else name}"
        words = ("build", self.source, self.builder, tag, "--force", *self.kinds[kind])  # or nothing would be built
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.root / "home"),
            "PYTHONPATH": str(ROOT),
            "TMPDIR": str(self.root / "tmp"),
            "S2ICTL_CACHE": str(self.root / "cache"),
            "S2ICTL_STATE": str(self.root / "state"),
            MARK: str(self.root),
            **self.environ,
        }
        command = self.become(sys.executable, "-m", "s2ictl", *words)
        build = subprocess.Popen(command, cwd=self.root, env=environ, **how)
        self.pids.append(build.pid)
        return build

    def build(self, name: str, kind: str) -> float:
        """A build that nobody interrupts; answers how long it took."""
        began = time.monotonic()
        with self.start(name, kind, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            _, stderr = process.communicate(timeout=60)
        assert process.returncode == 0, stderr.decode()
        return time.monotonic() - began

    def interrupt(self, planned: Interruption, strike: Strike) -> tuple[int, str]:
        """Begin a build, have it struck at its moment, and answer how it ended and what it said."""
        name = f"n{planned.number}"
        with self.start(name, planned.kind, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            assert process.stderr is not None
            with suppress(subprocess.TimeoutExpired):
                process.wait(planned.after)
            strike(process)
            said = "" if process.stderr.closed else process.stderr.read().decode()
            return process.wait(timeout=60), said

    def left_over(self) -> Iterator[Path]:
        """Files that belong to no finished step."""
        yield from (self.root / "tmp").iterdir()
        for pattern in (".new-*", "**/tmp_*", "**/refs/**/*.lock", "**/shallow.lock", "**/.askpass-*"):
            yield from (self.root / "cache").glob(pattern)
            yield from (self.root / "cache" / "git").glob(pattern)

    def descendants(self) -> Iterator[str]:
        """The command lines of processes that were started with our mark in their environment."""
        for entry in processes():
            with suppress(OSError):
                if f"{MARK}={self.root}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                    yield command_of(entry)


def planned(site: Site, ways: tuple[str, ...], *, count: int) -> Iterator[Interruption]:
    """So many, every way of every kind, at the same moments in every run."""
    whole = {kind: site.build(f"whole-{kind}", kind) for kind in site.kinds}
    moments = random.Random(4)  # noqa: S311  (nobody guesses them)
    for number in range(count):
        way, kind = ways[number % len(ways)], list(site.kinds)[(number + number // len(ways)) % len(site.kinds)]
        after, again = moments.uniform(0.05, whole[kind]), moments.uniform(0.0, 0.3)
        yield Interruption(number=number, kind=kind, way=way, after=after, again=again)


def processes() -> Iterator[Path]:
    """Every process of this machine, by its directory below /proc."""
    return (entry for entry in Path("/proc").iterdir() if entry.name.isdecimal())


def command_of(process: Path) -> str:
    return (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")


def prepare(root: Path) -> None:
    """The directories of a site, and what is handed in from them."""
    for name in ("home", "tmp", "cache", "state", "keys"):
        (root / name).mkdir()
    (root / "token.txt").write_text("canary")
    (root / "keys" / "key.pem").write_text("canary")
