"""A wire between a client and its engine that a test may break: when the engine has done what it was asked for.

It stands where a socket of the engine would, and passes on all bytes but those of the answer that is to be lost.
"""

from __future__ import annotations

import re
import socket
import socketserver
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from tests.fakes.loopback import served


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """Where the engine answers now, and what was asked when the wire broke."""

    docker_host: str
    broken: list[str] = field(default_factory=list)


@contextmanager
def breaking(docker_host: str, request: str, *, after: int = 0) -> Iterator[Wire]:
    """Break the connection on which the first such request was made, when so many bytes of its answer have passed."""
    with tempfile.TemporaryDirectory(prefix="s2iwire-", dir="/var/tmp") as directory:
        path = f"{directory}/docker.sock"
        wire = Wire(docker_host=f"unix://{path}")
        broken = _Break(request=re.compile(request.encode()), after=after, seen=wire.broken)
        with served(_Server(path, _Handler, engine=docker_host.removeprefix("unix://"), broken=broken)):
            yield wire


@dataclass(frozen=True, slots=True, kw_only=True)
class _Break:
    request: re.Pattern[bytes]
    after: int
    seen: list[str]

    def begins(self, data: bytes) -> bool:
        """Whether this is the request; there is no second one."""
        if self.seen or not self.request.match(data):
            return False
        self.seen.append(data.split(b"\r\n", 1)[0].decode())
        return True


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True

    def __init__(self, path: str, handler: type[_Handler], *, engine: str, broken: _Break) -> None:
        super().__init__(path, handler)
        self.engine = engine
        self.broken = broken


class _Handler(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        client: socket.socket = self.request
        with socket.socket(socket.AF_UNIX) as engine, suppress(OSError):
            engine.connect(self.server.engine)
            doomed = threading.Event()
            thread = threading.Thread(target=self._ask, args=(client, engine, doomed), daemon=True)
            thread.start()
            self._answer(engine, client, doomed)
            client.shutdown(socket.SHUT_RDWR)
            thread.join()

    def _ask(self, client: socket.socket, engine: socket.socket, doomed: threading.Event) -> None:
        with suppress(OSError):
            while data := client.recv(1 << 16):
                if self.server.broken.begins(data):
                    doomed.set()
                engine.sendall(data)
        with suppress(OSError):
            engine.shutdown(socket.SHUT_WR)

    def _answer(self, engine: socket.socket, client: socket.socket, doomed: threading.Event) -> None:
        left = self.server.broken.after
        while data := engine.recv(1 << 16):
            if doomed.is_set():
                data, left = data[:left], left - len(data)
            client.sendall(data)
            if doomed.is_set() and left <= 0:
                return
