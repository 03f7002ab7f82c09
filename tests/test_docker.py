"""The way to the Docker API, and the one door for what goes wrong on it; the engine: tests/engine/test_docker.py."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from s2ictl.engines.client import ApiError
from s2ictl.engines.connection import connected, door
from s2ictl.errors import (
    CommitContainerFailed,
    LimitReached,
    S2IError,
    Unreachable,
)
from s2ictl.wire import Lost, Unreadable
from tests.fakes.loopback import served


def test_an_error_of_ours_passes_the_door_unchanged() -> None:
    with pytest.raises(LimitReached), door("do it"):
        raise LimitReached("late")


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        (ApiError(500, "something else"), CommitContainerFailed),
        (ApiError(500, "write /x: no space left on device"), LimitReached),
        (Unreadable("it is no JSON"), CommitContainerFailed),
        (Lost("the answer broke off"), Unreachable),
        (TimeoutError("timed out"), Unreachable),
    ],
)
def test_whatever_befalls_a_request_is_an_error_of_ours(cause: Exception, kind: type[S2IError]) -> None:
    with pytest.raises(S2IError) as failure, door("commit the container", CommitContainerFailed):
        raise cause
    assert (type(failure.value), failure.value.__cause__) == (kind, cause)


@pytest.mark.parametrize("fault", [PermissionError("a file of the source"), ValueError("a fault of ours")])
def test_what_is_no_matter_of_the_engine_passes_the_door_as_it_is(fault: Exception) -> None:
    with pytest.raises(type(fault)), door("upload into the container"):
        raise fault


def test_no_engine_is_said_with_what_to_do() -> None:
    with pytest.raises(Unreachable) as failure, connected({"DOCKER_HOST": "unix:///nonexistent/docker.sock"}):
        pytest.fail("nobody is there")
    assert failure.value.message == "could not reach the container engine: its socket does not exist"
    assert "DOCKER_HOST" in failure.value.hint


def test_an_engine_that_may_not_be_spoken_to_is_said_with_what_to_do() -> None:
    with pytest.raises(Unreachable) as failure, door("say its version"):
        raise Lost("denied") from PermissionError(13, "Permission denied")
    assert "join the group that may use its socket" in failure.value.hint
    assert len(failure.value.message.splitlines()) == 1


def test_a_name_that_no_host_can_have_is_out_of_reach() -> None:
    with pytest.raises(Unreachable), connected({"DOCKER_HOST": "tcp://a..b"}):
        pytest.fail("nobody is there")


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ({"ApiVersion": "1.12"}, "could not say its version: the engine is too old"),
        ({"Message": "not an engine"}, "could not say its version"),
    ],
)
def test_an_engine_that_is_too_old_or_none_is_told_as_such(version: dict[str, str], said: str) -> None:
    with (
        answering(json.dumps(version).encode()) as host,
        pytest.raises(Unreachable) as failure,
        connected({"DOCKER_HOST": host}),
    ):
        pytest.fail("nobody can work with it")
    assert failure.value.message == said


@contextmanager
def answering(body: bytes) -> Iterator[str]:
    """A server that has the same answer to everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Not into the tests' output."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    with served(server):
        yield f"tcp://127.0.0.1:{server.server_port}"
