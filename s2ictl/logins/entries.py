"""One entry below `auths` of a Docker config: what stands in it becomes a login, and a login becomes an entry.

What is broken is said by the name of the entry, and never with what stands in it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import TypeVar

import msgspec

from s2ictl.errors import Unauthorized
from s2ictl.expressions import expression
from s2ictl.logins.places import Place
from s2ictl.models import Login, LoginKind, Secret

NAMELESS = "<token>"  # what Docker calls a user of whom nothing but a token is known

_VISIBLE = expression(r"[!-~]+")  # a token becomes a part of a header
T = TypeVar("T")


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    auth: str | None = None
    username: str | None = None
    password: str | None = None
    identitytoken: str | None = None
    registrytoken: str | None = None


def read_entry(place: Place, raw: msgspec.Raw, origin: str) -> Login | None:
    """The login of an entry; None for the empty one that Docker leaves beside a store."""
    entry = decode(bytes(raw), Entry, origin)
    if entry.identitytoken:
        return _token(place, entry.identitytoken, origin, "identity")
    if entry.registrytoken:
        return _token(place, entry.registrytoken, origin, "bearer")
    # What is joined stands before what is apart, as Docker and Kubernetes read it.
    username, password = _pair(entry.auth, origin) if entry.auth else (entry.username, entry.password)
    if not username or password is None:
        return None
    return Login(host=place.host, path=place.path, username=username, password=Secret(password), origin=origin)


def written_entry(login: Login) -> Mapping[str, str]:
    """What Docker itself writes for this login."""
    secret = login.password.reveal()
    if login.kind != "password":
        return {"identitytoken" if login.kind == "identity" else "registrytoken": secret}
    return {"auth": base64.b64encode(f"{login.username}:{secret}".encode()).decode()}


def decode(content: bytes, kind: type[T], origin: str) -> T:
    """Read a document whose content must not be repeated in what is said of it."""
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        # Not `from` the cause: it may hold what it could not decode.
        why = str(error)[:200] if isinstance(error, msgspec.MsgspecError) else "it is not a JSON document"
        raise Unauthorized(f"{origin} is not readable", detail=why) from None


def _token(place: Place, token: str, origin: str, kind: LoginKind) -> Login:
    if not _VISIBLE.fullmatch(token):
        raise Unauthorized(f"{origin} is not readable", detail="its token has characters that no token has")
    return Login(
        host=place.host,
        path=place.path,
        username=NAMELESS,
        password=Secret(token),
        origin=origin,
        kind=kind,
        lasting=False,
    )


def _pair(auth: str, origin: str) -> tuple[str, str]:
    try:
        # Line ends inside of it are passed over, as Go does: `base64` makes them.
        text = base64.b64decode(auth.replace("\r", "").replace("\n", ""), validate=True).decode()
    except (binascii.Error, ValueError):
        raise Unauthorized(f"{origin} is not readable", detail="its auth is not base64 of a text") from None
    username, colon, password = text.partition(":")
    if not colon or not username:
        raise Unauthorized(f"{origin} is not readable", detail="its auth is not USER:PASSWORD")
    return username, password.rstrip("\0")
