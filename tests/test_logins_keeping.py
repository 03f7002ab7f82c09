"""`login` and `logout` below the words: what is put where, and that all else in Docker's file stays as it is."""

from __future__ import annotations

import fcntl
import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2ictl.errors import Unauthorized
from s2ictl.logins import find_login, forget, keep, keeper_of
from s2ictl.logins.files import edited
from s2ictl.logins.helpers import Verb
from s2ictl.logins.places import Place
from s2ictl.models import Login, Secret

HOST = "registry.example.com"
LOGIN = Login(host=HOST, username="bot", password=Secret("canary"), origin="--password-stdin")
ENTRY = {"auth": "Ym90OmNhbmFyeQ=="}


class Helper:
    """A helper in this process: what it keeps, and what it was told."""

    def __init__(self, answer: bytes | None = b"") -> None:
        self.told: list[tuple[str, Verb, Any]] = []
        self._answer = answer

    def __call__(self, name: str, verb: Verb, said: bytes) -> bytes | None:
        self.told.append((name, verb, json.loads(said) if verb == "store" else said.decode()))
        return self._answer


def config(home: Path, **content: object) -> Path:
    path = home / ".docker/config.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def kept(home: Path, login: Login = LOGIN, helper: Helper | None = None, **environ: str) -> Any:
    keep(login, keeper_of(login.host, environ=environ, home=home), environ=environ, run=helper)
    return json.loads((home / ".docker/config.json").read_text())


def test_a_file_that_is_not_there_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    assert kept(tmp_path) == {"auths": {HOST: ENTRY}}
    modes = [stat.S_IMODE((tmp_path / path).stat().st_mode) for path in (".docker", ".docker/config.json")]
    assert modes == [0o700, 0o600]
    login = find_login(HOST, environ={}, home=tmp_path)
    assert login is not None
    assert (login.username, login.password) == ("bot", Secret("canary"))


def test_what_else_stands_in_the_file_stays_and_other_spellings_of_the_registry_go(tmp_path: Path) -> None:
    other = {"auth": "%", "more": [1.0, 12345678901234567890]}
    path = config(
        tmp_path,
        HttpHeaders={"X": "y"},
        auths={f"https://{HOST}/v1/": {"auth": "b2xk"}, "other.example.com": other, f"{HOST}/team": other},
        psFormat="x",
    )
    path.chmod(0o644)
    assert kept(tmp_path) == {
        "HttpHeaders": {"X": "y"},
        "auths": {"other.example.com": other, f"{HOST}/team": other, HOST: ENTRY},
        "psFormat": "x",
    }
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_docker_hub_stands_there_by_the_name_that_docker_gives_it(tmp_path: Path) -> None:
    hub = Login(host="docker.io", username="bot", password=Secret("canary"), origin="a test")
    assert kept(tmp_path, hub) == {"auths": {"https://index.docker.io/v1/": ENTRY}}


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    real = tmp_path / "dotfiles.json"
    real.write_text("{}")
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker/config.json").symlink_to(real)
    kept(tmp_path)
    assert (tmp_path / ".docker/config.json").is_symlink()
    assert json.loads(real.read_text()) == {"auths": {HOST: ENTRY}}


@pytest.mark.parametrize("settings", [{"credsStore": "safe"}, {"credHelpers": {f"https://{HOST}": "safe"}}])
def test_a_helper_keeps_what_then_stands_in_no_file(settings: dict[str, Any], tmp_path: Path) -> None:
    config(tmp_path, auths={HOST: {"auth": "b2xkOm9sZA=="}}, **settings)
    helper = Helper()
    assert kept(tmp_path, helper=helper) == {"auths": {HOST: {}}, **settings}
    assert helper.told == [("safe", "store", {"ServerURL": HOST, "Username": "bot", "Secret": "canary"})]


def test_a_helper_that_keeps_all_leaves_the_file_alone(tmp_path: Path) -> None:
    path = config(tmp_path, credsStore="safe")
    before = path.stat().st_ino
    kept(tmp_path, helper=Helper())
    assert path.stat().st_ino == before


