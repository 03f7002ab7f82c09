"""The output of a container, from the engine's frames to lines of bounded length.

What a container prints is endless at its own will, so nothing here holds more than one frame's piece and one line.
"""

from __future__ import annotations

import codecs
import io
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Literal, Protocol

from s2ictl.errors import LimitReached
from s2ictl.events import Line
from s2ictl.values import dataclass

Stream = Literal["stdout", "stderr"]

LONGEST_LINE = 64 * 1024
_HEADER = 8
_STREAMS: dict[int, Stream] = {1: "stdout", 2: "stderr"}


class Wire(Protocol):
    """What a container's output comes on."""

    def recv(self, size: int, /) -> bytes:
        """What comes next, nothing at the end; TimeoutError after a silence."""

    def settimeout(self, seconds: float | None, /) -> None:
        """Say how long that silence is."""


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


def received(connection: Wire, limit: Limit, silence: Silence | None = None) -> Iterator[bytes]:
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


class File(io.RawIOBase):
    """A reader as the file that tarfile wants."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read

    def read(self, size: int = -1, /) -> bytes:
        return self._read(size)


def pieces(chunks: Iterable[bytes]) -> Iterator[tuple[Stream, bytes]]:
    """Take apart what the engine sends: frames of eight bytes of header (stream, three zeros, length) and a payload."""
    pending = b""
    stream: Stream = "stdout"
    left = 0
    for chunk in chunks:
        data, at = pending + chunk, 0
        while at < len(data):
            if left:
                payload = data[at : at + left]
                yield stream, payload
                at, left = at + len(payload), left - len(payload)
            elif len(data) - at < _HEADER:
                break
            else:
                stream = _STREAMS.get(data[at], "stdout")
                left = int.from_bytes(data[at + 4 : at + _HEADER], "big")
                at += _HEADER
        pending = data[at:]


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
