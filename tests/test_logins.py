"""Where a login is found, for which host, and what is said of a broken one."""

from __future__ import annotations

import base64
import json
import os
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2ictl.errors import Refused, Unauthorized
from s2ictl.logins import check_logins, explain, find_login, login_of, normal_host, pull_secret, secret_logins
from s2ictl.logins.files import shelves
from s2ictl.logins.helpers import Verb
from s2ictl.models import Login, Secret

CANARY = "canary-password"
HOST = "registry.example.com"


def encoded(username: str = "somebody", password: str = CANARY) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{username}:{password}".encode()).decode()}


def no_helper(name: str, verb: Verb, said: bytes) -> bytes | None:
    raise AssertionError(f"{name} was told to {verb} {said!r}")


def around(home: Path, **environ: str) -> dict[str, str]:
    """An environment of which nothing leads out of the test."""
    return {"XDG_RUNTIME_DIR": str(home / "run"), **environ}


def found(home: Path, host: str = HOST, **environ: str) -> Login | None:
    return find_login(host, environ=around(home, **environ), home=home, run=no_helper)


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
    login = found(tmp_path)
    assert login is not None
    assert login.username == "somebody"


@pytest.mark.parametrize(
    ("environ", "places"),
    [
        ({}, [".docker/config.json", "/run/containers/UID/auth.json", ".config/containers/auth.json"]),
        (
            {"XDG_RUNTIME_DIR": "/run/user/7", "XDG_CONFIG_HOME": "/etc/mine", "DOCKER_CONFIG": "/docker"},
            ["/docker/config.json", "/run/user/7/containers/auth.json", "/etc/mine/containers/auth.json"],
        ),
    ],
)
def test_the_places_are_those_of_docker_and_podman(environ: dict[str, str], places: list[str]) -> None:
    home = Path("/home/somebody")
    wanted = [str(home / place.replace("UID", str(os.getuid()))) for place in places]
    assert [shelf.name for shelf in shelves(environ, home, None)] == wanted


def test_a_place_without_this_host_leaves_it_to_the_next(tmp_path: Path) -> None:
    docker_config(tmp_path, auths={HOST: encoded()})
    login = found(tmp_path, DOCKER_AUTH_CONFIG=json.dumps({"auths": {"other.example.com": encoded()}}))
    assert login is not None


# ------------------------------------------------------------------------------------------------------------- hosts


def test_a_file_that_the_user_named_is_the_only_place(tmp_path: Path) -> None:
    docker_config(tmp_path, auths={HOST: encoded("docker"), "other.example.com": encoded("docker")})
    named = tmp_path / "named.json"
    named.write_text(json.dumps({"auths": {HOST: encoded("named")}}))
    environ = around(tmp_path, DOCKER_AUTH_CONFIG=json.dumps({"auths": {HOST: encoded("direct")}}))
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
        ("http://harbor:80", "harbor:80"),
        ("http://harbor:443", "harbor:443"),
        ("http://harbor.example.com/", "harbor.example.com"),
        ("[::1]:5000", "[::1]:5000"),
        ("HTTPS://Registry.Example.com:443/", HOST),
        ("registry.hub.docker.com", "docker.io"),
        ("b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.example:5000", "xn--bcher-kva.example:5000"),
        ("xn--bcher-kva.example:5000", "xn--bcher-kva.example:5000"),
    ],
)
def test_a_registry_has_one_spelling(key: str, host: str) -> None:
    assert normal_host(key) == host


def test_two_standards_that_differ_on_a_name_do_not_decide_who_gets_a_login(tmp_path: Path) -> None:
    docker_config(tmp_path, auths={"fa\N{LATIN SMALL LETTER SHARP S}.example": encoded()})
    assert [found(tmp_path, host) for host in ("fass.example", "xn--fa-hia.example")] == [None, None]


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
        f"https://evil.example/x://{HOST}",
        f"https://user:password@{HOST}",
        f"ftp://{HOST}",
        f"http://{HOST}:443",
        f"https://{HOST}:80",
        f"*.{HOST.partition('.')[2]}",
        HOST.replace(".", "\N{IDEOGRAPHIC FULL STOP}"),
        "",
        "https://",
    ],
)
def test_a_login_of_another_host_is_never_taken(key: str, tmp_path: Path) -> None:
    docker_config(tmp_path, auths={key: encoded()})
    assert found(tmp_path) is None


# ------------------------------------------------------------------------------------------------ parts of a registry


