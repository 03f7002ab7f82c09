"""The one door through which the errors of the Docker SDK pass; the engine itself is tests/engine/test_docker.py."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import docker.errors
import pytest

from s2ictl.engines.connection import connected, door, translated
from s2ictl.errors import (
    CommitContainerFailed,
    LimitReached,
    S2IError,
    Unreachable,
)
from tests.fakes.loopback import served


def test_every_error_of_the_library_has_one_of_ours() -> None:
    kinds = [kind for kind in vars(docker.errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert len(kinds) > 15
    for kind in kinds:
        needed = [p for p in inspect.signature(kind.__init__).parameters.values() if p.default is p.empty]
        words = ["x" for p in needed if p.kind is p.POSITIONAL_OR_KEYWORD][1:]
        assert isinstance(translated(kind(*words), "do it", CommitContainerFailed), S2IError), kind


def test_an_error_of_ours_passes_the_door_unchanged() -> None:
    with pytest.raises(LimitReached), door("do it"):
        raise LimitReached("late")


def test_a_full_disk_is_a_limit() -> None:
    error = docker.errors.APIError("x", explanation="write /x: no space left on device")
    failure = translated(error, "commit the container", CommitContainerFailed)
    assert isinstance(failure, LimitReached)


def test_no_engine_is_said_with_what_to_do() -> None:
    try:
        raise docker.errors.DockerException("fetching") from FileNotFoundError(2, "No such file or directory")
    except docker.errors.DockerException as error:
        failure = translated(error, "reach the container engine", Unreachable)
    assert isinstance(failure, Unreachable)
    assert failure.message == "could not reach the container engine: its socket does not exist"
    assert "DOCKER_HOST" in failure.hint


def test_an_engine_that_may_not_be_spoken_to_is_said_with_what_to_do() -> None:
    failure = translated(PermissionError(13, "Permission denied"), "say its version", Unreachable)
    assert isinstance(failure, Unreachable)
    assert "join the group that may use its socket" in failure.hint
    assert len(failure.message.splitlines()) == 1


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
