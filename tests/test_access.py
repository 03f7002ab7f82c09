"""What a registry is shown, and whom else it may send us to: its challenge is a stranger's word (CVE-2026-48978)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2ictl.access import Access, parse_challenges
from s2ictl.errors import LimitReached, Refused, RegistryFailed
from s2ictl.events import Emit
from s2ictl.models import Login, Secret
from s2ictl.transport import Patience, Response, Transport
from tests.fakes.registry import FakeRegistry, Fault, running

CORRECT = FakeRegistry().password
PULL, PUSH, MOUNT = "repository:app:pull", "repository:app:pull,push", "repository:base:pull"


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with running(FakeRegistry(auth="bearer")) as registry:
        yield registry


@pytest.fixture
def transport(emit: Emit) -> Iterator[Transport]:
    with Transport({}, emit=emit, patience=Patience(stall=1.0), sleep=lambda _: None) as transport:
        yield transport


def access(host: str, transport: Transport, *, password: str = CORRECT, kind: str = "") -> Access:
    login = Login(
        host=host,
        username="somebody",
        password=Secret(password),
        origin="the test",
        kind="identity" if kind == "identity" else "password",
    )
    return Access(host, transport=transport, logins=lambda _: login, insecure=frozenset())


def ask(registry: FakeRegistry, way: Access, transport: Transport, *scope: str) -> int:
    url = f"http://{registry.host}/v2/"
    return way.authorized(lambda login: transport.once("GET", url, headers=login), url, scope).status


def tokens(registry: FakeRegistry) -> int:
    return registry.tried("GET", "/token")


# ----------------------------------------------------------------------------------------------------------- tokens


def test_a_token_for_more_serves_for_less(registry: FakeRegistry, transport: Transport) -> None:
    way = access(registry.host, transport)
    assert [ask(registry, way, transport, *scope) for scope in ((PUSH, MOUNT), (PUSH,), (PULL,), (MOUNT,))] == [200] * 4
    assert tokens(registry) == 1


def test_a_token_for_less_is_not_shown_for_more(registry: FakeRegistry, transport: Transport) -> None:
    way = access(registry.host, transport)
    assert [ask(registry, way, transport, *scope) for scope in ((PULL,), (PUSH,), (PULL,))] == [200] * 3
    assert tokens(registry) == 2


def test_a_registry_that_wants_tokens_is_asked_without_one_only_once(
    registry: FakeRegistry, transport: Transport
) -> None:
    way = access(registry.host, transport)
    ask(registry, way, transport, PULL)
    ask(registry, way, transport, PUSH)
    asked = [
        one.headers.get("Authorization", "") for one in registry.asked if (one.method, one.path) == ("GET", "/v2/")
    ]
    assert asked == ["", "Bearer token-1", "Bearer token-2"]


def test_a_token_that_expired_is_renewed_once_and_no_more(registry: FakeRegistry, transport: Transport) -> None:
    way = access(registry.host, transport)
    ask(registry, way, transport, PULL)
    registry.tokens.clear()
    assert ask(registry, way, transport, PULL) == 200
    assert tokens(registry) == 2
    challenge = {"WWW-Authenticate": f'Bearer realm="http://{registry.host}/token"'}
    registry.faults.append(Fault(method="GET", path="/v2/", status=401, headers=challenge, times=99))
    assert ask(registry, way, transport, PULL) == 401
    assert tokens(registry) == 3


def test_a_password_that_is_wrong_is_shown_once(registry: FakeRegistry, transport: Transport) -> None:
    assert ask(registry, access(registry.host, transport, password="wrong"), transport, PULL) == 401
    assert tokens(registry) == 1


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"token": 5}', b'{"token": "a\\r\\nX: y"}', b'{"token": "\\u00e9"}', b"\xff", b"[" * 9999],
)
def test_a_token_that_is_none_is_no_way_in(body: bytes, registry: FakeRegistry, transport: Transport) -> None:
    registry.faults.append(Fault(method="GET", path="/token", status=200, body=body))
    with pytest.raises(RegistryFailed, match="gives no token"):
        ask(registry, access(registry.host, transport), transport, PULL)
    assert [one.headers.get("Authorization") for one in registry.asked if one.path == "/v2/"] == [None, None]


def test_a_token_service_that_says_too_much_is_not_listened_to(registry: FakeRegistry, transport: Transport) -> None:
    registry.faults.append(Fault(method="GET", path="/token", status=200, body=bytes(70_000)))
    with pytest.raises(LimitReached):
        ask(registry, access(registry.host, transport), transport, PULL)


def test_nothing_is_shown_to_another_host(registry: FakeRegistry, transport: Transport) -> None:
    way = access(registry.host, transport)
    ask(registry, way, transport, PULL)
    assert way.headers(f"http://{registry.host}/v2/", (PULL,)) == {"Authorization": "Bearer token-1"}
    name, _, port = registry.host.partition(":")
    for other in (f"https://{registry.host}/", f"http://{name}:1{port}/", "http://localhost/", "http://example.com/"):
        assert way.headers(other, (PULL,)) == {}
    shown: list[object] = []

    def refused(login: object) -> Response:
        shown.append(login)
        return Response(status=401, headers={"www-authenticate": 'Basic realm="x"'})

    assert way.authorized(refused, "http://example.com/upload", (PULL,)).status == 401
    assert shown == [{}]


# ------------------------------------------------------------------------------------------------------------ realms


@pytest.mark.parametrize(
    "realm",
    [
        "http://auth.example.com/token",
        "http://169.254.169.254/latest",
        "http://2852039166/latest",
        "http://[::ffff:169.254.169.254]/",
        "ftp://127.0.0.1/token",
        "file:///etc/passwd",
        "https://user:secret@127.0.0.1/token",
        "https://127.0.0.1:99999/",
        "http://[",
        "//x",
        "/token",
    ],
)
def test_a_realm_that_is_no_place_for_a_login_is_not_asked(
    realm: str, registry: FakeRegistry, transport: Transport
) -> None:
    registry.realm = realm
    with pytest.raises(Refused, match="which is not followed"):
        ask(registry, access(registry.host, transport), transport, PULL)
    assert tokens(registry) == 0


@pytest.mark.parametrize(
    "realm", ["http://127.0.0.1/token", "https://10.0.0.1/token", "https://[::1]/", "http://auth.example.com/"]
)
def test_a_public_registry_leads_behind_no_wall_and_to_no_plain_http(realm: str, transport: Transport) -> None:
    way = access("registry.example.com", transport)
    challenge = Response(status=401, headers={"www-authenticate": f'Bearer realm="{realm}"'})
    with pytest.raises(Refused, match=r"the registry registry.example.com sends logins to"):
        way.renew(challenge, (PULL,))


def test_an_identity_token_is_sent_to_a_realm_and_not_where_that_redirects(
    registry: FakeRegistry, transport: Transport
) -> None:
    with running(FakeRegistry()) as other:
        there = {"Location": f"http://{other.host}/token"}
        registry.faults.append(Fault(method="POST", path="/token", status=307, headers=there))
        assert ask(registry, access(registry.host, transport, kind="identity"), transport, PULL) == 307
    assert other.asked == []


def test_a_password_does_not_follow_a_token_service_s_redirect(registry: FakeRegistry, transport: Transport) -> None:
    with running(FakeRegistry()) as other:
        there = {"Location": f"http://{other.host}/token"}
        registry.faults.append(Fault(method="GET", path="/token", status=302, headers=there))
        ask(registry, access(registry.host, transport), transport, PULL)
    assert [one.headers.get("Authorization") for one in other.asked] == [None]


# -------------------------------------------------------------------------------------------------------- challenges


@pytest.mark.parametrize(
    ("header", "read"),
    [
        ('Basic realm="a, b"', {"basic": {"realm": "a, b"}}),
        (
            'Bearer realm="https://a/t",service=b , scope="c:d:pull,push"',
            {"bearer": {"realm": "https://a/t", "service": "b", "scope": "c:d:pull,push"}},
        ),
        ('Negotiate, BASIC Realm="x"', {"negotiate": {}, "basic": {"realm": "x"}}),
        ("a_" * 5000, {"a": {}}),
        ("_" * 10000, {}),
        ("", {}),
    ],
)
def test_a_challenge_is_read_with_all_its_schemes(header: str, read: dict[str, dict[str, str]]) -> None:
    assert parse_challenges(header) == read


@given(st.text(max_size=500))
def test_any_challenge_is_read_as_something(header: str) -> None:
    assert all(scheme.replace("_", "a").isalpha() for scheme in parse_challenges(header))
