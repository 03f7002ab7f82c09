"""Connections are kept for the next exchange, and given up when nobody could say what would come on them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from s2ictl.connections import Connections
from s2ictl.wire import Lost, Request
from tests.fakes.registry import FakeRegistry, Fault, running


@pytest.fixture
def server() -> Iterator[FakeRegistry]:
    with running(FakeRegistry()) as server:
        yield server


@pytest.fixture
def connections() -> Iterator[Connections]:
    made = Connections({}, ca_bundle=None, patience=2.0)
    yield made
    made.close()


def ask(
    connections: Connections, server: FakeRegistry, path: str = "/v2/", *, method: str = "GET"
) -> tuple[int, bytes]:
    request, url = Request(method=method, target=""), f"http://{server.host}{path}"
    with connections.exchange(request, url, silence=2.0) as (head, body):
        return head.status, b"".join(body)


def test_one_connection_serves_for_many_exchanges(connections: Connections, server: FakeRegistry) -> None:
    assert [ask(connections, server) for _ in range(3)] == [(200, b"{}")] * 3
    assert len(server.connections) == 1


def test_an_answer_that_nobody_read_is_read_to_its_end_where_that_is_short(
    connections: Connections, server: FakeRegistry
) -> None:
    with connections.exchange(Request(method="GET", target=""), f"http://{server.host}/v2/", silence=2.0) as (head, _):
        assert head.status == 200
    ask(connections, server)
    assert len(server.connections) == 1


def test_an_answer_that_nobody_read_ends_its_connection_where_that_is_long(
    connections: Connections, server: FakeRegistry
) -> None:
    server.faults.append(Fault(method="GET", path="/v2/", status=200, body=bytes(1 << 20)))
    with connections.exchange(Request(method="GET", target=""), f"http://{server.host}/v2/", silence=2.0) as (head, _):
        assert head.status == 200
    ask(connections, server)
    assert len(server.connections) == 2


@pytest.mark.parametrize(("method", "survives"), [("GET", True), ("POST", False)])
def test_a_kept_connection_that_dies_with_the_next_request_is_made_good_where_asking_twice_is_harmless(
    method: str, survives: bool, connections: Connections, server: FakeRegistry
) -> None:
    ask(connections, server)
    server.faults.append(Fault(method=method, path="/v2/", action="reset"))
    if survives:
        assert ask(connections, server, method=method) == (200, b"{}")
        return
    with pytest.raises(Lost):
        ask(connections, server, method=method)


def test_several_threads_have_a_connection_each(connections: Connections, server: FakeRegistry) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ask(connections, server), range(64)))
    assert answers == [(200, b"{}")] * 64
    assert len(server.connections) <= 8


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("", "/"),
        ("?a=b", "/?a=b"),
        ("/a b", "/a%20b"),
        ("/%2e/x?y=%2F#z", "/%2e/x?y=%2F"),
        ("/\u00fc", "/%C3%BC"),
    ],
)
def test_an_address_is_asked_for_as_it_is_spelled(
    path: str, asked: str, connections: Connections, server: FakeRegistry
) -> None:
    ask(connections, server, path)
    assert [one.path for one in server.asked] == [asked]
