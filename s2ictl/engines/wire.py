"""HTTP/1.1 over one connection, as much of it as an engine speaks.

A library that speaks all of HTTP costs a third of a small build before its first request, holds a streamed body back,
and hides the socket on which a container's output comes.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

_BLOCK = 256 * 1024
_LONGEST_HEAD = 64 * 1024
_LONGEST_NUMBER = 18
_MOST_INTERIM = 10
UPGRADED = 101
BODILESS = (204, 304)


class Lost(ConnectionError):
    """The engine could not be reached, or broke off; from the cause that the system knows."""


class _Unsent(Exception):
    """A request that did not go out whole."""


class Unreadable(Exception):
    """What came over the wire is no answer of HTTP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked for; of a body that is an iterator the length is not known beforehand."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Iterable[bytes] = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """How an answer begins; the names of its headers are in lower case, and what is told twice stands in one line."""

    status: int
    headers: Mapping[str, str]
    lasts: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A socket that leads to an engine, how it is closed, and what is known of why it broke off."""

    wire: socket.socket
    close: Callable[[], None]
    why: Callable[[], str] = lambda: ""


class Connection:
    """One connection: requests go out on it, and answers come in, one after the other."""

    def __init__(self, way: Way) -> None:
        self._socket = way.wire
        self._way = way
        self._held = b""
        self._at = 0
        self._told_all = True
        self.is_idle = True

    def close(self) -> None:
        self._way.close()

    def settimeout(self, seconds: float | None) -> None:
        self._socket.settimeout(seconds)

    def is_stale(self) -> bool:
        """Whether something came that nobody asked for: an engine that was restarted has closed what was open."""
        waiting = select.poll()
        waiting.register(self._socket, select.POLLIN)
        return bool(self._held[self._at :] or waiting.poll(0))

    # ------------------------------------------------------------------------------------------------------- requests

    def ask(self, request: Request) -> Head:
        """Send a request and read how its answer begins."""
        self.is_idle = False
        try:
            self._send(request)
        except _Unsent as unsent:
            self._told_all = False
            # An engine that refuses says so before it has heard all, and closes: its answer counts for more.
            try:
                return self._head()
            except Lost as lost:
                raise lost from unsent.__cause__
        return self._head()

    def _send(self, request: Request) -> None:
        body = request.body
        length = {"Content-Length": str(len(body))} if isinstance(body, bytes) else {"Transfer-Encoding": "chunked"}
        headers = {"Host": "docker", "User-Agent": "s2ictl", **request.headers, **length}
        lines = (f"{request.method} {request.target} HTTP/1.1", *(f"{name}: {text}" for name, text in headers.items()))
        head = "\r\n".join((*lines, "", "")).encode()
        if isinstance(body, bytes):
            self._put(head + body)
        else:
            self._put(head)
            self._put_chunks(body)

    def _put_chunks(self, chunks: Iterable[bytes]) -> None:
        """A chunk goes out as it is: to join it with its own length would copy all that is uploaded."""
        end = b""
        for chunk in chunks:
            if chunk:
                self._put(b"%b%x\r\n" % (end, len(chunk)))
                self._put(chunk)
                end = b"\r\n"
        self._put(end + b"0\r\n\r\n")

    def _put(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except TimeoutError as silent:
            raise Lost("the engine took nothing more") from silent
        except OSError as broken:
            raise _Unsent from broken

    # -------------------------------------------------------------------------------------------------------- answers

    def _head(self) -> Head:
        for _ in range(_MOST_INTERIM):
            head = self._one_head()
            if head.status >= 200 or head.status == UPGRADED:
                return head
        raise Unreadable("it does not come to the point")

    def _one_head(self) -> Head:
        first, *lines = self._lines()
        protocol, _, rest = first.partition(b" ")
        status = rest[:3]
        if not protocol.startswith(b"HTTP/1.") or not status.isdigit() or len(status) < 3:
            raise Unreadable(f"it begins with {first[:100]!r}")
        headers: dict[str, str] = {}
        for line in lines:
            title, _, text = line.decode("latin-1").partition(":")
            name = title.strip().lower()
            headers[name] = f"{headers[name]}, {text.strip()}" if name in headers else text.strip()
        return Head(status=int(status), headers=headers, lasts=_lasts(protocol, headers.get("connection", "")))

    def _lines(self, *, least: int = 1) -> list[bytes]:
        lines: list[bytes] = []
        size = 0
        while (line := self._line()) or len(lines) < least:
            lines.append(line)
            size += len(line)
            if size > _LONGEST_HEAD:
                raise Unreadable("its head has no end")
        return lines

    def body(self, head: Head, *, method: str) -> Iterator[bytes]:
        """What follows the head, as it comes; behind the last of it the next request can be sent."""
        length = head.headers.get("content-length")
        ends = True
        if method == "HEAD" or head.status in BODILESS:
            pieces: Iterator[bytes] = iter(())
        elif (coding := head.headers.get("transfer-encoding", "").lower()) == "chunked":
            pieces = self._chunked()
        elif coding:
            raise Unreadable(f"it is coded as {coding[:40]!r}")
        elif length is not None:
            pieces = self._exactly(_number(length, 10))
        else:
            pieces, ends = self._to_the_end(), False
        yield from pieces
        self.is_idle = ends and head.lasts and self._told_all

    def _chunked(self) -> Iterator[bytes]:
        while size := _number(self._line().partition(b";")[0].decode("latin-1"), 16):
            yield from self._exactly(size)
            if self._line():
                raise Unreadable("a chunk is longer than it says")
        self._lines(least=0)

    def _exactly(self, size: int) -> Iterator[bytes]:
        while size:
            data = self._some(size)
            if not data:
                raise Lost("the answer broke off")
            size -= len(data)
            yield data

    def _to_the_end(self) -> Iterator[bytes]:
        while data := self._some(_BLOCK):
            yield data

    # ---------------------------------------------------------------------------------------------------------- bytes

    def recv(self, size: int) -> bytes:
        """What comes next, of an answer that has become a stream; nothing at its end, TimeoutError after a silence."""
        return self._some(size)

    def _line(self) -> bytes:
        while (end := self._held.find(b"\r\n", self._at)) < 0:
            if len(self._held) - self._at > _LONGEST_HEAD:
                raise Unreadable("a line of it has no end")
            more = self._received()
            if not more:
                raise Lost(self._way.why() or "the engine closed the connection")
            self._held, self._at = self._held[self._at :] + more, 0
        line, self._at = self._held[self._at : end], end + 2
        return line

    def _some(self, size: int) -> bytes:
        if self._at == len(self._held):
            self._held, self._at = self._received(), 0
        data = self._held[self._at : self._at + size]
        self._at += len(data)
        return data

    def _received(self) -> bytes:
        try:
            return self._socket.recv(_BLOCK)
        except TimeoutError:
            raise
        except OSError as broken:
            raise Lost(self._way.why() or "the connection broke off") from broken


def _lasts(protocol: bytes, said: str) -> bool:
    """Whether another request can be sent on the connection; who speaks the older HTTP has to say so himself."""
    words = {word.strip() for word in said.lower().split(",")}
    return "close" not in words and (protocol != b"HTTP/1.0" or "keep-alive" in words)


def _number(text: str, base: int) -> int:
    digits = text.strip().lower()
    if not digits or len(digits) > _LONGEST_NUMBER or digits.strip("0123456789abcdef"[:base]):
        raise Unreadable(f"it has a length of {text[:40]!r}")
    return int(digits, base)
