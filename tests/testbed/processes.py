"""Processes that outlive the program that started them, and are still ended exactly.

Each writes its own record (its line of /proc, start time included) before it becomes the server, so that none is
lost even when the starter is killed in between; a process that merely got the same id later never matches. An empty
record says that one is on its way.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.testbed.errors import DidNotComeUp

RECORD_THEN_BECOME = 'IFS= read -r stat <"/proc/$$/stat" && printf "%s\\n" "$stat" >"$0" && exec "$@"'

PATIENCE = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process, told from a later one with the same id by when it started (in ticks since boot)."""

    pid: int
    started: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """The processes of one part: `<directory>/processes` holds their records, `<directory>/log` what they say."""

    part: str
    directory: Path

    def start(self, name: str, command: Sequence[str | Path], *, environ: Mapping[str, str] | None = None) -> None:
        """Start a server that belongs to no terminal and to no parent of ours."""
        record, log = self._record(name), self.log(name)
        for path in (record, log):
            path.parent.mkdir(parents=True, exist_ok=True)
        record.write_text("")
        with log.open("ab") as output:
            subprocess.run(
                ["setsid", "--fork", "/bin/sh", "-c", RECORD_THEN_BECOME, record, *command],
                cwd=self.directory,
                env={**os.environ, **(environ or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=True,
            )
        if not eventually(lambda: bool(record.read_text()), patience=10):
            raise DidNotComeUp(self.part, f"{name} did not start", self.last_words(name))

    def wait(self, answers: Callable[[], bool], *names: str, what: str, patience: float = PATIENCE) -> None:
        """Wait until a server answers; not one moment longer once one of the named processes died."""
        dead: list[str] = []

        def settled() -> bool:
            dead.extend(name for name in names if not self.alive(name))
            return bool(dead) or answers()

        if not eventually(settled, patience=patience):
            words = "\n".join(self.last_words(name) for name in names)
            raise DidNotComeUp(self.part, f"{what} did not answer within {patience:.0f} s", words)
        if dead:
            raise DidNotComeUp(self.part, f"{dead[0]} died", self.last_words(dead[0]))

    def alive(self, *names: str) -> bool:
        """Whether every one of these runs."""
        return all((process := parse(self._record(name))) and running(process) for name in names)

    def end(self, *, patience: float = 15.0) -> None:
        """Ask one process after the other to end, the latest first, and kill those that do not in time.

        In this order none waits for another that is gone already.
        """
        records = list((self.directory / "processes").glob("*"))
        eventually(lambda: all(record.read_text() for record in records), patience=2)
        recorded = [process for record in records if (process := parse(record))]
        for process in sorted(recorded, key=lambda process: process.started, reverse=True):
            end([process], patience=patience)
        for record in records:
            record.unlink()

    def log(self, name: str) -> Path:
        return self.directory / "log" / f"{name}.log"

    def last_words(self, name: str, *, count: int = 20) -> str:
        try:
            lines = self.log(name).read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return ""
        return "\n".join(f"{name}: {line}" for line in lines[-count:])

    def _record(self, name: str) -> Path:
        return self.directory / "processes" / name


def eventually(true: Callable[[], bool], *, patience: float) -> bool:
    """Ask again and again until it is true, for so many seconds at most."""
    deadline = time.monotonic() + patience
    pause = 0.01
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
        pause = min(pause * 1.5, 0.25)
    return True


def end(processes: Iterable[Process], *, patience: float) -> None:
    """End exactly these; handles (pidfd) rule out that an id is reused between the look and the signal."""
    with contextlib.ExitStack() as stack:
        handles = [stack.enter_context(handle) for process in processes if (handle := hold(process))]
        for handle in handles:
            handle.send(signal.SIGTERM)
        remaining = wait_for_end(handles, patience=patience)
        for handle in remaining:
            handle.send(signal.SIGKILL)
        wait_for_end(remaining, patience=10)


@dataclass(frozen=True, slots=True)
class Handle:
    """A process held open: signals reach it or nobody."""

    fd: int

    def send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.fd, number)

    def __enter__(self) -> Handle:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)


def hold(process: Process) -> Handle | None:
    """A handle on this very process; None when it is gone."""
    try:
        handle = Handle(os.pidfd_open(process.pid))
    except ProcessLookupError:
        return None
    if running(process):
        return handle
    os.close(handle.fd)
    return None


def wait_for_end(handles: Sequence[Handle], *, patience: float) -> list[Handle]:
    """Wait until all of them ended; those that still run after so many seconds are returned."""
    deadline = time.monotonic() + patience
    running = list(handles)
    while running and (left := deadline - time.monotonic()) > 0:
        poll = select.poll()
        for handle in running:
            poll.register(handle.fd, select.POLLIN)
        ended = {fd for fd, _ in poll.poll(left * 1000)}
        running = [handle for handle in running if handle.fd not in ended]
    return running


def running(process: Process) -> bool:
    """Whether it still does anything: one that only waits to be reaped by its parent does not."""
    found = parse(Path(f"/proc/{process.pid}/stat"))
    return found == process


def parse(stat: Path) -> Process | None:
    """A process from its line of /proc/PID/stat; None when there is no such line, or a dead process's."""
    try:
        line = stat.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    if not line.endswith("\n"):
        return None
    # The second field is the program's name in parentheses, and may hold anything, parentheses too.
    pid, _, _ = line.partition(" ")
    fields = line.rpartition(")")[2].split()
    if fields[0] in "ZX":
        return None
    return Process(pid=int(pid), started=int(fields[19]))


def every() -> Iterator[Process]:
    """Every process of this machine."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and (process := parse(entry / "stat")):
            yield process


def left_behind(directory: Path, *programs: str) -> list[Process]:
    """Children of our servers that survive them, such as the shim of a container: told by program and by our path."""
    return [process for process, command in commands() if told_by(command, directory, programs)]


def told_by(command: Sequence[str], directory: Path, programs: Sequence[str]) -> bool:
    return Path(command[0]).name in programs and any(f"{directory}/" in word for word in command[1:])


def commands() -> Iterator[tuple[Process, list[str]]]:
    """Every process of this machine that has a command line, with it."""
    for process in every():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            words = Path(f"/proc/{process.pid}/cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
            if words[0]:
                yield process, words
