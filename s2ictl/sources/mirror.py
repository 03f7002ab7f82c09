"""A repository elsewhere, as far as it was ever needed: a bare one in the user's cache for each address.

One ref is fetched, without its history, so the second build of a branch costs what has changed. Nothing is ever
checked out. The lock is handed down to git's own processes: a build that is killed leaves it held exactly until the
last of them is gone, and whoever then gets it may clear away what they left.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from s2ictl.errors import FetchSourceFailed, FetchSourceUnauthorized, LimitReached, Unreachable
from s2ictl.events import Notice
from s2ictl.models import Login, Source
from s2ictl.sources.access import Access, access
from s2ictl.sources.options import Surroundings
from s2ictl.sources.program import Git, Patience, variables
from s2ictl.sources.refs import Wanted, advertised, wanted
from s2ictl.sources.words import NotOffered, explain_local, explain_remote

T = TypeVar("T")

_ATTRIBUTES = "* -export-ignore -export-subst\n"  # a tree streamed from here is what a clone would be
_ALL = 2147483647  # git's own word for the whole history, in a repository that had less
_EVERYTHING = ("+refs/heads/*:refs/s2ictl/all/heads/*", "+refs/tags/*:refs/s2ictl/all/tags/*")
_PAUSES = (1.0, 3.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One commit in a repository that can be read: `ref` is what it was asked for by."""

    git: Git
    commit: str
    ref: str


def bring(source: Source, surroundings: Surroundings) -> Snapshot:
    """Have the commit that the source names in the cache."""
    mirror = bare(surroundings, source.location)
    for login in _logins(source, surroundings):
        try:
            with access(source.location, login, surroundings) as way:
                return _bring(source, mirror, way, surroundings)
        except FetchSourceUnauthorized as error:
            refused = _with_origin(error, login)
    raise refused


def _logins(source: Source, surroundings: Surroundings) -> tuple[Login | None, ...]:
    """Each that is known for this host; without any, nobody's."""
    parts = urlsplit(source.location)
    host = parts.netloc.rpartition("@")[2]
    asked = surroundings.find_login(host) if parts.scheme in ("https", "http") else None
    return tuple(login for login in (source.login, asked) if login and login.host == host) or (None,)


def _with_origin(error: FetchSourceUnauthorized, login: Login | None) -> FetchSourceUnauthorized:
    if login is None:
        return error
    return FetchSourceUnauthorized(
        error.message, hint=error.hint, detail=f"the login came from {login.origin}\n{error.detail}".strip()
    )


def _bring(source: Source, mirror: Path, way: Access, surroundings: Surroundings) -> Snapshot:
    git = Git(
        directory=mirror,
        variables=way.variables,
        explain=lambda said: explain_remote(said, source.location),
        patience=_patience(mirror, surroundings),
        inherited=way.inherited,
    )
    goal = _retried(lambda: _choose(source, git), surroundings)
    with _locked(mirror, surroundings) as lock:
        locked = replace(git, inherited=(*git.inherited, lock))
        if goal.short:
            goal = _lengthened(goal, source, locked, surroundings)
        _retried(lambda: _fetch(goal, source.location, locked), surroundings)
        commit = commit_of(locked, goal.local, goal)
    local = Git(
        directory=mirror,
        variables=variables(surroundings.environ),
        explain=lambda said: explain_local(said, source.location),
    )
    return Snapshot(git=local, commit=commit, ref=goal.name)


def _choose(source: Source, git: Git) -> Wanted:
    answer = git.answer("ls-remote", "--symref", "--", source.location)
    return wanted(source.ref, advertised(answer), source.location)


def _fetch(goal: Wanted, location: str, git: Git) -> None:
    with _tidy(git.directory):
        try:
            git.answer(*fetch_command(location, (f"+{goal.remote}:{goal.kept}",), "--depth=1"))
        except NotOffered:
            # An old server hands out what a branch or a tag names, and nothing between: then all of it, this once.
            git.answer(*fetch_command(location, _EVERYTHING, f"--depth={_ALL}"))


