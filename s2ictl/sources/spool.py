"""Bytes that come only once, from an address or by standard input, into a file that can be read again.

The file has no name, so nothing has to be cleared away, whatever happens. It lies beside the cache: an archive may be
larger than what the system keeps for temporary files, which is often memory.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from s2ictl.archives import CHUNK
from s2ictl.errors import FetchSourceFailed, FetchSourceUnauthorized, InvalidUsage, LimitReached, S2IError, Unreachable
from s2ictl.events import Progress
from s2ictl.models import Login, Source
from s2ictl.sources.access import files_of
from s2ictl.sources.credentials import basic, logins
from s2ictl.sources.options import FetchOptions, Surroundings
from s2ictl.transport import PATIENT, TRANSIENT, Patience, Response, Transport

_LOGIN = "give a login: --git-username NAME --git-password-file FILE, or S2ICTL_GIT_TOKEN"


@contextmanager
def downloaded(source: Source, surroundings: Surroundings) -> Iterator[BinaryIO]:
    """What the address of an archive answers, whole."""
    with _file(surroundings) as file, files_of(surroundings.options) as options:
        with Transport(
            surroundings.environ,
            emit=surroundings.emit,
            ca_bundle=options.ca_bundle,
            patience=_patience(options),
            sleep=surroundings.wait,
        ) as transport:
            _download(source, file, transport, surroundings)
        yield file


def _download(source: Source, file: BinaryIO, transport: Transport, surroundings: Surroundings) -> None:
    """As each who is known there, until one is let in."""
    options = surroundings.options
    for login in logins(source, surroundings):
        answer = transport.download(
            source.location, file, headers=basic(login), limit=options.largest, seconds=options.timeout
        )
        failure = _failure(answer, source.location, login)
        if not isinstance(failure, FetchSourceUnauthorized):
            break
    if failure:
        raise failure


def _patience(options: FetchOptions) -> Patience:
    return replace(PATIENT, stall=options.silence, pauses=PATIENT.pauses[: max(options.attempts - 1, 0)])


def _failure(answer: Response, location: str, login: Login | None) -> S2IError | None:
    status = answer.status
    if status == 200:
        return None
    if status in (401, 403):
        origin = f"; the login came from {login.origin}" if login else ""
        return FetchSourceUnauthorized(
            f"{location} refuses the login, or asks for one", detail=f"it answered {status}{origin}", hint=_LOGIN
        )
    if status in TRANSIENT:
        return Unreachable(f"{location} is not to be had now", detail=f"it answered {status}", hint="try again later")
    return FetchSourceFailed(
        f"there is no archive at {location}",
        detail=f"it answered {status}",
        hint="check the address; many hosts answer so where a login is missing",
    )


@contextmanager
def received(stdin: BinaryIO | None, surroundings: Surroundings) -> Iterator[BinaryIO]:
    """All of standard input."""
    if stdin is None or stdin.isatty():
        raise InvalidUsage(
            "the source - is an archive on standard input, and nothing is piped into it",
            hint="tar -c . | s2ictl build - BUILDER TAG",
        )
    with _file(surroundings) as file:
        _copy(stdin, file, surroundings)
        yield file


def _copy(stdin: BinaryIO, file: BinaryIO, surroundings: Surroundings) -> None:
    options = surroundings.options
    done, end = 0, time.monotonic() + options.timeout
    while data := stdin.read(CHUNK):
        done += file.write(data)
        surroundings.emit(Progress(subject="standard input", done=done))
        if done > options.largest:
            raise LimitReached(f"standard input has more than {options.largest} bytes")
        if time.monotonic() > end:
            raise LimitReached(f"standard input takes longer than {options.timeout:g} s")
    file.flush()


def path_of(file: BinaryIO) -> Path:
    """Where this process, and no other, can open a file that has no name, as long as it is open here."""
    return Path(f"/proc/self/fd/{file.fileno()}")


@contextmanager
def _file(surroundings: Surroundings) -> Iterator[BinaryIO]:
    surroundings.cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=surroundings.cache) as file:
        yield file