@pytest.mark.parametrize(
    ("place", "user"),
    [
        (f"{HOST}/team/shop", "shop"),
        (f"{HOST}/team/shop/api", "shop"),
        (f"{HOST}/team/other", "team"),
        (f"{HOST}/teamwork/shop", "all"),
        (f"{HOST}/other", "all"),
        (HOST, "all"),
        (f"{HOST}:5000/team", None),
    ],
)
def test_the_login_for_the_smallest_part_of_a_registry_is_taken(place: str, user: str | None, tmp_path: Path) -> None:
    keys = {HOST: "all", f"{HOST}/team": "team", f"{HOST}/team/shop": "shop"}
    docker_config(tmp_path, auths={key: encoded(name) for key, name in keys.items()})
    login = found(tmp_path, place)
    assert (login and login.username) == user


def test_a_part_without_a_login_falls_back_to_nothing_but_the_whole(tmp_path: Path) -> None:
    docker_config(tmp_path, auths={f"{HOST}/team": encoded()})
    assert [found(tmp_path, place) for place in (HOST, f"{HOST}/other")] == [None, None]


# ----------------------------------------------------------------------------------------------------------- entries


def test_a_user_and_a_password_may_stand_apart(tmp_path: Path) -> None:
    docker_config(tmp_path, auths={HOST: {"username": "u", "password": "p:q"}})
    login = found(tmp_path)
    assert login is not None
    assert (login.username, login.password.reveal()) == ("u", "p:q")


@pytest.mark.parametrize(
    ("entry", "pair"),
    [
        ({"username": "apart", "password": "p", **encoded("joined")}, ("joined", CANARY)),
        ({"auth": "c29tZWJvZHk6\ncGFzcw==\n"}, ("somebody", "pass")),
        ({"auth": "c29tZWJvZHk6cGFzcwAA"}, ("somebody", "pass")),
        ({"auth": "c29tZWJvZHk6"}, ("somebody", "")),
        ({"username": "u", "password": "p", "email": "u@example.com"}, ("u", "p")),
    ],
)
def test_an_entry_is_read_as_docker_and_kubernetes_read_it(
    entry: dict[str, str], pair: tuple[str, str], tmp_path: Path
) -> None:
    docker_config(tmp_path, auths={HOST: entry})
    login = found(tmp_path)
    assert login is not None
    assert (login.username, login.password.reveal()) == pair


@pytest.mark.parametrize("entry", [{}, {"username": "u"}, {"password": "p"}, {"email": "u@example.com"}, {"auth": ""}])
def test_an_entry_that_holds_no_login_leaves_it_to_the_next_place(entry: dict[str, str], tmp_path: Path) -> None:
    docker_config(tmp_path, auths={HOST: encoded("second")})
    login = found(tmp_path, DOCKER_AUTH_CONFIG=json.dumps({"auths": {HOST: entry}}))
    assert login is not None
    assert login.username == "second"


def test_a_registry_token_goes_as_it_is_and_is_not_made_to_last(tmp_path: Path) -> None:
    path = docker_config(tmp_path, auths={HOST: {"registrytoken": "token"}})
    assert found(tmp_path) == Login(
        host=HOST,
        username="<token>",
        password=Secret("token"),
        origin=f'auths → "{HOST}" in {path}',
        kind="bearer",
        lasting=False,
    )


def test_a_token_that_would_break_out_of_its_header_is_refused(tmp_path: Path) -> None:
    docker_config(tmp_path, auths={HOST: {"registrytoken": f"{CANARY}\r\nX-Evil: 1"}})
    with pytest.raises(Unauthorized, match="is not readable") as caught:
        found(tmp_path)
    assert CANARY not in caught.value.message + caught.value.detail


def test_an_identity_token_is_told_from_a_password(tmp_path: Path) -> None:
    docker_config(tmp_path, auths={HOST: {**encoded(), "identitytoken": "token"}})
    login = found(tmp_path)
    assert login is not None
    assert (login.username, login.password.reveal(), login.lasting) == ("<token>", "token", False)


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


def test_a_pipe_in_place_of_a_file_is_not_waited_for_and_an_empty_file_says_nothing(tmp_path: Path) -> None:
    (tmp_path / ".docker").mkdir()
    os.mkfifo(tmp_path / ".docker/config.json")
    (tmp_path / ".config/containers").mkdir(parents=True)
    (tmp_path / ".config/containers/auth.json").touch()
    assert found(tmp_path) is None


def test_a_variable_that_holds_no_text_is_said_so_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(Unauthorized, match="DOCKER_AUTH_CONFIG is not readable"):
        found(tmp_path, DOCKER_AUTH_CONFIG='{"auths": {"\udcff": 1}}')


