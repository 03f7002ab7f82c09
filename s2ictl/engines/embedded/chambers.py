"""A container, and its command, as this process sees them: calls to the warden."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import FileIO
from typing import Any

from s2ictl.archives import Reader
from s2ictl.engines.embedded.asking import Desk, Talk, closing, is_heard, wide_pipe
from s2ictl.engines.outcomes import Ended
from s2ictl.errors import ConnectionLost

_BLOCK = 1 << 20
_KILLED = 137


class Chamber:
    """See `wardens.Chamber`."""

    def __init__(self, name: str, desk: Desk, *, root: str, handed: str) -> None:
        self.name = name
        self.root = root
        self.handed = handed
        self._desk = desk

    def mode(self, path: str) -> int | None:
        found: int | None = self._desk.ask("mode", path=path)
        return found

    def read(self, path: str, limit: int) -> bytes | None:
        found: str | None = self._desk.ask("read", path=path, limit=limit)
        return None if found is None else found.encode("latin-1")

    def put(self, tar: Iterator[bytes]) -> None:
        self._desk.feed("put", tar)

    def hand(self, tar: Iterator[bytes]) -> None:
        self._desk.feed("hand", tar)

    def erase(self, paths: tuple[str, ...]) -> None:
        self._desk.ask("erase", paths=paths)

    def mount_points(self, targets: tuple[tuple[str, bool], ...]) -> tuple[str, ...]:
        return tuple(self._desk.ask("mount_points", targets=targets))

    def network(self, helper: tuple[str, ...]) -> str:
        place: str = self._desk.ask("network", helper=helper)
        return place

    def forward(self, port: int) -> int:
        number: int = self._desk.ask("forward", port=port)
        return number

    def cut_off(self) -> None:
        self._desk.ask("cut_off")

    @contextmanager
    def running(self, spec: bytes, runtime: str, cgroup: str = "") -> Iterator[Process]:
        with ExitStack() as stack, ExitStack() as theirs:
            stdout, stderr = _outlet(stack, theirs), _outlet(stack, theirs)
            document = theirs.enter_context(_in_memory(spec))
            inlets = (inlet for _, inlet in (stdout, stderr))
            asked = self._desk.apart("run", document, *inlets, runtime=runtime, cgroup=cgroup)
            talk = stack.enter_context(asked)
            theirs.close()
            talk.answer()
            yield Process(talk, stdout[0], stderr[0])

    def layer(self, skip: tuple[str, ...], *, volumes: tuple[str, ...] = (), epoch: int | None) -> Iterator[bytes]:
        with self._written("layer", skip=skip, volumes=volumes, epoch=epoch) as (talk, pipe):
            while block := pipe.read(_BLOCK):
                yield block
            talk.answer()

    @contextmanager
    def taken(self, path: str) -> Iterator[Reader | None]:
        with self._written("take", path=path) as (talk, pipe):
            yield _reader(talk, pipe) if talk.answer() else None

    @contextmanager
    def _written(self, call: str, **given: Any) -> Iterator[tuple[Talk, FileIO]]:
        """A call whose process writes into a pipe, which is closed before anybody waits for the end of that process."""
        outlet, inlet = wide_pipe()
        with FileIO(outlet) as pipe, ExitStack() as stack:
            with closing(inlet):
                talk = stack.enter_context(self._desk.apart(call, inlet, **given))
            stack.callback(pipe.close)
            yield talk, pipe


def _reader(talk: Talk, pipe: FileIO) -> Reader:
    """Reads what is written, and raises at its end where that is not all."""
    is_whole = False

    def read(size: int) -> bytes:
        nonlocal is_whole
        block = pipe.read(size)
        if not block and size and not is_whole:
            talk.answer()
            is_whole = True
        return block

    return read


def _outlet(ours: ExitStack, theirs: ExitStack) -> tuple[int, int]:
    outlet, inlet = os.pipe()
    ours.callback(os.close, outlet)
    theirs.callback(os.close, inlet)
    return outlet, inlet


@contextmanager
def _in_memory(content: bytes) -> Iterator[int]:
    with closing(os.memfd_create("config.json")) as descriptor:
        os.write(descriptor, content)
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor


class Process:
    """See `wardens.Process`."""

    def __init__(self, talk: Talk, stdout: int, stderr: int) -> None:
        self.stdout = stdout
        self.stderr = stderr
        self._talk = talk
        self._ended: Ended | None = None

    def ended(self, seconds: float) -> Ended | None:
        if self._ended is None and is_heard(self._talk.line, seconds):
            self._ended = self._how()
        return self._ended

    def signal(self, name: str) -> None:
        try:
            self._talk.line.say(signal.Signals[f"SIG{name}"])
        except (BrokenPipeError, ConnectionResetError):
            return

    def _how(self) -> Ended:
        try:
            said = self._talk.answer()
        except ConnectionLost:
            return Ended(status=_KILLED, lost=True)
        return Ended(status=said["status"], out_of_memory=said["out_of_memory"])
