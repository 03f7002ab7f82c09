"""HTTP over one socket: what goes out, what is read of what comes, and what is refused."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2ictl.wire import Connection, Lost, Request, Unreadable, Way

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

    def heard(self, *pieces: bytes) -> Iterator[bytes]:
        """A body, and an answer to it when all of it is on its way."""
        yield from pieces
        self.says(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

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
    world.asked(Request(method="PUT", target="/archive", body=world.heard(b"abc", b"", b"0123456789abcdef")))
    sent = world.engine.recv(1000).partition(b"\r\n\r\n")[2]
    assert sent == b"3\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n"


def test_a_body_whose_length_is_known_goes_out_as_it_is(world: Pair) -> None:
    world.asked(Request(method="PUT", target="/blob", body=world.heard(b"abc", b"", b"def"), size=6))
    assert world.engine.recv(1000).endswith(b"\r\nContent-Length: 6\r\n\r\nabcdef")
    assert world.connection.is_idle


@pytest.mark.parametrize("size", [5, 7])
def test_a_body_of_another_length_than_was_said_is_no_request(size: int, world: Pair) -> None:
    with pytest.raises(ValueError, match="is not as long as it was said to be"):
        world.asked(Request(method="PUT", target="/blob", body=iter((b"abc", b"def")), size=size))
    assert not world.connection.is_idle


@pytest.mark.parametrize("name", ["X", "X\r\nY"])
@pytest.mark.parametrize("text", ["a\r\nb", "a\nb", "a\0b"])
def test_nothing_in_a_head_begins_a_line_of_its_own(name: str, text: str, world: Pair) -> None:
    with pytest.raises(ValueError, match="would begin another line"):
        world.asked(Request(method="GET", target="/", headers={name: text}))
    with pytest.raises(ValueError, match="would begin another line"):
        world.asked(Request(method="GET", target=f"/{text}"))


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
        (b"HTTP/1.1 200 OK\r\nX: a:\r\n\t b: c \r\nTransfer-Encoding:\r\n chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", b"x"),
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
        b"HTTP/1.1 200 OK\r\nno header\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n: of no name\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n goes on: with nothing\r\n\r\n",
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


def test_nothing_more_is_sent_to_one_who_has_answered(world: Pair) -> None:
    def body() -> Iterator[bytes]:
        yield b"first"
        world.says(b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n")
        yield b"second"
        raise AssertionError("nobody listens to this")

    assert world.asked(Request(method="PUT", target="/blob", body=body(), size=1 << 30)) == (413, b"")
    assert world.engine.recv(1000).endswith(b"\r\n\r\nfirst")
    assert not world.connection.is_idle


@pytest.mark.parametrize("said", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 104 So far\r\nUpload-Offset: 5\r\n\r\n"])
def test_who_only_says_that_he_goes_on_listening_gets_the_rest(said: bytes, world: Pair) -> None:
    def body() -> Iterator[bytes]:
        yield b"first"
        world.says(said)
        yield from world.heard(b"second", b"third")

    assert world.asked(Request(method="PUT", target="/blob", body=body(), size=16)) == (200, b"")
    assert world.engine.recv(1000).endswith(b"\r\n\r\nfirstsecondthird")
    assert world.connection.is_idle


def test_who_answers_and_takes_nothing_more_is_heard(world: Pair) -> None:
    answer = threading.Timer(0.01, world.says, [b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n"])
    world.connection.settimeout(0.1)
    answer.start()
    assert world.asked(Request(method="PUT", target="/blob", body=bytes(64 << 20))) == (413, b"")
    assert not world.connection.is_idle
    answer.join()


def test_who_takes_nothing_more_is_not_waited_for(world: Pair) -> None:
    world.connection.settimeout(0.05)
    with pytest.raises(Lost, match="nothing more is taken"):
        world.asked(Request(method="PUT", target="/blob", body=iter([bytes(1 << 20)] * 64), size=64 << 20))


def test_who_is_slow_and_steady_is_waited_for_however_long_all_of_it_takes(world: Pair) -> None:
    size, patience, pauses = 1 << 20, 0.3, 8
    world.connection.settimeout(patience)

    def listen() -> None:
        heard = world.engine.recv(size // pauses)
        left = size - len(heard.partition(b"\r\n\r\n")[2])
        while left:
            time.sleep(patience / 5)
            left -= len(world.engine.recv(min(size // pauses, left), socket.MSG_WAITALL))
        world.says(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    assert world.asked(Request(method="PUT", target="/blob", body=iter((bytes(size),)), size=size))[0] == 201
    thread.join()


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


@dataclass(slots=True)
class Dripping:
    """A wire on which every byte takes a second, and so is never silent for long."""

    left: bytes
    now: float = 0.0

    def recv(self, size: int, /) -> bytes:
        self.now += 1
        byte, self.left = self.left[:1], self.left[1:]
        return byte

    def send(self, data: memoryview, /) -> int:
        return len(data)

    def settimeout(self, seconds: float | None, /) -> None: ...

    def gettimeout(self) -> float | None: ...

    def fileno(self) -> int:
        return -1

    def close(self) -> None: ...


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 " + b"O" * 100,
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 100,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"x" * 100,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"A: b\r\n" * 100,
    ],
)
def test_whoever_tells_his_head_byte_by_byte_is_not_heard_to_the_end(answer: bytes) -> None:
    wire = Dripping(answer)
    connection = Connection(Way(wire=wire, close=wire.close), clock=lambda: wire.now)
    with pytest.raises(Unreadable, match="has no end"):
        b"".join(connection.body(connection.ask(GET), method="GET"))
    assert len(answer) - len(wire.left) < 130


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
