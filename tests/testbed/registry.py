"""Two registries on loopback: one open to everybody, one that asks for a login made at each `up`.

Plain http is enough: engines and nodes treat loopback as they treat a registry with a certificate. A test that wants
one with other rules has it `standing` for as long as it needs it.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import secrets
import socket
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from tests.testbed import packages
from tests.testbed.bed import Bed, write_whole
from tests.testbed.certificates import Pair
from tests.testbed.errors import DidNotComeUp
from tests.testbed.models import Registry
from tests.testbed.processes import Crew, eventually

PACKAGES = ("docker-registry", "apache2-utils")
OPEN, CLOSED = 1, 2
USERNAME = "s2ictl"

Auth: TypeAlias = Mapping[str, Mapping[str, str]]


def up(bed: Bed) -> Registry:
    """Start both registries."""
    packages.need("registry", *PACKAGES, say=bed.say)
    facts = Registry(
        open=address(bed, OPEN),
        closed=address(bed, CLOSED),
        username=USERNAME,
        password=secrets.token_urlsafe(24),
    )
    users = bed.make("registry") / "htpasswd"
    write_whole(users, htpasswd(facts.username, facts.password))
    login = {"htpasswd": {"realm": "s2ictl testbed", "path": str(users)}}
    crew = crew_of(bed)
    start(bed, "open", facts.open, auth={})
    start(bed, "closed", facts.closed, auth=login)
    crew.wait(lambda: ready(bed, facts), "open", "closed", what="the registries")
    return facts


def ready(bed: Bed, facts: Registry) -> bool:
    """Whether both answer, each in its own manner."""
    return status(facts.open) == 200 and status(facts.closed) == 401


def down(bed: Bed) -> None:
    """End both."""
    crew_of(bed).end()


def crew_of(bed: Bed) -> Crew:
    return Crew(part="registry", directory=bed.at("registry"))


def address(bed: Bed, offset: int) -> str:
    return f"127.0.0.1:{bed.port(offset)}"


def start(bed: Bed, name: str, where: str, *, auth: Auth) -> None:
    crew = crew_of(bed)
    bed.check_free("registry", where)
    rules = Rules(auth=auth)
    # JSON is YAML, which the registry reads.
    write_whole(crew.directory / f"{name}.yml", configuration(where, crew.directory / name, rules))
    crew.start(name, ["docker-registry", "serve", crew.directory / f"{name}.yml"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How a registry differs from one that lets everybody do everything over plain http."""

    auth: Auth = field(default_factory=dict)
    tls: Pair | None = None
    read_only: bool = False


def configuration(where: str, storage: Path, rules: Rules) -> str:
    """What docker-registry reads, as JSON."""
    tls = {"tls": {"certificate": str(rules.tls.certificate), "key": str(rules.tls.key)}} if rules.tls else {}
    document = {
        "version": "0.1",
        "log": {"level": "warn"},
        "storage": {
            "filesystem": {"rootdirectory": str(storage)},
            "delete": {"enabled": True},
            "maintenance": {"readonly": {"enabled": rules.read_only}},
        },
        "http": {"addr": where, "secret": secrets.token_hex(16), **tls},
        "auth": rules.auth,
    }
    return json.dumps(document, indent=2) + "\n"


@contextlib.contextmanager
def standing(storage: Path, rules: Rules) -> Iterator[str]:
    """A registry of a test's own, over what lies in `storage`, on a port that was free; gone with the context."""
    packages.need("registry", *PACKAGES)
    where = free_address()
    file = storage.with_name(f"{storage.name}-{where.rpartition(':')[2]}.yml")
    write_whole(file, configuration(where, storage, rules))
    log = file.with_suffix(".log")
    with (
        log.open("wb") as output,
        subprocess.Popen(["docker-registry", "serve", file], stdout=output, stderr=output) as server,
    ):
        try:
            up = eventually(lambda: server.poll() is not None or listens(where), patience=20)
            if not up or server.poll() is not None:
                raise DidNotComeUp("registry", f"{where} does not answer", log.read_text(errors="replace"))
            yield where
        finally:
            server.kill()


def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"127.0.0.1:{free.getsockname()[1]}"


def listens(where: str) -> bool:
    """Whether somebody takes a connection, whatever is spoken on it."""
    host, _, port = where.rpartition(":")
    with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=5):
        return True
    return False


def htpasswd(username: str, password: str) -> str:
    """A line for one user; the password goes by standard input, since arguments are everybody's to read."""
    command = ["htpasswd", "-B", "-i", "-n", username]
    return subprocess.run(command, input=password, capture_output=True, text=True, check=True).stdout


def status(where: str) -> int:
    """What the registry answers to a client that says nothing of itself; 0 when nobody answers."""
    client = http.client.HTTPConnection(where, timeout=5)
    with contextlib.closing(client), contextlib.suppress(OSError, http.client.HTTPException):
        client.request("GET", "/v2/")
        return client.getresponse().status
    return 0