def test_a_login_is_forgotten_where_it_is_kept(tmp_path: Path) -> None:
    path = config(tmp_path, credsStore="safe", auths={HOST: {}, "other.example.com": {}})
    helper = Helper()
    gone = forget(keeper_of(HOST, environ={}, home=tmp_path), environ={}, run=helper)
    assert gone == (f'credsStore → "safe" in {path}', str(path))
    assert helper.told == [("safe", "erase", HOST)]
    assert json.loads(path.read_text()) == {"credsStore": "safe", "auths": {"other.example.com": {}}}


def test_nothing_to_forget_changes_nothing(tmp_path: Path) -> None:
    assert forget(keeper_of(HOST, environ={}, home=tmp_path), environ={}) == ()
    assert list(tmp_path.iterdir()) == []
    path = config(tmp_path, credsStore="safe")
    before = path.stat().st_ino
    assert forget(keeper_of(HOST, environ={}, home=tmp_path), environ={}, run=Helper(None)) == ()
    assert path.stat().st_ino == before


def test_a_file_that_cannot_be_read_is_not_written_over(tmp_path: Path) -> None:
    path = config(tmp_path)
    path.write_text('{"auths": ')
    with pytest.raises(Unauthorized, match="is not readable"):
        keeper_of(HOST, environ={}, home=tmp_path)
    assert path.read_text() == '{"auths": '


def test_a_place_that_cannot_be_written_is_said_so_without_what_was_to_be_kept(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    environ = {"DOCKER_CONFIG": str(tmp_path / "file")}
    with pytest.raises(Unauthorized, match="could not be written") as caught:
        keep(LOGIN, keeper_of(HOST, environ=environ, home=tmp_path), environ=environ)
    assert "canary" not in caught.value.message + caught.value.detail


def test_of_two_logins_at_once_none_is_lost(tmp_path: Path) -> None:
    path = config(tmp_path)
    descriptor = os.open(path.parent, os.O_RDONLY)
    with ThreadPoolExecutor(1) as other:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        waiting = other.submit(kept, tmp_path)
        theirs = path.with_suffix(".theirs")  # renamed into its place: half a file is nobody's login
        theirs.write_text(json.dumps({"auths": {"other.example.com": ENTRY}}))
        theirs.replace(path)
        os.close(descriptor)
        assert waiting.result() == {"auths": {"other.example.com": ENTRY, HOST: ENTRY}}


def test_of_many_logins_at_once_none_is_lost(tmp_path: Path) -> None:
    hosts = [f"r{number}.example.com" for number in range(20)]
    with ThreadPoolExecutor(8) as others:
        list(others.map(lambda host: kept(tmp_path, replace(LOGIN, host=host)), hosts))
    assert json.loads((tmp_path / ".docker/config.json").read_text()) == {"auths": dict.fromkeys(hosts, ENTRY)}
    assert [path.name for path in (tmp_path / ".docker").iterdir()] == ["config.json"]


_VALUES = st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=2))


@given(
    st.dictionaries(st.text(max_size=9).filter(lambda key: key not in ("auths", "credHelpers", "credsStore")), _VALUES),
    st.dictionaries(st.sampled_from([HOST, f"https://{HOST}:443", f"{HOST}:80", f"{HOST}/a", "docker.io"]), _VALUES),
)
def test_an_edit_touches_the_one_registry_and_nothing_else(others: dict[str, Any], auths: dict[str, Any]) -> None:
    before = json.dumps({**others, "auths": auths}).encode()
    after = json.loads(edited(before, Place(host=HOST), ENTRY, name="a test"))
    spellings = {HOST, f"https://{HOST}:443"}
    untouched = {key: value for key, value in auths.items() if key not in spellings}
    assert after == {**others, "auths": {**untouched, HOST: ENTRY}}
    assert json.loads(edited(before, Place(host=HOST), None, name="a test")) == {**others, "auths": untouched}
