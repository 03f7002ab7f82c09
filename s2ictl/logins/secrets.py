"""Registry logins in the cluster's Secrets: read out of one that was chosen, and written into one that pulls.

Kubernetes, kubectl and consoles write the same registry by different keys; here they are one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from s2ictl.errors import Refused, Unauthorized
from s2ictl.logins.entries import read_entry, written_entry
from s2ictl.logins.files import document
from s2ictl.logins.places import Place, covers, key_of, place_of, shown
from s2ictl.models import Login

ReadSecret = Callable[[str, str], Mapping[str, bytes]]

_KEY = ".dockerconfigjson"


def secret_logins(namespace: str, name: str, *, read_secret: ReadSecret) -> tuple[Login, ...]:
    """All logins of a registry secret of the cluster, in the order in which it holds them."""
    origin = f"the secret {namespace}/{name}"
    data = read_secret(namespace, name)
    if _KEY not in data:
        raise Unauthorized(
            f"{origin} is not a registry secret: it has no key {_KEY}",
            detail=f"it has {', '.join(sorted(data)) or 'no keys at all'}",
            hint="make it with: kubectl create secret docker-registry",
        )
    entries = document(data[_KEY], f"{_KEY} of {origin}").auths or {}
    found = (read_entry(Place.parse(key), raw, f"{shown(key)!r} in {origin}") for key, raw in entries.items())
    logins = tuple(login for login in found if login is not None)
    if not logins:
        raise Unauthorized(f"{origin} holds no login", hint=f"give its key {_KEY} an entry below auths")
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
