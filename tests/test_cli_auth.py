"""`login`, `logout`, `auth explain` and `auth check`, typed; the registry is the double that passed the contract."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.cli import Ran, Shell, shell
from tests.fakes.registry import FakeRegistry, Fault, running

USER, PASSWORD = "somebody", "canary-registry"

# A helper as Docker has them, keeping its logins in a directory beside it.
HELPER = """#!/bin/sh
here=$(dirname "$0")
case $1 in
store) read -r line; echo "$line" >"$here/kept" ;;
get) [ -e "$here/kept" ] && exec cat "$here/kept"; echo "credentials not found in native keychain"; exit 1 ;;
erase) [ -e "$here/kept" ] || { echo "credentials not found in native keychain"; exit 1; }; rm "$here/kept" ;;
esac
"""


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with running(FakeRegistry(auth="bearer")) as registry:
        yield registry


@pytest.fixture
def here(tmp_path: Path) -> Shell:
    return shell(tmp_path)


@pytest.fixture
def helped(here: Shell, tmp_path: Path) -> Shell:
    """A shell whose Docker config names a helper for all registries."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "docker-credential-safe").write_text(HELPER)
    (programs / "docker-credential-safe").chmod(0o755)
    config(here, credsStore="safe")
    return replace(here, environ={**here.environ, "PATH": f"{programs}:{here.environ['PATH']}"})


def config(here: Shell, **content: object) -> Path:
    path = here.home / ".docker/config.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def written(here: Shell) -> Any:
    return json.loads((here.home / ".docker/config.json").read_text())


def logged_in(here: Shell, registry: FakeRegistry, *words: str, password: str = PASSWORD) -> Ran:
    ran = here.run("login", registry.host, "--username", USER, "--password-stdin", *words, stdin=f"{password}\n")
    assert password not in ran.stdout + ran.stderr
    return ran


# -------------------------------------------------------------------------------------------------- login and logout


def test_a_login_is_tried_and_then_kept_for_its_owner_alone(here: Shell, registry: FakeRegistry) -> None:
    ran = logged_in(here, registry)
    path = here.home / ".docker/config.json"
    assert (ran.status, ran.stdout) == (0, f"{registry.host} as {USER}, kept in {path}\n")
    assert "holds the password as base64" in ran.stderr
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert here.run("auth", "check", f"{registry.host}/team/shop:1").status == 0


def test_a_login_that_is_refused_is_exit_4_and_kept_nowhere(here: Shell, registry: FakeRegistry) -> None:
    ran = logged_in(here, registry, password="wrong-canary")
    assert (ran.status, ran.stdout, list(here.home.iterdir())) == (4, "", [])
    assert f"{registry.host} does not let us in, as {USER}" in ran.stderr
    assert "the login came from --password-stdin" in ran.stderr


def test_a_password_may_come_from_a_file(here: Shell, registry: FakeRegistry) -> None:
    (here.cwd / "token").write_text(f"{PASSWORD}\n")
    assert here.run("login", registry.host, "-u", USER, "--password-file", "token").status == 0


def test_a_store_keeps_the_password_and_nothing_is_warned_of(helped: Shell, registry: FakeRegistry) -> None:
    ran = logged_in(helped, registry)
    path = helped.home / ".docker/config.json"
    assert (ran.status, ran.stderr) == (0, "")
    assert ran.stdout == f'{registry.host} as {USER}, kept in credsStore → "safe" in {path}\n'
    assert written(helped) == {"credsStore": "safe"}
    assert helped.run("auth", "check", f"{registry.host}/team/shop:1").status == 0
    gone = helped.run("logout", registry.host)
    assert gone.stdout == f'{registry.host}, taken out of credsStore → "safe" in {path}\n'
    assert helped.run("auth", "check", f"{registry.host}/team/shop:1").status == 4


def test_who_logs_in_again_need_not_say_who(here: Shell, registry: FakeRegistry) -> None:
    logged_in(here, registry)
    registry.password = "canary-renewed"
    ran = here.run("login", registry.host, "--password-stdin", stdin="canary-renewed")
    assert (ran.status, f"{registry.host} as {USER}, kept in" in ran.stdout) == (0, True)


def test_a_registry_that_asks_nobody_is_said_to_have_seen_no_password(here: Shell, registry: FakeRegistry) -> None:
    registry.auth = "none"
    ran = logged_in(here, registry)
    assert (ran.status, "lets anybody in" in ran.stderr) == (0, True)


