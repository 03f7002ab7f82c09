"""The one door through which the errors of the Docker SDK pass; the engine itself is tests/engine/test_docker.py."""

from __future__ import annotations

import inspect

import docker.errors
import pytest

from s2ictl.engines.connection import door, translated
from s2ictl.errors import (
    CommitContainerFailed,
    LimitReached,
    S2IError,
    Unreachable,
)


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
