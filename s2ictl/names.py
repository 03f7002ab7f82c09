"""One name for one image: what the user wrote and the secret they chose become what is pushed and what is deployed.

Where three places complete a name by three rules, the image that was pushed is not the one that is deployed. So there
is this one function; it runs before the build, and what it answers is used byte for byte from there on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from s2ictl.addresses import DOCKER_HUB as DOCKER_HUB  # the stories ask for the registry of "no registry" here
from s2ictl.addresses import DOCKER_HUB_NAMES
from s2ictl.errors import InvalidUsage, Refused
from s2ictl.expressions import expression
from s2ictl.models import Login, Reference

_ACCOUNT = expression(r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*")


def final_name(written: str, *, secret: Sequence[Login] = (), push: bool) -> Reference:
    """Complete the name of an image; `secret` holds the logins of the registry secret that was chosen, if one was."""
    name = Reference.parse(written)
    if name.digest:
        raise InvalidUsage(
            f"{written} names a digest, which cannot be chosen: it follows from the content",
            hint=f"name a tag instead: {name.name}:{name.tag or 'latest'}",
        )
    name = replace(name, tag=name.tag or "latest")
    if name.registry in DOCKER_HUB_NAMES:
        return _at_docker_hub(replace(name, registry=DOCKER_HUB), secret, written, push=push)
    if name.registry:
        return name
    if secret:
        return _completed(name, _only(secret, written), written)
    if push:
        raise _refused(name)
    return name


def pushed_name(image: Reference, *, secret: Sequence[Login]) -> Reference:
    """What a push with this secret has made of a name; one that has a registry is that already."""
    if image.registry:
        return image
    pushed = final_name(image.name, secret=secret, push=False)
    return replace(pushed, tag=image.tag, digest=image.digest)


def by_repository(names: Iterable[Reference]) -> dict[Reference, tuple[str, ...]]:
    """Each repository once, with all tags that are wanted in it."""
    found: dict[Reference, tuple[str, ...]] = {}
    for name in names:
        repository = replace(name, tag="")
        found[repository] = (*found.get(repository, ()), name.tag)
    return found


def _at_docker_hub(name: Reference, secret: Sequence[Login], written: str, *, push: bool) -> Reference:
    """There by the one name that engines and clusters give it, and below a user: what is not is Docker's own."""
    theirs = [login for login in secret if login.host == DOCKER_HUB]
    if "/" in name.repository or not (theirs or push):
        return name
    if theirs:
        return _completed(name, _only(theirs, written), written)
    raise _nobody(written, f"without one it would go to {DOCKER_HUB}/library, where Docker alone may push")


def _only(secret: Sequence[Login], written: str) -> Login:
    """The login for all of the one registry that there is, else that for the one part of it."""
    hosts = {login.host for login in secret}
    whole = [login for login in secret if not login.path]
    meant = whole if whole and len(hosts) == 1 else secret
    places = sorted({_place(login) for login in meant})
    if len(places) > 1:
        raise InvalidUsage(
            f"{written} names no registry, and the secret has logins for {' and '.join(places)}",
            hint=f"write the registry into the name: {places[0]}/{written}",
        )
    return meant[0]


def _completed(name: Reference, login: Login, written: str) -> Reference:
    path = name.repository
    is_an_account = login.host == DOCKER_HUB and "/" not in login.path  # no image there has a name of one part
    inside = path.startswith(f"{login.path}/") or (path == login.path and not is_an_account)
    if login.path and not inside:
        path = f"{login.path}/{path}"
    if login.host == DOCKER_HUB and "/" not in path:
        path = f"{_account(login, written)}/{path}"
    try:
        completed = Reference.parse(f"{login.host}/{path}:{name.tag}")
    except InvalidUsage as error:
        raise _nameless(login, error.hint) from error
    if completed.registry != login.host:
        raise _nameless(login, "a name without a dot and without a port is taken for a part of the path")
    return completed


def _nameless(login: Login, why: str) -> InvalidUsage:
    return InvalidUsage(
        f"the registry {_place(login)[:150]!r} of the secret cannot stand in the name of an image",
        detail=why,
        hint="give the registry's full name, or its port, in the secret",
    )


def _place(login: Login) -> str:
    return f"{login.host}/{login.path}".rstrip("/")


def _account(login: Login, written: str) -> str:
    """Below which name Docker Hub keeps what is this user's."""
    if login.kind == "password" and _ACCOUNT.fullmatch(login.username):
        return login.username
    raise _nobody(written, f"{login.username!r}, as which the secret logs in, cannot stand in the name of an image")


def _nobody(written: str, why: str) -> InvalidUsage:
    path = written.rpartition("/")[2]
    return InvalidUsage(
        f"{written} names no user of {DOCKER_HUB}",
        detail=why,
        hint=f"write the user into the name: {DOCKER_HUB}/USER/{path}",
    )


def _refused(name: Reference) -> Refused:
    path = name.repository if "/" in name.repository else f"USER/{name.repository}"
    return Refused(
        f"{name} names no registry to push to",
        detail=f"it could mean {DOCKER_HUB}/{path}:{name.tag}, or REGISTRY/{name} at a registry of your own",
        hint="write the registry into the name, or choose a secret with --registry-secret",
    )
