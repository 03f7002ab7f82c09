"""The way to the Docker API, and the one door through which its library's errors leave; the only importer of docker."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from s2ictl.engines import verdicts
from s2ictl.errors import S2IError, Unreachable
from s2ictl.events import Emit, Notice
from s2ictl.transport import unreachable

ANSWER = 60.0  # seconds in which a living engine answers what costs it nothing
WORK = 600.0  # seconds of silence while it works: a commit of gigabytes says nothing until it is done
COMES_BACK = 60.0  # seconds in which an engine that was restarted answers again
_CONNECT = 10.0
_PAUSE = 0.25
T = TypeVar("T")

_WHICH_ENGINE = "start Docker or Podman, name another engine in DOCKER_HOST, or join the group that may use its socket"


@contextmanager
def connected(environ: Mapping[str, str]) -> Iterator[Any]:
    """The engine that the docker program would talk to."""
    with door("say its version"):
        api = _connect(environ)
    try:
        yield api
    finally:
        api.close()


def _connect(environ: Mapping[str, str]) -> Any:
    import docker
    from docker.constants import DEFAULT_UNIX_SOCKET
    from docker.context import ContextAPI

    where = docker.utils.kwargs_from_env(environment=dict(environ))
    if "base_url" not in where:
        where = {**ContextAPI.kwargs_from_context(environment=dict(environ)), **where}
    _knock(where.get("base_url") or DEFAULT_UNIX_SOCKET)
    api = docker.APIClient(version="auto", timeout=_CONNECT, **where)
    api.timeout = ANSWER
    return api


def _knock(address: str) -> None:
    """Find out whether anybody is there; the library leaves its socket open where nobody is."""
    scheme, _, path = address.removeprefix("http+").partition("://")
    if scheme == "unix":
        with socket.socket(socket.AF_UNIX) as door_bell:
            door_bell.settimeout(_CONNECT)
            door_bell.connect(path)


@contextmanager
def patient(api: Any, seconds: float) -> Iterator[None]:
    """Let the engine be silent for so long: the library knows one patience for all that it asks."""
    usual, api.timeout = api.timeout, seconds
    try:
        yield
    finally:
        api.timeout = usual


@contextmanager
def answer(
    api: Any,
    method: str,
    what: str,
    params: Mapping[str, object],
    *,
    silence: float | None,
    passing: tuple[int, ...] = (),
    **more: Any,
) -> Iterator[Any]:
    """An answer as it comes, closed again, and with a limit on its silence: the library's own ways know neither.

    What is refused with one of the `passing` codes is an answer too.
    """
    import docker.errors
    import requests.exceptions

    url = f"{api.base_url}/v{api.api_version}/{what}"
    with api.request(method, url, params=params, stream=True, timeout=(ANSWER, silence), **more) as given:
        try:
            if given.status_code not in passing:
                given.raise_for_status()
        except requests.exceptions.HTTPError as refused:
            docker.errors.create_api_error_from_http_exception(refused)
        yield given


def outlasting(act: Callable[[], T], emit: Emit, *, patience: float = COMES_BACK) -> T:
    """Do what may be done again; an engine that is being restarted is waited for, as long as that can take."""
    deadline, waiting = time.monotonic() + patience, False
    while True:
        try:
            return act()
        except Unreachable as error:
            if time.monotonic() > deadline:
                raise
            if not waiting:
                emit(Notice(text=f"{error.message}; it is waited for, {patience:.0f} s at most", level="warning"))
            waiting = True
            time.sleep(_PAUSE)


# ------------------------------------------------------------------------------------------- errors of the library


@contextmanager
def door(doing: str, failure: type[S2IError] = Unreachable) -> Iterator[None]:
    """Turn what docker, requests and urllib3 raise into one error of ours."""
    try:
        yield
    except S2IError:
        raise
    except Exception as cause:
        error = translated(cause, doing, failure)
        if error is None:
            raise
        raise error from cause


class Forgiven:
    """Passes over an answer that says no more than what was wanted: it is gone (404), or going (409)."""

    def __init__(self, *statuses: int) -> None:
        self._statuses = statuses

    def __enter__(self) -> None:
        """Nothing is to be done before."""

    def __exit__(self, _: object, error: BaseException | None, *__: object) -> bool:
        import docker.errors

        return isinstance(error, docker.errors.APIError) and error.status_code in self._statuses


def translated(cause: Exception, doing: str, failure: type[S2IError]) -> S2IError | None:
    """The error of ours for one of the library's; None for what is not the library's."""
    import docker.errors
    import requests.exceptions

    if isinstance(cause, docker.errors.APIError):
        text = verdicts.bounded(str(cause.explanation or cause))
        return verdicts.full(doing, text) if verdicts.is_full(text) else failure(f"could not {doing}", detail=text)
    if isinstance(cause, docker.errors.InvalidVersion):
        return Unreachable(f"could not {doing}: the engine is too old", detail=str(cause))
    if isinstance(cause, docker.errors.StreamParseError):
        return failure(f"could not {doing}", detail="the engine's answer is not readable")
    if isinstance(cause, requests.exceptions.HTTPError):
        return failure(f"could not {doing}", detail=verdicts.bounded(str(cause)))
    lost = unreachable(cause, subject="the container engine")
    if lost is not None:
        return Unreachable(lost.message, detail=f"it was to {doing}: {lost.detail}", hint=_WHICH_ENGINE)
    if isinstance(cause, docker.errors.DockerException):
        return Unreachable(f"could not {doing}", detail=verdicts.bounded(str(cause)), hint=_WHICH_ENGINE)
    return None