def test_a_place_that_stands_before_the_one_where_it_is_kept_is_said(here: Shell, registry: FakeRegistry) -> None:
    before = json.dumps({"auths": {registry.host: {"username": "other", "password": "p"}}})
    ran = logged_in(replace(here, environ={**here.environ, "DOCKER_AUTH_CONFIG": before}), registry)
    assert f'another place decides for {registry.host}: auths → "{registry.host}" in DOCKER_AUTH_CONFIG' in ran.stderr


def test_a_dry_run_asks_nobody_and_keeps_nothing(here: Shell, registry: FakeRegistry) -> None:
    ran = logged_in(here, registry, "--dry-run")
    assert (ran.status, registry.asked, list(here.home.iterdir())) == (0, [], [])
    path = config(here, auths={registry.host: {}})
    assert here.run("logout", registry.host, "--dry-run").status == 0
    assert json.loads(path.read_text()) == {"auths": {registry.host: {}}}


@pytest.mark.parametrize(
    ("words", "stdin", "message"),
    [
        (("registry.example.com",), "p", "a login takes its password from stdin, or from a file"),
        (("registry.example.com", "--password-stdin", "--password-file", "x"), "p", "not from both"),
        (("registry.example.com", "--password-file", "absent"), "p", "--password-file absent is not readable"),
        (("registry.example.com", "--password-stdin"), "p", "nobody is named who logs in to registry.example.com"),
        (("registry.example.com", "-u", "a", "--password-stdin"), "", "--password-stdin gives no password"),
        (("registry.example.com", "-u", "a", "--password-stdin"), "canary\nx", "--password-stdin gives no password"),
        (("registry.example.com", "-u", "a", "--password-stdin"), "canary" * 9999, "has more than 16384 bytes"),
        (("registry.example.com", "-u", "a:b", "--password-stdin"), "p", "'a:b' is no user"),
        (("registry.example.com", "-u", "<token>", "--password-stdin"), "p", "'<token>' is no user"),
        (("registry.example.com/team", "-u", "a", "--password-stdin"), "p", "is more than a registry"),
        (("harbor", "-u", "a", "--password-stdin"), "p", "'harbor' is no registry"),
        (("https://u:canary@r.example.com", "-u", "a", "--password-stdin"), "p", "'…@r.example.com' is no registry"),
    ],
)
def test_a_login_that_cannot_be_meant_is_exit_2(words: tuple[str, ...], stdin: str, message: str, here: Shell) -> None:
    ran = here.run("login", *words, stdin=stdin)
    assert (ran.status, message in ran.stderr, "canary" in ran.stderr) == (2, True, False)


def test_bytes_that_are_no_text_are_no_password(here: Shell) -> None:
    ran = here.run("login", "registry.example.com", "-u", "a", "--password-stdin", stdin=b"\xffcanary")
    assert (ran.status, "is no text in UTF-8" in ran.stderr, "canary" in ran.stderr) == (2, True, False)


def test_a_logout_names_what_is_left(here: Shell, registry: FakeRegistry) -> None:
    config(here, auths={registry.host: {"username": "a", "password": "p"}})
    podman = here.home / ".config/containers/auth.json"
    podman.parent.mkdir(parents=True)
    podman.write_text(json.dumps({"auths": {registry.host: {"username": "b", "password": "p"}}}))
    ran = here.run("logout", registry.host)
    assert (ran.status, written(here)) == (0, {"auths": {}})
    assert f'there is still a login for {registry.host}: auths → "{registry.host}" in {podman}' in ran.stderr
    assert "had no login in" in here.run("logout", registry.host).stdout


# ------------------------------------------------------------------------------------------------- explain and check


def test_the_login_that_wins_is_shown_with_what_came_after_it_and_is_tried(here: Shell, registry: FakeRegistry) -> None:
    path = config(here, auths={registry.host: {"username": "later", "password": "canary"}})
    first = json.dumps({"auths": {registry.host: {"username": USER, "password": PASSWORD}}})
    ran = replace(here, environ={**here.environ, "DOCKER_AUTH_CONFIG": first}).run(
        "auth", "explain", registry.host, "-o", "json"
    )
    used = f'auths → "{registry.host}" in DOCKER_AUTH_CONFIG'
    assert ran.status == 0, ran.stderr
    assert json.loads(ran.stdout) == {
        "host": registry.host,
        "username": USER,
        "place": used,
        "accepted": True,
        "says": f"http://{registry.host} answers, as {USER}",
        "places": [
            {"state": "used", "place": used, "says": f"the password of {USER}"},
            {
                "state": "later",
                "place": f'auths → "{registry.host}" in {path}',
                "says": f"the password of later; {used} stands before it",
            },
            {"state": "none", "place": f"{here.home}/.config/containers/auth.json", "says": "it is not there"},
        ],
    }
    assert "canary" not in ran.stdout + ran.stderr


