"""How the name of an image is completed, and when it is refused."""

from __future__ import annotations

import pytest

from s2ictl.errors import InvalidUsage, Refused
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
