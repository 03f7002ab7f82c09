"""The name of an image: what is one, and what comes back out of it."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from s2ictl.errors import InvalidUsage
from s2ictl.models import Login, Reference, Secret

component = some.from_regex(r"[a-z0-9]+(?:(?:[._]|__|-{1,3})[a-z0-9]+){0,2}", fullmatch=True)
host = some.from_regex(r"(?:[a-z0-9]+\.[a-z0-9]+|localhost|[a-z]{1,9}:[1-9][0-9]{0,3}|\[::1\]:5000)", fullmatch=True)
references = some.builds(
    Reference,
    registry=some.just("") | host,
    repository=some.lists(component, min_size=1, max_size=3).map("/".join),
    tag=some.just("") | some.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True),
    digest=some.just("") | some.from_regex(r"sha256:[0-9a-f]{64}", fullmatch=True),
)


def first_looks_like_a_host(reference: Reference) -> bool:
    first, slash, _ = reference.repository.partition("/")
    return not reference.registry and bool(slash) and ("." in first or first == "localhost")


@settings(max_examples=50)
@given(references.filter(lambda one: not first_looks_like_a_host(one)))
def test_a_name_comes_back_as_it_was_written(reference: Reference) -> None:
    assert Reference.parse(str(reference)) == reference


@given(some.text(max_size=80))
def test_any_text_is_a_name_or_is_refused(text: str) -> None:
    with suppress(InvalidUsage):
        assert str(Reference.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Shop",
        "registry.example.com/Team/shop",
        "team//shop",
        "team/../shop",
        "../shop",
        "shop:",
        "shop:-x",
        "shop:" + "x" * 129,
        "shop:1 ",
        " shop",
        "shop:1\n",
        "shop@sha256:short",
        f"shop@sha256:{'A' * 64}",
        f"shop@md5:{'0' * 32}",
        "http://registry.example.com/shop",
        "registry.example.com/shop:tag/extra",
        "registry.example.com:70000/shop",
        "registry.example.com:0/shop",
        "registry.example.com:/shop",
        "-registry.example.com/shop",
        "user@registry.example.com/shop",
        "shop:1:2",
        "a" * 5000,
        "sh\u00f6p",
        "shop:\u0661",
        "registry.example.com:\u0665000/shop",
    ],
)
def test_what_is_no_name_is_refused_with_the_rule(text: str) -> None:
    with pytest.raises(InvalidUsage) as caught:
        Reference.parse(text)
    assert caught.value.hint
    assert len(caught.value.message) < 300


@pytest.mark.parametrize(
    ("text", "registry", "repository"),
    [
        ("localhost/x", "localhost", "x"),
        ("localhost:5000/x", "localhost:5000", "x"),
        ("harbor/x", "", "harbor/x"),
        ("harbor:80/x", "harbor:80", "x"),
        ("x", "", "x"),
        ("[::1]:5000/x", "[::1]:5000", "x"),
    ],
)
def test_the_first_part_is_a_registry_where_it_looks_like_one(text: str, registry: str, repository: str) -> None:
    assert Reference.parse(text) == Reference(registry=registry, repository=repository)


def test_a_secret_shows_itself_to_nobody() -> None:
    secret = Secret("canary")
    assert f"{secret} {secret!r} {[secret]}" == "<redacted> <redacted> [<redacted>]"
    assert (secret.reveal(), secret == Secret("canary"), secret == Secret("other")) == ("canary", True, False)


def test_a_login_is_taken_out_of_a_text_that_repeats_it() -> None:
    login = Login(host="here", username="somebody", password=Secret("canary"), origin="a test")
    said = f"no canary for Authorization: {login.basic()}"
    assert login.redacted(said) == "no <redacted> for Authorization: Basic <redacted>"


def test_nobody_can_tell_a_password_of_a_letter_from_where_it_is_blotted_out() -> None:
    login = Login(host="here", username="somebody", password=Secret("a"), origin="a test")
    assert login.redacted("a man, a plan") == "a man, a plan"
