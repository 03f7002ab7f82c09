"""A registry in this process, on loopback: as strict about protocol as the real one, and broken wherever a test says.

It passes tests/fakes/registry_contract.py, as the real one does.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import parse_qs, urlsplit

from tests.fakes.loopback import served

Action = Literal["status", "reset", "lose-answer", "truncate", "stall", "take-half"]


@dataclass(slots=True, kw_only=True)
class Fault:
    """What goes wrong with the next `times` requests that match."""

    method: str
    path: str
    action: Action = "status"
    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    times: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]


@dataclass(slots=True)
class FakeRegistry:
    """Its shelves, its rules, and what it was asked."""

    host: str = ""
    auth: Literal["none", "basic", "bearer"] = "none"
    username: str = "somebody"
    password: str = "canary-registry"
    realm: str = ""
    uploads_at: str = ""
    hide_digests: bool = False
    lists_referrers: bool = False
    largest: int = 0
    repeats: bool = False  # whether it refuses a login by saying what it has heard
    forgets: bool = False
    blobs: dict[tuple[str, str], bytes] = field(default_factory=dict)
    manifests: dict[tuple[str, str], tuple[str, bytes]] = field(default_factory=dict)
    uploads: dict[str, bytes] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=set)
    faults: list[Fault] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    connections: list[socket.socket] = field(default_factory=list, repr=False)
    count: int = 0

    def fault_for(self, method: str, path: str) -> Fault | None:
        for fault in self.faults:
            if fault.times and fault.method == method and re.search(fault.path, path):
                fault.times -= 1
                return fault
        return None

    def put(self, repository: str, content: bytes) -> str:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self.blobs[repository, digest] = content
        return digest

    def tag(self, repository: str, tag: str, kind: str, content: bytes) -> str:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self.manifests[repository, tag] = self.manifests[repository, digest] = (kind, content)
        return digest

    def tried(self, method: str, path: str = "") -> int:
        return sum(one.method == method and path in one.path for one in self.asked)


@contextmanager
def running(registry: FakeRegistry) -> Iterator[FakeRegistry]:
    """Serve it on a port of its own until the context ends."""
    handler = type("Handler", (_Handler,), {"registry": registry})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    registry.host = f"127.0.0.1:{server.server_port}"
    try:
        with served(server):
            yield registry
    finally:
        for connection in registry.connections:
            with suppress(OSError):  # the client has hung up already
                connection.shutdown(socket.SHUT_RDWR)


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def _error(status: int, code: str, message: str = "") -> _Answer:
    body = json.dumps({"errors": [{"code": code, "message": message or code.lower().replace("_", " ")}]}).encode()
    return _Answer(status, body, {"Content-Type": "application/json"})


class _Handler(BaseHTTPRequestHandler):
    registry: FakeRegistry
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def handle(self) -> None:
        self.registry.connections.append(self.connection)
        try:
            super().handle()
        except (ConnectionError, ValueError):
            self.close_connection = True

    def _any(self) -> None:
        registry = self.registry
        path = urlsplit(self.path).path
        headers = {name.title(): value for name, value in self.headers.items()}
        asked = Asked(method=self.command, path=self.path, headers=headers)
        if registry.largest and int(self.headers.get("Content-Length", 0)) > registry.largest:
            registry.asked.append(asked)
            self.close_connection = True
            return self._send(_Answer(413, b"<html>too large</html>"))
        fault = registry.fault_for(self.command, path)
        if fault and fault.action == "take-half":
            registry.asked.append(asked)
            return self._take_half(path)
        body = self._body()
        registry.asked.append(asked)
        if registry.repeats and "Authorization" in headers:
            return self._send(_error(403, "DENIED", f"heard {headers['Authorization']}"))
        if fault and fault.action == "reset":
            return self._reset()
        if fault and fault.action == "stall":
            threading.Event().wait(0.5)
            return self._reset()
        if fault and fault.action == "status":
            return self._send(_Answer(fault.status, fault.body, fault.headers))
        answer = self._refusal(path) or self._answer(path, body)
        if fault and fault.action == "lose-answer":
            return self._reset()
        return self._send(answer, cut=bool(fault))

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _any  # noqa: N815  (named by the library)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            content = bytearray()
            while size := int(self._line(), 16):
                content += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return bytes(content)
        length = int(self.headers.get("Content-Length", 0))
        content_ = self.rfile.read(length)
        if len(content_) < length:
            raise ConnectionError("the client hung up")
        return content_

    def _line(self) -> bytes:
        line = self.rfile.readline().strip()
        if not line:
            raise ConnectionError("the client hung up")
        return line

    def _take_half(self, path: str) -> None:
        """Keep the first half of what comes, and break off."""
        body = self.rfile.read(int(self.headers["Content-Length"]) // 2)
        self.registry.uploads[path.rpartition("/")[2]] += body
        self._reset()

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def _send(self, answer: _Answer, *, cut: bool = False) -> None:
        self.send_response(answer.status)
        headers = {"Content-Length": str(len(answer.body)), **answer.headers}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body[: len(answer.body) // 2] if cut else answer.body)
        self.wfile.flush()
        self.close_connection = self.close_connection or cut

    # ------------------------------------------------------------------------------------------------- who may

    def _refusal(self, path: str) -> _Answer | None:
        registry = self.registry
        if registry.auth == "none" or path == "/token":
            return None
        given = self.headers.get("Authorization", "")
        if registry.auth == "basic":
            challenge = 'Basic realm="a registry"'
            allowed = given == self._basic()
        else:
            realm = registry.realm or f"http://{registry.host}/token"
            challenge = f'Bearer realm="{realm}",service="here",scope="whatever"'
            allowed = given.removeprefix("Bearer ") in registry.tokens
        return None if allowed else _Answer(401, b"", {"WWW-Authenticate": challenge})

    def _basic(self) -> str:
        pair = f"{self.registry.username}:{self.registry.password}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"

    def _token(self, query: Mapping[str, list[str]]) -> _Answer:
        if self.headers.get("Authorization") != self._basic():
            return _error(401, "UNAUTHORIZED")
        self.registry.count += 1
        token = f"token-{self.registry.count}"
        self.registry.tokens.add(token)
        return _Answer(200, json.dumps({"token": token, "scope": query.get("scope", [])}).encode())

    # ------------------------------------------------------------------------------------------------ what there is

    def _answer(self, path: str, body: bytes) -> _Answer:
        query = parse_qs(urlsplit(self.path).query)
        if path == "/v2/":
            return _Answer(200, b"{}")
        if path == "/token":
            return self._token(query)
        found = re.fullmatch(r"/v2/(.+)/(manifests|blobs|referrers)/(uploads/)?([^/]*)", path)
        if not found or (found[2] == "referrers" and not self.registry.lists_referrers):
            return _error(404, "NOT_FOUND")
        repository, shelf, upload, name = found.groups()
        if upload:
            return self._upload(repository, name, body, query)
        if shelf == "referrers":
            return self._referrers(repository, name, int(query.get("page", ["0"])[0]))
        return self._manifest(repository, name, body) if shelf == "manifests" else self._blob(repository, name)

    def _blob(self, repository: str, digest: str) -> _Answer:
        content = self.registry.blobs.get((repository, digest))
        if content is None:
            return _error(404, "BLOB_UNKNOWN")
        begin = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if begin:
            at = int(begin[1])
            return _Answer(206, content[at:], {"Content-Range": f"bytes {at}-{len(content) - 1}/{len(content)}"})
        return _Answer(200, content, {"Docker-Content-Digest": digest})

    def _manifest(self, repository: str, which: str, body: bytes) -> _Answer:
        registry = self.registry
        if self.command == "PUT":
            for part in _parts(body):
                if (repository, part) not in registry.blobs | registry.manifests:
                    return _error(400, "MANIFEST_BLOB_UNKNOWN")
            digest = registry.tag(repository, which, self.headers["Content-Type"], body)
            subject = (json.loads(body).get("subject") or {}).get("digest")
            told = {"OCI-Subject": subject} if subject and registry.lists_referrers else {}
            return _Answer(201, b"", {"Docker-Content-Digest": digest, **told})
        if (repository, which) not in registry.manifests:
            return _error(404, "MANIFEST_UNKNOWN")
        kind, content = registry.manifests[repository, which]
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        shown = {} if registry.hide_digests else {"Docker-Content-Digest": digest}
        return _Answer(200, content, {"Content-Type": kind, **shown})

    def _referrers(self, repository: str, subject: str, page: int) -> _Answer:
        """One entry on each page, as the smallest of all registries would have it."""
        entries = []
        for (where, which), (kind, content) in self.registry.manifests.items():
            document = json.loads(content)
            if (where, which.partition(":")[0]) == (repository, "sha256") and subject in str(document.get("subject")):
                size, artifact = len(content), document.get("artifactType")
                entries.append({"mediaType": kind, "digest": which, "size": size, "artifactType": artifact})
        index = {"schemaVersion": 2, "manifests": entries[page : page + 1]}
        more = f'</v2/{repository}/referrers/{subject}?page={page + 1}>; rel="next"'
        link = {"Link": more} if entries[page + 1 :] else {}
        return _Answer(200, json.dumps(index).encode(), link)

    def _upload(self, repository: str, name: str, body: bytes, query: Mapping[str, list[str]]) -> _Answer:
        registry = self.registry
        if self.command == "POST":
            source = (query.get("from", [""])[0], query.get("mount", [""])[0])
            if source in registry.blobs:
                registry.blobs[repository, source[1]] = registry.blobs[source]
                return _Answer(201, b"", {"Location": f"/v2/{repository}/blobs/{source[1]}"})
            registry.count += 1
            name = f"upload-{registry.count}"
            registry.uploads[name] = b""
            return _Answer(202, b"", {"Location": self._location(repository, name)})
        if name not in registry.uploads:
            return _error(404, "BLOB_UPLOAD_UNKNOWN")
        if self.command == "GET":
            if registry.forgets:
                del registry.uploads[name]
                return _error(404, "BLOB_UPLOAD_UNKNOWN")
            return _Answer(204, b"", {"Location": self._location(repository, name), **self._arrived(name)})
        if self.command == "DELETE":
            del registry.uploads[name]
            return _Answer(204)
        begin = self.headers.get("Content-Range", "").partition("-")[0]
        if begin and int(begin) != len(registry.uploads[name]):
            return _Answer(416, b"", self._arrived(name))
        registry.uploads[name] += body
        if self.command == "PATCH":
            return _Answer(202, b"", {"Location": self._location(repository, name), **self._arrived(name)})
        return self._close(repository, name, query["digest"][0])

    def _close(self, repository: str, name: str, digest: str) -> _Answer:
        content = self.registry.uploads.pop(name)
        if f"sha256:{hashlib.sha256(content).hexdigest()}" != digest:
            return _error(400, "DIGEST_INVALID")
        self.registry.put(repository, content)
        return _Answer(201, b"", {"Docker-Content-Digest": digest})

    def _arrived(self, name: str) -> Mapping[str, str]:
        return {"Range": f"0-{max(len(self.registry.uploads[name]) - 1, 0)}"}

    def _location(self, repository: str, name: str) -> str:
        return f"{self.registry.uploads_at}/v2/{repository}/blobs/uploads/{name}?_state=opaque"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (named by the library)
        """Nobody reads it."""


def _parts(manifest: bytes) -> Iterator[str]:
    document = json.loads(manifest)
    for part in (*document.get("layers", []), *document.get("manifests", []), *filter(None, [document.get("config")])):
        yield part["digest"]