# ----------------------------------------------------------------------------------------------------------- secrets


def secret(kind: str = "kubernetes.io/dockerconfigjson", /, **data: object) -> tuple[Login, ...]:
    """The logins of a Secret; text in place of a document is one that cannot be read."""
    rendered = {key.replace("_", "."): json.dumps(value).encode() for key, value in data.items()}
    return secret_logins("prod", "hub", read_secret=lambda _, __: (kind, rendered))


def test_a_secret_holds_logins_in_their_order() -> None:
    logins = secret(
        _dockerconfigjson={"auths": {"https://docker.io": encoded("a"), "http://harbor:30280/ns": encoded()}}
    )
    assert [(login.host, login.username) for login in logins] == [("docker.io", "a"), ("harbor:30280", "somebody")]


def test_a_secret_of_the_older_kind_holds_entries_and_nothing_else() -> None:
    logins = secret("kubernetes.io/dockercfg", _dockercfg={"https://index.docker.io/v1/": encoded("a"), HOST: {}})
    assert [(login.host, login.username, login.origin) for login in logins] == [
        ("docker.io", "a", "'https://index.docker.io/v1/' in the secret prod/hub")
    ]


@pytest.mark.parametrize(
    ("kind", "data", "words"),
    [
        ("kubernetes.io/dockerconfigjson", {}, "no key .dockerconfigjson: it has no keys at all"),
        ("kubernetes.io/dockerconfigjson", {"token": CANARY}, "no key .dockerconfigjson: it has token"),
        ("kubernetes.io/dockerconfigjson", {"_dockercfg": {HOST: encoded()}}, "no key .dockerconfigjson"),
        ("kubernetes.io/dockercfg", {"_dockerconfigjson": {}}, "no key .dockercfg: it has .dockerconfigjson"),
        ("Opaque", {"_dockerconfigjson": {"auths": {HOST: encoded()}}}, "of the type Opaque, which holds no login"),
        ("kubernetes.io/basic-auth", {"password": CANARY}, "of the type kubernetes.io/basic-auth, which holds"),
        ("kubernetes.io/dockerconfigjson", {"_dockerconfigjson": {"auths": {}}}, "holds no login"),
        ("kubernetes.io/dockerconfigjson", {"_dockerconfigjson": {"auths": {HOST: {}}}}, "holds no login"),
        ("kubernetes.io/dockerconfigjson", {"_dockerconfigjson": []}, ".dockerconfigjson of the secret prod/hub"),
        ("kubernetes.io/dockercfg", {"_dockercfg": [CANARY]}, ".dockercfg of the secret prod/hub is not readable"),
        ("kubernetes.io/dockercfg", {"_dockercfg": {HOST: CANARY}}, f"'{HOST}' in the secret prod/hub is not readable"),
        (
            "kubernetes.io/dockerconfigjson",
            {"_dockerconfigjson": {"auths": {HOST: {"auth": f"%{CANARY}"}}}},
            f"'{HOST}' in the secret prod/hub is not readable: its auth is not base64",
        ),
    ],
)
def test_a_secret_without_a_login_is_said_so_by_its_name_and_its_key(
    kind: str, data: dict[str, object], words: str
) -> None:
    with pytest.raises(Unauthorized, match="prod/hub") as caught:
        secret(kind, **data)
    said = caught.value.in_passing
    assert (words in said, CANARY in said + caught.value.hint) == (True, False)


def test_a_secret_of_another_registry_is_of_no_use_here() -> None:
    logins = secret(_dockerconfigjson={"auths": {HOST: encoded()}})
    assert login_of(logins, HOST, name="prod/hub").username == "somebody"
    with pytest.raises(Unauthorized, match=r"the secret prod/hub has no login for docker.io"):
        login_of(logins, "docker.io", name="prod/hub")


def test_a_secret_for_a_part_of_a_registry_is_for_that_part() -> None:
    auths = {HOST: encoded("all"), f"https://{HOST}/team": encoded("team")}
    logins = secret(_dockerconfigjson={"auths": auths})
    users = [login_of(logins, f"{HOST}/{path}", name="prod/hub").username for path in ("team/shop", "other/shop")]
    assert users == ["team", "all"]
    with pytest.raises(Unauthorized, match=r"no login for registry.example.com/other/shop"):
        login_of(logins[1:], f"{HOST}/other/shop", name="prod/hub")


