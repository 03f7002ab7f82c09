"""A Gitea with one administrator, so that a push on a real forge delivers a real webhook."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import secrets
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.testbed import compiled, packages
from tests.testbed.bed import Bed, write_whole
from tests.testbed.errors import DidNotComeUp
from tests.testbed.models import Forge
from tests.testbed.processes import Crew

PACKAGES = ("git",)
PORT = 3
USERNAME = "s2ictl"


def up(bed: Bed) -> Forge:
    """Start the forge, then make its administrator and their token."""
    packages.need("forge", *PACKAGES, say=bed.say)
    programs = compiled.gitea(bed)
    directory = bed.make("forge")
    address = f"127.0.0.1:{bed.port(PORT)}"
    bed.check_free("forge", address)
    write_whole(directory / "app.ini", ini(configuration(directory, programs, bed.port(PORT))))
    crew = crew_of(bed)
    # The first start makes the tables that a user is written to.
    crew.start("gitea", gitea(directory, programs, "web"))
    crew.wait(lambda: answers(address), "gitea", what="the forge")
    password = secrets.token_urlsafe(24)
    make_administrator(directory, programs, password)
    return Forge(url=f"http://{address}", username=USERNAME, password=password, token=make_token(address, password))


def ready(bed: Bed, facts: Forge) -> bool:
    """Whether it answers."""
    return answers(facts.url.removeprefix("http://"))


def down(bed: Bed) -> None:
    """End it."""
    crew_of(bed).end()


def crew_of(bed: Bed) -> Crew:
    return Crew(part="forge", directory=bed.at("forge"))


def configuration(directory: Path, programs: Path, port: int) -> dict[str, dict[str, str]]:
    """Sections of app.ini: everything below our directory, nothing that calls out or works by the clock."""
    off = {"ENABLED": "false"}
    return {
        "": {"APP_NAME": "s2ictl testbed", "RUN_MODE": "prod", "I_AM_BEING_UNSAFE_RUNNING_AS_ROOT": "true"},
        "server": {
            "PROTOCOL": "http",
            "HTTP_ADDR": "127.0.0.1",
            "HTTP_PORT": str(port),
            "ROOT_URL": f"http://127.0.0.1:{port}/",
            "STATIC_ROOT_PATH": str(programs),
            "APP_DATA_PATH": f"{directory}/data",
            "DISABLE_SSH": "true",
            "OFFLINE_MODE": "true",
            "LFS_START_SERVER": "true",
        },
        "database": {"DB_TYPE": "sqlite3", "PATH": f"{directory}/data/gitea.db"},
        "repository": {"ROOT": f"{directory}/repositories", "DEFAULT_BRANCH": "main"},
        "security": {
            "INSTALL_LOCK": "true",
            "SECRET_KEY": secrets.token_hex(32),
            "INTERNAL_TOKEN": internal_token(),
        },
        "service": {"DISABLE_REGISTRATION": "true"},
        "webhook": {"ALLOWED_HOST_LIST": "loopback,private", "DELIVER_TIMEOUT": "10"},
        "log": {"MODE": "console", "LEVEL": "Warn", "ROOT_PATH": f"{directory}/log"},
        "indexer": {"ISSUE_INDEXER_TYPE": "db"},
        "session": {"PROVIDER": "memory"},
        **dict.fromkeys(("actions", "cron", "mirror", "mailer", "oauth2", "packages", "federation"), off),
        "cron.update_checker": off,
        "picture": {"DISABLE_GRAVATAR": "true"},
    }


def internal_token() -> str:
    """What Gitea's own hooks show to its server: any token of the right form."""
    return secrets.token_urlsafe(64)


def ini(sections: Mapping[str, Mapping[str, str]]) -> str:
    lines: list[str] = []
    for section, values in sections.items():
        lines += [f"[{section}]"] if section else []
        lines += [f"{key} = {value}" for key, value in values.items()]
    return "\n".join(lines) + "\n"


def gitea(directory: Path, programs: Path, *words: str) -> list[str]:
    """A command of the program; each of them reads the same configuration."""
    work = (
        "--work-path",
        str(directory),
        "--custom-path",
        f"{directory}/custom",
        "--config",
        f"{directory}/app.ini",
    )
    return [f"{programs}/gitea", *words, *work]


def make_administrator(directory: Path, programs: Path, password: str) -> None:
    words = ("admin", "user", "create", "--admin", "--must-change-password=false")
    user = ("--username", USERNAME, "--password", password, "--email", f"{USERNAME}@localhost.invalid")
    command = gitea(directory, programs, *words, *user)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DidNotComeUp("forge", "the administrator could not be made", compiled.last_lines(done.stderr))


def make_token(address: str, password: str) -> str:
    """A token that may do everything, asked for with the password."""
    login = base64.b64encode(f"{USERNAME}:{password}".encode()).decode()
    headers = {"Authorization": f"Basic {login}", "Content-Type": "application/json"}
    body = json.dumps({"name": "testbed", "scopes": ["all"]})
    client = http.client.HTTPConnection(address, timeout=30)
    with contextlib.closing(client):
        client.request("POST", f"/api/v1/users/{USERNAME}/tokens", body, headers)
        answer = client.getresponse()
        content = answer.read().decode()
    if answer.status != 201:
        raise DidNotComeUp("forge", f"no token: {answer.status} {content}")
    return str(json.loads(content)["sha1"])


def answers(address: str) -> bool:
    """Whether the API tells its version."""
    client = http.client.HTTPConnection(address, timeout=5)
    with contextlib.closing(client), contextlib.suppress(OSError, http.client.HTTPException):
        client.request("GET", "/api/v1/version")
        return client.getresponse().status == 200
    return False
