"""The Docker API asked: one request after another over connections that stay open, and answers as they come."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlencode

from s2ictl.errors import Unreachable
from s2ictl.pools import Pool
from s2ictl.wire import UPGRADED, Connection, Head, Lost, Request, Unreadable, Way

CONNECT = 10.0
_OLDEST, _NEWEST = (1, 25), (1, 51)  # what is asked for here has been since the one, and was looked up in the other
_LARGEST = 64 << 20
_LONGEST_LINE = 4 << 20
_LITTLE = 64 * 1024
_NO_VERSION = "could not say its version"
_HIJACK = {"Connection": "Upgrade", "Upgrade": "tcp"}


class ApiError(Exception):
    """The engine's own words for what it did not do."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status = status
        self.text = text


class Answer:
    """What the engine says: its status and headers, and a body that is read once."""

    def __init__(self, head: Head, body: Iterator[bytes]) -> None:
        self.status_code = head.status
        self.headers = head.headers
        self._body = body

    def iter_content(self, size: int | None = None) -> Iterator[bytes]:
        """The bytes as they come, at most so many at once."""
        if size is None:
            yield from self._body
            return
        for data in self._body:
            yield from (data[start : start + size] for start in range(0, len(data), size))

    def iter_lines(self) -> Iterator[bytes]:
        pending = b""
        for data in self._body:
            *lines, pending = (pending + data).split(b"\n")
            if len(pending) > _LONGEST_LINE:
                raise Unreadable("a line has no end")
            yield from (line.rstrip(b"\r") for line in lines)
        if pending:
            yield pending

    def records(self) -> Iterator[Mapping[str, Any]]:
        """What the engine says while it works, a line of JSON at a time."""
        return (_object(line) for line in self.iter_lines() if line.strip())

    def json(self) -> Any:
        """The value that it says; None where it says nothing."""
        content = self.content(_LARGEST)
        return _value(content) if content else None

    def content(self, most: int) -> bytes:
        """All of it, if it is no more than this."""
        content = bytearray()
        for data in self._body:
            content += data
            if len(content) > most:
                raise Unreadable(f"it has more than {most} bytes")
        return bytes(content)

    def text(self) -> str:
        """What it says when it is an error."""
        content = b""
        with suppress(Unreadable):
            content = self.content(_LARGEST)
            message = _object(content).get("message")
            return str(message or content.decode(errors="replace"))
        return content.decode(errors="replace").strip() or f"status {self.status_code}"


class Api:
    """An engine. `said` is its answer to who it is."""

    def __init__(self, dial: Callable[[], Way], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._dial = dial
        self._pool = Pool(self._connected, clock=clock)
        self.said: Mapping[str, Any] = {}
        self._base = ""

    def greet(self) -> None:
        """Ask it who it is, and agree on a version of the API."""
        with self.exchange(Request(method="GET", target="/version"), silence=CONNECT) as answer:
            if answer.status_code != 200:
                raise ApiError(answer.status_code, answer.text())
            self.said = _object(answer.content(_LITTLE))
        self._base = "/v{}.{}".format(*_agreed(self.said))

    def close(self) -> None:
        self._pool.close()

    def target(self, what: str, params: Mapping[str, object]) -> str:
        """A path of the API with its parameters: a list is told one by one, a mapping as JSON."""
        query = {name: json.dumps(value) if isinstance(value, Mapping) else value for name, value in params.items()}
        return f"{self._base}/{quote(what, safe='/:@')}" + (f"?{urlencode(query, doseq=True)}" if query else "")

    @contextmanager
    def exchange(self, request: Request, *, silence: float | None) -> Iterator[Answer]:
        """Ask, and read what is answered while the context lasts."""
        with self._pool.exchange(request, silence=silence) as (head, body):
            yield Answer(head, body)

    @contextmanager
    def hijacked(self, request: Request, *, silence: float) -> Iterator[Connection]:
        """The connection itself, once the engine has agreed that it is one."""
        connection = self._pool.taken()
        try:
            connection.settimeout(silence)
            head = connection.ask(replace(request, headers={**request.headers, **_HIJACK}))
            if head.status not in (UPGRADED, 200):
                raise ApiError(head.status, Answer(head, connection.body(head, method=request.method)).text())
            yield connection
        finally:
            connection.close()

    def _connected(self) -> Connection:
        try:
            return Connection(self._dial())
        except OSError as error:
            raise Lost(str(error)) from error


def _agreed(said: Mapping[str, Any]) -> tuple[int, int]:
    """The version of the API that both know."""
    theirs = _version(said.get("ApiVersion"))
    if theirs is None:
        raise Unreachable(_NO_VERSION, detail=f"it says {str(dict(said))[:200]}")
    if theirs < _OLDEST:
        detail = "it knows the API up to {}.{}, which is older than {}.{}".format(*theirs, *_OLDEST)
        raise Unreachable(f"{_NO_VERSION}: the engine is too old", detail=detail)
    if (_version(said.get("MinAPIVersion")) or _OLDEST) > _NEWEST:
        raise Unreachable(f"{_NO_VERSION}: the engine is too new", detail=f"it says {str(dict(said))[:200]}")
    return min(theirs, _NEWEST)


def _version(text: object) -> tuple[int, int] | None:
    major, _, minor = str(text).partition(".")
    return (int(major), int(minor)) if major.isdecimal() and minor.isdecimal() and len(str(text)) < 10 else None


def _value(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Unreadable("it is no JSON") from error


def _object(content: bytes) -> Mapping[str, Any]:
    value = _value(content)
    if not isinstance(value, dict):
        raise Unreadable("it is no JSON object")
    return value
