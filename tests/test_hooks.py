"""Deliveries: whose they are, whether they are true, what they say, and whom it concerns. All of it pure."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2ictl.errors import InvalidUsage, Unauthorized
from s2ictl.hooks import receive
from s2ictl.hooks.matching import branch_matches, same_repository, why_not
from s2ictl.hooks.payloads import parse_json
from s2ictl.hooks.signatures import is_signed
from s2ictl.models import AppConfig, Delivery, ForgeConfig, HookEvent, Secret, WebhookConfig
from tests.fakes import deliveries
from tests.fakes.deliveries import MAKERS, NOTHING, A, B, push

SECRETS = (Secret(deliveries.SECRET),)
PUSH = HookEvent(
    kind="push",
    delivery="1",
    ref="refs/heads/main",
    commit=A,
    before=NOTHING,
    repositories=("https://git.example.com/team/shop.git", "git@git.example.com:team/shop.git"),
    default_branch="main",
    message="a change",
)


@pytest.mark.parametrize("form", [False, True])
@pytest.mark.parametrize("provider", MAKERS)
def test_a_signed_push_becomes_an_event(provider: str, form: bool) -> None:
    assert receive(MAKERS[provider](push(), form=form), provider, SECRETS) == PUSH


def test_a_gitea_is_understood_where_a_gogs_or_github_was_expected() -> None:
    for provider in MAKERS:
        assert receive(deliveries.gitea(push()), provider, SECRETS) == PUSH


@pytest.mark.parametrize("provider", MAKERS)
def test_while_a_secret_is_changed_both_are_valid(provider: str) -> None:
    assert receive(MAKERS[provider](push()), provider, (Secret("n" * 32), *SECRETS)) == PUSH


# -------------------------------------------------------------------------------------------------------- signatures

BODY = b'{"a": 1}'
GOOD = deliveries.sign(BODY)


@pytest.mark.parametrize(
    "signature",
    [
        "",
        "sha256=",
        GOOD,
        "sha1=" + GOOD,
        "sha256=" + GOOD.upper(),
        "sha256=" + GOOD[:-1],
        "sha256=" + GOOD + "0",
        "sha256=" + GOOD + "\n",
        " sha256=" + GOOD,
        f"sha256={GOOD}, sha256={GOOD}",
        "sha256=" + "é" * 64,
        "SHA256=" + GOOD,
        "sha256=" + deliveries.sign(b'{"a":1}'),
        "sha256=" + deliveries.sign(BODY, "another secret of sixteen"),
    ],
)
def test_only_the_exact_form_over_the_exact_bytes_is_a_signature(signature: str) -> None:
    assert is_signed(BODY, "sha256=" + GOOD, SECRETS, prefix="sha256=")
    assert not is_signed(BODY, signature, SECRETS, prefix="sha256=")


@given(st.text(max_size=80))
def test_no_header_by_chance_is_a_signature(signature: str) -> None:
    assert not is_signed(BODY, signature, SECRETS)


@pytest.mark.parametrize("provider", MAKERS)
@pytest.mark.parametrize("change", ["missing", "other body", "no secret"])
def test_without_its_signature_nothing_is_parsed(provider: str, change: str) -> None:
    delivery = MAKERS[provider](b"this is not even JSON")
    unsigned = {name: value for name, value in delivery.headers.items() if "signature" not in name}
    forged = {
        "missing": replace(delivery, headers=unsigned),
        "other body": replace(delivery, body=delivery.body + b" "),
        "no secret": delivery,
    }
    with pytest.raises(Unauthorized):
        receive(forged[change], provider, () if change == "no secret" else SECRETS)


# ---------------------------------------------------------------------------------------------------------- payloads

MALFORMED: dict[str, Any] = {
    "not JSON": b"hello",
    "empty": b"",
    "null": b"null",
    "a list": b"[]",
    "NaN": b'{"ref": NaN}',
    "a number of 5,000 digits": b'{"x": ' + b"9" * 5000 + b"}",
    "a number beyond all": b'{"x": 1e999}',
    "bottomless": b"[" * 200_000,
    "too deep": b'{"x": ' + b"[" * 64 + b"]" * 64 + b"}",
    "a key twice": b'{"ref": "a", "ref": "b"}',
    "a lone surrogate": b'{"x": ["\\ud800"]}',
    "not UTF-8": b'{"x": "\xff"}',
    "UTF-16": json.dumps(push()).encode("utf-16"),
    "ref is a number": push(ref=1),  # type: ignore[arg-type]
    "after is missing": {"ref": "refs/heads/main"},
    "after is no commit": push("main"),
    "after is in capitals": push("A" * 40),
    "commits is a text": push(commits="x"),
    "commits holds numbers": push(commits=[1]),
    "a message is null": push(commits=[{"id": A, "message": None}]),
    "repository is null": push(repository=None),
    "clone_url is a list": push(repository={"clone_url": []}),
    "deleted is a text": push(deleted="no"),
    "ref is endless": push(ref="refs/heads/" + "x" * 5000),
}


@pytest.mark.parametrize("provider", MAKERS)
@pytest.mark.parametrize("case", MALFORMED)
def test_a_signed_but_malformed_body_is_refused(case: str, provider: str) -> None:
    with pytest.raises(InvalidUsage):
        receive(MAKERS[provider](MALFORMED[case]), provider, SECRETS)


@pytest.mark.parametrize("body", [b"", b"x", b"payload=%7B%7D&payload=%7B%7D", b"payload=%FF", b"a=1&" * 9, b"\xff=1"])
def test_a_malformed_form_is_refused(body: bytes) -> None:
    headers = {
        "content-type": "application/x-www-form-urlencoded; charset=UTF-8",
        "x-github-event": "push",
        "x-hub-signature-256": "sha256=" + deliveries.sign(body),
    }
    with pytest.raises(InvalidUsage):
        receive(Delivery(headers=headers, body=body), "github", SECRETS)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.text(st.characters(codec="utf-8"), max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=4),
    max_leaves=10,
)


@given(
    st.binary(max_size=80)
    | st.text('[]{}",:\\u0dead1 ', max_size=80).map(str.encode)
    | JSON.map(json.dumps).map(str.encode)
)
def test_any_bytes_are_an_object_or_refused(body: bytes) -> None:
    try:
        value = parse_json(body)
    except InvalidUsage:
        return
    assert value == json.loads(body)


@given(
    st.fixed_dictionaries({"ref": JSON, "after": JSON}, optional={"commits": JSON, "repository": JSON, "before": JSON})
)
def test_any_signed_object_is_an_event_or_refused(payload: dict[str, Any]) -> None:
    try:
        event = receive(deliveries.gitea(payload), "gitea", SECRETS)
    except InvalidUsage:
        return
    assert event.kind in ("push", "ping", "ignored")


# ------------------------------------------------------------------------------------------------------------ events


@pytest.mark.parametrize("provider", MAKERS)
@pytest.mark.parametrize(
    ("payload", "kind", "reason"),
    [
        (push(NOTHING, before=A), "ignored", "refs/heads/main was deleted"),
        (push(A, deleted=True), "ignored", "refs/heads/main was deleted"),
        (push(ref="refs/tags/v1"), "ignored", "tags trigger nothing"),
        (push(ref="x"), "ignored", "x is not a branch"),
        (push(A, before=A), "ping", "a test delivery: nothing was pushed"),
    ],
)
def test_what_is_no_push_to_a_branch_says_why(provider: str, payload: dict[str, Any], kind: str, reason: str) -> None:
    event = receive(MAKERS[provider](payload), provider, SECRETS)
    assert (event.kind, event.reason) == (kind, reason)


@pytest.mark.parametrize("provider", MAKERS)
@pytest.mark.parametrize("event", ["pull_request", "create", "delete", "issues", "x" * 200])
def test_other_events_trigger_nothing(provider: str, event: str) -> None:
    received = receive(MAKERS[provider]({"action": "opened"}, event=event, number="7"), provider, SECRETS)
    reason = f"the event {event[:40]!r} triggers nothing"
    assert received == HookEvent(kind="ignored", delivery="7", reason=reason)


def test_githubs_ping_is_one() -> None:
    received = receive(deliveries.github({"zen": "Design for failure."}, event="ping"), "github", SECRETS)
    assert received == HookEvent(kind="ping", delivery="1", reason="ping")


def test_a_signed_body_without_an_event_is_ignored() -> None:
    delivery = deliveries.github(push())
    headers = {name: value for name, value in delivery.headers.items() if name != "x-github-event"}
    assert receive(replace(delivery, headers=headers), "github", SECRETS).kind == "ignored"


def test_the_head_commit_is_the_one_that_the_push_ends_with() -> None:
    commits = [{"id": B, "message": "older [skip ci]"}, {"id": A, "message": "newest"}]
    assert receive(deliveries.gogs(push(commits=commits)), "gogs", SECRETS).message == "newest"
    payload = push(commits=[], head_commit={"id": A, "message": "head"})
    assert receive(deliveries.github(payload), "github", SECRETS).message == "head"


REAL = HookEvent(
    kind="push",
    delivery="",
    ref="refs/heads/main",
    commit="588dac7e9431b44612608abbe0c7dd85e68413a5",
    before="1cbfd4d8455d9e7c89815d20ef9b34df21fa5cb1",
    repositories=("http://127.0.0.1:24603/s2ictl/recorded-5754.git", "root@localhost:s2ictl/recorded-5754.git"),
    default_branch="main",
    message="Say it\n",
)
TRY = replace(
    REAL, kind="ping", commit=REAL.before, message="Initial commit\n", reason="a test delivery: nothing was pushed"
)
TAG = replace(
    REAL,
    kind="ignored",
    ref="refs/tags/v1",
    before=NOTHING,
    commit="c92f320ca5ee59ecb09417f57d790e6e27b17514",
    message="",
    reason="tags trigger nothing",
)


@pytest.mark.parametrize("provider", ["gitea", "gogs"])
@pytest.mark.parametrize(
    ("name", "event"),
    [
        ("gitea-1.26-push", REAL),
        ("gitea-1.26-branch", replace(REAL, ref="refs/heads/dev", before=NOTHING)),
        ("gitea-1.26-tag", TAG),
        ("gitea-1.26-try", TRY),
        ("gitea-1.26-try-form", TRY),
    ],
)
def test_what_a_real_gitea_sent_is_understood(name: str, event: HookEvent, provider: str) -> None:
    received = receive(deliveries.recorded(name), provider, SECRETS)
    assert received == replace(event, delivery=received.delivery)
    assert len(received.delivery) == 36


# ---------------------------------------------------------------------------------------------------------- matching

APP = AppConfig(
    name="shop",
    source="https://git.example.com/team/shop.git",
    webhook=WebhookConfig(provider="gitea"),
    forge=ForgeConfig(url="https://git.example.com", aliases=("git.internal",)),
)


@pytest.mark.parametrize(
    "url",
    [
        "https://git.example.com/team/shop",
        "https://bot:x@GIT.example.com:443/Team/Shop.git/",
        "git@git.example.com:team/shop.git",
        "ssh://git@git.example.com:22/team/shop.git",
        "https://git.internal:3000/team/shop.git",
        "git@git.internal:team/shop",
    ],
)
def test_one_repository_has_many_addresses(url: str) -> None:
    assert same_repository(APP.source, url, aliases=("git.internal",))


@pytest.mark.parametrize(
    "url",
    [
        "https://git.example.com/team/shop2",
        "https://git.example.com/team",
        "https://git.example.com:8443/team/shop",
        "https://git.example.com.evil.example/team/shop",
        "https://evil.example/team/shop",
        "https://evil.example/https://git.example.com/team/shop",
        "https://git.example.com@evil.example/team/shop",
        "https://[::1/team/shop",
        "https://git.example.com:99999/team/shop",
        "/team/shop",
        "",
    ],
)
def test_another_repository_is_another(url: str) -> None:
    assert not same_repository(APP.source, url, aliases=("git.internal",))


@given(st.text(max_size=60), st.text(max_size=60))
def test_comparing_addresses_never_fails(first: str, second: str) -> None:
    assert same_repository(first, second) == same_repository(second, first)


@pytest.mark.parametrize(
    ("pattern", "branch", "matches"),
    [
        ("main", "main", True),
        ("main", "Main", False),
        ("main", "main2", False),
        ("release/*", "release/1", True),
        ("release/*", "release/1/2", False),
        ("release/**", "release/1/2", True),
        ("**", "a/b/c", True),
        ("**/fix", "fix", True),
        ("**/fix", "a/b/fix", True),
        ("v?.x", "v1.x", True),
        ("", "", False),
    ],
)
def test_branches_are_matched_as_git_globs_are(pattern: str, branch: str, matches: bool) -> None:
    assert branch_matches(pattern, branch) is matches


def test_no_pattern_is_slow() -> None:
    assert not branch_matches("**/" * 60 + "*a" * 60 + "b", "a/" * 100 + "a" * 55)


@pytest.mark.parametrize(
    ("event", "app", "reason"),
    [
        (PUSH, APP, ""),
        (replace(PUSH, repositories=("https://git.example.com/team/other.git",)), APP, "another repository"),
        (replace(PUSH, repositories=()), APP, "another repository"),
        (replace(PUSH, ref="refs/heads/dev"), APP, "another branch: dev"),
        (replace(PUSH, default_branch="dev"), APP, "another branch: main"),
        (PUSH, replace(APP, ref="dev"), "another branch: main"),
        (replace(PUSH, ref="refs/heads/dev"), replace(APP, ref="dev"), ""),
        (
            replace(PUSH, ref="refs/heads/release/1"),
            replace(APP, webhook=WebhookConfig(provider="gitea", branches=("main", "release/*"))),
            "",
        ),
        (replace(PUSH, message="typo [Skip CI]"), APP, "the commit message asks to be skipped"),
        (replace(PUSH, message="typo\n\nskip-checks: true\n"), APP, "the commit message asks to be skipped"),
        (replace(PUSH, message="do not skip ci"), APP, ""),
    ],
)
def test_an_event_concerns_an_app_or_says_why_not(event: HookEvent, app: AppConfig, reason: str) -> None:
    assert why_not(event, app) == reason
