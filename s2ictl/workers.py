"""The processes in which jobs are done, and the two promises that a killed server can be trusted with.

No worker outlives its server: each holds the reading end of a pipe whose writing end dies with the server, and ends
itself, cleaning up, when it reads the end. And no server starts work beside the workers of an earlier one: each worker
holds a shared lock on a file, and a new server waits until it can have that lock alone. It takes deliveries meanwhile.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import field
from pathlib import Path

from s2ictl.errors import Conflict
from s2ictl.events import Emit, Notice
from s2ictl.files import taken
from s2ictl.values import dataclass

_POLL_SECONDS = 0.05
_OTHER_SERVER_SECONDS = 0.5  # a server that was just killed is gone before this is over
_EARLIER_WORKERS_SECONDS = 120.0
CLEANUP_SECONDS = 30.0


@dataclass(slots=True)
class Crew:
    """The workers of this server."""

    home: Path
    lifeline: int
    ending: bool = False
    running: dict[int, asyncio.subprocess.Process] = field(default_factory=dict)

    @property
    def _lock_file(self) -> Path:
        return self.home / "workers.lock"

    async def run(self, command: tuple[str, ...], environ: Mapping[str, str]) -> int:
        """Run one worker to its end, with the lifeline's number as its last argument; answers how it ended."""
        process = await self._start(command, environ)
        self.running[process.pid] = process
        if self.ending:
            process.terminate()
        try:
            status = await process.wait()
        finally:
            del self.running[process.pid]
        if status:
            _end_group(process.pid)
        return status

    async def _start(self, command: tuple[str, ...], environ: Mapping[str, str]) -> asyncio.subprocess.Process:
        lock = os.open(self._lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_SH)
            return await asyncio.create_subprocess_exec(
                *(*command, str(self.lifeline)),
                pass_fds=(self.lifeline, lock),
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C at the server's terminal is the server's alone to hand on
            )
        finally:
            os.close(lock)

    async def be_alone(self, emit: Emit) -> None:
        """Wait until the workers of an earlier server have cleaned up and are gone."""
        lock = os.open(self._lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if taken(lock):
                return
            emit(Notice(text="the workers of an earlier server are cleaning up"))
            deadline = time.monotonic() + _EARLIER_WORKERS_SECONDS
            while not taken(lock):
                if time.monotonic() >= deadline:
                    raise Conflict(f"earlier workers hold {self._lock_file}", hint=f"fuser -v {self._lock_file}")
                await asyncio.sleep(_POLL_SECONDS)
        finally:
            os.close(lock)

    async def end(self) -> None:
        """Ask every worker to clean up and end, and wait until all are gone."""
        self.ending = True
        for process in tuple(self.running.values()):
            with suppress(ProcessLookupError):
                process.terminate()
        deadline = time.monotonic() + CLEANUP_SECONDS
        while self.running and time.monotonic() < deadline:
            await asyncio.sleep(_POLL_SECONDS)
        for pid in tuple(self.running):
            _end_group(pid)
        while self.running:
            await asyncio.sleep(_POLL_SECONDS)


@contextmanager
def crew(home: Path) -> Iterator[Crew]:
    """Be the only server on this directory."""
    lock = os.open(home / "server.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not _is_free(lock, time.monotonic() + _OTHER_SERVER_SECONDS):
            raise Conflict(
                f"another server works on {home.parent}", hint="give this one a --state directory of its own"
            )
        reading, writing = os.pipe()
        try:
            yield Crew(home=home, lifeline=reading)
        finally:
            os.close(writing)
            os.close(reading)
    finally:
        os.close(lock)


def _is_free(descriptor: int, deadline: float) -> bool:
    while not taken(descriptor):
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _end_group(pid: int) -> None:
    """End what a worker that died could not end itself."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


# ------------------------------------------------------------------------------------------- in the worker itself


def hold_lifeline(lifeline: int) -> None:
    """End this process in order when the other end of the lifeline is gone, and at any rate soon after."""
    os.set_inheritable(lifeline, False)
    threading.Thread(target=_watch, args=(lifeline,), name="lifeline", daemon=True).start()


def _watch(lifeline: int) -> None:
    if os.read(lifeline, 1) == b"":
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(CLEANUP_SECONDS)
        os.killpg(os.getpgid(0), signal.SIGKILL)


def identity() -> str:
    """This process, told from every other that will ever have its number: boot, process id, start."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    started = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    return f"{boot}/{os.getpid()}/{started}"
