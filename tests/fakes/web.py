"""A web server on loopback: each path is one answer, and every other is not there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.fakes.loopback import served


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    status: int = 200
    body: bytes = b""


@contextmanager
def serving(pages: Mapping[str, Page]) -> Iterator[str]:
    """Answers the address while the context lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = pages.get(self.path, Page(status=404))
            with suppress(ConnectionError):  # a reader who has enough goes away in the middle
                self.send_response(page.status)
                self.send_header("Content-Length", str(len(page.body)))
                self.end_headers()
                self.wfile.write(page.body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    with served(server):
        yield f"http://127.0.0.1:{server.server_port}"