def test_a_login_that_is_refused_is_explained_first_and_is_exit_4(here: Shell, registry: FakeRegistry) -> None:
    path = config(here, auths={registry.host: {"username": USER, "password": "wrong"}})
    ran = here.run("auth", "explain", registry.host)
    assert ran.status == 4
    assert ran.stdout.splitlines()[1].split()[0] == "used"
    assert ran.stdout.endswith(f"{registry.host} does not let us in, as {USER}\n")
    assert f'the login came from auths → "{registry.host}" in {path}' in ran.stderr


def test_what_is_broken_is_explained_and_nobody_is_asked(here: Shell, registry: FakeRegistry) -> None:
    path = config(here, credsStore="../x")
    ran = here.run("auth", "explain", registry.host)
    assert (ran.status, registry.asked) == (4, [])
    assert f'credsStore → "../x" in {path} is in the way' in ran.stderr
    assert ran.stdout.splitlines()[1].split()[0] == "broken"


def test_no_login_is_needed_where_none_is_asked_for(here: Shell, registry: FakeRegistry) -> None:
    registry.auth = "none"
    ran = here.run("auth", "explain", f"http://{registry.host}/v2/", "-o", "name")
    assert (ran.status, ran.stdout) == (0, "")
    assert here.run("auth", "check", f"{registry.host}/shop").stdout == (
        f"{registry.host}/shop:latest may be pushed, without a login\n"
    )


def test_a_file_that_is_named_is_the_only_place(here: Shell, registry: FakeRegistry) -> None:
    config(here, auths={registry.host: {"username": USER, "password": PASSWORD}})
    (here.cwd / "empty.json").write_text("{}")
    ran = here.run("auth", "explain", registry.host, "--dockercfg-path", "empty.json")
    assert (ran.status, len(ran.stdout.splitlines())) == (4, 4)
    assert here.run("auth", "check", f"{registry.host}/shop", "--dockercfg-path", "empty.json").status == 4


def test_a_part_of_a_registry_may_have_a_login_of_its_own(here: Shell, registry: FakeRegistry) -> None:
    login = {"username": USER, "password": PASSWORD}
    config(here, auths={registry.host: {"username": "all", "password": "wrong"}, f"{registry.host}/team": login})
    whole, part = (here.run("auth", "check", f"{registry.host}/{path}/shop", "-o", "json") for path in ("x", "team"))
    assert (whole.status, part.status) == (4, 0)
    assert json.loads(part.stdout) == {
        "image": f"{registry.host}/team/shop:latest",
        "username": USER,
        "place": f'auths → "{registry.host}/team" in {here.home}/.docker/config.json',
    }
    assert here.run("auth", "explain", f"{registry.host}/team/shop:1").status == 0


def test_who_may_read_but_not_push_is_told_so(here: Shell, registry: FakeRegistry) -> None:
    logged_in(here, registry)
    registry.faults.append(Fault(method="POST", path="/blobs/uploads/", status=403, times=9))
    ran = here.run("auth", "check", f"{registry.host}/shop:1")
    assert (ran.status, registry.uploads) == (4, {})
    assert f"could not push {registry.host}/shop:1 (PushUnauthorized)" in ran.stderr


def test_an_upload_that_the_registry_keeps_is_said(here: Shell, registry: FakeRegistry) -> None:
    registry.auth = "none"
    registry.faults.append(Fault(method="DELETE", path="/blobs/uploads/", status=405, times=9))
    ran = here.run("auth", "check", f"{registry.host}/shop:1")
    assert (ran.status, "has let go of the upload" in ran.stderr) == (0, True)


def test_an_image_without_a_registry_is_refused_with_both_guesses(here: Shell) -> None:
    ran = here.run("auth", "check", "shop")
    assert (ran.status, "docker.io/USER/shop" in ran.stderr) == (12, True)
