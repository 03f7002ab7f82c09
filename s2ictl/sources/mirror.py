"""A repository elsewhere, as far as it was ever needed: one ref is fetched, without its history, into its mirror.

So the second build of a branch costs what has changed, and a commit that is here already costs no question at all.
Nothing is ever checked out.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from s2ictl.errors import FetchSourceFailed, FetchSourceUnauthorized, Unreachable
from s2ictl.events import Moving, Notice
from s2ictl.models import Login, Source
from s2ictl.sources.access import Access, access
from s2ictl.sources.credentials import logins
from s2ictl.sources.options import Surroundings
from s2ictl.sources.places import Mirror, mirror, neutral, sweep, tidy
from s2ictl.sources.program import Git, Patience, variables
from s2ictl.sources.refs import Refs, Wanted, advertised, is_full, wanted
from s2ictl.sources.words import NotOffered, explain_local, explain_remote
from s2ictl.values import dataclass

T = TypeVar("T")

_ALL = 2147483647  # git's own word for the whole history, in a repository that had less
_EVERYTHING = ("+refs/heads/*:refs/s2ictl/all/heads/*", "+refs/tags/*:refs/s2ictl/all/tags/*")
_PAUSES = (1.0, 3.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One commit in a repository that can be read: `ref` is what it was asked for by. `here` is git's directory of a
    repository of this machine, where its submodules and its large files may lie as well."""

    git: Git
    commit: str
    ref: str
    cached: bool = False
    here: Path | None = None


def bring(source: Source, surroundings: Surroundings) -> Snapshot:
    """Have the commit that the source names in the cache."""
    for login in logins(source, surroundings):
        try:
            with access(source.location, login, surroundings) as way:
                return _bring(source, way, surroundings)
        except FetchSourceUnauthorized as error:
            refused = _with_origin(error, login)
    raise refused


def _with_origin(error: FetchSourceUnauthorized, login: Login | None) -> FetchSourceUnauthorized:
    if login is None:
        return error
    return FetchSourceUnauthorized(
        error.message, hint=error.hint, detail=f"the login came from {login.origin}\n{error.detail}".strip()
    )


def _bring(source: Source, way: Access, surroundings: Surroundings) -> Snapshot:
    asking = Git(
        directory=neutral(surroundings),
        variables=way.variables,
        explain=lambda said: explain_remote(said, source.location),
        patience=Patience(total=surroundings.options.timeout, silence=surroundings.options.silence),
        inherited=way.inherited,
    )
    refs = _refs(source, asking, surroundings)
    goal = wanted(source.ref, refs, source.location)
    known = refs.ids.get(goal.remote, goal.remote)
    object_format = _format(known, *refs.ids.values())
    with mirror(surroundings, source.location, object_format=object_format) as held:
        git = _into(held, asking, source.location, surroundings)
        if goal.short:
            goal = _lengthened(goal, source.location, git, surroundings, object_format)
            known = goal.remote
        cached = known in _kept(git)
        if not cached:
            _retried(lambda: _fetch(goal, source.location, git), surroundings)
            sweep(held, now=time.time())
        commit = commit_of(git, known if cached else goal.local, goal)
    local = Git(
        directory=held.directory,
        variables=variables(surroundings.environ),
        explain=lambda said: explain_local(said, source.location),
    )
    return Snapshot(git=local, commit=commit, ref=goal.name, cached=cached)


def _refs(source: Source, git: Git, surroundings: Surroundings) -> Refs:
    """What the server has; a full commit needs nobody's word for what it is, but perhaps for whose it is."""
    if is_full(source.ref.lower()) and not surroundings.options.let_in:
        return Refs(ids={}, head="")
    return advertised(_retried(lambda: git.answer("ls-remote", "--symref", "--", source.location), surroundings))


def _format(*names: str) -> str:
    return "sha256" if any(is_full(name) and len(name) == 64 for name in names) else "sha1"


def _into(held: Mirror, asking: Git, location: str, surroundings: Surroundings) -> Git:
    """The git that asked, now to write into a mirror, watched by what it has written."""
    options, packs = surroundings.options, held.directory / "objects" / "pack"
    moving = Moving(location, surroundings.emit)

    def written() -> int:
        return sum(_size(part) for part in packs.glob("tmp_pack_*"))

    return replace(
        asking,
        directory=held.directory,
        patience=Patience(silence=options.silence, total=options.timeout, largest=options.largest, written=written),
        inherited=(*asking.inherited, held.lock),
        tick=lambda: moving.tell(written()),
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _kept(git: Git) -> frozenset[str]:
    """All that was fetched by name, with all that belongs to it; tags and what they stand for."""
    answer = git.answer("for-each-ref", "--format=%(objectname) %(*objectname)", "refs/s2ictl")
    return frozenset(answer.decode().split())


def _fetch(goal: Wanted, location: str, git: Git) -> None:
    with tidy(git.directory):
        try:
            git.answer(*fetch_command(location, (f"+{goal.remote}:{goal.kept}",), "--depth=1"))
        except NotOffered:
            # An old server hands out what a branch or a tag names, and nothing between: then all of it, this once.
            git.answer(*fetch_command(location, _EVERYTHING, f"--depth={_ALL}"))
            commit_of(git, goal.local, goal)
            git.answer("update-ref", goal.kept, goal.remote)


def fetch_command(location: str, refspecs: tuple[str, ...], *how: str) -> tuple[str, ...]:
    """The one way in which anything is fetched."""
    fixed = ("--progress", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head", "--no-auto-maintenance")
    return ("fetch", *fixed, *how, "--", location, *refspecs)


def _lengthened(goal: Wanted, location: str, git: Git, surroundings: Surroundings, object_format: str) -> Wanted:
    """The full name of a short commit, found in the history without its files; that is kept apart from the rest,
    since a repository that lacks files would make git believe that it has them."""
    settings = ("remote.origin.promisor=true", "remote.origin.partialCloneFilter=blob:none")
    with mirror(surroundings, f"history of {location}", object_format=object_format) as history:
        partial = replace(
            _into(history, git, location, surroundings), settings=(*settings, f"remote.origin.url={location}")
        )
        with tidy(history.directory):
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
