"""`login` and `logout`: a login put where Docker looks for it, so that every tool on this machine finds it there.

Docker's own file says where that is: with a helper for this registry, with the one for all, or in the file itself.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from s2ictl.errors import Unauthorized
from s2ictl.files import write_whole
from s2ictl.logins import files, helpers
from s2ictl.logins.entries import written_entry
from s2ictl.logins.helpers import RunHelper, run_helper
from s2ictl.logins.places import Place, covering
from s2ictl.models import Login
from s2ictl.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeper:
    """Who keeps the login of a registry: a helper, or where that is "" the file itself, as base64 of the password."""

    place: Place
    path: Path
    helper: str = ""
    origin: str = ""


def keeper_of(host: str, *, environ: Mapping[str, str], home: Path) -> Keeper:
    """Who keeps it, as Docker's file says now."""
    place, path = Place.parse(host), files.docker_config(environ, home)
    found = files.document(files.content(path) or b"", str(path))
    for key in covering(found.cred_helpers or {}, place):
        helper = (found.cred_helpers or {})[key]
        return Keeper(place=place, path=path, helper=helper, origin=f'credHelpers → "{helper}" in {path}')
    if store := found.creds_store:
        return Keeper(place=place, path=path, helper=store, origin=f'credsStore → "{store}" in {path}')
    return Keeper(place=place, path=path, origin=str(path))


def keep(login: Login, keeper: Keeper, *, environ: Mapping[str, str], run: RunHelper | None = None) -> None:
    """Keep a login; one of this registry that stands in the file beside a helper is taken out of it."""
    if not keeper.helper:
        _edit(keeper, written_entry(login))
        return
    helpers.store(keeper.helper, login, origin=keeper.origin, run=run or partial(run_helper, environ=environ))
    if _stands_in_file(keeper):
        _edit(keeper, {})  # as Docker leaves it: the name without what is secret


def forget(keeper: Keeper, *, environ: Mapping[str, str], run: RunHelper | None = None) -> tuple[str, ...]:
    """Take a login away from where it is kept; answers where there was one."""
    gone = []
    if keeper.helper and helpers.erase(
        keeper.helper, keeper.place, origin=keeper.origin, run=run or partial(run_helper, environ=environ)
    ):
        gone.append(keeper.origin)
    if _stands_in_file(keeper):
        _edit(keeper, None)
        gone.append(str(keeper.path))
    return tuple(gone)


def _stands_in_file(keeper: Keeper) -> bool:
    found = files.document(files.content(keeper.path) or b"", str(keeper.path))
    return any(Place.parse(key) == keeper.place for key in found.auths or {})


def _edit(keeper: Keeper, entry: Mapping[str, str] | None) -> None:
    path = keeper.path
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        real = path.resolve()  # a link into another directory stays a link
        with _alone_in(real.parent):
            changed = files.edited(files.content(path) or b"", keeper.place, entry, name=str(path))
            write_whole(real, changed, mode=0o600)
    except (OSError, RuntimeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is a link that leads to itself"
        raise Unauthorized(
            f"{path} could not be written: {why}", hint="name a directory that can be written with DOCKER_CONFIG"
        ) from error


@contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    """Have a directory while the context lasts: of two who read the same file and change it, one would be forgotten.

    The directory itself is locked, since the file is another one after each change.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # some file systems of other machines have no locks, and Docker takes none anywhere
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
