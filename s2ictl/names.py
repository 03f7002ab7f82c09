"""One name for one image: what the user wrote and the secret they chose become what is pushed and what is deployed.

Where three places complete a name by three rules, the image that was pushed is not the one that is deployed. So there
is this one function; it runs before the build, and what it answers is used byte for byte from there on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from s2ictl.addresses import DOCKER_HUB as DOCKER_HUB  # the stories ask for the registry of "no registry" here
from s2ictl.errors import InvalidUsage, Refused
from s2ictl.models import Login, Reference


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
        return _completed(name, _only(secret, written))
    if push:
        raise _refused(name)
    return name


def _only(secret: Sequence[Login], written: str) -> Login:
    hosts = sorted({login.host for login in secret})
    if len(hosts) > 1:
        raise InvalidUsage(
            f"{written} names no registry, and the secret has logins for {' and '.join(hosts)}",
            hint=f"write the registry into the name: {hosts[0]}/{written}",
        )
    return secret[0]


def _completed(name: Reference, login: Login) -> Reference:
    lone = login.host == DOCKER_HUB and "/" not in name.repository
    path = f"{login.username}/{name.repository}" if lone else name.repository
    completed = Reference.parse(f"{login.host}/{path}:{name.tag}")
    if completed.registry != login.host:
        raise InvalidUsage(
            f"the registry {login.host!r} of the secret cannot stand in the name of an image",
            detail="a name without a dot and without a port is taken for a part of the path",
            hint="give the registry's full name, or its port, in the secret",
        )
    return completed


def _refused(name: Reference) -> Refused:
    path = name.repository if "/" in name.repository else f"USER/{name.repository}"
    return Refused(
        f"{name} names no registry to push to",
        detail=f"it could mean {DOCKER_HUB}/{path}:{name.tag}, or REGISTRY/{name} at a registry of your own",
        hint="write the registry into the name, or choose a secret with --registry-secret",
    )
