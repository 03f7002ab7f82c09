"""A package index of our own: what the host's pip fetched, served to containers; one half of it asks for a login."""

from __future__ import annotations

import base64
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

from tests.engine import apps
from tests.fakes.loopback import served

USER, CANARY = "somebody", "canary-5d1c0e"
_LOGIN = "Basic " + base64.b64encode(f"{USER}:{CANARY}".encode()).decode()
_TAGS = ("manylinux_2_28", "manylinux_2_17", "manylinux2014")


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """Two addresses of the same packages, and what was fetched from the closed one."""

    open: str
    closed: str
    fetched: list[str]
    bundle: Path | None = None


def download(names: Sequence[str], python: str, into: Path) -> None:
    """Fetch the wheels of these, for this version of Python, from wherever pip is configured to fetch."""
    platforms = [f"--platform={tag}_{platform.machine()}" for tag in _TAGS]
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
            *("--only-binary=:all:", f"--python-version={python}", *platforms, f"--dest={into}", *names),
        ],
        check=True,
        timeout=300,
    )


@contextmanager
def serving(wheels: Path, host: str, *, authority: Path | None = None) -> Iterator[Index]:
    """Serve a directory of wheels at an address of this machine that containers reach.

    With a directory for an authority of its own it does so over TLS, as an index of a company.
    """
    server = _Server((host, 0), _Handler)
    server.wheels, server.fetched = wheels, []
    bundle = apps.over_tls(server, host, authority) if authority else None
    scheme, place = "https" if bundle else "http", f"{host}:{server.server_port}"
    with served(server):
        yield Index(
            open=f"{scheme}://{place}/open/simple",
            closed=f"{scheme}://{USER}:{CANARY}@{place}/closed/simple",
            fetched=server.fetched,
            bundle=bundle,
        )


class _Server(ThreadingHTTPServer):
    wheels: Path
    fetched: list[str]


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        area, _, rest = self.path.lstrip("/").partition("/")
        if area == "closed" and self.headers.get("Authorization") != _LOGIN:
            self._answer(401, b"")
        elif rest.startswith("simple/"):
            self._answer(*_page(self.server.wheels, rest.split("/")[1]))
        else:
            self._file(area, Path(unquote(rest)).name)

    do_HEAD = do_GET  # noqa: N815  (the name is http.server's; uv asks for the size first)

    def _file(self, area: str, name: str) -> None:
        wheel = self.server.wheels / name
        if not wheel.is_file():
            self._answer(404, b"")
            return
        if area == "closed":
            self.server.fetched.append(name.partition("-")[0])
        self._answer(200, wheel.read_bytes())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        if status == 401:
            self.send_header("WWW-Authenticate", "Basic")
        self.send_header("Content-Type", "text/html" if body.startswith(b"<") else "application/octet-stream")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "max-age=600")  # what nobody says of a file pip does not keep
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """The tests ask what was fetched."""


def _page(wheels: Path, project: str) -> tuple[int, bytes]:
    """The list of one project's files, as PEP 503 wants it."""
    found = [path.name for path in wheels.iterdir() if _normal(path.name.partition("-")[0]) == _normal(project)]
    links = "".join(f'<a href="../../files/{name}">{name}</a>' for name in sorted(found))
    return (200 if found else 404), f"<!DOCTYPE html><html><body>{links}</body></html>".encode()


def _normal(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")
