"""How the name of an image is completed, and when it is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2ictl.errors import InvalidUsage, Refused
from s2ictl.logins import login_of, secret_logins
from s2ictl.models import Login, Reference, Secret
from s2ictl.names import final_name, pushed_name


def login(host: str, username: str = "alice") -> Login:
    return Login(host=host, username=username, password=Secret("p"), origin="the secret prod/hub")


@pytest.mark.parametrize(
    ("written", "hosts", "final"),
    [
        ("registry.example.com/team/shop", (), "registry.example.com/team/shop:latest"),
        ("registry.example.com/shop:1.4", ("docker.io",), "registry.example.com/shop:1.4"),
        ("localhost:5000/shop", (), "localhost:5000/shop:latest"),
        ("shop", ("docker.io",), "docker.io/alice/shop:latest"),
        ("team/shop:1", ("docker.io",), "docker.io/team/shop:1"),
        ("shop", ("harbor.example.com:8443",), "harbor.example.com:8443/shop:latest"),
        ("project/shop:1", ("harbor:30280",), "harbor:30280/project/shop:1"),
        ("project/shop:1", ("harbor:30280", "harbor:30280"), "harbor:30280/project/shop:1"),
        # A lone name at Docker Hub is the user's own, also where the user wrote its registry.
        ("docker.io/shop", ("docker.io",), "docker.io/alice/shop:latest"),
        ("index.docker.io/shop:1", ("r.example.com", "docker.io"), "docker.io/alice/shop:1"),
        ("registry-1.docker.io/team/shop", (), "docker.io/team/shop:latest"),
        ("docker.io/library/shop", ("docker.io",), "docker.io/library/shop:latest"),
        ("Registry.Example.com:443/shop", (), "Registry.Example.com:443/shop:latest"),
        ("[fd00::1]:5000/shop", (), "[fd00::1]:5000/shop:latest"),
    ],
)
def test_a_name_is_completed_from_the_secret_and_never_with_library(
    written: str, hosts: tuple[str, ...], final: str
) -> None:
    assert str(final_name(written, secret=[login(host) for host in hosts], push=True)) == final


@pytest.mark.parametrize(
    ("written", "final"), [("shop", "shop:latest"), ("docker.io/shop:1", "docker.io/shop:1"), ("a/b", "a/b:latest")]
)
def test_a_name_that_stays_here_needs_neither_registry_nor_user(written: str, final: str) -> None:
    assert str(final_name(written, push=False)) == final


@pytest.mark.parametrize("hosts", [(), ("registry.example.com",)])
@pytest.mark.parametrize("written", ["docker.io/shop", "index.docker.io/shop:1"])
def test_a_push_to_docker_s_own_place_is_not_meant(written: str, hosts: tuple[str, ...]) -> None:
    with pytest.raises(InvalidUsage, match=f"{written} names no user of docker.io") as caught:
        final_name(written, secret=[login(host) for host in hosts], push=True)
    assert caught.value.hint.startswith("write the user into the name: docker.io/USER/shop")


@pytest.mark.parametrize(
    ("written", "guess"), [("shop", "docker.io/USER/shop:latest"), ("team/shop:1", "docker.io/team/shop:1")]
)
def test_a_push_without_any_registry_is_refused_with_both_guesses(written: str, guess: str) -> None:
    with pytest.raises(Refused, match="names no registry to push to") as caught:
        final_name(written, push=True)
    assert guess in caught.value.detail
    assert "REGISTRY/" in caught.value.detail
    assert "library" not in caught.value.detail


def test_a_secret_of_several_registries_does_not_choose() -> None:
    with pytest.raises(InvalidUsage, match=r"logins for a.example.com and b.example.com"):
        final_name("shop", secret=[login("b.example.com"), login("a.example.com")], push=True)


@pytest.mark.parametrize("host", ["harbor", "*.example.com", "", "…@r.example.com", "r.example.com:99999"])
def test_a_registry_that_cannot_stand_in_a_name_is_said_so(host: str) -> None:
    with pytest.raises(InvalidUsage, match="of the secret cannot stand in the name of an image"):
        final_name("shop", secret=[login(host)], push=True)


def test_a_part_of_a_registry_that_cannot_stand_in_a_name_is_said_so() -> None:
    with pytest.raises(InvalidUsage, match=r"the registry 'harbor.example.com/Project' of the secret") as caught:
        final_name("shop", secret=held(**{"harbor.example.com/Project": BOTH}), push=True)
    assert "harbor.example.com/project/shop:latest would be one" in caught.value.detail


def test_a_digest_cannot_be_chosen() -> None:
    with pytest.raises(InvalidUsage, match="follows from the content"):
        final_name(f"registry.example.com/shop:1@sha256:{'0' * 64}", push=True)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("Team/Shop:1", "team/shop:1"),
        ("r.example.com//shop", "r.example.com/shop"),
        ("r.example.com/shop:", "r.example.com/shop"),
        ("r.example.com/shop/", "r.example.com/shop"),
        ("https://r.example.com/team/shop:1", "r.example.com/team/shop:1"),
        ("http://harbor:30280/shop", "harbor:30280/shop"),
        ("r.example.com:5000/shop:1/api", "r.example.com:5000/shop/api:1"),
        ("r.example.com/../shop", ""),
        ("r.example.com/shop:-1", ""),
        (f"r.example.com/shop:{'1' * 129}", ""),
        ("r.example.com/my shop", ""),
        ("r.example.com/shop@sha256:short", ""),
    ],
)
def test_what_is_no_name_is_said_with_the_one_that_would_be(written: str, meant: str) -> None:
    with pytest.raises(InvalidUsage, match="is not an image name") as caught:
        final_name(written, push=True)
    rule = "an image name is [HOST[:PORT]/]PATH[:TAG], the path in lower case"
    assert caught.value.hint == (f"{rule}; {meant} would be one" if meant else rule)


def test_a_login_in_an_address_that_is_no_name_is_not_repeated() -> None:
    with pytest.raises(InvalidUsage, match=r"'https://…@r.example.com/shop' is not an image name") as caught:
        final_name("https://somebody:canary@r.example.com/shop", push=True)
    assert "canary" not in caught.value.hint


# ------------------------------------------------------------------------- the forms in which Secrets name a registry

BOTH = {"username": "alice", "password": "p", "email": "alice@example.com", "auth": "YWxpY2U6cA=="}


def held(**auths: Any) -> tuple[Login, ...]:
    """The logins of a Secret; a key's value is an entry."""
    kind, content = "kubernetes.io/dockerconfigjson", json.dumps({"auths": auths}).encode()
    return secret_logins("prod", "hub", read_secret=lambda *_: (kind, {".dockerconfigjson": content}))


