"""A server that is told things: it keeps what came, and answers what it was ordered to, in turn."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.fakes.loopback import served

RESET = 0  # instead of a status: the connection breaks off once all was received


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(slots=True, kw_only=True)
class Receiver:
    """`answers` are given in turn, and 200 after them."""

    host: str = ""
    answers: list[int] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)


@contextmanager
def receiving(*answers: int) -> Iterator[Receiver]:
    receiver = Receiver(answers=list(answers))
    server = _Server(("127.0.0.1", 0), _Handler)
    server.receiver = receiver
    receiver.host = f"127.0.0.1:{server.server_port}"
    with served(server):
        yield receiver


class _Server(ThreadingHTTPServer):
    receiver: Receiver


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        receiver = self.server.receiver
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(self.headers["Content-Length"]))
        receiver.told.append(Told(method=self.command, path=self.path, headers=headers, body=body))
        status = receiver.answers.pop(0) if receiver.answers else 200
        if status == RESET:
            self.close_connection = True
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("Location", f"http://{receiver.host}/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST  # noqa: N815  (the name is http.server's; a redirect that was followed would come so)

    def log_message(self, *_: object) -> None:
        """The tests ask what was told."""
