"""Connections to one place, kept for the next exchange with it.

Two exchanges at once have a connection each. One is used again only when the answer on it was read to its end, and not
after a long pause: whatever stands between here and there forgets it by then, and tells nobody. One that dies in the
moment of the next request was not that request's fault; what may be asked twice is asked once more, on a new one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from s2ictl.wire import BODILESS, UPGRADED, Connection, Head, Lost, Request, Unreadable

_REPEATABLE = ("GET", "HEAD", "DELETE", "OPTIONS")
_LONGEST_PAUSE = 30.0
_LITTLE = 64 * 1024


class Pool:
    """What is open to a place at the moment. Several threads may use it at once."""

    def __init__(self, dial: Callable[[], Connection], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._dial = dial
        self._clock = clock
        self._idle: list[tuple[Connection, float]] = []

    def close(self) -> None:
        while self._idle:
            self._idle.pop()[0].close()

    @contextmanager
    def exchange(self, request: Request, *, silence: float | None) -> Iterator[tuple[Head, Iterator[bytes]]]:
        """Ask, and read what is answered while the context lasts."""
        connection, head = self._asked(request, silence)
        try:
            body = connection.body(head, method=request.method)
            yield head, body
            if not connection.is_idle and _is_short(head, request.method):
                with suppress(OSError, Unreadable):  # nobody wants it, so nothing is lost with it
                    for _ in body:
                        pass
        finally:
            if connection.is_idle:
                self._idle.append((connection, self._clock()))
            else:
                connection.close()

    def taken(self) -> Connection:
        """A connection for the caller alone, to be closed by him: the one that was used last, if it still can be."""
        return self._used() or self._dial()

    def _asked(self, request: Request, silence: float | None) -> tuple[Connection, Head]:
        """A connection on which this was asked, and how its answer begins."""
        used = self._used()
        if used is not None and request.method in _REPEATABLE:
            with suppress(Lost):
                return used, _head(used, request, silence)
            used = None
        connection = used or self._dial()
        return connection, _head(connection, request, silence)

    def _used(self) -> Connection | None:
        with suppress(IndexError):  # another thread may take the last one
            while True:
                connection, since = self._idle.pop()
                if self._clock() - since < _LONGEST_PAUSE and not connection.is_stale():
                    return connection
                connection.close()
        return None


def _head(connection: Connection, request: Request, silence: float | None) -> Head:
    """How the answer begins; a connection on which none does is closed."""
    try:
        connection.settimeout(silence)
        head = connection.ask(request)
        if head.status == UPGRADED:
            raise Unreadable("it becomes a stream, and nobody asked for one")
    except BaseException:
        connection.close()
        raise
    return head


def _is_short(head: Head, method: str) -> bool:
    """Whether the rest of an answer is read sooner than a new connection is made."""
    length = head.headers.get("content-length", "")
    short = length.isascii() and length.isdigit() and len(length) < 6 and int(length) <= _LITTLE
    return method == "HEAD" or head.status in BODILESS or short
