"""Two registries on loopback: one open to everybody, one that asks for a login made at each `up`.

Plain http is enough: engines and nodes treat loopback as they treat a registry with a certificate.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import secrets
import subprocess

from tests.testbed import packages
from tests.testbed.bed import Bed, write_whole
from tests.testbed.models import Registry
from tests.testbed.processes import Crew

PACKAGES = ("docker-registry", "apache2-utils")
OPEN, CLOSED = 1, 2
USERNAME = "s2ictl"


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


def start(bed: Bed, name: str, where: str, *, auth: dict[str, dict[str, str]]) -> None:
    crew = crew_of(bed)
    bed.check_free("registry", where)
    configuration = {
        "version": "0.1",
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": f"{crew.directory}/{name}"}, "delete": {"enabled": True}},
        "http": {"addr": where, "secret": secrets.token_hex(16)},
        "auth": auth,
    }
    # JSON is YAML, which the registry reads.
    write_whole(crew.directory / f"{name}.yml", json.dumps(configuration, indent=2) + "\n")
    crew.start(name, ["docker-registry", "serve", crew.directory / f"{name}.yml"])


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
