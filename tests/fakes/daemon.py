"""An engine's API on loopback that knows one image, and of each push says what a test wants."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.fakes.loopback import served

IMAGE = f"sha256:{'1' * 64}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Says:
    """What it says of one push: lines of JSON, or a refusal with another status; then it may break off, or hang."""

    lines: tuple[object, ...] = ()
    status: int = 200
    breaks_off: bool = False
    hangs: bool = False

    @property
    def content(self) -> bytes:
        lines = (line if isinstance(line, bytes) else json.dumps(line).encode() for line in self.lines)
        return b"".join(line + b"\r\n" for line in lines)


@dataclass(slots=True)
class Daemon:
    """`says` is of each push in its turn, and the last of every later one."""

    says: list[Says]
    asked: list[str] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    host: str = ""

    @property
    def environ(self) -> Mapping[str, str]:
        return {"DOCKER_HOST": f"tcp://{self.host}"}


@contextmanager
def running(*says: Says) -> Iterator[Daemon]:
    """Serve it on a port of its own until the context ends."""
    daemon = Daemon(list(says))
    handler = type("Handler", (_Handler,), {"daemon": daemon})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    daemon.host = f"127.0.0.1:{server.server_port}"
    with served(server):
        yield daemon


class _Handler(BaseHTTPRequestHandler):
    daemon: Daemon
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one piece, or the kernel waits between them

    def do_GET(self) -> None:
        known = {"/version": {"ApiVersion": "1.41"}, "/images/r.example.com/app:1/json": {"Id": IMAGE}}
        path = self.path.removeprefix("/v1.41")
        self._answer(200 if path in known else 404, json.dumps(known.get(path, {"message": "No such image"})).encode())

    def do_POST(self) -> None:
        self.daemon.asked.append(self.path)
        self.daemon.logins.append(self.headers.get("X-Registry-Auth", ""))
        says = self.daemon.says.pop(0) if len(self.daemon.says) > 1 else self.daemon.says[0]
        self._answer(says.status, says.content, more=says.breaks_off or says.hangs)
        if says.hangs:
            self.rfile.read(1)  # until the other side has had enough

    def _answer(self, status: int, content: bytes, *, more: bool = False) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content) + more))
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()
        self.close_connection = more

    def log_message(self, *_: object) -> None:
        """Not into the tests' output."""
