"""What a build tells a server that waits for its end: one document, posted to an address that the user chose.

It comes after the build and changes nothing about it: a server that does not listen is a warning, never an exit code.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import field
from pathlib import Path
from urllib.parse import unquote

import msgspec

from s2ictl.addresses import is_loopback, origin_of, split
from s2ictl.errors import InvalidUsage, Refused, S2IError
from s2ictl.events import Emit, Notice
from s2ictl.expressions import expression
from s2ictl.models import Login, Secret
from s2ictl.transport import Patience, Response, Transport
from s2ictl.values import dataclass

_PATIENCE = Patience(connect=10.0, stall=10.0, answer=10.0, pauses=(1.0, 2.0))  # three tries in all
_LARGEST_ANSWER = 64 * 1024  # nobody reads it
_PRINTABLE = expression(r"[!-~]{1,4096}")
_FORM = "--callback-url https://HOST[:PORT]/PATH"


@dataclass(frozen=True, slots=True, kw_only=True)
class Callback:
    """Whom to tell. Path and query of such an address often are its password, so it shows itself to nobody."""

    url: Secret
    login: Login | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of a build; what is not known is empty, and `labels` are those of an image that was made."""

    success: bool
    labels: Mapping[str, str] = field(default_factory=dict)
    image: str = ""
    digest: str = ""
    id: str = ""
    reason: str = ""
    exit: int = 0
    seconds: float = 0.0


def check_url(text: str, *, allow_http: bool) -> Callback:
    """The address that a flag names, with its user taken out of it."""
    parts = split(text) if _PRINTABLE.fullmatch(text) else split("")
    if parts.scheme not in ("https", "http") or not parts.hostname or origin_of(text)[2] < 1:
        raise InvalidUsage("--callback-url is no address that could be told", hint=_FORM)
    if parts.scheme == "http" and not allow_http and not is_loopback(parts.hostname):
        raise Refused(
            f"the callback to {parts.hostname} would go without TLS",
            hint="use https, or allow it with --allow-http",
        )
    user, at, host = parts.netloc.rpartition("@")
    url = Secret(parts._replace(netloc=host, fragment="").geturl())
    return Callback(url=url, login=_login(user, host) if at else None)


def _login(userinfo: str, host: str) -> Login:
    name, _, password = userinfo.partition(":")
    return Login(
        host=host, username=unquote(name), password=Secret(unquote(password)), origin="--callback-url", lasting=False
    )


def tell(
    callback: Callback,
    result: Result,
    *,
    environ: Mapping[str, str],
    emit: Emit,
    ca_bundle: Path | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Post what came of the build; whatever goes wrong with that is said, and stops nothing."""
    url = callback.url.reveal()
    try:
        with Transport(environ, emit=emit, ca_bundle=ca_bundle, patience=_PATIENCE, sleep=sleep) as http:
            answer = http.request(
                "POST", url, headers=_headers(callback.login), body=msgspec.json.encode(result), limit=_LARGEST_ANSWER
            )
    except S2IError as error:
        emit(Notice(text=f"the callback was not told: {error.message}", level="warning"))
    else:
        _judge(answer, split(url).netloc, emit)


def _headers(login: Login | None) -> dict[str, str]:
    headers = {"Content-Type": "application/json"}
    if login is not None:
        headers["Authorization"] = login.basic()
    return headers


def _judge(answer: Response, host: str, emit: Emit) -> None:
    if not 200 <= answer.status < 300:
        why = ", and a redirect is not followed" if 300 <= answer.status < 400 else ""
        emit(Notice(text=f"the callback was not taken: {host} answered {answer.status}{why}", level="warning"))
