"""TLS inside of TLS: a host that is asked with it, behind a proxy that is asked with it too.

The standard library puts TLS on sockets of the system alone, so what goes in and out of the inner one is carried by
hand.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import TypeVar

from s2ictl.wire import Wire

T = TypeVar("T")
_RECORD = 16 * 1024


class Inner:
    """As much of a socket as a connection needs."""

    def __init__(self, outer: Wire, context: ssl.SSLContext, host: str) -> None:
        self._outer = outer
        self._arriving, self._leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._arriving, self._leaving, server_hostname=host)
        self._carried(self._tls.do_handshake)

    def send(self, data: memoryview) -> int:
        return self._carried(lambda: self._tls.write(data[:_RECORD]))

    def recv(self, size: int) -> bytes:
        try:
            return self._carried(lambda: self._tls.read(size))
        except ssl.SSLZeroReturnError:
            return b""

    def settimeout(self, seconds: float | None) -> None:
        self._outer.settimeout(seconds)

    def gettimeout(self) -> float | None:
        return self._outer.gettimeout()

    def fileno(self) -> int:
        return self._outer.fileno()

    def close(self) -> None:
        self._outer.close()

    def _carried(self, act: Callable[[], T]) -> T:
        """Do a thing of TLS, and carry what it wants to say and to hear."""
        while True:
            try:
                done = act()
            except ssl.SSLWantReadError:
                self._say()
                self._hear()
            else:
                self._say()
                return done

    def _say(self) -> None:
        if data := self._leaving.read():
            left = memoryview(data)
            while left:
                left = left[self._outer.send(left) :]

    def _hear(self) -> None:
        if data := self._outer.recv(_RECORD):
            self._arriving.write(data)
        else:
            self._arriving.write_eof()