@pytest.mark.parametrize("key", ["http://harbor:30280", "HTTP://harbor:30280/", "http://harbor:30280/v2/"])
def test_a_secret_for_a_registry_without_tls_needs_the_word_of_the_user_as_well(key: str) -> None:
    logins = secret(_dockerconfigjson={"auths": {HOST: encoded(), key: encoded()}})
    check_logins(logins, [f"{HOST}/shop"], name="prod/hub", insecure=())
    check_logins(logins, ["harbor:30280/shop"], name="prod/hub", insecure=["harbor:30280"])
    with pytest.raises(
        Refused, match=r"'.*harbor:30280.*' in the secret prod/hub is for a registry without TLS"
    ) as caught:
        check_logins(logins, [f"{HOST}/shop", "harbor:30280/shop"], name="prod/hub", insecure=["harbor"])
    assert "--insecure-registry harbor:30280" in caught.value.hint


@pytest.mark.parametrize(
    "key", ["http://localhost:5000", "http://127.0.0.1:5000", "http://[::1]:5000", "http://docker.io"]
)
def test_this_machine_needs_no_tls_and_docker_hub_has_it(key: str) -> None:
    logins = secret(_dockerconfigjson={"auths": {key: encoded()}})
    check_logins(logins, [f"{logins[0].host}/team/shop"], name="prod/hub", insecure=())


def test_every_name_that_is_pushed_needs_a_login_of_the_secret() -> None:
    logins = secret(_dockerconfigjson={"auths": {HOST: encoded()}})
    with pytest.raises(Unauthorized, match=r"the secret prod/hub has no login for other.example.com/shop"):
        check_logins(logins, [f"{HOST}/shop", "other.example.com/shop"], name="prod/hub", insecure=())


def test_a_pull_secret_is_what_kubectl_would_make() -> None:
    login = Login(host="docker.io", username="u", password=Secret("p"), origin="a test")
    assert json.loads(pull_secret(login)) == {
        "auths": {"https://index.docker.io/v1/": {"username": "u", "password": "p", "auth": "dTpw"}}
    }


def test_what_is_not_made_to_last_is_not_written_into_a_secret() -> None:
    login = Login(host=HOST, username="u", password=Secret(CANARY), origin="a helper", lasting=False)
    with pytest.raises(Refused, match="is not written into a secret"):
        pull_secret(login)


# ---------------------------------------------------------------------------------------------------------- explained


def test_what_is_explained_is_what_is_found_and_what_came_after_it(tmp_path: Path) -> None:
    path = docker_config(tmp_path, auths={f"{HOST}:5000": encoded(), f"https://u:{CANARY}@{HOST}": encoded()})
    named = tmp_path / "named.json"
    named.write_text(json.dumps({"auths": {HOST: encoded("named")}}))
    podman = tmp_path / ".config/containers/auth.json"
    podman.parent.mkdir(parents=True)
    podman.write_text(json.dumps({"auths": {f"https://{HOST}/v2/": {"identitytoken": CANARY}}}))
    environ = {"DOCKER_AUTH_CONFIG": "{}", "REGISTRY_AUTH_FILE": str(named), "XDG_RUNTIME_DIR": str(tmp_path / "run")}
    findings = explain(HOST, environ=environ, home=tmp_path, run=no_helper)
    assert [(finding.place, finding.state, finding.says) for finding in findings] == [
        ("DOCKER_AUTH_CONFIG", "none", f"it has nothing for {HOST}"),
        (f'auths → "{HOST}" in {named}', "login", "the password of named"),
        (str(path), "none", f"it has nothing for {HOST}; it has {HOST}:5000, …@{HOST}"),
        (str(tmp_path / "run/containers/auth.json"), "none", "it is not there"),
        (f'auths → "https://{HOST}/v2/" in {podman}', "login", "an identity token"),
    ]
    assert find_login(HOST, environ=environ, home=tmp_path, run=no_helper) == findings[1].login
    assert CANARY not in repr(findings)


def test_an_entry_beside_a_helper_is_said_not_to_be_read(tmp_path: Path) -> None:
    path = docker_config(tmp_path, credHelpers={HOST: "test"}, auths={HOST: encoded()})
    findings = explain(HOST, environ={}, home=tmp_path, run=lambda *_: None)
    assert [(finding.place, finding.state, finding.says) for finding in findings[:2]] == [
        (f'credHelpers → "test" in {path}', "none", "it knows of no login for this registry"),
        (
            f'auths → "{HOST}" in {path}',
            "none",
            f'it is not read: credHelpers → "test" is in charge of {HOST} there',
        ),
    ]
    assert find_login(HOST, environ={}, home=tmp_path, run=lambda *_: None) is None


