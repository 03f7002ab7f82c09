"""Docker's credential helpers: programs that keep logins elsewhere, and are told in which matter on standard input.

Whatever they do wrong is their failure and not ours: they may hang, say too much, or die. What they say may be secret,
and is never repeated.
"""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

import msgspec

from s2ictl.errors import Unauthorized
from s2ictl.expressions import expression
from s2ictl.logins.entries import NAMELESS, decode
from s2ictl.logins.places import Place, key_of
from s2ictl.models import Login, Secret

Verb = Literal["get", "store", "erase"]
RunHelper = Callable[[str, Verb, bytes], bytes | None]

_LARGEST_ANSWER = 64 << 10
_SECONDS = 10.0
# Never a path. The ending is that of helpers which a Linux inside of Windows shares with it.
_NAME = expression(r"[a-z0-9-]+(?:\.exe)?")


class _Answer(msgspec.Struct, frozen=True, rename="pascal"):
    username: str
    secret: str


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    server: str = msgspec.field(name="ServerURL")
    username: str = msgspec.field(name="Username")
    secret: str = msgspec.field(name="Secret")


def ask(helper: str, key: str, place: Place, *, origin: str, run: RunHelper) -> Login | None:
    """The login that a helper has for a registry, which it knows by this key."""
    answer = _run(helper, "get", key.encode(), origin, run)
    if answer is None:
        return None
    said = decode(answer, _Answer, f"the answer of {origin}")
    if not said.secret:
        return None
    kind: Literal["identity", "password"] = "identity" if said.username == NAMELESS else "password"
    return Login(
        host=place.host, username=said.username, password=Secret(said.secret), origin=origin, kind=kind, lasting=False
    )


def store(helper: str, login: Login, *, origin: str, run: RunHelper) -> None:
    """Have a helper keep a login."""
    server = key_of(Place(host=login.host))
    kept = _Kept(server=server, username=login.username, secret=login.password.reveal())
    _run(helper, "store", msgspec.json.encode(kept), origin, run)


def erase(helper: str, place: Place, *, origin: str, run: RunHelper) -> bool:
    """Have a helper forget a registry; answers whether it knew of it, as far as it says so."""
    return _run(helper, "erase", key_of(place).encode(), origin, run) is not None


def _run(helper: str, verb: Verb, said: bytes, origin: str, run: RunHelper) -> bytes | None:
    if not _NAME.fullmatch(helper):
        raise Unauthorized(f"{origin} does not name a credential helper", hint="a helper's name is of a-z, 0-9 and -")
    try:
        return run(helper, verb, said)
    except Unauthorized as error:
        raise Unauthorized(f"{origin} failed", detail=error.message, hint=error.hint) from error


def run_helper(
    name: str, verb: Verb, said: bytes, *, environ: Mapping[str, str], seconds: float = _SECONDS
) -> bytes | None:
    """Run a credential helper; None when it says that it knows nothing of this registry."""
    program = shutil.which(f"docker-credential-{name}", path=_path(environ))
    if program is None:
        raise Unauthorized(f"docker-credential-{name} is not in PATH", hint="install it, or take it out of the config")
    with _told(program, verb, said, environ) as process:
        answer, status = _bounded(process, time.monotonic() + seconds, name)
    if status == 0:
        return answer
    if b"credentials not found" in answer:  # the words of Docker's own library, to which others add some of theirs
        return None
    hint = f"try it: docker-credential-{name} {verb}"
    raise Unauthorized(f"docker-credential-{name} {verb} ended with {status}", hint=hint)


def _path(environ: Mapping[str, str]) -> str:
    """PATH without what depends on where one stands: that may be a source, which is a stranger's."""
    places = environ.get("PATH", os.defpath).split(os.pathsep)
    # `which` takes an empty text for "nothing was said", and looks in a path of its own.
    return os.pathsep.join(place for place in places if Path(place).is_absolute()) or os.devnull


@contextmanager
def _told(program: str, verb: Verb, said: bytes, environ: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A helper that has been told all it needs, in a group of its own that ends with us."""
    question, writer = os.pipe()
    with os.fdopen(writer, "wb") as pipe:
        pipe.write(said)  # a pipe holds 64 KiB, and a password is shorter
    try:
        process = subprocess.Popen(
            [program, verb],
            stdin=question,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environ,
            start_new_session=True,
        )
    except OSError as error:
        raise Unauthorized(f"{program} cannot be run", detail=error.strerror or "") from error
    finally:
        os.close(question)
    with process:
        try:
            yield process
        except BaseException:
            # Nobody has waited for it yet, so the number of its group is still its own.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise


def _bounded(process: subprocess.Popen[bytes], end: float, name: str) -> tuple[bytes, int]:
    """What it says and how it ends, as far as it does so in time and briefly."""
    assert process.stdout is not None  # noqa: S101  (asked for above)
    answer = b""
    with selectors.DefaultSelector() as selector, suppress(subprocess.TimeoutExpired):
        selector.register(process.stdout, selectors.EVENT_READ)
        while selector.select(max(0.0, end - time.monotonic())):
            piece = os.read(process.stdout.fileno(), _LARGEST_ANSWER)
            if not piece:
                return answer, process.wait(max(0.0, end - time.monotonic()))
            answer += piece
            if len(answer) > _LARGEST_ANSWER:
                raise Unauthorized(f"docker-credential-{name} answers with more than {_LARGEST_ANSWER} bytes")
    raise Unauthorized(f"docker-credential-{name} does not answer")
