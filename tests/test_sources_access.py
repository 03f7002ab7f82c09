"""Who is let in at a git server, and how it is asked."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from s2ictl.errors import FetchSourceUnauthorized, Refused, S2IError
from s2ictl.models import Login, Secret
from s2ictl.sources import FetchOptions, check
from s2ictl.sources.access import files_of
from s2ictl.sources.credentials import login_of
from s2ictl.sources.secrets import GitSecret, read_git_secret
from s2ictl.sources.ssh import ssh_command
from tests.engine.gitservers import commit, repository, web
from tests.sourcetrees import Bench, failing, on_disk, streamed

HELPED = FetchOptions(helpers=True)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(root=tmp_path)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return repository(tmp_path / "served" / "shop", {"app.py": "print(1)\n"})


@pytest.fixture
def user(tmp_path: Path) -> Callable[..., Mapping[str, str]]:
    """The environment of a user whose git asks a helper, which notes every question."""

    def with_helper(answer: str, *settings: str) -> Mapping[str, str]:
        home = tmp_path / "home"
        home.mkdir()
        helper = home / "helper"
        helper.write_text(f'#!/bin/sh\n{{ echo "$1"; cat; }} >>{home}/asked\n{answer}\n')
        helper.chmod(0o755)
        (home / ".gitconfig").write_text(f"[credential]\n\thelper = {helper}\n" + "\n".join(settings))
        secrets = {"S2ICTL_GIT_TOKEN": "T", "GIT_ASKPASS": "/bin/false", "GIT_DIR": "/x"}
        return {"PATH": os.environ["PATH"], "HOME": str(home), "GIT_CONFIG_NOSYSTEM": "1", **secrets}

    return with_helper


# ------------------------------------------------------------------------------------------- git's credential helpers


def test_git_s_helpers_are_asked_when_nobody_is_refused(
    bench: Bench, shop: Path, user: Callable[..., Mapping[str, str]]
) -> None:
    environ = user('test "$1" = get && echo username=ada && echo password=CANARY')
    with web(shop.parent, login=("ada", "CANARY")) as server:
        tree = bench.fetch(f"{server.url}/shop", options=HELPED, environ=environ)
        assert (streamed(tree), server.logins[0]) == (on_disk(shop), "")
        host = server.url.partition("//")[2]
    asked = (bench.root / "home" / "asked").read_text()
    assert (asked.count("get\n"), "store" in asked, "erase" in asked) == (1, False, False)
    assert (f"host={host}\n" in asked, "path=" in asked) == (True, False)
    kept = [path for path in (bench.root / "cache").rglob("*") if path.is_file() and b"CANARY" in path.read_bytes()]
    assert (kept, "CANARY" in repr((tree, bench.events))) == ([], False)


def test_a_public_repository_and_a_server_that_asks_no_helpers_leave_them_alone(
    bench: Bench, shop: Path, user: Callable[..., Mapping[str, str]]
) -> None:
    environ = user("echo username=ada; echo password=CANARY")
    with web(shop.parent) as server:
        bench.fetch(f"{server.url}/shop", options=HELPED, environ=environ)
    with web(shop.parent, login=("ada", "CANARY")) as server:
        assert failing(bench, f"{server.url}/shop", environ=environ).exit_code == 4
    assert not (bench.root / "home" / "asked").exists()


def test_the_path_is_told_to_a_helper_where_the_user_wants_it(
    bench: Bench, shop: Path, user: Callable[..., Mapping[str, str]]
) -> None:
    environ = user("echo username=ada; echo password=WRONG", "\tuseHttpPath = true")
    with web(shop.parent, login=("ada", "CANARY")) as server:
        error = failing(bench, f"{server.url}/shop", options=HELPED, environ=environ)
    assert (error.exit_code, error.detail.partition("\n")[0]) == (4, "the login came from git's credential helper")
    assert "path=shop\n" in (bench.root / "home" / "asked").read_text()


@pytest.mark.parametrize("answer", ["exit 1", "exit 0", "echo quit=1", "echo host=evil.example.com; echo password=x"])
def test_a_helper_that_knows_nobody_leaves_the_server_s_answer(
    bench: Bench, shop: Path, user: Callable[..., Mapping[str, str]], answer: str
) -> None:
    with web(shop.parent, login=("ada", "CANARY")) as server:
        error = failing(bench, f"{server.url}/shop", options=HELPED, environ=user(answer))
    assert (error.exit_code, "refuses the login, or asks for one" in error.message) == (4, True)


def test_after_a_login_that_is_refused_a_helper_may_know_a_better_one(
    bench: Bench, shop: Path, user: Callable[..., Mapping[str, str]]
) -> None:
    with web(shop.parent, login=("ada", "CANARY")) as server:
        old = Login(host=server.url.partition("//")[2], username="x", password=Secret("old"), origin="S2ICTL_GIT_TOKEN")
        environ = user("echo username=ada; echo password=CANARY")
        assert bench.fetch(f"{server.url}/shop", options=HELPED, environ=environ, find_login=lambda _: old).commit


def test_a_helper_s_answer_is_bound_to_the_host_that_was_asked_for() -> None:
    answer = b"protocol=https\nhost=h:1\nusername=ada\npassword=p=1\n"
    found = login_of(answer, scheme="https", host="h:1")
    expected = Login(
        host="h:1", username="ada", password=Secret("p=1"), origin="git's credential helper", lasting=False
    )
    assert found == expected
    assert [login_of(answer, scheme="https", host="h"), login_of(b"username=a\n", scheme="https", host="h")] == [
        None
    ] * 2


# --------------------------------------------------------------------------------------------------- a cluster's Secret

KEY = b"-----BEGIN OPENSSH PRIVATE KEY-----\nCANARY\n-----END OPENSSH PRIVATE KEY-----"
PEM = b"-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    ("type_", "data", "expected"),
    [
        (
            "kubernetes.io/basic-auth",
            {"username": b"ada\n", "password": b"CANARY\n"},
            GitSecret(origin="the secret ns/git", username="ada", password=Secret("CANARY")),
        ),
        (
            "kubernetes.io/basic-auth",
            {"password": b"CANARY", "ca.crt": PEM},
            GitSecret(origin="the secret ns/git", username="git", password=Secret("CANARY"), ca=PEM),
        ),
        (
            "kubernetes.io/ssh-auth",
            {"ssh-privatekey": KEY.replace(b"\n", b"\r\n"), "known_hosts": b"h ssh-ed25519 AAAA"},
            GitSecret(
                origin="the secret ns/git", ssh_key=Secret(f"{KEY.decode()}\n"), known_hosts="h ssh-ed25519 AAAA\n"
            ),
        ),
        (
            "Opaque",
            {"username": b"ada", "password": b"p", "ssh-privatekey": KEY, "other": b"\xff"},
            GitSecret(
                origin="the secret ns/git",
                username="ada",
                password=Secret("p"),
                ssh_key=Secret(f"{KEY.decode()}\n"),
            ),
        ),
    ],
)
def test_a_secret_for_git_is_read_by_its_type(type_: str, data: Mapping[str, bytes], expected: GitSecret) -> None:
    found = read_git_secret("ns/git", type_, data)
    assert (found, "CANARY" in repr(found)) == (expected, False)


@pytest.mark.parametrize(
    ("type_", "data", "said"),
    [
        ("kubernetes.io/dockerconfigjson", {".dockerconfigjson": b"CANARY"}, "is of the type kubernetes.io/dockerc"),
        ("", {}, "is of the type (none)"),
        ("kubernetes.io/basic-auth", {"username": b"CANARY"}, "has nothing at its key password"),
        ("kubernetes.io/basic-auth", {"password": b" \n"}, "has nothing at its key password"),
        ("kubernetes.io/ssh-auth", {"password": b"CANARY"}, "has nothing at its key ssh-privatekey"),
        ("Opaque", {"token": b"CANARY"}, "has nothing at its key password or ssh-privatekey"),
        ("kubernetes.io/ssh-auth", {"ssh-privatekey": b"ssh-ed25519 CANARY"}, "no private key of OpenSSH"),
        ("kubernetes.io/basic-auth", {"password": b"\xff\xfe"}, "no text at its key password"),
        ("kubernetes.io/basic-auth", {"password": b"CANARY\nhost=evil"}, "line end inside its key password"),
        ("Opaque", {"password": b"p", "ca.crt": b"CANARY"}, "no certificate in PEM at its key ca.crt"),
    ],
)
def test_what_a_secret_lacks_is_named_by_secret_and_key(type_: str, data: Mapping[str, bytes], said: str) -> None:
    with pytest.raises(FetchSourceUnauthorized) as caught:
        read_git_secret("ns/git", type_, data)
    error = caught.value
    assert ("the secret ns/git" in error.message, said in error.message, error.exit_code) == (True, True, 4)
    assert "CANARY" not in repr(vars(error))


def test_a_secret_s_login_opens_the_source(bench: Bench, shop: Path) -> None:
    secret = read_git_secret("git", "kubernetes.io/basic-auth", {"username": b"ada", "password": b"CANARY"})
    with web(shop.parent, login=("ada", "CANARY")) as server:
        tree = bench.fetch(f"{server.url}/shop", options=secret.added_to(FetchOptions()), find_login=secret.logins)
        assert streamed(tree) == on_disk(shop)


# ------------------------------------------------------------------------------------------------------- files for ssh


def test_a_key_that_is_no_file_is_one_without_a_name_while_it_is_used() -> None:
    given = FetchOptions(ssh_key_content=Secret("KEY\n"), known_hosts_content="h k\n", ca_content=PEM)
    with files_of(given) as options:
        assert options.ssh_key
        assert options.known_hosts
        assert options.ca_bundle
        paths = (options.ssh_key, options.known_hosts, options.ca_bundle)
        assert [path.read_bytes() for path in paths] == [b"KEY\n", b"h k\n", PEM]
        assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o600}
        assert {path.stat().st_nlink for path in paths} == {0}
        assert f'IdentityFile="{options.ssh_key}"' in ssh_command(options)
    assert not any(path.exists() for path in paths)


def test_authorities_add_up(tmp_path: Path) -> None:
    (tmp_path / "bundle").write_bytes(b"system's")
    with files_of(FetchOptions(ca_bundle=tmp_path / "bundle", ca_content=PEM)) as options:
        assert options.ca_bundle
        assert options.ca_bundle.read_bytes() == b"system's\n" + PEM


def test_a_file_that_the_user_names_counts_before_a_secret_s_content(tmp_path: Path) -> None:
    (tmp_path / "key").touch()
    given = FetchOptions(ssh_key=tmp_path / "key", ssh_key_content=Secret("KEY"))
    with files_of(given) as options:
        assert options == given


MISSING = Path("/nowhere/missing")


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (FetchOptions(ssh_key=MISSING), 4),
        (FetchOptions(known_hosts=MISSING), 2),
        (FetchOptions(ca_bundle=MISSING), 2),
        (FetchOptions(allowed_signers=MISSING), 2),
    ],
)
def test_a_file_that_is_not_there_is_told_before_anything_is_opened(
    bench: Bench, shop: Path, options: FetchOptions, code: int
) -> None:
    with pytest.raises(S2IError) as caught:
        check(options)
    assert (caught.value.exit_code, str(MISSING) in caught.value.message) == (code, True)
    with web(shop.parent) as server:
        assert failing(bench, f"{server.url}/shop", options=options).exit_code == code
        assert server.seen == []


# --------------------------------------------------------------------------------------------------------- signatures


@pytest.mark.parametrize("kind", ["git", "local", "copy"])
def test_what_nobody_has_signed_is_refused_where_a_signature_is_asked_for(bench: Bench, shop: Path, kind: str) -> None:
    signers = bench.root / "signers"
    signers.write_text("ada@example.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA\n")
    commit(shop, {})
    with web(shop.parent) as server:
        text = f"{server.url}/shop" if kind == "git" else str(shop)
        options = FetchOptions(allowed_signers=signers)
        error = failing(bench, text, options=options, copy=kind == "copy")
    assert (error.exit_code, "--allowed-signers" in error.hint, isinstance(error, Refused)) == (12, True, True)
