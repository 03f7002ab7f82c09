"""Exchanges with hosts that are slow, gone or hostile, and what is said of them."""

from __future__ import annotations

import inspect
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from urllib3 import exceptions

from s2ictl import transport as module
from s2ictl.errors import ConnectionLost, InvalidUsage, LimitReached, Refused, Unreachable
from s2ictl.events import Emit, Event, Notice, Progress
from s2ictl.transport import Patience, Transport, retry_after, unreachable
from tests.fakes.registry import FakeRegistry, Fault, running


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


@pytest.mark.parametrize("length", ["5" * 5000, "-1", "five", "\u0665"])
def test_a_length_that_is_none_is_not_believed(transport: Transport, tmp_path: Path, length: str) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n".encode()
    with raw_server(head, b"hello") as address, (tmp_path / "file").open("wb+") as file:
        assert transport.download(address, file, limit=100, seconds=9).status == 200
    assert (tmp_path / "file").read_bytes() == b"hello"


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


# -------------------------------------------------------------------------------------------------- what went wrong


def certificate_error(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code = code
    return error


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (certificate_error(20), Unreachable, "its certificate is not trusted"),
        (certificate_error(10), Unreachable, "its certificate is not valid now"),
        (certificate_error(62), Unreachable, "its certificate is for another host"),
        (exceptions.SSLError(ssl.SSLError(1, "WRONG_VERSION_NUMBER")), Unreachable, "it does not speak TLS"),
        (socket.gaierror(-2, "Name or service not known"), Unreachable, "there is no such host name"),
        (ConnectionRefusedError(111, "Connection refused"), Unreachable, "connection refused"),
        (exceptions.ProxyError("no", OSError("Tunnel connection failed: 403")), Unreachable, "the proxy did not let"),
        (exceptions.ProtocolError("Connection aborted.", FileNotFoundError(2, "no")), Unreachable, "its socket does"),
        (ConnectionResetError(104, "reset"), ConnectionLost, "the connection broke off"),
        (exceptions.IncompleteRead(1, 2), ConnectionLost, "the connection broke off"),
        (TimeoutError("timed out"), ConnectionLost, "it fell silent"),
    ],
)
def test_each_trouble_has_its_own_words(error: Exception, kind: type[Unreachable], words: str) -> None:
    failure = unreachable(error, subject="registry.example.com")
    assert type(failure) is kind
    assert failure.message.startswith(f"could not reach registry.example.com: {words}")
    assert failure.hint


def test_the_trouble_is_found_below_what_other_libraries_put_around_it() -> None:
    outer = RuntimeError("Error while fetching server API version")
    outer.__cause__ = OSError(exceptions.MaxRetryError(None, "/", ConnectionRefusedError()))  # type: ignore[arg-type]
    failure = unreachable(outer)
    assert failure is not None
    assert failure.message == "could not reach the server: connection refused"


def test_what_has_nothing_to_do_with_the_network_is_nobody_s_business_here() -> None:
    assert unreachable(ValueError("a bug")) is None


def test_no_exception_of_urllib3_is_unmapped() -> None:
    ours = tuple(kind for kinds, _ in module._troubles() for kind in kinds)
    theirs = [
        kind
        for _, kind in inspect.getmembers(exceptions, inspect.isclass)
        if issubclass(kind, Exception) and not issubclass(kind, Warning) and kind.__module__ == exceptions.__name__
    ]
    assert [kind.__name__ for kind in theirs if not issubclass(kind, ours)] == []
    assert len(theirs) > 20
