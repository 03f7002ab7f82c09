"""Exchanges with hosts that are slow, gone or hostile, and what is said of them."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from s2ictl.errors import ConnectionLost, InvalidUsage, LimitReached, Refused, Unreachable
from s2ictl.events import Emit, Event, Notice, Progress
from s2ictl.transport import Patience, Transport, retry_after
from tests.fakes.registry import FakeRegistry, Fault, running
from tests.fakes.tls import speaking


@pytest.fixture
def server() -> Iterator[FakeRegistry]:
    with running(FakeRegistry()) as server:
        yield server


@pytest.fixture
def slept() -> list[float]:
    return []


@pytest.fixture
def transport(emit: Emit, slept: list[float]) -> Iterator[Transport]:
    with Transport({}, emit=emit, patience=Patience(stall=0.2), sleep=slept.append) as transport:
        yield transport


def url(server: FakeRegistry, path: str = "/v2/") -> str:
    return f"http://{server.host}{path}"


# -------------------------------------------------------------------------------------------------------- exchanges


def test_an_answer_comes_whole_with_its_headers_in_lower_case(server: FakeRegistry, transport: Transport) -> None:
    answer = transport.request("GET", url(server))
    assert (answer.status, answer.headers["content-length"], answer.body) == (200, "2", b"{}")


def test_what_passes_by_itself_is_asked_again_and_said(
    server: FakeRegistry, transport: Transport, slept: list[float], events: list[Event]
) -> None:
    server.faults.append(Fault(method="GET", path="/v2/", status=503, times=4))
    assert transport.request("GET", url(server)).status == 200
    assert slept == [0.5, 1.0, 2.0, 4.0]
    assert events[0] == Notice(text="the answer was 503; asking again in 0.5 s", level="warning")


def test_what_does_not_pass_is_answered_as_it_is(server: FakeRegistry, transport: Transport) -> None:
    server.faults.append(Fault(method="GET", path="/v2/", status=503, times=99))
    assert transport.request("GET", url(server)).status == 503
    assert server.tried("GET") == 5


def test_an_answer_larger_than_its_limit_is_given_up(server: FakeRegistry, transport: Transport) -> None:
    server.faults.append(Fault(method="GET", path="/v2/", status=200, body=bytes(1000)))
    with pytest.raises(LimitReached, match="is larger than 999 bytes"):
        transport.request("GET", url(server), limit=999)


def test_a_silent_host_is_not_waited_for(server: FakeRegistry, transport: Transport) -> None:
    server.faults.append(Fault(method="GET", path="/v2/", action="stall"))
    with pytest.raises(ConnectionLost, match="it fell silent"):
        transport.once("GET", url(server))


def test_half_an_answer_is_none(server: FakeRegistry, transport: Transport) -> None:
    server.faults.append(Fault(method="GET", path="/v2/", action="truncate"))
    with pytest.raises(ConnectionLost, match="the connection broke off"):
        transport.once("GET", url(server))


def test_a_host_that_has_answered_and_is_gone_is_being_restarted(transport: Transport) -> None:
    with running(FakeRegistry()) as server:
        transport.once("GET", url(server))
    with pytest.raises(ConnectionLost):
        transport.once("GET", url(server))


def test_a_redirect_to_another_host_is_followed_without_the_login(server: FakeRegistry, transport: Transport) -> None:
    with running(FakeRegistry()) as other:
        server.faults.append(Fault(method="GET", path="/v2/", status=302, headers={"Location": url(other)}))
        assert transport.request("GET", url(server), headers={"Authorization": "canary"}).status == 200
    assert [one.headers.get("Authorization") for one in (*server.asked, *other.asked)] == ["canary", None]


@pytest.mark.parametrize("target", ["file:///etc/passwd", "gopher://127.0.0.1/", "http://[", "http://127.0.0.1:99999/"])
def test_a_redirect_to_no_web_address_is_refused(target: str, server: FakeRegistry, transport: Transport) -> None:
    server.faults.append(Fault(method="GET", path="/v2/", status=302, headers={"Location": target}))
    with pytest.raises(Refused, match="redirects to"):
        transport.request("GET", url(server))


def test_a_circle_of_redirects_ends(server: FakeRegistry, transport: Transport) -> None:
    server.faults.append(Fault(method="GET", path="/v2/", status=302, headers={"Location": "/v2/"}, times=99))
    with pytest.raises(Refused, match="more than 5 times"):
        transport.request("GET", url(server))


def test_nothing_that_is_sent_follows_a_redirect(server: FakeRegistry, transport: Transport) -> None:
    server.faults.append(Fault(method="POST", path="/v2/", status=307, headers={"Location": "/elsewhere"}))
    assert transport.request("POST", url(server), body=b"canary").status == 307
    assert server.tried("POST") == 1


def test_a_proxy_is_asked_with_its_own_login_alone(server: FakeRegistry, emit: Emit) -> None:
    environ = {"http_proxy": f"http://proxy:canary@{server.host}"}
    with Transport(environ, emit=emit) as transport:
        transport.once("GET", "http://registry.invalid/v2/")
    asked = server.asked[0]
    assert asked.path == "http://registry.invalid/v2/"
    assert (asked.headers["Proxy-Authorization"], asked.headers["Host"]) == (
        "Basic cHJveHk6Y2FuYXJ5",
        "registry.invalid",
    )


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n", "it answered 407"),
        (b"", "closed"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "it begins with b'SSH"),
    ],
)
def test_a_proxy_that_lets_nothing_through_is_said_so(answer: bytes, why: str, emit: Emit) -> None:
    with raw_server(answer) as proxy, Transport({"HTTPS_PROXY": proxy}, emit=emit) as transport:  # noqa: SIM117
        with pytest.raises(Unreachable, match=r"registry.invalid: the proxy did not let it through") as caught:
            transport.once("GET", "https://registry.invalid/v2/")
    assert why in caught.value.detail


def test_a_proxy_that_wants_a_login_is_not_taken_for_the_host(server: FakeRegistry, emit: Emit) -> None:
    server.faults.append(Fault(method="GET", path="/v2/", status=407))
    with (
        Transport({"http_proxy": f"http://{server.host}"}, emit=emit) as transport,
        pytest.raises(Unreachable, match=r"could not reach registry.invalid: the proxy did not let it through"),
    ):
        transport.request("GET", "http://registry.invalid/v2/")


def test_an_answer_that_nobody_reads_may_break_off(transport: Transport) -> None:
    with (
        raw_server(b"HTTP/1.1 401 No\r\nContent-Length: 5\r\n\r\nhe") as address,
        transport.open("GET", address) as answer,
    ):
        assert answer.status == 401


@pytest.mark.parametrize("host", ["\u00fc..de", "\u00fc" * 64, "a b", "a\x01b", "a..b"])
def test_what_is_no_name_of_a_host_is_said_so(host: str, transport: Transport) -> None:
    with pytest.raises(Unreachable, match="there is no such host name"):
        transport.once("GET", f"http://{host}/")


# ------------------------------------------------------------------------------------------------------------- TLS


def answering(content: bytes, *, politely: bool) -> Callable[[ssl.SSLSocket], None]:
    """Answers of which nobody says how long they are; the end is told, or just comes."""

    def say(wire: ssl.SSLSocket) -> None:
        wire.recv(65536)
        wire.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + content)
        if politely:
            wire.unwrap()

    return say


def test_an_answer_ends_where_the_host_says_so(tmp_path: Path, emit: Emit) -> None:
    with (
        speaking(tmp_path, answering(b"all of it", politely=True)) as (host, bundle),
        Transport({}, emit=emit, ca_bundle=bundle) as transport,
    ):
        assert transport.once("GET", f"https://{host}/").body == b"all of it"


def test_an_answer_that_somebody_in_between_could_have_ended_is_none(tmp_path: Path, emit: Emit) -> None:
    with (
        speaking(tmp_path, answering(b"half of", politely=False)) as (host, bundle),
        Transport({}, emit=emit, ca_bundle=bundle) as transport,
        pytest.raises(ConnectionLost, match="the connection broke off"),
    ):
        transport.once("GET", f"https://{host}/")


def test_a_host_that_never_says_hello_is_not_answering(emit: Emit) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        Transport({}, emit=emit, patience=Patience(connect=0.05)) as transport,
        pytest.raises(Unreachable, match="it does not answer") as caught,
    ):
        transport.once("GET", f"https://127.0.0.1:{listener.getsockname()[1]}/")
    assert not isinstance(caught.value, ConnectionLost)


# ------------------------------------------------------------------------------------------------------- downloads


def test_an_answer_is_laid_down_in_a_file_and_counted_on_its_way(
    server: FakeRegistry, transport: Transport, tmp_path: Path, events: list[Event]
) -> None:
    server.faults.append(Fault(method="GET", path="/a", status=200, body=b"x" * 1000))
    with (tmp_path / "file").open("wb+") as file:
        answer = transport.download(url(server, "/a"), file, limit=1000, seconds=9)
    assert (answer.status, answer.body, (tmp_path / "file").read_bytes()) == (200, b"", b"x" * 1000)
    assert events[-1] == Progress(subject=url(server, "/a"), done=1000, total=1000)


def test_a_download_that_breaks_off_begins_again(server: FakeRegistry, transport: Transport, tmp_path: Path) -> None:
    server.faults.append(Fault(method="GET", path="/v2/", action="truncate"))
    server.faults.append(Fault(method="GET", path="/v2/", status=503, body=b"in between"))
    with (tmp_path / "file").open("wb+") as file:
        transport.download(url(server), file, limit=1000, seconds=9)
    assert (tmp_path / "file").read_bytes() == b"{}"
    assert server.tried("GET") == 3


def test_what_is_no_success_is_answered_and_not_laid_down(
    server: FakeRegistry, transport: Transport, tmp_path: Path
) -> None:
    server.faults.append(Fault(method="GET", path="/a", status=404, body=b"<html>"))
    with (tmp_path / "file").open("wb+") as file:
        assert transport.download(url(server, "/a"), file, limit=1000, seconds=9).status == 404
    assert (tmp_path / "file").read_bytes() == b""


def test_a_download_has_an_end_in_bytes_and_in_seconds(
    server: FakeRegistry, transport: Transport, tmp_path: Path
) -> None:
    server.faults.append(Fault(method="GET", path="/a", status=200, body=b"x" * 1000, times=2))
    with (tmp_path / "file").open("wb+") as file:
        with pytest.raises(LimitReached, match="larger than 999 bytes"):
            transport.download(url(server, "/a"), file, limit=999, seconds=9)
        with pytest.raises(LimitReached, match="takes too long"):
            transport.download(url(server, "/a"), file, limit=1000, seconds=0)


@contextmanager
def raw_server(*pieces: bytes, pause: float = 0.0) -> Iterator[str]:
    """Says these pieces to one client, whatever it asks."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                connection.recv(65536)
                for piece in pieces:
                    connection.sendall(piece)
                    time.sleep(pause)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/a"
        thread.join()


