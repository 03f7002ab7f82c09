"""`login`, `auth explain` and `auth check` at real registries: one open, one behind a password."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest

from tests import testbed
from tests.cli import Shell, shell


@pytest.fixture
def here(tmp_path: Path) -> Shell:
    return shell(tmp_path, XDG_RUNTIME_DIR=str(tmp_path))


def login(here: Shell, facts: testbed.Registry, password: str) -> int:
    return here.run("login", facts.closed, "-u", facts.username, "--password-stdin", stdin=password).status


def skopeo(*words: str, said: str = "", **environ: str) -> str:
    ran = subprocess.run(
        ["skopeo", *words], input=said, env=os.environ | environ, check=True, capture_output=True, text=True
    )
    return ran.stdout.strip()


def test_a_login_that_is_kept_is_found_by_another_tool(here: Shell, registry_facts: testbed.Registry) -> None:
    assert login(here, registry_facts, "wrong") == 4
    assert login(here, registry_facts, registry_facts.password) == 0
    config = here.home / ".docker/config.json"
    found = skopeo("login", "--authfile", str(config), "--get-login", registry_facts.closed)
    assert found == registry_facts.username


def test_a_login_that_another_tool_has_kept_is_found(here: Shell, registry_facts: testbed.Registry) -> None:
    file = str(here.home / "auth.json")
    words = ("login", "--tls-verify=false", "--authfile", file, "--username", registry_facts.username)
    skopeo(*words, "--password-stdin", registry_facts.closed, said=registry_facts.password)
    named = replace(here, environ={**here.environ, "REGISTRY_AUTH_FILE": file})
    ran = named.run("auth", "explain", registry_facts.closed, "-o", "name")
    assert (ran.status, ran.stdout) == (0, f'auths → "{registry_facts.closed}" in {file}\n')


def test_a_login_that_another_tool_keeps_until_the_next_start_is_found(
    here: Shell, registry_facts: testbed.Registry
) -> None:
    runtime = here.environ["XDG_RUNTIME_DIR"]
    words = ("login", "--tls-verify=false", "--username", registry_facts.username, "--password-stdin")
    skopeo(*words, registry_facts.closed, said=registry_facts.password, XDG_RUNTIME_DIR=runtime)
    ran = here.run("auth", "check", registry_facts.closed, "-o", "json")
    assert (ran.status, json.loads(ran.stdout)) == (
        0,
        {
            "host": registry_facts.closed,
            "username": registry_facts.username,
            "place": f'auths → "{registry_facts.closed}" in {runtime}/containers/auth.json',
        },
    )


def test_the_right_to_push_is_known_before_a_build_and_leaves_no_repository(
    here: Shell, registry_facts: testbed.Registry
) -> None:
    name = f"auth-check-{os.urandom(6).hex()}/shop:1"
    refused = here.run("auth", "check", f"{registry_facts.closed}/{name}")
    assert (refused.status, "no login for" in refused.stderr) == (4, True)
    login(here, registry_facts, registry_facts.password)
    allowed = here.run("auth", "check", f"{registry_facts.closed}/{name}")
    assert allowed.stdout == f"{registry_facts.closed}/{name} may be pushed, as {registry_facts.username}\n"
    assert here.run("auth", "check", f"{registry_facts.open}/{name}").stdout.endswith("without a login\n")
    with urllib.request.urlopen(f"http://{registry_facts.open}/v2/_catalog?n=1000", timeout=10) as answer:
        assert name.partition(":")[0] not in json.load(answer)["repositories"]
