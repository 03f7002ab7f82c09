"""How the name of an image is completed, and when it is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from s2ictl.errors import InvalidUsage, Refused
from s2ictl.logins import login_of, secret_logins
from s2ictl.models import Login, Secret
from s2ictl.names import final_name


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
    ],
)
def test_a_name_is_completed_from_the_secret_and_never_with_library(
    written: str, hosts: tuple[str, ...], final: str
) -> None:
    assert str(final_name(written, secret=[login(host) for host in hosts], push=True)) == final


def test_a_name_that_stays_here_needs_no_registry() -> None:
    assert str(final_name("shop", push=False)) == "shop:latest"


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


def test_a_registry_that_cannot_stand_in_a_name_is_said_so() -> None:
    with pytest.raises(InvalidUsage, match="cannot stand in the name of an image"):
        final_name("shop", secret=[login("harbor")], push=True)


def test_a_digest_cannot_be_chosen() -> None:
    with pytest.raises(InvalidUsage, match="follows from the content"):
        final_name(f"registry.example.com/shop:1@sha256:{'0' * 64}", push=True)


# ------------------------------------------------------------------------- the forms in which Secrets name a registry

BOTH = {"username": "alice", "password": "p", "email": "alice@example.com", "auth": "YWxpY2U6cA=="}


def held(**auths: Any) -> tuple[Login, ...]:
    """The logins of a Secret; a key's value is an entry."""
    content = json.dumps({"auths": auths}).encode()
    return secret_logins("prod", "hub", read_secret=lambda *_: {".dockerconfigjson": content})


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
    login = login_of(secret, name.name, name="prod/hub")
    assert (login.username, login.password.reveal()) == ("alice", "p")


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
