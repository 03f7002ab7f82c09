"""The way to the Docker API: every request is made here, and every failure on the way leaves by one door."""

from __future__ import annotations

import json as documents
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from s2ictl.engines import endpoints, verdicts
from s2ictl.engines.client import CONNECT, Answer, Api, ApiError
from s2ictl.errors import S2IError, Unreachable
from s2ictl.events import Emit, Notice
from s2ictl.troubles import unreachable
from s2ictl.wire import Connection, Lost, Request, Unreadable

ANSWER = 60.0  # seconds in which a living engine answers what costs it nothing
WORK = 600.0  # seconds of silence while it works: a commit of gigabytes says nothing until it is done
COMES_BACK = 60.0  # seconds in which an engine that was restarted answers again
_PAUSE = 0.25
T = TypeVar("T")

_WHICH_ENGINE = "start Docker or Podman, name another engine in DOCKER_HOST, or join the group that may use its socket"


@contextmanager
def connected(environ: Mapping[str, str]) -> Iterator[Api]:
    """The engine that the docker program would talk to."""
    api = Api(partial(endpoints.dial, endpoints.located(environ), seconds=CONNECT))
    try:
        with door("say its version"):
            api.greet()
        yield api
    finally:
        api.close()


@contextmanager
def answer(
    api: Api,
    method: str,
    what: str,
    params: Mapping[str, object],
    *,
    silence: float | None,
    passing: tuple[int, ...] = (),
    headers: Mapping[str, str] | None = None,
    data: bytes | Iterable[bytes] = b"",
    json: object = None,
) -> Iterator[Answer]:
    """An answer as it comes, with a limit on its silence; to send are `data` as it is, or `json`.

    What is refused with one of the `passing` codes is an answer too.
    """
    request = _request(api, method, what, params, headers or {}, data, json)
    with api.exchange(request, silence=silence) as given:
        if given.status_code >= 300 and given.status_code not in (304, *passing):
            raise ApiError(given.status_code, given.text())
        yield given


def ask(api: Api, method: str, what: str, params: Mapping[str, object] | None = None, *, json: object = None) -> Any:
    """What the engine answers at once, read as JSON; None where it says nothing."""
    with answer(api, method, what, params or {}, silence=ANSWER, json=json) as given:
        return given.json()


@contextmanager
def hijacked(api: Api, what: str, params: Mapping[str, object], *, json: object = None) -> Iterator[Connection]:
    """The raw connection of an answer that has become a stream."""
    with api.hijacked(_request(api, "POST", what, params, {}, b"", json), silence=ANSWER) as connection:
        yield connection


def _request(
    api: Api,
    method: str,
    what: str,
    params: Mapping[str, object],
    headers: Mapping[str, str],
    data: bytes | Iterable[bytes],
    json: object,
) -> Request:
    if json is not None:
        headers, data = {**headers, "Content-Type": "application/json"}, documents.dumps(json).encode()
    elif data:
        headers = {"Content-Type": "application/x-tar", **headers}
    return Request(method=method, target=api.target(what, params), headers=headers, body=data)


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


# ------------------------------------------------------------------------------------------------------------- errors


@contextmanager
def door(doing: str, failure: type[S2IError] = Unreachable) -> Iterator[None]:
    """Turn what can befall a request into one error of ours."""
    try:
        yield
    except (ApiError, Unreadable, Lost, TimeoutError) as cause:
        raise translated(cause, doing, failure) from cause


class Forgiven:
    """Passes over an answer that says no more than what was wanted: it is gone (404), or going (409)."""

    def __init__(self, *statuses: int) -> None:
        self._statuses = statuses

    def __enter__(self) -> None:
        """Nothing is to be done before."""

    def __exit__(self, _: object, error: BaseException | None, *__: object) -> bool:
        return isinstance(error, ApiError) and error.status in self._statuses


def translated(cause: ApiError | Unreadable | OSError, doing: str, failure: type[S2IError]) -> S2IError:
    """The error of ours for what befell a request."""
    if isinstance(cause, ApiError):
        text = verdicts.bounded(cause.text)
        return verdicts.full(doing, text) if verdicts.is_full(text) else failure(f"could not {doing}", detail=text)
    if isinstance(cause, Unreadable):
        return failure(f"could not {doing}", detail=f"the engine's answer is not readable: {cause}")
    lost = unreachable(cause, subject="the container engine")
    if lost is None:
        return Unreachable(f"could not {doing}", detail=str(cause)[:500], hint=_WHICH_ENGINE)
    return Unreachable(lost.message, detail=f"it was to {doing}: {lost.detail}", hint=_WHICH_ENGINE)
