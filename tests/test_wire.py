"""HTTP over one socket: what goes out, what is read of what comes, and what is refused."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2ictl.engines.wire import Connection, Lost, Request, Unreadable, Way

GET = Request(method="GET", target="/version")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A connection, and the engine's end of it."""

    connection: Connection
    engine: socket.socket

    def says(self, *answers: bytes, ends: bool = False) -> None:
        self.engine.sendall(b"".join(answers))
        if ends:
            self.engine.shutdown(socket.SHUT_WR)

    def asked(self, request: Request = GET) -> tuple[int, bytes]:
        head = self.connection.ask(request)
        return head.status, b"".join(self.connection.body(head, method=request.method))


def pair() -> Pair:
    ours, theirs = socket.socketpair()
    ours.settimeout(2)
    return Pair(connection=Connection(Way(wire=ours, close=ours.close)), engine=theirs)


@pytest.fixture
def world() -> Iterator[Pair]:
    made = pair()
    with made.engine:
        yield made
        made.connection.close()


def test_a_request_is_told_with_its_length(world: Pair) -> None:
    world.says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    assert world.asked(Request(method="POST", target="/commit?a=b", headers={"X": "y"}, body=b"{}")) == (200, b"ok")
    assert world.engine.recv(1000) == (
        b"POST /commit?a=b HTTP/1.1\r\nHost: docker\r\nUser-Agent: s2ictl\r\nX: y\r\nContent-Length: 2\r\n\r\n{}"
    )


def test_a_body_of_unknown_length_goes_out_in_chunks_and_an_empty_one_does_not_end_it(world: Pair) -> None:
    world.says(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    world.asked(Request(method="PUT", target="/archive", body=iter((b"abc", b"", b"0123456789abcdef"))))
    sent = world.engine.recv(1000).partition(b"\r\n\r\n")[2]
    assert sent == b"3\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "read"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nTrailer: x\r\n\r\n",
            b"hello",
        ),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b""),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", b"x"),
        (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\nx", b"x"),
    ],
)
def test_an_answer_that_says_its_end_leaves_the_connection_for_the_next(
    world: Pair, answer: bytes, read: bytes
) -> None:
    for _ in range(2):
        world.says(answer)
        assert world.asked() == (200, read)
        assert world.connection.is_idle
        assert not world.connection.is_stale()


def test_the_answer_to_a_look_has_no_body_whatever_length_it_tells(world: Pair) -> None:
    world.says(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n")
    assert world.asked(Request(method="HEAD", target="/archive")) == (200, b"")


def test_an_answer_that_ends_with_the_connection_is_read_to_the_end(world: Pair) -> None:
    world.says(b"HTTP/1.0 200 OK\r\n\r\nall of it", ends=True)
    assert world.asked() == (200, b"all of it")
    assert not world.connection.is_idle


@pytest.mark.parametrize(
    "begin", [b"HTTP/1.1 200 OK\r\nConnection: close", b"HTTP/1.1 200 OK\r\nConnection: Te, Close", b"HTTP/1.0 200 OK"]
)
def test_a_connection_that_is_to_be_closed_is_not_used_again(world: Pair, begin: bytes) -> None:
    world.says(begin + b"\r\nContent-Length: 1\r\n\r\nx")
    world.asked()
    assert not world.connection.is_idle


def test_what_the_engine_closed_meanwhile_is_stale(world: Pair) -> None:
    world.says(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ends=True)
    world.asked()
    assert world.connection.is_stale()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n",
    ],
)
def test_an_answer_that_breaks_off_is_lost(world: Pair, answer: bytes) -> None:
    world.says(answer, ends=True)
    with pytest.raises(Lost):
        world.asked()


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 2\r\n\r\n",
        b"HTTP/1.1 102 Wait\r\n\r\n" * 1000,
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"Trailer: without end\r\n" * 4000,
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
    ],
)
def test_what_is_no_answer_of_http_is_said_to_be_none(world: Pair, answer: bytes) -> None:
    world.says(answer)
    with pytest.raises(Unreadable):
        world.asked()


def test_an_engine_that_says_nothing_is_not_waited_for_without_end(world: Pair) -> None:
    world.connection.settimeout(0.01)
    with pytest.raises(TimeoutError):
        world.asked()


def test_an_engine_that_refuses_in_the_middle_of_an_upload_is_heard(world: Pair) -> None:
    def endless() -> Iterator[bytes]:
        yield b"first"
        world.says(b"HTTP/1.1 507 No\r\nContent-Length: 4\r\n\r\nfull")
        world.engine.close()
        while True:
            yield bytes(1 << 20)

    assert world.asked(Request(method="PUT", target="/archive", body=endless())) == (507, b"full")
    assert not world.connection.is_idle  # whatever comes next would be taken for the rest of the body


def test_what_fails_in_making_the_body_is_no_fault_of_the_wire(world: Pair) -> None:
    def broken() -> Iterator[bytes]:
        yield b"first"
        raise PermissionError("a file of the source")

    with pytest.raises(PermissionError):
        world.asked(Request(method="PUT", target="/archive", body=broken()))
    assert not world.connection.is_idle


def test_a_connection_that_has_become_a_stream_says_first_what_came_with_the_answer(world: Pair) -> None:
    world.says(b"HTTP/1.1 101 UPGRADED\r\n\r\n", b"early")
    assert world.connection.ask(GET).status == 101
    world.says(b"late", ends=True)
    said = iter(lambda: world.connection.recv(3), b"")
    assert list(said) == [b"ear", b"ly", b"lat", b"e"]


@given(st.binary(max_size=300))
def test_whatever_comes_is_an_answer_or_one_of_two_failures(noise: bytes) -> None:
    made = pair()
    with made.engine:
        made.says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", noise, ends=True)
        try:
            made.asked()
        except (Lost, Unreadable):
            pass
        finally:
            made.connection.close()
