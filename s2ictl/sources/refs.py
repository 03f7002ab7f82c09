"""Which of a repository's refs the user means: pure, so that every odd answer of a server is a line in a test."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from s2ictl.errors import FetchSourceFailed, InvalidUsage, S2IError
from s2ictl.expressions import expression
from s2ictl.sources.location import check_ref
from s2ictl.values import dataclass

_FULL = expression(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SHORT = expression(r"[0-9a-fA-F]{4,63}")
_NAMED = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Refs:
    """What a repository says it has. `head` is the branch that HEAD stands for, "" when it stands for a commit."""

    ids: Mapping[str, str]
    head: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One thing to fetch: what it is called, what the server calls it, and where it is kept here."""

    name: str
    remote: str
    short: bool = False

    @property
    def kept(self) -> str:
        # A hash, since a branch `a` that was deleted and a branch `a/b` cannot both be files.
        return f"refs/s2ictl/{hashlib.sha256(self.remote.encode()).hexdigest()[:32]}"

    @property
    def local(self) -> str:
        """What to ask for here: a commit is itself, whichever ref brought it."""
        return self.remote if self.short or is_full(self.remote) else self.kept

    def in_full(self, commit: str) -> Wanted:
        return Wanted(name=commit, remote=commit)


def is_full(ref: str) -> bool:
    """Whether this is the whole name of an object, of either kind of repository."""
    return _FULL.fullmatch(ref) is not None


def advertised(answer: bytes) -> Refs:
    """Read what `git ls-remote --symref` or `git show-ref --head` answers; both are text of somebody else."""
    ids: dict[str, str] = {}
    head = ""
    for line in answer.decode(errors="surrogateescape").split("\n"):
        first, _, name = line.replace("\t", " ").rpartition(" ")
        if name == "HEAD" and first.startswith("ref: refs/heads/"):
            head = first.removeprefix("ref: ")
        elif is_full(first):
            ids[name] = first
    return Refs(ids=ids, head=head if _is_ref(head) else "")


def _is_ref(name: str) -> bool:
    try:
        check_ref(name)
    except S2IError:
        return False
    return bool(name)


def wanted(ref: str, refs: Refs, location: str) -> Wanted:
    """The one thing that the ref names; two are an error, and so is none."""
    if not ref:
        return _default(refs, location)
    candidates = (ref,) if ref.startswith("refs/") else (f"refs/heads/{ref}", f"refs/tags/{ref}")
    found = [name for name in candidates if name in refs.ids]
    if is_full(ref.lower()):
        return Wanted(name=ref.lower(), remote=ref.lower())
    if len(found) > 1:
        raise InvalidUsage(f"{ref} is both a branch and a tag of {location}", hint=f"--ref {found[0]}, or {found[1]}")
    if found:
        return Wanted(name=found[0].removeprefix("refs/heads/").removeprefix("refs/tags/"), remote=found[0])
    if _SHORT.fullmatch(ref):
        return Wanted(name=ref.lower(), remote=ref.lower(), short=True)
    raise FetchSourceFailed(f"{location} has no branch or tag {ref}", detail=_what_there_is(refs), hint="check --ref")


def _default(refs: Refs, location: str) -> Wanted:
    if "HEAD" not in refs.ids:
        raise FetchSourceFailed(
            f"{location} has no commit that HEAD names",
            detail=_what_there_is(refs),
            hint="push a commit, or give --ref",
        )
    if refs.head in refs.ids:
        return Wanted(name=refs.head.removeprefix("refs/heads/"), remote=refs.head)
    return Wanted(name=refs.ids["HEAD"], remote="HEAD")


def _what_there_is(refs: Refs) -> str:
    names = [
        name.removeprefix("refs/heads/").removeprefix("refs/tags/")
        for name in refs.ids
        if name.startswith(("refs/heads/", "refs/tags/")) and not name.endswith("^{}")
    ]
    if not names:
        return "the repository is empty"
    return f"it has {', '.join(names[:_NAMED])}" + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