def test_a_host_that_drips_is_left_at_the_end_of_the_time(transport: Transport, tmp_path: Path) -> None:
    drops = [b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", *([b"x"] * 40)]
    with raw_server(*drops, pause=0.02) as address, (tmp_path / "file").open("wb+") as file:  # noqa: SIM117
        with pytest.raises(LimitReached, match="takes too long"):
            transport.download(address, file, limit=1 << 20, seconds=0.1)


@pytest.mark.parametrize("length", ["5" * 5000, "-1", "five", "\u0665", "5, 6"])
def test_an_answer_with_a_length_that_is_none_is_none(transport: Transport, length: str) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n".encode()
    with raw_server(head, b"hello") as address, pytest.raises(ConnectionLost, match="does not answer as an HTTP"):
        transport.once("GET", address)


def test_an_answer_without_a_length_is_read_to_its_end_and_not_beyond_the_limit(
    transport: Transport, tmp_path: Path
) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with raw_server(head, b"5\r\nhello\r\n", b"1\r\n!\r\n0\r\n\r\n") as address, (tmp_path / "a").open("wb+") as file:
        transport.download(address, file, limit=100, seconds=9)
    assert (tmp_path / "a").read_bytes() == b"hello!"
    endless = [b"64\r\n" + b"x" * 100 + b"\r\n"] * 50
    with raw_server(head, *endless) as address, (tmp_path / "b").open("wb+") as file:  # noqa: SIM117
        with pytest.raises(LimitReached, match="larger than 1000 bytes"):
            transport.download(address, file, limit=1000, seconds=9)


def test_a_chunked_answer_that_breaks_off_is_none(transport: Transport) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with raw_server(head, b"5\r\nhel") as address, pytest.raises(ConnectionLost):
        transport.once("GET", address)


# ------------------------------------------------------------------------------------------------------- settings


def test_a_bundle_that_is_none_is_a_wrong_value(tmp_path: Path, emit: Emit) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_text("no certificate")
    with (
        Transport({}, emit=emit, ca_bundle=bundle) as transport,
        pytest.raises(InvalidUsage, match="is not a file of certificates"),
    ):
        transport.once("GET", "https://127.0.0.1:1/")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("86400", 60.0),
        ("9" * 400, 60.0),
        ("Thu, 01 Jan 1970 00:16:50 GMT", 10.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 60.0),
        ("", None),
        ("-1", None),
        ("soon", None),
        ("\u0661", None),
    ],
)
def test_the_wait_that_is_asked_for_is_read_and_bounded(text: str, seconds: float | None) -> None:
    assert retry_after(text, now=1000.0) == seconds
