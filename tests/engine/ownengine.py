"""An engine of one test's own, to be killed, stopped, restarted and filled to the brim: the common one must live."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from tests import testbed
from tests.parts import available
from tests.testbed import engine, mounts, network
from tests.testbed.processes import eventually

SLOTS = (8, 7, 6, 5)  # one for each that may be up at once; nobody else has them unless told so by his environment
_PLACE, _PREFIX = Path("/var/tmp"), "s2iown-"  # a short path, since sockets lie in it


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnEngine:
    """A dockerd and where it answers."""

    bed: testbed.Bed
    docker_host: str

    @property
    def pid(self) -> int:
        return int((self.bed.at("engine") / "dockerd.pid").read_text())

    @property
    def data(self) -> Path:
        return self.bed.at("engine") / "data"

    def api(self) -> Any:
        """A client of it; whoever asks for one closes it."""
        import docker

        return docker.APIClient(base_url=self.docker_host, version="auto")

    def kill(self) -> None:
        """Take the daemon away as a crash would; its containers go on without it."""
        self._signal(signal.SIGKILL)

    def stop(self) -> None:
        """Let the daemon end in order, with all its containers."""
        self._signal(signal.SIGTERM)

    def suspend(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)
        status = Path(f"/proc/{self.pid}/status")
        # Its threads go on for a moment, in which it may still answer.
        assert eventually(lambda: "\nState:\tT" in status.read_text(), patience=10)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def start(self) -> None:
        """Bring the daemon back on what it left."""
        directory, crew = self.bed.at("engine"), engine.crew_of(self.bed)
        # Dead processes stay as zombies where nobody waits for them, and the daemon takes them for living ones.
        (directory / "dockerd.pid").unlink(missing_ok=True)
        self._containerd.unlink(missing_ok=True)
        crew.start("dockerd", engine.dockerd(directory, self.docker_host, network.bridge(self.bed, "engine")))
        crew.wait(lambda: engine.answers(self.docker_host), "dockerd", what="the Docker API")

    @property
    def _containerd(self) -> Path:
        return self.bed.at("engine") / "exec" / "containerd" / "containerd.pid"

    def _signal(self, number: signal.Signals) -> None:
        both = (self.pid, int(self._containerd.read_text()))
        os.kill(both[0], number)
        assert eventually(lambda: not any(map(_lives, both)), patience=30)


@contextmanager
def own_engine(*, size: str = "") -> Iterator[OwnEngine]:
    """An engine while the context lasts; with a `size` its data lies on a disk of that size."""
    with _slot() as slot:
        _sweep(slot)
        bed = _bed(Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{slot}-", dir=_PLACE)), slot)
        try:
            with bed.locked("engine"), available(), _disk(bed.make("engine") / "data", size):
                try:
                    facts = engine.up(bed)
                    yield OwnEngine(bed=bed, docker_host=facts.docker_host)
                finally:
                    engine.down(bed)
        finally:
            _remove(bed.directory)


def _bed(directory: Path, slot: int) -> testbed.Bed:
    common = testbed.Bed.of(os.environ, say=lambda _: None)
    return replace(common, directory=directory, slot=slot, docker_host="unix:///nonexistent")


def _remove(directory: Path) -> None:
    assert not mounts.below(directory)
    shutil.rmtree(directory)


def _sweep(slot: int) -> None:
    """End what a run has left in this slot that was killed: as long as it is up, none can be started there."""
    for directory in _PLACE.glob(f"{_PREFIX}{slot}-*"):
        engine.down(_bed(directory, slot))
        mounts.unmount(directory)
        _remove(directory)


@contextmanager
def _slot() -> Iterator[int]:
    """A slot that nobody has; the kernel gives it back when this process dies, however it dies."""
    with ExitStack() as held:
        while (slot := next(filter(partial(_taken, held), SLOTS), None)) is None:
            time.sleep(0.5)
        yield slot


def _taken(held: ExitStack, slot: int) -> bool:
    with ExitStack() as opened:
        lock = opened.enter_context(socket.socket(socket.AF_UNIX))
        with suppress(OSError):
            lock.bind(f"\0s2ictl-own-engine-{slot}")  # a name that is no file, so that none is left
            held.push(opened.pop_all())
            return True
    return False


@contextmanager
def _disk(place: Path, size: str) -> Iterator[None]:
    if not size:
        yield
        return
    place.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", place], capture_output=True, check=False)  # the engine's own end may have done it


def _lives(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    return False
