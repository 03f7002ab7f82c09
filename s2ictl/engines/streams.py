"""The output of a container, from the engine's frames to lines of bounded length.

What a container prints is endless at its own will, so nothing here holds more than one frame's piece and one line.
"""

from __future__ import annotations

import codecs
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from s2ictl.errors import LimitReached
from s2ictl.events import Line

Stream = Literal["stdout", "stderr"]

LONGEST_LINE = 64 * 1024
_HEADER = 8
_STREAMS: dict[int, Stream] = {1: "stdout", 2: "stderr"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """How long something may take, and when that is over."""

    what: str
    seconds: float
    deadline: float

    @staticmethod
    def of(what: str, seconds: float) -> Limit:
        return Limit(what=what, seconds=seconds, deadline=time.monotonic() + seconds)

    def left(self) -> float:
        return max(self.deadline - time.monotonic(), 0.001)

    def check(self) -> None:
        if time.monotonic() > self.deadline:
            raise LimitReached(
                f"{self.what} did not end within {self.seconds:.0f} s, and was stopped",
                hint="allow more with --timeout",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """How long nothing may be heard, and what is done about it, each time."""

    seconds: float
    heard: Callable[[], None]


def received(connection: socket.socket, limit: Limit, silence: Silence | None = None) -> Iterator[bytes]:
    """What a container's wire carries, until it ends or the time is up."""
    while True:
        limit.check()
        connection.settimeout(min(limit.left(), silence.seconds) if silence else limit.left())
        try:
            data = connection.recv(64 * 1024)
        except TimeoutError:
            if silence and limit.left() > silence.seconds / 100:
                silence.heard()
            continue
        if not data:
            return
        yield data


def reader(chunks: Iterator[bytes]) -> Callable[[int], bytes]:
    """Read chunks as a file is read: at most so many bytes at once, and none at the end."""
    pending = b""

    def read(size: int) -> bytes:
        nonlocal pending
        while not pending and (chunk := next(chunks, None)) is not None:
            pending = chunk
        data, pending = pending[:size], pending[size:]
        return data

    return read


def pieces(chunks: Iterable[bytes]) -> Iterator[tuple[Stream, bytes]]:
    """Take apart what the engine sends: frames of eight bytes of header (stream, three zeros, length) and a payload."""
    pending = b""
    stream: Stream = "stdout"
    left = 0
    for chunk in chunks:
        data = pending + chunk
        while data:
            if left:
                yield stream, data[:left]
                data, left = data[left:], max(0, left - len(data))
            elif len(data) < _HEADER:
                break
            else:
                stream = _STREAMS.get(data[0], "stdout")
                left = int.from_bytes(data[4:_HEADER], "big")
                data = data[_HEADER:]
        pending = data


def lines(parts: Iterable[tuple[Stream, bytes]]) -> Iterator[Line]:
    """Join pieces to whole lines of each stream; a line that is too long is told in several."""
    writers: dict[Stream, Writer] = {"stdout": Writer("stdout"), "stderr": Writer("stderr")}
    for stream, data in parts:
        yield from writers[stream].write(data)
    for writer in writers.values():
        yield from writer.finish()


class Writer:
    """One stream: what is written to it comes out in whole lines."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._rest = ""
        # Incremental, since a character may be cut by the frame.
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def write(self, data: bytes) -> Iterator[Line]:
        *whole, rest = (self._rest + self._decoder.decode(data)).split("\n")
        for text in whole:
            yield from self._told(text)
        while len(rest) >= LONGEST_LINE:
            yield Line(text=rest[:LONGEST_LINE], stream=self._stream)
            rest = rest[LONGEST_LINE:]
        self._rest = rest

    def finish(self) -> Iterator[Line]:
        rest = self._rest + self._decoder.decode(b"", final=True)
        if rest:
            yield from self._told(rest)

    def _told(self, text: str) -> Iterator[Line]:
        text = text.removesuffix("\r")
        for start in range(0, max(len(text), 1), LONGEST_LINE):
            yield Line(text=text[start : start + LONGEST_LINE], stream=self._stream)
