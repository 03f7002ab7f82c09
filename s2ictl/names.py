"""One name for one image: what the user wrote and the secret they chose become what is pushed and what is deployed.

Where three places complete a name by three rules, the image that was pushed is not the one that is deployed. So there
is this one function; it runs before the build, and what it answers is used byte for byte from there on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from s2ictl.addresses import DOCKER_HUB as DOCKER_HUB  # the stories ask for the registry of "no registry" here
from s2ictl.errors import InvalidUsage, Refused
from s2ictl.models import Login, Reference

_ACCOUNT = re.compile(r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*")


def final_name(written: str, *, secret: Sequence[Login] = (), push: bool) -> Reference:
    """Complete the name of an image; `secret` holds the logins of the registry secret that was chosen, if one was."""
    name = Reference.parse(written)
    if name.digest:
        raise InvalidUsage(
            f"{written} names a digest, which cannot be chosen: it follows from the content",
            hint=f"name a tag instead: {name.name}:{name.tag or 'latest'}",
        )
    name = replace(name, tag=name.tag or "latest")
    if name.registry:
        return name
    if secret:
        return _completed(name, _only(secret, written), written)
    if push:
        raise _refused(name)
    return name


def _only(secret: Sequence[Login], written: str) -> Login:
    """The login for all of the one registry that there is, else that for the one part of it."""
    hosts = {login.host for login in secret}
    whole = [login for login in secret if not login.path]
    meant = whole if whole and len(hosts) == 1 else secret
    places = sorted({f"{login.host}/{login.path}".rstrip("/") for login in meant})
    if len(places) > 1:
        raise InvalidUsage(
            f"{written} names no registry, and the secret has logins for {' and '.join(places)}",
            hint=f"write the registry into the name: {places[0]}/{written}",
        )
    return meant[0]


def _completed(name: Reference, login: Login, written: str) -> Reference:
    path = name.repository
    if login.path and path != login.path and not path.startswith(f"{login.path}/"):
        path = f"{login.path}/{path}"
    if login.host == DOCKER_HUB and "/" not in path:
        path = f"{_account(login, written)}/{path}"
    completed = Reference.parse(f"{login.host}/{path}:{name.tag}")
    if completed.registry != login.host:
        raise InvalidUsage(
            f"the registry {login.host!r} of the secret cannot stand in the name of an image",
            detail="a name without a dot and without a port is taken for a part of the path",
            hint="give the registry's full name, or its port, in the secret",
        )
    return completed


def _account(login: Login, written: str) -> str:
    """Below which name Docker Hub keeps what is this user's."""
    if login.kind == "password" and _ACCOUNT.fullmatch(login.username):
        return login.username
    raise InvalidUsage(
        f"{written} names no user of {DOCKER_HUB}, and neither does the login of the secret",
        detail=f"{login.username!r} cannot stand in the name of an image",
        hint=f"write the user into the name: {DOCKER_HUB}/USER/{written}",
    )


def _refused(name: Reference) -> Refused:
    path = name.repository if "/" in name.repository else f"USER/{name.repository}"
    return Refused(
        f"{name} names no registry to push to",
        detail=f"it could mean {DOCKER_HUB}/{path}:{name.tag}, or REGISTRY/{name} at a registry of your own",
        hint="write the registry into the name, or choose a secret with --registry-secret",
    )
