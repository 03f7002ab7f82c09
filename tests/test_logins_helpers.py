"""Credential helpers: what they are told, and that whatever they do is bounded, and repeated nowhere."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from s2ictl.errors import Unauthorized
from s2ictl.logins import find_login
from s2ictl.logins.helpers import run_helper

CANARY = "canary-password"
HOST = "registry.example.com"


def helper(directory: Path, script: str, name: str = "test") -> Mapping[str, str]:
    """A program on a PATH of its own."""
    program = directory / f"docker-credential-{name}"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return {"PATH": f"{directory}:/usr/bin:/bin"}


def configured(home: Path, **content: object) -> Path:
    path = home / ".docker/config.json"
    path.parent.mkdir()
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ({"credHelpers": {HOST: "test"}}, HOST),
        ({"credHelpers": {f"https://{HOST}": "test"}}, f"https://{HOST}"),
        ({"credsStore": "test"}, HOST),
    ],
)
def test_a_helper_is_asked_by_the_key_that_stands_in_the_file(
    config: dict[str, object], key: str, tmp_path: Path
) -> None:
    configured(tmp_path, **config)
    environ = helper(tmp_path, 'read -r key; echo "{\\"Username\\": \\"$1\\", \\"Secret\\": \\"$key\\"}"')
    login = find_login(f"{HOST}/team/shop", environ=environ, home=tmp_path)
    assert login is not None
    assert (login.host, login.path, login.username, login.password.reveal(), login.lasting) == (
        HOST,
        "",
        "get",
        key,
        False,
    )


def test_docker_hub_is_known_to_a_store_by_its_old_address(tmp_path: Path) -> None:
    configured(tmp_path, credsStore="test")
    environ = helper(tmp_path, 'read -r key; echo "{\\"Username\\": \\"u\\", \\"Secret\\": \\"$key\\"}"')
    login = find_login("docker.io", environ=environ, home=tmp_path)
    assert login is not None
    assert login.password.reveal() == "https://index.docker.io/v1/"


def test_a_user_that_is_called_token_has_an_identity_token(tmp_path: Path) -> None:
    configured(tmp_path, credsStore="test")
    environ = helper(tmp_path, """echo '{"ServerURL": "x", "Username": "<token>", "Secret": "t"}'""")
    login = find_login(HOST, environ=environ, home=tmp_path)
    assert login is not None
    assert (login.kind, login.password.reveal()) == ("identity", "t")


@pytest.mark.parametrize(
    "script",
    ["echo credentials not found in native keychain; exit 1", """echo '{"Username": "", "Secret": ""}'"""],
)
def test_a_store_that_knows_nothing_of_the_host_leaves_it_to_the_file(script: str, tmp_path: Path) -> None:
    configured(tmp_path, credsStore="test", auths={HOST: {"username": "somebody", "password": "p"}})
    login = find_login(HOST, environ=helper(tmp_path, script), home=tmp_path)
    assert login is not None
    assert login.username == "somebody"


def test_the_ending_of_a_program_of_windows_may_stand_in_its_name(tmp_path: Path) -> None:
    environ = helper(tmp_path, "echo said", name="desktop.exe")
    configured(tmp_path, credsStore="desktop.exe")
    with pytest.raises(Unauthorized, match="the answer of credsStore"):
        find_login(HOST, environ=environ, home=tmp_path)


@pytest.mark.parametrize("name", ["../x", "a/b", "/bin/sh", "", "a b", "a.b", "test\n", "-" * 3 + "\0"])
def test_what_is_no_name_of_a_helper_is_never_run(name: str, tmp_path: Path) -> None:
    configured(tmp_path, credHelpers={HOST: name})
    with pytest.raises(Unauthorized, match="does not name a credential helper"):
        find_login(HOST, environ=helper(tmp_path, "touch ran"), home=tmp_path)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("exit 1", "get ended with 1"),
        ("echo something was not found; exit 1", "get ended with 1"),
        ("kill -9 $$", "get ended with -9"),
        ("sleep 30", "does not answer"),
        ("exec >&-; sleep 30", "does not answer"),
        ("sleep 30 & echo '{}'", "does not answer"),
        ("head -c 10000000 /dev/zero", "answers with more than"),
    ],
)
def test_a_helper_that_fails_is_ended_and_said_so(script: str, words: str, tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(Unauthorized, match=words):
        run_helper("test", "get", HOST.encode(), environ=helper(tmp_path, script), seconds=0.2)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("answer", ["", CANARY, '{"Username": "u"}', '{"Username": 1, "Secret": "x"}', "\0" * 9])
def test_what_a_helper_says_is_not_repeated_when_it_is_not_understood(answer: str, tmp_path: Path) -> None:
    configured(tmp_path, credsStore="test")
    with pytest.raises(Unauthorized, match="the answer of credsStore") as caught:
        find_login(HOST, environ={}, home=tmp_path, run=lambda *_: answer.encode())
    assert CANARY not in caught.value.message + caught.value.detail


def test_a_helper_that_fails_says_nothing_of_what_it_said(tmp_path: Path) -> None:
    configured(tmp_path, credsStore="test")
    with pytest.raises(Unauthorized) as caught:
        find_login(HOST, environ=helper(tmp_path, f"echo {CANARY}; echo {CANARY} >&2; exit 3"), home=tmp_path)
    error = caught.value
    assert error.detail == "docker-credential-test get ended with 3"
    assert CANARY not in error.message + error.detail + error.hint


def test_a_helper_that_is_not_installed_is_named_with_its_entry(tmp_path: Path) -> None:
    configured(tmp_path, credsStore="absent")
    with pytest.raises(Unauthorized, match=r'credsStore → "absent" in .* failed') as caught:
        find_login(HOST, environ={"PATH": str(tmp_path)}, home=tmp_path)
    assert caught.value.detail == "docker-credential-absent is not in PATH"


@pytest.mark.parametrize("path", ["", ".", ":", "bin:./bin::"])
def test_a_helper_is_never_taken_from_where_one_happens_to_stand(path: str, tmp_path: Path) -> None:
    with pytest.raises(Unauthorized, match="is not in PATH"):
        run_helper("test", "get", b"", environ={"PATH": path}, seconds=0.2)
