"""HTTP/1.1 over one connection, as much of it as engines and registries speak.

A library that speaks all of HTTP costs a third of a small build before its first request, holds a streamed body back,
takes a slow upload for a dead one, and hides the socket on which a container's output comes.
"""

from __future__ import annotations

import errno
import select
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import field
from typing import Protocol

from s2ictl.expressions import expression
from s2ictl.values import dataclass

_BLOCK = 256 * 1024
_LONGEST_HEAD = 64 * 1024
_LONGEST_TELLING = 60.0  # seconds from the first byte of a head, or of a line, to its last
_LONGEST_NUMBER = 18
_MOST_INTERIM = 10
_BODILESS_METHODS = ("GET", "HEAD", "OPTIONS", "DELETE")
_NOTHING_YET = (errno.EAGAIN, 2)  # the second is OpenSSL's SSL_ERROR_WANT_READ
_FORBIDDEN = expression(r"[\x00-\x08\x0a-\x1f\x7f]")
UPGRADED = 101
BODILESS = (204, 304)


class Lost(ConnectionError):
    """The other side could not be reached, or broke off; from the cause that the system knows."""


class NoRoute(Lost):
    """No connection came about."""


class Nameless(NoRoute):
    """Who is called has no name that could be looked up."""


class Silent(NoRoute):
    """Whoever is there does not say a word to one who wants to connect."""


class ProxyRefused(NoRoute):
    """What stands in between is not to be had, or lets nothing through."""


class _Unsent(Exception):
    """A request that did not go out whole; with the answer, where one came before that."""

    def __init__(self, head: Head | None = None) -> None:
        super().__init__()
        self.head = head


class Unreadable(Exception):
    """What came over the wire is no answer of HTTP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked for; of a body that is an iterator the length is not known beforehand, unless `size` says it."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Iterable[bytes] = b""
    size: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """How an answer begins; the names of its headers are in lower case, and what is told twice stands in one line."""

    status: int
    headers: Mapping[str, str]
    lasts: bool = True


class Wire(Protocol):
    """As much of a socket as is needed."""

    def send(self, data: memoryview, /) -> int: ...

    def recv(self, size: int, /) -> bytes: ...

    def settimeout(self, seconds: float | None, /) -> None: ...

    def gettimeout(self) -> float | None: ...

    def fileno(self) -> int: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A socket that leads to the other side, how it is closed, and what is known of why it broke off."""

    wire: Wire
    close: Callable[[], None]
    why: Callable[[], str] = lambda: ""


