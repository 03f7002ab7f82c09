"""Who may go to which registry: found in Docker's and Podman's files, their helpers, the environment, or a secret.

A login belongs to one host and port, or to a part of what lies there, and is found by exactly that name
(CVE-2026-59891): there is no nearest match and no second choice. What is broken is said with the name of the entry, and
never with what stands in it. What finds a login is also what explains it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from s2ictl.addresses import DOCKER_HUB as DOCKER_HUB  # cli asks for the login of "no registry" by this name
from s2ictl.errors import Unauthorized
from s2ictl.logins import helpers
from s2ictl.logins.entries import read_entry
from s2ictl.logins.files import Document, Shelf, document, shelves
from s2ictl.logins.helpers import RunHelper, run_helper
from s2ictl.logins.keeping import Keeper as Keeper
from s2ictl.logins.keeping import forget as forget
from s2ictl.logins.keeping import keep as keep
from s2ictl.logins.keeping import keeper_of as keeper_of
from s2ictl.logins.places import Place, covering, covers, is_pattern_for, key_of, place_of, shown
from s2ictl.logins.places import normal_host as normal_host
from s2ictl.logins.places import one_name as one_name
from s2ictl.logins.secrets import check_logins as check_logins
from s2ictl.logins.secrets import check_way as check_way
from s2ictl.logins.secrets import login_of as login_of
from s2ictl.logins.secrets import pull_secret as pull_secret
from s2ictl.logins.secrets import secret_logins as secret_logins
from s2ictl.models import Login
from s2ictl.values import dataclass

_FEW = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One place that was asked for a login: that it has one, that it has none, or that it is broken and stops there."""

    place: str
    state: Literal["login", "none", "broken"]
    says: str
    login: Login | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    """An entry that may hold the login, by its name, and how it is looked at; with a reason why it never is."""

    origin: str
    look: Callable[[], Login | None]
    unread: str = ""


def find_login(
    place: str, *, environ: Mapping[str, str], home: Path, only: Path | None = None, run: RunHelper | None = None
) -> Login | None:
    """Find the login for HOST[:PORT][/PATH]; the first place that knows it decides, and what is broken stops it.

    A file that the user named is the `only` place.
    """
    wanted = Place.parse(place)
    for shelf in shelves(environ, home, only):
        for question in _read(shelf, wanted, run or partial(run_helper, environ=environ))[1]:
            login = None if question.unread else question.look()
            if login is not None:
                return login
    return None


def explain(
    place: str,
    *,
    environ: Mapping[str, str],
    home: Path,
    only: Path | None = None,
    given: Sequence[Login] = (),
    run: RunHelper | None = None,
) -> tuple[Finding, ...]:
    """Ask every place, in their order: the first that does not say "none" is what `find_login` comes to.

    The logins of a secret that was chosen are `given`, and stand before all others.
    """
    wanted = Place.parse(place)
    first = sorted(given, key=lambda login: -len(login.path) if covers(place_of(login), wanted) else 1)
    found = [_given(login, wanted) for login in first]
    for shelf in shelves(environ, home, only):
        found += _explained(shelf, wanted, run or partial(run_helper, environ=environ))
    return tuple(found)


def _read(shelf: Shelf, wanted: Place, run: RunHelper) -> tuple[Document | None, list[_Question]]:
    content = shelf.read()
    if content is None:
        return None, []
    read = document(content, shelf.name)
    return read, list(_questions(read, wanted, shelf.name, run))


def _questions(file: Document, wanted: Place, name: str, run: RunHelper) -> Iterator[_Question]:
    """As Docker reads it: the helper for this host, else the store for all, else the file itself."""
    host, unread = Place(host=wanted.host), ""
    for key in covering(file.cred_helpers or {}, host)[:1]:
        helper = (file.cred_helpers or {})[key]
        unread = f'credHelpers → "{helper}" is in charge of {host} there'
        yield _helped(helper, key, host, f'credHelpers → "{helper}" in {name}', run)
    if file.creds_store and not unread:
        yield _helped(file.creds_store, key_of(host), host, f'credsStore → "{file.creds_store}" in {name}', run)
    for key in covering(file.auths or {}, wanted):
        origin = f'auths → "{shown(key)}" in {name}'
        look = partial(read_entry, Place.parse(key), (file.auths or {})[key], origin)
        yield _Question(origin=origin, look=look, unread=unread)


def _helped(helper: str, key: str, host: Place, origin: str, run: RunHelper) -> _Question:
    return _Question(origin=origin, look=partial(helpers.ask, helper, key, host, origin=origin, run=run))


# ---------------------------------------------------------------------------------------------------------- in words


def _given(login: Login, wanted: Place) -> Finding:
    mine = place_of(login)
    if covers(mine, wanted):
        return _known(login.origin, login)
    if is_pattern_for(mine, wanted):
        return Finding(place=login.origin, state="none", says=_is_pattern(wanted))
    # Of a secret that was chosen for this registry, no other place is asked.
    state: Literal["none", "broken"] = "broken" if login.host == wanted.host else "none"
    return Finding(place=login.origin, state=state, says=f"it is for {mine} alone")


def _explained(shelf: Shelf, wanted: Place, run: RunHelper) -> list[Finding]:
    try:
        file, questions = _read(shelf, wanted, run)
    except Unauthorized as error:
        return [_broken(shelf.name, error)]
    if file is None:
        return [Finding(place=shelf.name, state="none", says="it is not there")]
    found = [*map(_looked, questions), *_patterns(file, wanted, shelf.name)]
    return found or [_others(file, wanted, shelf.name)]


def _looked(question: _Question) -> Finding:
    if question.unread:
        return Finding(place=question.origin, state="none", says=f"it is not read: {question.unread}")
    try:
        login = question.look()
    except Unauthorized as error:
        return _broken(question.origin, error)
    if login is None:
        return Finding(place=question.origin, state="none", says="it knows of no login for this registry")
    return _known(question.origin, login)


def _known(place: str, login: Login) -> Finding:
    kinds = {"password": f"the password of {login.username}", "identity": "an identity token", "bearer": "a token"}
    says = f"{kinds[login.kind]}{', for a registry without TLS' if login.plain else ''}"
    return Finding(place=place, state="login", says=says, login=login)


def _patterns(file: Document, wanted: Place, name: str) -> list[Finding]:
    """Keys that the kubelet would take for this registry, and that people therefore count on."""
    kept = [("credHelpers", key) for key in file.cred_helpers or {}] + [("auths", key) for key in file.auths or {}]
    meant = [(table, key) for table, key in kept if is_pattern_for(Place.parse(key), wanted)]
    return [
        Finding(place=f'{table} → "{shown(key)[:100]}" in {name}', state="none", says=_is_pattern(wanted))
        for table, key in meant[:_FEW]
    ]


def _is_pattern(wanted: Place) -> str:
    return f"it is a pattern, and a login is only taken by its own name: write one for {wanted.host}"


def _broken(place: str, error: Unauthorized) -> Finding:
    return Finding(place=place, state="broken", says=": ".join(filter(None, (error.message, error.detail))))


def _others(file: Document, wanted: Place, name: str) -> Finding:
    """A key that is almost the right one is what people look for here."""
    keys = [shown(key)[:100] for key in (*(file.cred_helpers or {}), *(file.auths or {}))]
    more = f" and {len(keys) - _FEW} more" if len(keys) > _FEW else ""
    has = f"; it has {', '.join(keys[:_FEW])}{more}" if keys else ""
    return Finding(place=name, state="none", says=f"it has nothing for {wanted}{has}")
