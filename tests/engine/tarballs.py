"""A registry of npm packages of our own: a few tarballs, of which every answer asks for a login."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from tests.engine import apps
from tests.fakes.loopback import served

USER, CANARY = "somebody", "canary-9b3f11"
_LOGIN = "Basic " + base64.b64encode(f"{USER}:{CANARY}".encode()).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """Where it is, with its login, and what was fetched from it."""

    address: str
    fetched: list[str]
    bundle: Path | None = None


@contextmanager
def serving(tarballs: Mapping[str, bytes], host: str, *, authority: Path | None = None) -> Iterator[Registry]:
    """Serve NAME-VERSION.tgz at an address of this machine that containers reach.

    With a directory for an authority of its own it does so over TLS, as a registry of a company.
    """
    server = _Server((host, 0), _Handler)
    place = f"{host}:{server.server_port}/npm"
    bundle = apps.over_tls(server, host, authority) if authority else None
    scheme = "https" if bundle else "http"
    server.url = f"{scheme}://{place}"
    server.tarballs, server.fetched = dict(tarballs), []
    with served(server):
        yield Registry(address=f"{scheme}://{USER}:{CANARY}@{place}", fetched=server.fetched, bundle=bundle)


class _Server(ThreadingHTTPServer):
    url: str
    tarballs: dict[str, bytes]
    fetched: list[str]


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        path = unquote(self.path).removeprefix("/npm/")
        if self.headers.get("Authorization") != _LOGIN:
            self._answer(401, b"")
        elif "/-/" in path:
            self._tarball(path.rpartition("/")[2])
        else:
            self._package(path)

    def _tarball(self, name: str) -> None:
        self.server.fetched.append(name)
        self._answer(200 if name in self.server.tarballs else 404, self.server.tarballs.get(name, b""))

    def _package(self, name: str) -> None:
        versions = {
            found["version"]: {**found, "dist": self._dist(name, file, content)}
            for file, content in self.server.tarballs.items()
            if (found := _manifest(content))["name"] == name
        }
        body = {"name": name, "versions": versions, "dist-tags": {"latest": max(versions, default="")}}
        self._answer(200 if versions else 404, json.dumps(body).encode())

    def _dist(self, name: str, file: str, content: bytes) -> dict[str, str]:
        digest = base64.b64encode(hashlib.sha512(content).digest()).decode()
        return {"tarball": f"{self.server.url}/{name}/-/{file}", "integrity": f"sha512-{digest}"}

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """The tests ask what was fetched."""


def _manifest(tarball: bytes) -> dict[str, Any]:
    with tarfile.open(fileobj=io.BytesIO(tarball)) as tar:
        file = tar.extractfile("package/package.json")
        assert file is not None
        said: dict[str, Any] = json.load(file)
        return said