@pytest.mark.parametrize("entry", [BOTH, {"auth": BOTH["auth"]}, {"username": "alice", "password": "p"}])
@pytest.mark.parametrize(
    ("key", "written", "final"),
    [
        # What KubeSphere's console writes, what kubectl writes where nobody names a server, and what people write.
        ("https://docker.io", "shop", "docker.io/alice/shop:latest"),
        ("https://docker.io", "team/shop:1", "docker.io/team/shop:1"),
        ("https://index.docker.io/v1/", "shop", "docker.io/alice/shop:latest"),
        ("https://index.docker.io/v1/", "team/shop:1", "docker.io/team/shop:1"),
        ("index.docker.io", "docker.io/team/shop:1", "docker.io/team/shop:1"),
        ("docker.io/team", "shop:1", "docker.io/team/shop:1"),
        ("http://harbor:30280", "project/shop:1", "harbor:30280/project/shop:1"),
        ("http://harbor:30280", "harbor:30280/project/shop:1", "harbor:30280/project/shop:1"),
        ("http://harbor:80", "project/shop:1", "harbor:80/project/shop:1"),
        ("http://harbor.example.com", "project/shop:1", "harbor.example.com/project/shop:1"),
        ("https://registry.cn-hangzhou.aliyuncs.com", "ns/shop", "registry.cn-hangzhou.aliyuncs.com/ns/shop:latest"),
        ("https://docker.io", "docker.io/shop", "docker.io/alice/shop:latest"),
        ("https://registry-1.docker.io/v2/", "index.docker.io/team/shop", "docker.io/team/shop:latest"),
        ("https://Harbor.Example.com/", "project/shop", "harbor.example.com/project/shop:latest"),
        ("https://harbor.example.com:443/v2/", "project/shop", "harbor.example.com/project/shop:latest"),
        # A path in the address is not doubled where the name has it already.
        ("harbor.example.com/project", "shop:1", "harbor.example.com/project/shop:1"),
        ("harbor.example.com/project", "project/shop:1", "harbor.example.com/project/shop:1"),
        ("http://harbor:30280/project/", "project/shop:1", "harbor:30280/project/shop:1"),
        ("harbor.example.com/project", "projects/shop:1", "harbor.example.com/project/projects/shop:1"),
        ("harbor.example.com/project", "harbor.example.com/project/shop", "harbor.example.com/project/shop:latest"),
    ],
)
def test_every_form_of_a_secret_gives_one_name_that_its_login_is_for(
    key: str, written: str, final: str, entry: dict[str, str]
) -> None:
    secret = held(**{key: entry})
    name = final_name(written, secret=secret, push=True)
    assert str(name) == final
    assert str(final_name(str(name), secret=secret, push=True)) == final
    assert final_name(written, secret=secret, push=False) == name
    login = login_of(secret, name.name, name="prod/hub")
    assert (login.username, login.password.reveal()) == ("alice", "p")