class Connection:
    """One connection: requests go out on it, and answers come in, one after the other."""

    def __init__(self, way: Way, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._socket = way.wire
        self._way = way
        self._clock = clock
        self._held = b""
        self._at = 0
        self._told_all = True
        self._untaken = 0
        self.is_idle = True

    def close(self) -> None:
        self._way.close()

    def settimeout(self, seconds: float | None) -> None:
        self._socket.settimeout(seconds)

    def is_stale(self) -> bool:
        """Whether something came that nobody asked for: a server that was restarted has closed what was open."""
        return self._hears()

    # ------------------------------------------------------------------------------------------------------- requests

    def ask(self, request: Request) -> Head:
        """Send a request and read how its answer begins."""
        self.is_idle = False
        try:
            self._send(request)
        except _Unsent as unsent:
            self._told_all = False
            # Who refuses says so before he has heard all, and closes: his answer counts for more.
            try:
                return unsent.head or self._head()
            except Lost as lost:
                raise lost from unsent.__cause__
        return self._head()

    def _send(self, request: Request) -> None:
        head, body = _written(request), request.body
        if isinstance(body, bytes):
            self._put(head + body)
            return
        self._put(head)
        if request.size is None:
            self._put_chunks(body)
        else:
            self._put_all(body, request.size)
        self._untaken = self._unsent()

    def _put_all(self, chunks: Iterable[bytes], size: int) -> None:
        """Exactly as many bytes as were announced: with one more, the rest would be taken for the next request."""
        for chunk in chunks:
            size -= len(chunk)
            if size < 0:
                break
            self._put_unless_answered(chunk)
        if size:
            raise ValueError("a body is not as long as it was said to be")

    def _put_chunks(self, chunks: Iterable[bytes]) -> None:
        """A chunk goes out as it is: to join it with its own length would copy all that is uploaded."""
        end = b""
        for chunk in chunks:
            if chunk:
                self._put(b"%b%x\r\n" % (end, len(chunk)))
                self._put_unless_answered(chunk)
                end = b"\r\n"
        self._put(end + b"0\r\n\r\n")

    def _put_unless_answered(self, chunk: bytes) -> None:
        """Nobody who has answered already listens to the rest: it would be hundreds of megabytes for nothing.

        Who only says that he goes on listening, as any server may unasked, gets the rest.
        """
        if self._hears() and _is_last(head := self._one_head()):
            raise _Unsent(head)
        self._put(chunk)

    def _put(self, data: bytes) -> None:
        left = memoryview(data)
        try:
            while left:
                # Not `sendall`: its time is for all of the bytes, and a line that is slow is not dead.
                left = left[self._socket.send(left) :]
        except TimeoutError as silent:
            if self._hears():
                raise _Unsent from silent
            raise Lost("nothing more is taken") from silent
        except OSError as broken:
            raise _Unsent from broken

    def _unsent(self) -> int:
        """How many bytes this machine still holds back for the other side."""
        import fcntl
        import termios

        with suppress(OSError):  # a wire that is closed
            return int.from_bytes(fcntl.ioctl(self._socket.fileno(), termios.TIOCOUTQ, bytes(4)), "little")
        return 0

    # -------------------------------------------------------------------------------------------------------- answers

    def _head(self) -> Head:
        for _ in range(_MOST_INTERIM):
            if _is_last(head := self._one_head()):
                return head
        raise Unreadable("it does not come to the point")

    def _one_head(self) -> Head:
        first, *lines = self._lines()
        protocol, _, rest = first.partition(b" ")
        status = rest[:3]
        if not protocol.startswith(b"HTTP/1.") or not status.isdigit() or len(status) < 3:
            raise Unreadable(f"it begins with {first[:100]!r}")
        headers = _headers(lines)
        return Head(status=int(status), headers=headers, lasts=_lasts(protocol, headers.get("connection", "")))

    def _lines(self, *, least: int = 1) -> list[bytes]:
        lines: list[bytes] = []
        size, until = 0, None
        while (line := self._line(until)) or len(lines) < least:
            lines.append(line)
            size, until = size + len(line), until or self._clock() + _LONGEST_TELLING
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

    def _line(self, until: float | None = None) -> bytes:
        """The next line. Nobody may be silent for long, and whoever tells it byte by byte never is: so that has an end
        too, from the first byte on."""
        while (end := self._held.find(b"\r\n", self._at)) < 0:
            if self._at < len(self._held):
                until = until or self._clock() + _LONGEST_TELLING
            if len(self._held) - self._at > _LONGEST_HEAD or (until and self._clock() > until):
                raise Unreadable("a line of it has no end")
            more = self._received()
            if not more:
                raise Lost(self._way.why() or "the connection was closed")
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
        while True:
            try:
                return self._socket.recv(_BLOCK)
            except TimeoutError:
                # While what was sent still moves, however slowly, nobody can have answered.
                before, self._untaken = self._untaken, self._unsent() if self._untaken else 0
                if not 0 < self._untaken < before:
                    raise
            except OSError as broken:
                raise Lost(self._way.why() or "the connection broke off") from broken

    def _hears(self) -> bool:
        """Whether something has come that is not read yet, were it the end."""
        waiting = select.poll()
        waiting.register(self._socket, select.POLLIN)
        events = sum(event for _, event in waiting.poll(0))
        if self._held[self._at :] or not events:
            return bool(self._held[self._at :])
        return bool(events & ~select.POLLIN) or self._has_read()

    def _has_read(self) -> bool:
        """Read without waiting: what comes below TLS may be no more than its own housekeeping."""
        seconds = self._socket.gettimeout()
        self._socket.settimeout(0)
        try:
            self._held, self._at = self._socket.recv(_BLOCK), 0
        except OSError as error:
            return error.errno not in _NOTHING_YET
        finally:
            self._socket.settimeout(seconds)
        return True


def _written(request: Request) -> bytes:
    """How a request begins."""
    headers = {"Host": "docker", "User-Agent": "s2ictl", **request.headers, **_length(request)}
    lines = (f"{request.method} {request.target} HTTP/1.1", *(f"{name}: {text}" for name, text in headers.items()))
    if any(map(_FORBIDDEN.search, lines)):
        raise ValueError("a request has a character in its head that would begin another line")
    return "\r\n".join((*lines, "", "")).encode()


def _length(request: Request) -> Mapping[str, str]:
    size = len(request.body) if isinstance(request.body, bytes) else request.size
    if size is None:
        return {"Transfer-Encoding": "chunked"}
    return {} if not size and request.method in _BODILESS_METHODS else {"Content-Length": str(size)}


def _headers(lines: Iterable[bytes]) -> Mapping[str, str]:
    headers: dict[str, str] = {}
    for line in _unfolded(lines):
        title, colon, text = line.decode("latin-1").partition(":")
        name = title.rstrip().lower()
        if not colon or not name or name[0].isspace():
            raise Unreadable(f"its head has the line {line[:100]!r}")
        headers[name] = f"{headers[name]}, {text.strip()}" if name in headers else text.strip()
    return headers


def _unfolded(lines: Iterable[bytes]) -> list[bytes]:
    """Each header in one line: long ones were broken when lines were short."""
    whole: list[bytes] = []
    for line in lines:
        if line[:1].isspace() and whole:
            whole[-1] += b" " + line.strip()
        else:
            whole.append(line)
    return whole


def _is_last(head: Head) -> bool:
    """Whether nothing but the body follows: the other answers only say that this one is on its way."""
    return head.status >= 200 or head.status == UPGRADED


def _lasts(protocol: bytes, said: str) -> bool:
    """Whether another request can be sent on the connection; who speaks the older HTTP has to say so himself."""
    words = {word.strip() for word in said.lower().split(",")}
    return "close" not in words and (protocol != b"HTTP/1.0" or "keep-alive" in words)


def _number(text: str, base: int) -> int:
    digits = text.strip().lower()
    if not digits or len(digits) > _LONGEST_NUMBER or digits.strip("0123456789abcdef"[:base]):
        raise Unreadable(f"it has a length of {text[:40]!r}")
    return int(digits, base)