def fetch_command(location: str, refspecs: tuple[str, ...], *how: str) -> tuple[str, ...]:
    """The one way in which anything is fetched."""
    fixed = ("--progress", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head", "--no-auto-maintenance")
    return ("fetch", *fixed, *how, "--", location, *refspecs)


def _lengthened(goal: Wanted, source: Source, git: Git, surroundings: Surroundings) -> Wanted:
    """The full name of a short commit, found in the history without its files; that is kept apart from the rest,
    since a repository that lacks files would make git believe that it has them."""
    history = bare(surroundings, f"history of {source.location}")
    settings = ("remote.origin.promisor=true", "remote.origin.partialCloneFilter=blob:none")
    partial = replace(git, directory=history, settings=(*settings, f"remote.origin.url={source.location}"))
    with _tidy(history):
        _retried(lambda: partial.answer(*fetch_command("origin", _EVERYTHING, "--filter=blob:none")), surroundings)
    return goal.in_full(commit_of(partial, goal.local, goal))


def commit_of(git: Git, name: str, goal: Wanted) -> str:
    """The commit that a name stands for here; anything else by that name is said to be what it is."""
    question = f"{name}^{{commit}}\n{name}\n"
    peeled, itself = git.answer("cat-file", "--batch-check", given=question.encode()).decode().splitlines()
    commit, _, kind = peeled.partition(" ")
    if kind.startswith("commit "):
        return commit
    what = itself.split()[-2:]
    if what[-1] == "ambiguous":
        raise FetchSourceFailed(f"{goal.name} is the beginning of more than one commit", hint="give more of it")
    if what[-1] == "missing":
        raise FetchSourceFailed(f"there is no commit {goal.name} in the repository", hint="check --ref")
    raise FetchSourceFailed(f"{goal.name} is a {what[0]}, not a commit", hint="name a branch, a tag or a commit")


# ------------------------------------------------------------------------------------------------------ the place


def bare(surroundings: Surroundings, name: str, *, object_format: str = "sha1") -> Path:
    """A bare repository of our own, made where there is none; `name` tells it from others."""
    place = surroundings.cache / "git" / hashlib.sha256(name.encode()).hexdigest()[:32]
    if place.is_dir():
        return place
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=place.parent, prefix=".new-"))
    try:
        git = Git(
            directory=partial,
            variables=variables(surroundings.environ),
            explain=lambda said: explain_local(said, str(place)),
        )
        git.answer("init", "--quiet", "--bare", "--template=", f"--object-format={object_format}")
        (partial / "info").mkdir()
        (partial / "info" / "attributes").write_text(_ATTRIBUTES, encoding="utf-8")
        _put(partial, place)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return place


def _put(partial: Path, place: Path) -> None:
    try:
        partial.rename(place)
    except OSError:
        # Somebody else made it meanwhile; theirs is as good.
        if not place.is_dir():
            raise


@contextmanager
def _tidy(mirror: Path) -> Iterator[None]:
    """Take away what a killed git left, before and after; the lock is held, so nobody works with it."""
    _clear(mirror)
    try:
        yield
    finally:
        _clear(mirror)


def _clear(mirror: Path) -> None:
    for left in (*mirror.glob("*.lock"), *mirror.glob("refs/s2ictl/**/*.lock"), *mirror.glob("objects/pack/tmp_*")):
        left.unlink(missing_ok=True)


def _patience(mirror: Path, surroundings: Surroundings) -> Patience:
    options = surroundings.options
    return Patience(
        silence=options.silence,
        total=options.timeout,
        largest=options.largest,
        written=lambda: sum(_size(part) for part in (mirror / "objects" / "pack").glob("tmp_pack_*")),
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


@contextmanager
def _locked(mirror: Path, surroundings: Surroundings) -> Iterator[int]:
    """Hold the repository; builds of the same source come one after the other."""
    with mirror.with_suffix(".lock").open("wb") as file:
        deadline = time.monotonic() + surroundings.options.timeout
        waited = False
        while not _taken(file.fileno()):
            if not waited:
                surroundings.emit(Notice(text="another build fetches the same source; waiting for it"))
                waited = True
            if time.monotonic() > deadline:
                raise LimitReached("another build has been fetching the same source for too long", hint="try again")
            surroundings.wait(0.1)
        yield file.fileno()


def _taken(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _retried(action: Callable[[], T], surroundings: Surroundings) -> T:
    """Again after a pause, where the network failed; a refusal is an answer, and is not asked for twice."""
    for attempt in range(1, surroundings.options.attempts):
        try:
            return action()
        except Unreachable as error:
            pause = _PAUSES[min(attempt, len(_PAUSES)) - 1]
            surroundings.emit(Notice(text=f"{error.message}; trying again in {pause:.0f} s", level="warning"))
            surroundings.wait(pause)
    return action()