@pytest.mark.parametrize(
    ("written", "deployed"),
    [
        ("shop", "docker.io/alice/shop"),
        ("shop:1", "docker.io/alice/shop:1"),
        (f"shop@sha256:{'a' * 64}", f"docker.io/alice/shop@sha256:{'a' * 64}"),
        (f"team/shop:1@sha256:{'a' * 64}", f"docker.io/team/shop:1@sha256:{'a' * 64}"),
        ("docker.io/nginx", "docker.io/nginx"),  # what names its registry is read as it is: it may be Docker's own
        ("r.example.com/shop", "r.example.com/shop"),
    ],
)
def test_what_a_push_with_a_secret_has_made_is_deployed_by_the_same_word(written: str, deployed: str) -> None:
    secret = held(**{"https://index.docker.io/v1/": BOTH})
    assert str(pushed_name(Reference.parse(written), secret=secret)) == deployed


def test_of_a_registry_and_a_part_of_it_the_whole_completes_a_name() -> None:
    secret = held(**{"harbor.example.com/project": BOTH, "harbor.example.com": BOTH})
    assert str(final_name("team/shop", secret=secret, push=True)) == "harbor.example.com/team/shop:latest"


def test_a_secret_of_two_parts_of_a_registry_does_not_choose() -> None:
    secret = held(**{"harbor.example.com/b": BOTH, "harbor.example.com/a": BOTH})
    with pytest.raises(InvalidUsage, match=r"logins for harbor.example.com/a and harbor.example.com/b"):
        final_name("shop", secret=secret, push=True)


@pytest.mark.parametrize(
    "entry", [{"username": "alice@example.com", "password": "p"}, {"username": "A b", "password": "p"}]
)
def test_a_user_of_docker_hub_that_cannot_stand_in_a_name_is_said_so(entry: dict[str, str]) -> None:
    with pytest.raises(InvalidUsage, match=r"shop names no user of docker.io") as caught:
        final_name("shop", secret=held(**{"https://docker.io": entry}), push=True)
    assert caught.value.hint == "write the user into the name: docker.io/USER/shop"


def test_a_token_is_no_user_of_docker_hub() -> None:
    with pytest.raises(InvalidUsage, match=r"shop names no user of docker.io"):
        final_name("shop", secret=held(**{"docker.io": {"identitytoken": "t"}}), push=True)


# --------------------------------------------------------------------------------------------------------- any words

_PARTS = st.sampled_from(
    ["shop", "team", "docker.io", "index.docker.io", "harbor", "r.example.com", "NS", "v2", "", "*"]
)
_PATHS = st.lists(_PARTS, min_size=1, max_size=3).map("/".join)
_WORDS = st.tuples(_PATHS, st.sampled_from(["", ":1", ":5000/shop", "@"])).map("".join) | st.text(max_size=8)
_KEYS = st.tuples(st.sampled_from(["", "https://", "http://"]), _PATHS, st.sampled_from(["", ":80", "/"])).map("".join)


@given(_WORDS, _KEYS | st.text(max_size=8), st.text(min_size=1, max_size=4))
def test_whatever_is_written_and_held_a_name_is_final_or_refused(written: str, key: str, username: str) -> None:
    secret = held(**{key: {"username": username, "password": "p"}})
    try:
        name = final_name(written, secret=secret, push=True)
    except InvalidUsage:
        return
    assert name.registry
    assert name.tag
    assert (name.registry, "/" in name.repository) != ("docker.io", False)
    assert Reference.parse(str(name)) == name == final_name(str(name), secret=secret, push=True)
    if not Reference.parse(written).registry:
        assert login_of(secret, name.name, name="prod/hub") == secret[0]
