"""Registry logins in the cluster's Secrets: read out of one that was chosen, and written into one that pulls.

Kubernetes, kubectl and consoles write the same registry by different keys; here they are one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

import msgspec

from s2ictl.errors import Refused, Unauthorized
from s2ictl.logins.entries import read_entry, written_entry
from s2ictl.logins.files import Document, document, older_document
from s2ictl.logins.places import Place, covers, key_of, place_of, shown, without_tls
from s2ictl.models import Login

ReadSecret = Callable[[str, str], tuple[str, Mapping[str, bytes]]]  # its type, and its data

_MAKE = "make it with: kubectl create secret docker-registry"
# By its type, as the kubelet does: it takes nothing out of a Secret of another, so neither is a push let in by one.
_FORMS: Mapping[str, tuple[str, Callable[[bytes, str], Document]]] = MappingProxyType(
    {
        "kubernetes.io/dockerconfigjson": (".dockerconfigjson", document),
        "kubernetes.io/dockercfg": (".dockercfg", older_document),
    }
)


def secret_logins(namespace: str, name: str, *, read_secret: ReadSecret) -> tuple[Login, ...]:
    """All logins of a registry secret of the cluster, in the order in which it holds them."""
    origin = f"the secret {namespace}/{name}"
    key, content = _content(origin, *read_secret(namespace, name))
    found = (_login(at, raw, origin) for at, raw in (content.auths or {}).items())
    logins = tuple(login for login in found if login is not None)
    if not logins:
        raise Unauthorized(f"{origin} holds no login", hint=f"give its key {key} an entry for a registry")
    return logins


def login_of(secret: tuple[Login, ...], place: str, *, name: str) -> Login:
    """The login for HOST[:PORT][/PATH] out of a secret that was chosen by name: the one for the smallest part of it."""
    wanted = Place.parse(place)
    fitting = [login for login in secret if covers(place_of(login), wanted)]
    if fitting:
        return max(fitting, key=lambda login: len(login.path))
    raise Unauthorized(
        f"the secret {name} has no login for {wanted}",
        detail=f"it has one for {', '.join(str(place_of(login)) for login in secret)}",
        hint="choose another --registry-secret, or another registry in the name of the image",
    )


def check_logins(secret: tuple[Login, ...], places: Iterable[str], *, name: str, insecure: Collection[str]) -> None:
    """Refuse while nothing has been made yet: each place needs a login of the secret, and its registry a safe way."""
    for place in places:
        check_way(login_of(secret, place, name=name), insecure=insecure)


def check_way(login: Login, *, insecure: Collection[str]) -> None:
    """A Secret says for whoever may write it that a login goes over the network for all to read; the user says it too.

    Consoles leave `http://` before a registry that they look at without TLS.
    """
    if not login.plain or login.host in map(str.lower, insecure):
        return
    raise Refused(
        f"{login.origin} is for a registry without TLS",
        detail="who listens on the way would read the login, and could exchange the image",
        hint=f"--insecure-registry {login.host}, or write https:// in the secret if the registry has TLS",
    )


def pull_secret(login: Login) -> bytes:
    """The content of a Kubernetes pull secret for this login."""
    if not login.lasting:
        raise Refused(
            f"the login for {login.host} is not written into a secret",
            detail=f"it came from {login.origin}, and is not made to last",
            hint="make a pull secret by hand, and name it with --registry-secret",
        )
    apart = {"username": login.username, "password": login.password.reveal()}
    return msgspec.json.encode({"auths": {key_of(place_of(login)): {**apart, **written_entry(login)}}})


def _content(origin: str, kind: str, data: Mapping[str, bytes]) -> tuple[str, Document]:
    has = f"it has {', '.join(sorted(data))[:200] or 'no keys at all'}"
    if kind not in _FORMS:
        said = f"{origin} is of the type {kind[:80]}, which holds no login for a registry"
        raise Unauthorized(said, detail=has, hint=_MAKE)
    key, read = _FORMS[kind]
    if key not in data:
        raise Unauthorized(f"{origin} is not a registry secret: it has no key {key}", detail=has, hint=_MAKE)
    return key, read(data[key], f"{key} of {origin}")


def _login(key: str, raw: msgspec.Raw, origin: str) -> Login | None:
    login = read_entry(Place.parse(key), raw, f"{shown(key)!r} in {origin}")
    return replace(login, plain=True) if login and without_tls(key) else login
