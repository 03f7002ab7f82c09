"""What is asked of the warden, and what its failures mean to whoever asked."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from io import FileIO
from typing import Any, TypeAlias

from s2ictl.engines.embedded.warden.lines import Line, pair
from s2ictl.errors import (
    AssembleFailed,
    ConnectionLost,
    FetchSourceFailed,
    InvalidUsage,
    LimitReached,
    PullBuilderImageFailed,
    S2IError,
    Unreachable,
)

# Why nobody is there any more: what the warden said last, or that it was killed.
Lost: TypeAlias = Callable[[], S2IError]

_PIPE = 1 << 20
_DOING = {
    "cache": "make a cache",
    "chamber": "make a container",
    "cut_off": "end a network",
    "discard": "remove what is no longer needed",
    "erase": "remove files of the container",
    "fill": "fill a cache",
    "forward": "publish a port",
    "hand": "hand files to the container",
    "layer": "read what the container left behind",
    "mode": "look into the container",
    "mount_points": "mount into the container",
    "network": "make a network",
    "put": "put files into the container",
    "read": "look into the container",
    "run": "run the container",
    "size": "measure what is kept",
    "start": "start the engine's helper process",
    "take": "take files out of the container",
    "unpack": "unpack a layer",
}
_DAMAGED = {
    "fill": FetchSourceFailed,
    "hand": FetchSourceFailed,
    "layer": AssembleFailed,
    "mount_points": InvalidUsage,
    "put": FetchSourceFailed,
    "take": AssembleFailed,
    "unpack": PullBuilderImageFailed,
}


class Desk:
    """One who answers, in turn, or apart on a line that is sent along."""

    def __init__(self, line: Line, lost: Lost) -> None:
        self._line = line
        self._lost = lost
        self._turn = threading.Lock()

    def ask(self, call: str, *descriptors: int, **given: Any) -> Any:
        with self._turn:
            self._say(call, descriptors, given)
            return self._heard(call)

    def feed(self, call: str, tar: Iterable[bytes]) -> None:
        """Ask it for something that it does with a tar, while that is made."""
        outlet, inlet = wide_pipe()
        with FileIO(inlet, "w") as pipe, self._turn:
            with closing(outlet):
                self._say(call, (outlet,), {})
            try:
                pour(tar, pipe)
            except BaseException:
                pipe.close()
                with suppress(S2IError):  # of a tar that breaks off
                    self._heard(call)
                raise
            self._heard(call)

    def feed_apart(self, call: str, tar: Iterable[bytes], **given: Any) -> Any:
        """Have a process of its own do it. That does nothing which lasts before it has heard that this was all."""
        outlet, inlet = wide_pipe()
        with FileIO(inlet, "w") as pipe, ExitStack() as stack:
            with closing(outlet):
                talk = stack.enter_context(self.apart(call, outlet, **given))
            stack.callback(pipe.close)
            pour(tar, pipe)
            talk.confirm()
            return talk.answer()

    @contextmanager
    def apart(self, call: str, *descriptors: int, **given: Any) -> Iterator[Talk]:
        """Have it done by a process of its own, which is let go of when the context ends."""
        here, there = pair()
        try:
            with closing_line(there), self._turn:
                self._say(call, (there.fileno(), *descriptors), given)
            yield Talk(call, here, self._lost)
        finally:
            _let_go(here)

    def _heard(self, call: str) -> Any:
        """The answer; who stops waiting for it hangs up, since it would be taken for that to the next call."""
        try:
            return answered(self._line, call, self._lost)
        except S2IError:
            raise
        except BaseException:
            self._line.hang_up()
            raise

    def _say(self, call: str, descriptors: tuple[int, ...], given: dict[str, Any]) -> None:
        try:
            self._line.say([call, given], *descriptors)
        except (BrokenPipeError, ConnectionResetError):
            raise self._lost() from None


class Talk:
    """The line to a process that does one thing."""

    def __init__(self, call: str, line: Line, lost: Lost) -> None:
        self.line = line
        self._call = call
        self._lost = lost

    def confirm(self) -> None:
        """Say that all is well on this side."""
        try:
            self.line.say(True)
        except (BrokenPipeError, ConnectionResetError):
            return

    def answer(self) -> Any:
        return answered(self.line, self._call, self._lost)


def answered(line: Line, call: str, lost: Lost) -> Any:
    """The answer to a call, or its failure as one of ours."""
    heard = line.hear()
    if heard is None:
        raise lost()
    message, _ = heard
    if "failure" in message:
        raise meant(message["failure"], call)
    return message["answer"]


def meant(failure: dict[str, Any], call: str) -> S2IError:
    """The error that a failure of the warden is."""
    message, text = f"could not {_DOING[call]}", failure["text"]
    match failure["kind"]:
        case "system":
            return _system(failure["number"], message, text)
        case "too much":
            return LimitReached(message, detail=text)
        case "missing":
            return Unreachable(text, hint=failure["hint"])
        case "damaged":
            return _DAMAGED.get(call, S2IError)(message, detail=text)
        case _:
            return S2IError(message, detail=text)


def _system(number: int, message: str, text: str) -> S2IError:
    if number in (errno.ENOSPC, errno.EDQUOT):
        return LimitReached(
            f"{message}: the disk is full", detail=text, hint="make room, for instance with `s2ictl cache prune`"
        )
    return Unreachable(message, detail=text, hint="`s2ictl doctor` says what this machine lacks")


def gone() -> S2IError:
    return ConnectionLost(
        "the engine's helper process is gone", hint="it was killed, with all that it ran: build again"
    )


def is_heard(line: Line, seconds: float) -> bool:
    """Whether there is something to hear within so many seconds, if only that the other side has hung up."""
    poll = select.poll()
    poll.register(line.fileno(), select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def wide_pipe() -> tuple[int, int]:
    """A pipe with room for a block, where the kernel allows it."""
    outlet, inlet = os.pipe()
    try:
        fcntl.fcntl(outlet, fcntl.F_SETPIPE_SZ, _PIPE)
    except OSError:  # this user has too many already
        return outlet, inlet
    return outlet, inlet


def pour(blocks: Iterable[bytes], pipe: FileIO) -> None:
    """Write all of it and close the pipe; its reader says why where he did not want it all."""
    for block in blocks:
        rest = memoryview(block)
        try:
            while rest:
                rest = rest[pipe.write(rest) :]
        except BrokenPipeError:
            break
    pipe.close()


@contextmanager
def closing(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def closing_line(line: Line) -> Iterator[None]:
    try:
        yield
    finally:
        line.close()


def _let_go(line: Line) -> None:
    """Hang up, and wait until the other side has done so, which says that nothing of it is left."""
    line.hang_up()
    try:
        while (heard := line.hear()) is not None:
            for descriptor in heard[1]:
                os.close(descriptor)
    finally:
        line.close()
