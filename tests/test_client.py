"""The Docker API asked: which version is spoken, which connection is used again, and how an answer is read."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from s2ictl.engines import connection
from s2ictl.engines.client import Api, ApiError
from s2ictl.engines.containers import Removals
from s2ictl.errors import Unreachable
from s2ictl.wire import Lost, Unreadable, Way

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


def told(value: object, status: bytes = b"200 OK") -> bytes:
    body = json.dumps(value).encode()
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


@dataclass(slots=True, kw_only=True)
class Engine:
    """What is said on each connection, an answer to each request (nothing: it is closed), and what was asked there."""

    says: list[tuple[bytes, ...]]
    asked: list[list[str]] = field(default_factory=list)
    ends: list[socket.socket] = field(default_factory=list)

    def dial(self) -> Way:
        ours, theirs = socket.socketpair()
        self.ends.append(theirs)
        self.asked.append([])
        threading.Thread(target=self._serve, args=(theirs, len(self.asked) - 1), daemon=True).start()
        return Way(wire=ours, close=ours.close)

    def _serve(self, end: socket.socket, number: int) -> None:
        for answer in self.says[number]:
            self.asked[number].append(end.recv(1 << 16).decode().partition(" HTTP/1.1")[0])
            if answer:
                end.sendall(answer)
            else:
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def engine(*says: tuple[bytes, ...], clock: Callable[[], float] = time.monotonic) -> Iterator[tuple[Api, Engine]]:
    made = Engine(says=list(says))
    api = Api(made.dial, clock=clock)
    yield api, made
    api.close()
    for end in made.ends:
        end.close()


@pytest.mark.parametrize(
    ("theirs", "spoken"),
    [
        ({"ApiVersion": "1.41", "MinAPIVersion": "1.12"}, "/v1.41/info"),
        ({"ApiVersion": "1.99", "MinAPIVersion": "1.44"}, "/v1.51/info"),
        ({"ApiVersion": "1.25"}, "/v1.25/info"),
    ],
)
def test_the_newest_version_is_spoken_that_both_know(theirs: dict[str, str], spoken: str) -> None:
    with engine((told(theirs), OK)) as (api, other):
        api.greet()
        assert connection.ask(api, "GET", "info") == {}
        assert other.asked == [["GET /version", f"GET {spoken}"]]


@pytest.mark.parametrize(
    "theirs",
    [{"ApiVersion": "1.24"}, {"ApiVersion": "9.9", "MinAPIVersion": "9.0"}, {"ApiVersion": "1.4x"}, {}],
)
def test_who_knows_no_version_of_ours_is_not_worked_with(theirs: dict[str, str]) -> None:
    with engine((told(theirs),)) as (api, _), pytest.raises(Unreachable, match="could not say its version"):
        api.greet()


def test_what_is_asked_for_is_told_as_the_engine_reads_it() -> None:
    with engine((OK,)) as (api, other):
        asked = {"all": 1, "filters": {"name": ["a b"]}, "changes": ["ENV A=b", "CMD x"]}
        connection.ask(api, "GET", "networks/my net?../x", asked)
        query = "all=1&filters=%7B%22name%22%3A+%5B%22a+b%22%5D%7D&changes=ENV+A%3Db&changes=CMD+x"
        assert other.asked == [[f"GET /networks/my%20net%3F../x?{query}"]]


def test_one_connection_serves_all_that_is_asked_one_after_the_other() -> None:
    with engine((OK, told({"message": "gone"}, b"404 No"), OK)) as (api, other):
        connection.ask(api, "GET", "one")
        with connection.answer(api, "GET", "two", {}, silence=1, passing=(404,)) as given:
            assert given.status_code == 404  # and nobody reads why
        connection.ask(api, "GET", "three")
        assert len(other.ends) == 1


def test_what_is_asked_while_another_answer_is_read_has_a_connection_of_its_own() -> None:
    with engine((OK,), (OK,)) as (api, other):
        with connection.answer(api, "GET", "one", {}, silence=1) as given:
            connection.ask(api, "GET", "two")
            assert given.json() == {}
        assert [len(asked) for asked in other.asked] == [1, 1]


def test_a_connection_that_the_engine_has_closed_is_not_used_again() -> None:
    with engine((OK,), (OK,)) as (api, other):
        connection.ask(api, "GET", "one")
        other.ends[0].shutdown(socket.SHUT_WR)
        connection.ask(api, "GET", "two")
        assert len(other.ends) == 2


def test_a_connection_that_was_idle_for_long_is_not_used_again() -> None:
    moments = iter((0.0, 20.0, 25.0, 60.0, 60.0))
    with engine((OK, OK), (OK,), clock=lambda: next(moments)) as (api, other):
        for what in ("one", "two", "three"):
            connection.ask(api, "GET", what)
        assert [len(asked) for asked in other.asked] == [2, 1]


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_what_may_be_done_twice_is_asked_again_when_an_idle_connection_dies_of_it(method: str) -> None:
    with engine((OK, b""), (b"HTTP/1.1 204 No\r\n\r\n",)) as (api, other):
        connection.ask(api, "GET", "one")
        assert connection.ask(api, method, "two") is None
        assert other.asked == [["GET /one", f"{method} /two"], [f"{method} /two"]]


def test_what_must_not_be_done_twice_is_asked_once() -> None:
    with engine((OK, b""), (OK,)) as (api, other):
        connection.ask(api, "GET", "one")
        with pytest.raises(Lost):
            connection.ask(api, "POST", "commit", json={})
        assert other.asked == [["GET /one", "POST /commit"]]


def test_a_new_connection_that_dies_is_not_tried_again() -> None:
    with engine((b"",), (OK,)) as (api, other), pytest.raises(Lost):
        connection.ask(api, "GET", "one")
    assert len(other.ends) == 1


def test_a_stream_is_none_unless_it_was_asked_for_and_agreed_to() -> None:
    upgraded = b"HTTP/1.1 101 UPGRADED\r\n\r\n"
    moved = b"HTTP/1.1 301 Moved\r\nContent-Length: 5\r\n\r\nthere"
    with engine((upgraded,), (moved,), (upgraded,)) as (api, _):
        with pytest.raises(Unreadable):
            connection.ask(api, "GET", "info")
        with pytest.raises(ApiError, match="301: there"), connection.hijacked(api, "attach", {}):
            pytest.fail("it is no stream")
        with connection.hijacked(api, "attach", {}) as wire:
            wire.settimeout(0.01)
            with pytest.raises(TimeoutError):
                wire.recv(1)


def test_an_answer_that_was_not_read_to_its_end_leaves_nothing_for_the_next() -> None:
    endless = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
    with engine((endless,), (OK,)) as (api, _):
        with connection.answer(api, "GET", "archive", {}, silence=1) as given:
            assert next(given.iter_content(3)) == b"hel"
        assert connection.ask(api, "GET", "two") == {}


def test_what_the_engine_refuses_is_told_in_its_own_words() -> None:
    with engine(
        (told({"message": "no such image"}, b"404 No"), b"HTTP/1.1 502 No\r\nContent-Length: 3\r\n\r\nbad")
    ) as (api, _):
        for expected in ((404, "no such image"), (502, "bad")):
            with pytest.raises(ApiError) as refused:
                connection.ask(api, "GET", "images/x/json")
            assert (refused.value.status, refused.value.text) == expected


def test_records_come_a_line_at_a_time_however_they_are_cut() -> None:
    body = (
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{"a"\r\n9\r\n:1}\r\n{"b"\r\n4\r\n:2}\n\r\n0\r\n\r\n'
    )
    with engine((body,)) as (api, _), connection.answer(api, "POST", "push", {}, silence=1) as given:
        assert list(given.records()) == [{"a": 1}, {"b": 2}]


@pytest.mark.parametrize("line", [b"[1]", b"{", b"\xff", b"[" * 50_000])
def test_a_record_that_is_none_is_said_to_be_unreadable(line: bytes) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(line), line)
    with (
        engine((answer,)) as (api, _),
        connection.answer(api, "POST", "push", {}, silence=1) as given,
        pytest.raises(Unreadable),
    ):
        list(given.records())


def test_an_engine_that_is_gone_is_lost() -> None:
    def dial() -> Way:
        raise ConnectionRefusedError(111, "Connection refused")

    with pytest.raises(Lost):
        connection.ask(Api(dial), "GET", "info")


def test_the_work_goes_on_while_containers_are_removed_and_nobody_leaves_before_the_last() -> None:
    may, gone = threading.Event(), []

    def remove(name: str) -> None:
        may.wait(5)
        gone.append(name)

    removals = Removals()
    for name in ("one", "two"):
        removals.begin(lambda name=name: remove(name))  # type: ignore[misc]
    assert gone == []
    may.set()
    removals.finish()
    assert sorted(gone) == ["one", "two"]
