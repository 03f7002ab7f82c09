"""A proxy between a client and its registry that does harm to one request, and passes on all others as they are.

What a client asks for in a good run is written down, so that a test can do every harm to every request of it without
naming one by hand. `skopeo copy` and an engine may be sent through it as well as our own client.
"""

from __future__ import annotations

import http.client
import re
import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from tests.fakes.loopback import served
from tests.testbed.certificates import Pair

CLOSE = "Connection"
_MINE = frozenset({"transfer-encoding", "content-length", "keep-alive"})


@dataclass(frozen=True, slots=True, order=True)
class Step:
    """One request of a run: what it is, whatever the repository and the upload are called, and the how manieth."""

    method: str
    path: str
    count: int = 1

    def __str__(self) -> str:
        return f"{self.method} {self.path}" + (f" ({self.count})" if self.count > 1 else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Harm:
    """What is done to a step, and to so many requests of its kind after it."""

    step: Step
    kind: str
    times: int = 1
    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(slots=True, kw_only=True)
class Proxy:
    """Where it listens, where it leads, the harm that it does, and what came by."""

    upstream: str = ""
    tokens: str = ""
    address: str = ""
    body_limit: int = 0
    harm: Harm | None = None
    before: Callable[[Step], None] | None = None
    seen: list[Step] = field(default_factory=list)
    hurt: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    connections: list[socket.socket] = field(default_factory=list, repr=False)

    def come_by(self, method: str, path: str) -> Harm | None:
        """Write a request down, and say what is to be done to it."""
        plain, harm = _plain(path), self.harm
        with self.lock:
            step = Step(method, plain, 1 + sum((one.method, one.path) == (method, plain) for one in self.seen))
            self.seen.append(step)
            meant = harm and (step.method, step.path) == (harm.step.method, harm.step.path)
            chosen = harm if harm and meant and step.count >= harm.step.count and self.hurt < harm.times else None
            self.hurt += chosen is not None
        if self.before:
            self.before(step)
        return chosen

    def begin(self, harm: Harm | None = None) -> None:
        """Forget what was seen, and do this from now on."""
        self.harm, self.hurt = harm, 0
        self.seen.clear()


def _plain(path: str) -> str:
    """A path without what is different in each run: repositories, names of uploads, values of queries."""
    parts = urlsplit(path)
    plain = re.sub(r"^/v2/.+/(manifests|blobs)/", r"\1/", parts.path)
    plain = re.sub(r"^blobs/uploads/.+", "blobs/uploads/UPLOAD", plain)
    mounted = "?mount" if "mount=" in parts.query else ""
    return plain + mounted


@contextmanager
def running(proxy: Proxy, *, tls: Pair | None = None, host: str = "127.0.0.1") -> Iterator[Proxy]:
    """Let it pass on until the context ends; with a certificate it speaks TLS, and never to the registry."""
    server = ThreadingHTTPServer((host, 0), type("Handler", (_Handler,), {"proxy": proxy}))
    server.daemon_threads = True
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls.certificate, tls.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    proxy.address = f"{host}:{server.server_port}"
    try:
        with served(server):
            yield proxy
    finally:
        for connection in proxy.connections:
            with suppress(OSError):  # the client has hung up already
                connection.shutdown(socket.SHUT_RDWR)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def rendered(self, *, for_head: bool) -> tuple[bytes, bytes]:
        """The head and the body as they go over the wire; the answer to HEAD speaks of a body that does not come."""
        length = self.headers.get("Content-Length", "0") if for_head else str(len(self.body))
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _MINE}
        lines = [f"{name}: {value}" for name, value in {**headers, "Content-Length": length}.items()]
        head = f"HTTP/1.1 {self.status} {http.client.responses.get(self.status, 'Odd')}\r\n"
        return (head + "\r\n".join(lines) + "\r\n\r\n").encode(), b"" if for_head else self.body