def test_what_is_broken_stops_the_search_and_is_explained_with_what_comes_after_it(tmp_path: Path) -> None:
    docker_config(tmp_path, auths={HOST: encoded()})
    environ = around(tmp_path, DOCKER_AUTH_CONFIG=f"{{{CANARY}")
    findings = explain(HOST, environ=environ, home=tmp_path, run=no_helper)
    assert [finding.state for finding in findings] == ["broken", "login", "none", "none"]
    assert CANARY not in repr(findings)
    with pytest.raises(Unauthorized, match="DOCKER_AUTH_CONFIG"):
        find_login(HOST, environ=environ, home=tmp_path, run=no_helper)


def test_a_pattern_that_the_kubelet_would_follow_is_said_and_not_followed(tmp_path: Path) -> None:
    pattern, auths = "*.example.com", {"*.other.example": encoded(), "*.example.com": encoded(), HOST: {}}
    path = docker_config(tmp_path, credHelpers={f"https://{pattern}/v2/": "test"}, auths=auths)
    chosen = secret(_dockerconfigjson={"auths": {pattern: encoded()}})
    findings = explain(HOST, environ=around(tmp_path), home=tmp_path, given=chosen, run=no_helper)
    why = f"it is a pattern, and a login is only taken by its own name: write one for {HOST}"
    assert [(finding.place, finding.state, finding.says) for finding in findings[:4]] == [
        (f"'{pattern}' in the secret prod/hub", "none", why),
        (f'auths → "{HOST}" in {path}', "none", "it knows of no login for this registry"),
        (f'credHelpers → "https://{pattern}/v2/" in {path}', "none", why),
        (f'auths → "{pattern}" in {path}', "none", why),
    ]
    assert found(tmp_path) is None


def test_the_logins_of_a_chosen_secret_stand_before_all_others(tmp_path: Path) -> None:
    docker_config(tmp_path, auths={HOST: encoded()})
    auths = {"other.example.com": encoded("other"), HOST: encoded("all"), f"{HOST}/team": encoded("team")}
    chosen = secret(_dockerconfigjson={"auths": auths})
    states = {
        place: [(f.state, f.says) for f in explain(place, environ={}, home=tmp_path, given=chosen, run=no_helper)[:4]]
        for place in (HOST, f"{HOST}/team/shop")
    }
    assert states[f"{HOST}/team/shop"] == [
        ("login", "the password of team"),
        ("login", "the password of all"),
        ("none", "it is for other.example.com alone"),
        ("login", "the password of somebody"),
    ]
    assert states[HOST][0] == ("login", "the password of all")


# ------------------------------------------------------------------------------------------------------- any content

_TEXTS = st.text(max_size=12) | st.sampled_from([HOST, f"https://{HOST}/v1/", f"{HOST}/team", "test", "../x"])
_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=8,
)
_ENTRIES = st.dictionaries(
    st.sampled_from(["auth", "username", "password", "identitytoken", "registrytoken"]),
    st.just("c29tZWJvZHk6cA==") | _ANYTHING,
    max_size=3,
)
_CONFIGS = st.fixed_dictionaries(
    {},
    optional={
        "auths": st.dictionaries(_TEXTS, _ENTRIES, max_size=3) | _ANYTHING,
        "credHelpers": st.dictionaries(_TEXTS, _TEXTS, max_size=3) | _ANYTHING,
        "credsStore": _TEXTS | _ANYTHING,
        "HttpHeaders": _ANYTHING,
    },
)


def _answering(answer: bytes, *_: object) -> bytes:
    return answer


@given(_CONFIGS.map(json.dumps).map(str.encode) | st.binary(max_size=60))
def test_no_file_does_more_than_name_a_login_or_itself(content: bytes) -> None:
    home, environ = Path("/nonexistent"), {"DOCKER_AUTH_CONFIG": os.fsdecode(content)}
    helper = partial(_answering, b'{"Username": "u", "Secret": "s"}')
    findings = explain(HOST, environ=environ, home=home, run=helper)
    first = next((finding for finding in findings if finding.state != "none"), None)
    if first is not None and first.state == "broken":
        with pytest.raises(Unauthorized) as caught:
            find_login(HOST, environ=environ, home=home, run=helper)
        assert caught.value.message in first.says
        return
    login = find_login(HOST, environ=environ, home=home, run=helper)
    assert login == (first and first.login)
    assert login is None or (login.host, login.path) == (HOST, "")
