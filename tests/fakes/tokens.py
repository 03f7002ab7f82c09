"""A token service as registries name one in their challenge: real signed tokens, and mistakes where a test wants them.

The registry believes what this service signs, so what it grants, to whom and for how long is decided here.
"""

from __future__ import annotations

import base64
import json
import secrets
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.fakes.loopback import served
from tests.testbed import certificates

ISSUER, SERVICE = "the tests", "a registry of the tests"
# docker-registry lets every token live on for so long, lest two clocks differ.
LEEWAY = 60


@dataclass(slots=True, kw_only=True)
class Tokens:
    """Who is known to the service, what it grants, and what it was asked."""

    directory: Path
    address: str = ""
    username: str = "somebody"
    password: str = "canary-password"
    refresh: str = "canary-identity"
    service: str = SERVICE
    actions: frozenset[str] = frozenset({"pull", "push", "delete"})
    seconds: int = 300
    asked: list[str] = field(default_factory=list)
    granted: int = 0

    @property
    def realm(self) -> str:
        return f"http://{self.address}/token"

    def auth(self, realm: str = "") -> Mapping[str, Mapping[str, str]]:
        """What stands in the configuration of a registry that sends its clients here, or to `realm` before it."""
        bundle = str(self.directory / "tokens" / "signer.pem")
        return {"token": {"realm": realm or self.realm, "service": SERVICE, "issuer": ISSUER, "rootcertbundle": bundle}}

    def grant(self, subject: str, scopes: list[str]) -> str:
        """A token for these scopes, each as far as this service allows it."""
        self.granted += 1
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "sub": subject,
            "aud": self.service,
            "nbf": now - LEEWAY,
            "iat": now,
            "exp": now + self.seconds - LEEWAY,
            "jti": secrets.token_hex(8),
            "access": [self._access(scope) for scope in scopes],
        }
        header = {"typ": "JWT", "alg": "RS256", "x5c": [_der(self.directory / "tokens" / "signer.pem")]}
        signed = f"{_encoded(json.dumps(header).encode())}.{_encoded(json.dumps(claims).encode())}"
        sign = ["openssl", "dgst", "-sha256", "-sign", str(self.directory / "tokens" / "signer.key")]
        return (
            f"{signed}.{_encoded(subprocess.run(sign, input=signed.encode(), capture_output=True, check=True).stdout)}"
        )

    def _access(self, scope: str) -> dict[str, object]:
        kind, _, rest = scope.partition(":")
        name, _, actions = rest.rpartition(":")
        return {"type": kind, "name": name, "actions": sorted(self.actions & set(actions.split(",")))}


@contextmanager
def running(tokens: Tokens) -> Iterator[Tokens]:
    """Serve them on a port of their own until the context ends."""
    place = tokens.directory / "tokens"
    place.mkdir()
    words = ("req", "-x509", "-nodes", "-newkey", "rsa:2048", "-days", "9", "-subj", "/CN=tokens")
    certificates.openssl(*words, "-keyout", place / "signer.key", "-out", place / "signer.pem")
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"tokens": tokens}))
    server.daemon_threads = True
    tokens.address = f"127.0.0.1:{server.server_port}"
    with served(server):
        yield tokens


class _Handler(BaseHTTPRequestHandler):
    tokens: Tokens

    def do_GET(self) -> None:
        self.tokens.asked.append(f"GET {self.path}")
        pair = f"{self.tokens.username}:{self.tokens.password}".encode()
        known = self.headers.get("Authorization") == f"Basic {base64.b64encode(pair).decode()}"
        self._answer(known, parse_qs(urlsplit(self.path).query).get("scope", []))

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.tokens.asked.append(f"POST {form.get('grant_type', [''])[0]}")
        known = form.get("refresh_token") == [self.tokens.refresh] and form.get("grant_type") == ["refresh_token"]
        self._answer(known, " ".join(form.get("scope", [])).split())

    def _answer(self, known: bool, scopes: list[str]) -> None:
        complaint = {"errors": [{"code": "UNAUTHORIZED", "message": "nobody of that name\x1b[2J"}]}
        said = {"token": self.tokens.grant(self.tokens.username, scopes)} if known else complaint
        body = json.dumps(said).encode()
        self.send_response(200 if known else 401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (named by the library)
        """Nobody reads it."""


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def _der(certificate: Path) -> str:
    return base64.b64encode(ssl.PEM_cert_to_DER_cert(certificate.read_text())).decode()
