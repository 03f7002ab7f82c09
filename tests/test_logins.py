"""Where a login is found, for which host, and what is said of a broken one."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from s2ictl.errors import Refused, Unauthorized
from s2ictl.logins import find_login, login_of, normal_host, pull_secret, run_helper, secret_logins
from s2ictl.models import IDENTITY_USER, Login, Secret

CANARY = "canary-password"
HOST = "registry.example.com"


def encoded(username: str = "somebody", password: str = CANARY) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{username}:{password}".encode()).decode()}


def no_helper(name: str, key: str) -> bytes | None:
    raise AssertionError(f"{name} was asked for {key}")


def found(home: Path, host: str = HOST, **environ: str) -> Login | None:
    return find_login(host, environ=environ, home=home, run=no_helper)


def docker_config(home: Path, **content: object) -> Path:
    path = home / ".docker/config.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))
    return path


# ------------------------------------------------------------------------------------------------------------ places


def test_nothing_anywhere_is_no_login(tmp_path: Path) -> None:
    assert found(tmp_path) is None


def test_docker_s_file_in_the_home_is_read(tmp_path: Path) -> None:
    path = docker_config(tmp_path, auths={HOST: encoded()})
    assert found(tmp_path) == Login(
        host=HOST, username="somebody", password=Secret(CANARY), origin=f'auths → "{HOST}" in {path}'
    )


def test_the_more_explicit_place_wins(tmp_path: Path) -> None:
    docker_config(tmp_path, auths={HOST: encoded("docker")})
    named = tmp_path / "named.json"
    named.write_text(json.dumps({"auths": {HOST: encoded("named")}}))
    direct = json.dumps({"auths": {HOST: encoded("direct")}})
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text(json.dumps({"auths": {HOST: encoded("other")}}))
    users = [
        found(tmp_path, REGISTRY_AUTH_FILE=str(named), DOCKER_AUTH_CONFIG=direct),
        found(tmp_path, REGISTRY_AUTH_FILE=str(named), DOCKER_CONFIG=str(other)),
        found(tmp_path, DOCKER_CONFIG=str(other)),
        found(tmp_path),
    ]
    assert [login and login.username for login in users] == ["direct", "named", "other", "docker"]


@pytest.mark.parametrize("place", ["run/containers/auth.json", ".config/containers/auth.json"])
def test_podman_s_files_are_read(place: str, tmp_path: Path) -> None:
    path = tmp_path / place
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"auths": {HOST: encoded()}}))
    login = found(tmp_path, XDG_RUNTIME_DIR=str(tmp_path / "run"))
    assert login is not None
    assert login.username == "somebody"


def test_a_place_without_this_host_leaves_it_to_the_next(tmp_path: Path) -> None:
    docker_config(tmp_path, auths={HOST: encoded()})
    login = found(tmp_path, DOCKER_AUTH_CONFIG=json.dumps({"auths": {"other.example.com": encoded()}}))
    assert login is not None


# ------------------------------------------------------------------------------------------------------------- hosts


def test_a_file_that_the_user_named_is_the_only_place(tmp_path: Path) -> None:
    docker_config(tmp_path, auths={HOST: encoded("docker"), "other.example.com": encoded("docker")})
    named = tmp_path / "named.json"
    named.write_text(json.dumps({"auths": {HOST: encoded("named")}}))
    environ = {"DOCKER_AUTH_CONFIG": json.dumps({"auths": {HOST: encoded("direct")}})}
    logins = {
        host: find_login(host, environ=environ, home=tmp_path, only=named, run=no_helper)
        for host in (HOST, "other.example.com")
    }
    assert [login and login.username for login in logins.values()] == ["named", None]


@pytest.mark.parametrize(
    ("key", "host"),
    [
        ("https://index.docker.io/v1/", "docker.io"),
        ("index.docker.io", "docker.io"),
        ("registry-1.docker.io", "docker.io"),
        ("https://Registry.Example.com/v2/", HOST),
        (f"{HOST}:443", HOST),
        (f"https://{HOST}:5000", f"{HOST}:5000"),
        ("http://harbor:30280", "harbor:30280"),
        ("http://harbor:80", "harbor"),
        ("[::1]:5000", "[::1]:5000"),
    ],
)
def test_a_registry_has_one_spelling(key: str, host: str) -> None:
    assert normal_host(key) == host


@pytest.mark.parametrize(
    "key",
    [
        "example.com",
        f"{HOST}:5000",
        f"{HOST}.evil.example",
        f"evil{HOST}",
        f"sub.{HOST}",
        f"{HOST}/team",
        f"evil.example/{HOST}",
        f"https://{HOST}@evil.example",
    ],
)
def test_a_login_of_another_host_is_never_taken(key: str, tmp_path: Path) -> None:
    docker_config(tmp_path, auths={key: encoded()})
    assert found(tmp_path) is None


# ----------------------------------------------------------------------------------------------------------- entries


def test_a_user_and_a_password_may_stand_apart(tmp_path: Path) -> None:
    docker_config(tmp_path, auths={HOST: {"username": "u", "password": "p:q"}})
    login = found(tmp_path)
    assert login is not None
    assert (login.username, login.password.reveal()) == ("u", "p:q")


def test_an_identity_token_is_told_from_a_password(tmp_path: Path) -> None:
    docker_config(tmp_path, auths={HOST: {**encoded(), "identitytoken": "token"}})
    login = found(tmp_path)
    assert login is not None
    assert (login.username, login.password.reveal(), login.lasting) == (IDENTITY_USER, "token", False)


def test_an_entry_that_is_not_asked_for_may_be_broken(tmp_path: Path) -> None:
    docker_config(tmp_path, auths={"other.example.com": {"auth": "%%%"}, HOST: encoded()})
    assert found(tmp_path) is not None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{" + CANARY, "config.json is not readable"),
        ("[]", "config.json is not readable"),
        ("\xff" + CANARY, "config.json is not readable"),
        ("[" * 100_000, "config.json is not readable"),
        (json.dumps({"auths": {HOST: {"auth": f"%{CANARY}"}}}), f'auths → "{HOST}"'),
        (json.dumps({"auths": {HOST: {"auth": "Y2FuYXJ5LXBhc3N3b3Jk"}}}), f'auths → "{HOST}"'),
        (json.dumps({"auths": {HOST: {"auth": "gICAgICA"}}}), f'auths → "{HOST}"'),
        (json.dumps({"auths": {HOST: {"auth": 7}}}), f'auths → "{HOST}"'),
        (json.dumps({"credsStore": "../x"}), 'credsStore → "../x"'),
        (json.dumps({"credHelpers": {HOST: "a b"}}), 'credHelpers → "a b"'),
    ],
)
def test_what_is_broken_is_said_with_its_place_and_never_with_its_content(
    content: str, words: str, tmp_path: Path
) -> None:
    path = docker_config(tmp_path)
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(Unauthorized) as caught:
        found(tmp_path)
    said = f"{caught.value.message} {caught.value.detail} {caught.value.hint}"
    assert (words in said, CANARY in said, caught.value.exit_code) == (True, False, 4)
    assert caught.value.__cause__ is None or CANARY not in repr(caught.value.__cause__)


def test_a_file_that_is_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(Unauthorized, match="REGISTRY_AUTH_FILE names"):
        found(tmp_path, REGISTRY_AUTH_FILE=str(tmp_path / "absent"))


def test_a_pipe_in_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / ".docker").mkdir()
    os.mkfifo(tmp_path / ".docker/config.json")
    with pytest.raises(Unauthorized, match="is not readable"):
        found(tmp_path)


# ----------------------------------------------------------------------------------------------------------- helpers


def helper(directory: Path, script: str) -> Mapping[str, str]:
    program = directory / "docker-credential-test"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return {"PATH": f"{directory}:/usr/bin:/bin"}


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
    docker_config(tmp_path, **config)
    environ = helper(tmp_path, 'read -r key; echo "{\\"Username\\": \\"$1\\", \\"Secret\\": \\"$key\\"}"')
    login = find_login(HOST, environ=environ, home=tmp_path)
    assert login is not None
    assert (login.username, login.password.reveal(), login.lasting) == ("get", key, False)


def test_a_store_that_knows_nothing_of_the_host_leaves_it_to_the_file(tmp_path: Path) -> None:
    docker_config(tmp_path, credsStore="test", auths={HOST: encoded()})
    environ = helper(tmp_path, "echo credentials not found in native keychain; exit 1")
    login = find_login(HOST, environ=environ, home=tmp_path)
    assert login is not None
    assert login.username == "somebody"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("exit 1", "ended with 1"),
        ("sleep 30", "does not answer"),
        ("exec >&-; sleep 30", "does not answer"),
        ("sleep 30 & echo '{}'", "does not answer"),
        ("head -c 10000000 /dev/zero", "answers with more than"),
    ],
)
def test_a_helper_that_fails_is_ended_and_said_so(script: str, words: str, tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(Unauthorized, match=words):
        run_helper("test", HOST, environ=helper(tmp_path, script), seconds=0.2)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("answer", ["", "canary-password", '{"Username": "u"}', '{"Username": 1, "Secret": "x"}'])
def test_what_a_helper_says_is_not_repeated_when_it_is_not_understood(answer: str, tmp_path: Path) -> None:
    docker_config(tmp_path, credsStore="test")
    with pytest.raises(Unauthorized, match="the answer of credsStore") as caught:
        find_login(HOST, environ={}, home=tmp_path, run=lambda _, __: answer.encode())
    assert CANARY not in caught.value.message + caught.value.detail


def test_a_helper_that_is_not_installed_is_named_with_its_entry(tmp_path: Path) -> None:
    docker_config(tmp_path, credsStore="absent")
    with pytest.raises(Unauthorized, match=r'credsStore → "absent" in .* failed') as caught:
        find_login(HOST, environ={"PATH": str(tmp_path)}, home=tmp_path)
    assert caught.value.detail == "docker-credential-absent is not in PATH"


# ----------------------------------------------------------------------------------------------------------- secrets


def secret(**data: object) -> tuple[Login, ...]:
    rendered = {key.replace("_", "."): json.dumps(value).encode() for key, value in data.items()}
    return secret_logins("prod", "hub", read_secret=lambda _, __: rendered)


def test_a_secret_holds_logins_in_their_order() -> None:
    logins = secret(
        _dockerconfigjson={"auths": {"https://docker.io": encoded("a"), "http://harbor:30280/ns": encoded()}}
    )
    assert [(login.host, login.username) for login in logins] == [("docker.io", "a"), ("harbor:30280", "somebody")]


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"token": "x"},
        {"_dockerconfigjson": {"auths": {}}},
        {"_dockerconfigjson": {"auths": {HOST: {}}}},
        {"_dockerconfigjson": []},
    ],
)
def test_a_secret_without_a_login_is_said_so_by_its_name(data: dict[str, object]) -> None:
    with pytest.raises(Unauthorized, match="prod/hub"):
        secret(**data)


def test_a_secret_of_another_registry_is_of_no_use_here() -> None:
    logins = secret(_dockerconfigjson={"auths": {HOST: encoded()}})
    assert login_of(logins, HOST, name="prod/hub").username == "somebody"
    with pytest.raises(Unauthorized, match=r"the secret prod/hub has no login for docker.io"):
        login_of(logins, "docker.io", name="prod/hub")


def test_a_pull_secret_is_what_kubectl_would_make() -> None:
    login = Login(host="docker.io", username="u", password=Secret("p"), origin="a test")
    assert json.loads(pull_secret(login)) == {
        "auths": {"https://index.docker.io/v1/": {"username": "u", "password": "p", "auth": "dTpw"}}
    }


def test_what_is_not_made_to_last_is_not_written_into_a_secret() -> None:
    login = Login(host=HOST, username="u", password=Secret(CANARY), origin="a helper", lasting=False)
    with pytest.raises(Refused, match="is not written into a secret"):
        pull_secret(login)
