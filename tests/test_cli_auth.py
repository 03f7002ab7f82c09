"""`login`, `logout`, `auth explain` and `auth check`, typed; the registry is the double that passed the contract."""

from __future__ import annotations

import base64
import json
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.cli import Ran, Shell, shell
from tests.fakes.apiserver import Said, answering
from tests.fakes.artifacts import packed, runnable
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
    return shell(tmp_path, XDG_RUNTIME_DIR=str(tmp_path / "run"))


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
            {"state": "none", "place": f"{here.cwd.parent}/run/containers/auth.json", "says": "it is not there"},
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
    assert (ran.status, ran.stdout.splitlines()[1].split()[0]) == (4, "none")
    assert str(here.home) not in ran.stdout
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


@pytest.mark.parametrize("spelling", ["{}", "http://{}/v2/", "{}/"])
def test_a_registry_alone_is_asked_whether_it_lets_us_in(here: Shell, registry: FakeRegistry, spelling: str) -> None:
    logged_in(here, registry)
    ran = here.run("auth", "check", spelling.format(registry.host), "-o", "json")
    assert (ran.status, json.loads(ran.stdout)) == (
        0,
        {
            "host": registry.host,
            "username": USER,
            "place": f'auths → "{registry.host}" in {here.home}/.docker/config.json',
        },
    )
    assert f"who may push depends on the image: s2ictl auth check {registry.host}/PATH" in ran.stderr


@pytest.mark.parametrize("word", ["shop:1", "shop:1.4", "shop", "team/shop", "harbor:30280"])
def test_what_may_be_an_image_is_one(word: str, here: Shell) -> None:
    ran = here.run("auth", "check", word)
    assert (ran.status, "names no registry to push to" in ran.stderr) == (12, True)


# ---------------------------------------------------------------------------------------------- a Secret of the cluster


def with_secret(here: Shell, auths: dict[str, Any], *words: str, kind: str = "kubernetes.io/dockerconfigjson") -> Ran:
    """What a word says, where the cluster has the Secret prod/hub and nothing else."""
    content = base64.b64encode(json.dumps({"auths": auths}).encode()).decode()
    secret = {"kind": "Secret", "metadata": {}, "type": kind, "data": {".dockerconfigjson": content}}
    with answering(Said(body=secret)) as server:
        file = here.cwd.parent / "kubeconfig"
        cluster, context = {"server": server.url}, {"cluster": "c"}
        names = {"clusters": [{"name": "c", "cluster": cluster}], "contexts": [{"name": "here", "context": context}]}
        file.write_text(json.dumps({"current-context": "here", **names}))
        file.chmod(0o600)
        at_cluster = replace(here, environ={**here.environ, "KUBECONFIG": str(file)})
        ran = at_cluster.run(*words, "--registry-secret", "prod/hub")
    assert PASSWORD not in ran.stdout + ran.stderr
    return ran


LOGIN = {"username": USER, "password": PASSWORD, "email": ""}


def test_the_secret_that_was_chosen_stands_before_all_others(here: Shell, registry: FakeRegistry) -> None:
    path = config(here, auths={registry.host: {"username": "later", "password": "wrong"}})
    auths = {f"http://{registry.host}": LOGIN, "https://docker.io": LOGIN}
    ran = with_secret(here, auths, "auth", "explain", registry.host, "-o", "json")
    assert ran.status == 0, ran.stderr
    assert [(each["state"], each["place"]) for each in json.loads(ran.stdout)["places"][:3]] == [
        ("used", f"'http://{registry.host}' in the secret prod/hub"),
        ("none", "'https://docker.io' in the secret prod/hub"),
        ("later", f'auths → "{registry.host}" in {path}'),
    ]


def test_a_secret_completes_the_name_whose_push_is_tried(here: Shell, registry: FakeRegistry) -> None:
    # What a console leaves of an entry may be no more than its joined half.
    joined = {"auth": base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()}
    ran = with_secret(here, {f"http://{registry.host}/team/": joined}, "auth", "check", "shop:1", "-o", "json")
    assert json.loads(ran.stdout) == {
        "image": f"{registry.host}/team/shop:1",
        "username": USER,
        "place": f"'http://{registry.host}/team/' in the secret prod/hub",
    }
    assert registry.uploads == {}
    assert with_secret(here, {registry.host: LOGIN}, "auth", "check", registry.host).status == 0


@pytest.mark.parametrize(
    "words",
    [
        ("auth", "explain", "harbor:30280"),
        ("auth", "check", "team/shop:1"),
        ("auth", "check", "harbor:30280"),
        ("build", ".", "builder:1", "team/shop:1", "--push"),
        ("b2i", "shop.jar", "--tag", "team/shop:1", "--push"),
        ("push", "team/shop:1"),
    ],
)
def test_a_secret_without_tls_is_not_followed_on_its_own_word(words: tuple[str, ...], here: Shell) -> None:
    (here.cwd / "shop.jar").write_bytes(packed(runnable()))
    ran = with_secret(here, {"http://harbor:30280": LOGIN}, *words)
    assert ran.status == 12, ran.stderr
    assert "error: 'http://harbor:30280' in the secret prod/hub is for a registry without TLS (Refused)" in ran.stderr
    assert "--insecure-registry harbor:30280" in ran.stderr


@pytest.mark.parametrize(
    ("auths", "kind", "status", "message"),
    [
        ({"https://docker.io": LOGIN}, "Opaque", 4, "the secret prod/hub is of the type Opaque"),
        ({}, "kubernetes.io/dockerconfigjson", 4, "the secret prod/hub holds no login"),
        ({}, "kubernetes.io/dockercfg", 4, "it has no key .dockercfg"),
        ({"other.example.com": LOGIN}, "kubernetes.io/dockerconfigjson", 4, "has no login for r.example.com/shop"),
        (
            {"r.example.com": {"auth": "%"}},
            "kubernetes.io/dockerconfigjson",
            4,
            "'r.example.com' in the secret prod/hub",
        ),
    ],
)
def test_a_secret_that_is_of_no_use_is_said_before_anybody_is_asked(
    auths: dict[str, Any], kind: str, status: int, message: str, here: Shell
) -> None:
    ran = with_secret(here, auths, "auth", "check", "r.example.com/shop", kind=kind)
    assert (ran.status, message in ran.stderr) == (status, True), ran.stderr


def test_a_secret_of_several_registries_names_them(here: Shell) -> None:
    ran = with_secret(here, {"https://b.example.com": LOGIN, "a.example.com": LOGIN}, "auth", "check", "shop")
    assert (ran.status, "logins for a.example.com and b.example.com" in ran.stderr) == (2, True)


def test_a_secret_that_does_not_know_the_registry_is_no_login_for_it(here: Shell) -> None:
    ran = with_secret(here, {"https://docker.io": LOGIN}, "auth", "check", "r.example.com")
    assert (ran.status, "the secret prod/hub has no login for r.example.com" in ran.stderr) == (4, True)


def test_what_is_deployed_by_a_short_name_is_what_was_pushed_by_it(here: Shell, registry: FakeRegistry) -> None:
    ran = with_secret(here, {f"http://{registry.host}/team": LOGIN}, "deploy", "shop:1")
    assert (ran.status, f"{registry.host}/team/shop:1" in ran.stderr) == (5, True)
    assert {each.path for each in registry.asked} >= {"/v2/team/shop/manifests/1"}
