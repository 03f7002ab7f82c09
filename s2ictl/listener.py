"""The hook port: bytes of the network become a Delivery, and a Reply becomes bytes; the only importer of aiohttp.

Nothing here knows what a delivery means. What can be refused without reading it is refused so, in the order of what it
costs: path, method, headers, size. A connection that dawdles is closed, since a sender never does.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import resource
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import field
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from s2ictl.errors import Conflict, InvalidUsage, Unreachable
from s2ictl.expressions import expression
from s2ictl.models import Delivery
from s2ictl.values import dataclass

if TYPE_CHECKING:
    from aiohttp import web

_HOOK = expression(r"/hooks/([a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)")
_CONTENT = ("application/json", "application/x-www-form-urlencoded")
_CONNECTIONS = 8192
_LINGER_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    host: str
    port: int

    @property
    def url(self) -> str:
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How large a body may be, and how slow a sender."""

    body: int = 5 << 20
    header_seconds: float = 10.0
    bytes_per_second: float = 1024.0


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: Mapping[str, Any] | str = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


class Site(Protocol):
    def knows(self, hook: str) -> bool:
        """Whether there is a hook of this name."""

    async def deliver(self, hook: str, delivery: Delivery) -> Reply:
        """Take a delivery that was received whole."""

    async def ready(self) -> bool:
        """Whether a delivery would be taken now."""


def refusal(status: int, reason: str, **headers: str) -> Reply:
    """The reply that says why nothing was done."""
    return Reply(status, {"verdict": "refused", "reason": reason}, {k.replace("_", "-"): v for k, v in headers.items()})


@asynccontextmanager
async def listening(site: Site, address: Address, limits: Limits) -> AsyncIterator[Address]:
    """Listen while the context lasts; answers the address that was really bound."""
    loop = asyncio.get_running_loop()
    _allow_connections()
    connections = _Connections(site, limits)
    try:
        # SO_REUSEADDR, and no child inherits the socket (close-on-exec): a killed server starts again at once.
        server = await loop.create_server(
            connections.open, address.host, address.port, reuse_address=True, backlog=_CONNECTIONS
        )
    except OSError as error:
        raise _cannot_listen(address, error) from error
    try:
        yield Address(host=address.host, port=server.sockets[0].getsockname()[1])
    finally:
        server.close()
        await connections.server.shutdown(timeout=2.0)


def _cannot_listen(address: Address, error: OSError) -> Exception:
    if error.errno == errno.EADDRINUSE:
        return Conflict(f"{address.host}:{address.port} is in use by another program", hint="--listen HOST:PORT")
    return Unreachable(f"cannot listen on {address.host}:{address.port}", detail=str(error), hint="--listen HOST:PORT")


def _allow_connections() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _CONNECTIONS if hard == resource.RLIM_INFINITY else min(hard, _CONNECTIONS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class _Connections:
    """Each connection brings one request, whose header must be there in time: aiohttp waits for it without end."""

    def __init__(self, site: Site, limits: Limits) -> None:
        from aiohttp import web

        quiet = logging.getLogger("s2ictl.listener")
        quiet.disabled = True  # what senders do wrong is answered to them and printed nowhere
        self.site = site
        self.limits = limits
        self.overdue: dict[Any, asyncio.TimerHandle] = {}
        self.server = web.Server(
            self._handle, access_log=None, logger=quiet, auto_decompress=False, lingering_time=_LINGER_SECONDS
        )

    def open(self) -> asyncio.Protocol:
        connection = self.server()
        loop = asyncio.get_running_loop()
        self.overdue[connection] = loop.call_later(self.limits.header_seconds, self._close, connection)
        return connection

    def _close(self, connection: Any) -> None:
        self.overdue.pop(connection, None)
        connection.force_close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if timer := self.overdue.pop(request.protocol, None):
            timer.cancel()
        return _rendered(await self._reply(request))

    async def _reply(self, request: web.BaseRequest) -> Reply:
        path = request.raw_path.partition("?")[0]
        if request.version < (1, 0) or not path.startswith("/") or "Host" not in request.headers:
            return refusal(400, "no request that this server understands")
        if found := _HOOK.fullmatch(path):
            return await self._hook(request, found[1])
        pages = {"/": self._hello, "/healthz": self._hello, "/readyz": self._ready}
        if path not in pages:
            return refusal(404, "there is nothing here")
        if request.method not in ("GET", "HEAD"):
            return refusal(405, "only GET here", Allow="GET, HEAD")
        return await pages[path]()

    async def _hello(self) -> Reply:
        return Reply(200, "OK")

    async def _ready(self) -> Reply:
        return Reply(200, "OK") if await self.site.ready() else refusal(503, "not ready", Retry_After="5")

    async def _hook(self, request: web.BaseRequest, hook: str) -> Reply:
        if not self.site.knows(hook):
            return refusal(404, "there is nothing here")
        if request.method != "POST":
            return refusal(405, "deliveries are posted", Allow="POST")
        if reason := _unreadable(request):
            return refusal(415, reason)
        try:
            body = await _body(request, self.limits)
        except InvalidUsage as error:
            return refusal(400, error.message)
        except TimeoutError:
            return refusal(408, "the body comes too slowly")
        if body is None:
            return refusal(413, f"the body is larger than {self.limits.body} bytes")
        return await self.site.deliver(hook, Delivery(headers=_headers(request), body=body))


def _unreadable(request: web.BaseRequest) -> str:
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        return "compressed bodies are not taken"
    if request.content_type not in _CONTENT or "Content-Type" not in request.headers:
        return "only JSON and forms are taken"
    charset = (request.charset or "utf-8").lower()
    return "" if charset in ("utf-8", "utf8", "us-ascii") else "only UTF-8 is taken"


async def _body(request: web.BaseRequest, limits: Limits) -> bytes | None:
    """The whole body; None once it is known to be too large, TimeoutError when it dawdles."""
    from aiohttp import web

    if (request.content_length or 0) > limits.body:
        return None
    if request.headers.get("Expect", "").lower() == "100-continue" and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    clock = asyncio.get_running_loop().time
    began, received = clock(), bytearray()
    try:
        while True:
            async with asyncio.timeout_at(began + limits.header_seconds + len(received) / limits.bytes_per_second):
                chunk = await request.content.readany()
            if not chunk:
                return bytes(received)
            received += chunk
            if len(received) > limits.body:
                return None
    except (web.RequestPayloadError, ConnectionError) as error:
        raise InvalidUsage("the body broke off") from error


def _headers(request: web.BaseRequest) -> dict[str, str]:
    """One value for each name: two signatures become one that is none."""
    return {name.lower(): ", ".join(request.headers.getall(name)) for name in request.headers}


def _rendered(reply: Reply) -> web.Response:
    from aiohttp import web

    is_text = isinstance(reply.body, str)
    content = reply.body.encode() if isinstance(reply.body, str) else msgspec.json.encode(reply.body)
    response = web.Response(
        status=reply.status,
        body=content,
        content_type="text/plain" if is_text else "application/json",
        headers={"Server": "s2ictl", **reply.headers},
    )
    response.force_close()
    return response