class _Handler(BaseHTTPRequestHandler):
    proxy: Proxy
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def handle(self) -> None:
        self.proxy.connections.append(self.connection)
        try:
            super().handle()
        except (OSError, ValueError):
            self.close_connection = True

    def _any(self) -> None:
        harm = self.proxy.come_by(self.command, self.path)
        _HARMS[harm.kind](self, harm) if harm else self.pass_on()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _any  # noqa: N815  (named by the library)

    def pass_on(self) -> None:
        body = self.body()
        if self.proxy.body_limit and len(body) > self.proxy.body_limit:
            self.say(_Answer(status=413, headers={}, body=b"<html>Request Entity Too Large</html>"))
        else:
            self.say(self.ask(body))

    def body(self) -> bytes:
        """What the client sends, whole: a client that hangs up before the end has asked for nothing."""
        if self.headers.get("Transfer-Encoding") == "chunked":
            content = bytearray()
            while size := int(self.rfile.readline().strip() or b"0", 16):
                content += self._exactly(size)
                self.rfile.readline()
            self.rfile.readline()
            return bytes(content)
        return self._exactly(int(self.headers.get("Content-Length", 0)))

    def _exactly(self, size: int) -> bytes:
        content = self.rfile.read(size)
        if len(content) < size:
            raise ConnectionError("the client hung up")
        return content

    def ask(self, body: bytes, *, length: int | None = None) -> _Answer:
        """Have the registry answer; with a length beyond the body, it is left waiting for the rest."""
        where = self.proxy.tokens if self.proxy.tokens and self.path.startswith("/token") else self.proxy.upstream
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _MINE and name != CLOSE}
        client = http.client.HTTPConnection(where, timeout=30)
        with closing(client):
            client.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in {**headers, "Content-Length": str(length or len(body))}.items():
                client.putheader(name, value)
            client.endheaders(body or None)
            if length:
                return _Answer(status=0, headers={}, body=b"")
            answer = client.getresponse()
            said = {name: value for name, value in answer.getheaders() if name != CLOSE}
            return _Answer(status=answer.status, headers=said, body=answer.read())

    def say(self, answer: _Answer) -> None:
        self.wfile.write(b"".join(answer.rendered(for_head=self.command == "HEAD")))
        self.wfile.flush()

    def half(self, answer: _Answer) -> bytes:
        """The first half of the body, or of the head where there is no body."""
        head, body = answer.rendered(for_head=self.command == "HEAD")
        return head + body[: len(body) // 2] if body else head[: len(head) // 2]

    def reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.hang_up()

    def hang_up(self) -> None:
        self.close_connection = True
        self.connection.close()

    def wait_for_the_end(self) -> None:
        """Say nothing more until the client has had enough of it."""
        self.close_connection = True
        while select.select([self.connection], [], [], 90)[0] and self.connection.recv(1 << 16):
            pass

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (named by the library)
        """Nobody reads it."""


# ------------------------------------------------------------------------------------------------------------- harms


def _status(handler: _Handler, harm: Harm) -> None:
    """Another answer, with nothing passed on."""
    handler.body()
    handler.say(_Answer(status=harm.status, headers=harm.headers, body=harm.body))


def _early(handler: _Handler, harm: Harm) -> None:
    """Another answer before the body has come, and nobody stays to hear the rest."""
    handler.say(_Answer(status=harm.status, headers={**harm.headers, CLOSE: "close"}, body=harm.body))
    handler.hang_up()


def _reset(handler: _Handler, harm: Harm) -> None:
    handler.reset()


def _cut(handler: _Handler, harm: Harm) -> None:
    """Half of what the client sends reaches the registry."""
    body = handler.body()
    if body:
        handler.ask(body[: len(body) // 2], length=len(body))
    handler.reset()


def _lose(handler: _Handler, harm: Harm) -> None:
    """The registry does what it was asked for, and nobody hears of it."""
    handler.ask(handler.body())
    handler.reset()


def _stall(handler: _Handler, harm: Harm) -> None:
    handler.wait_for_the_end()


def _falter(handler: _Handler, harm: Harm) -> None:
    """Half of the answer, and then silence."""
    handler.wfile.write(handler.half(handler.ask(handler.body())))
    handler.wfile.flush()
    handler.wait_for_the_end()


def _truncate(handler: _Handler, harm: Harm) -> None:
    """Half of the answer, and then the end."""
    handler.wfile.write(handler.half(handler.ask(handler.body())))
    handler.wfile.flush()
    handler.hang_up()


def _spoil(handler: _Handler, harm: Harm) -> None:
    """Other bytes on the way there, if any go there, else on the way back; a digest in the head is another one."""
    body = handler.body()
    answer = handler.ask(_other(body))
    if not body:
        digest = {
            name: _other(value.encode()).decode() for name, value in answer.headers.items() if "digest" in name.lower()
        }
        answer = _Answer(status=answer.status, headers={**answer.headers, **digest}, body=_other(answer.body))
    handler.say(answer)


def _other(content: bytes) -> bytes:
    """The same bytes but the last: still a digest if it was one."""
    return content[:-1] + (b"0" if content[-1:] == b"1" else b"1") if content else b""


def _babble(handler: _Handler, harm: Harm) -> None:
    """What is no HTTP at all."""
    handler.body()
    handler.wfile.write(b"\x00\x01 this is not the server that you think it is\r\n\r\n")
    handler.wfile.flush()
    handler.hang_up()


_HARMS: Mapping[str, Callable[[_Handler, Harm], None]] = {
    "status": _status,
    "early": _early,
    "reset": _reset,
    "cut": _cut,
    "lose": _lose,
    "stall": _stall,
    "falter": _falter,
    "truncate": _truncate,
    "spoil": _spoil,
    "babble": _babble,
}
