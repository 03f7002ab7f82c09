"""Where git's objects are kept: bare repositories of our own in the user's cache, each with an end.

A mirror serves one address. Every fetch adds a pack to it, so after many it is begun anew beside the old one, which
stays for a day: a build may still be reading it, and readers hold no lock. What nobody has used for a month goes as
well. The lock of a mirror is handed down to git's own processes: a build that is killed leaves it held exactly until
the last of them is gone, and whoever then gets it may clear away what they left.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from s2ictl.errors import LimitReached
from s2ictl.events import Notice
from s2ictl.expressions import expression
from s2ictl.files import taken
from s2ictl.sources.options import Surroundings
from s2ictl.sources.program import Git, variables
from s2ictl.sources.words import explain_local
from s2ictl.values import dataclass

_ATTRIBUTES = "* -export-ignore -export-subst\n"  # a tree streamed from here is what a clone would be
_MIRROR = expression(r"[0-9a-f]{32}\.[1-9][0-9]*")
_MOST_PACKS = 50
_DAY = 24 * 3600.0
_REPLACED_FOR, _UNUSED_FOR = _DAY, 30 * _DAY
_MOST_SWEPT = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """A repository that is held: nobody else writes to it."""

    directory: Path
    lock: int


@contextmanager
def mirror(surroundings: Surroundings, name: str, *, object_format: str) -> Iterator[Mirror]:
    """Hold the mirror of what bears this name; builds of the same source come one after the other."""
    parent = _parent(surroundings)
    key = _key(f"{object_format} {name}")
    with _locked(parent / f"{key}.lock", surroundings) as lock:
        directory = _generation(parent, key)
        _make(directory, surroundings, object_format)
        os.utime(directory)
        yield Mirror(directory=directory, lock=lock)


def neutral(surroundings: Surroundings, *, object_format: str = "sha1") -> Path:
    """An empty repository: to ask a server from, or to read another repository's objects through."""
    directory = _parent(surroundings) / f"empty-{object_format}"
    _make(directory, surroundings, object_format)
    return directory


def _parent(surroundings: Surroundings) -> Path:
    parent = surroundings.cache / "git"
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return parent


def _key(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:32]


def _generation(parent: Path, key: str) -> Path:
    """The newest one, or the one after it when that has been fetched into often enough."""
    newest = max((_number(path) for path in parent.glob(f"{key}.[0-9]*")), default=1)
    packs = sum(1 for _ in (parent / f"{key}.{newest}").glob("objects/pack/*.pack"))
    return parent / f"{key}.{newest + (packs > _MOST_PACKS)}"


def _number(path: Path) -> int:
    number = path.name.rpartition(".")[2]
    return int(number) if number.isdecimal() else 0


def _make(place: Path, surroundings: Surroundings, object_format: str) -> None:
    if place.is_dir():
        return
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


def _put(partial: Path, place: Path) -> None:
    try:
        partial.rename(place)
    except OSError:
        # Somebody else made it meanwhile; theirs is as good.
        if not place.is_dir():
            raise


# ---------------------------------------------------------------------------------------------------------- the lock


@contextmanager
def _locked(path: Path, surroundings: Surroundings) -> Iterator[int]:
    with path.open("wb") as file:
        deadline = time.monotonic() + surroundings.options.timeout
        waited = False
        while not taken(file.fileno()):
            if not waited:
                surroundings.emit(Notice(text="another build fetches the same source; waiting for it"))
                waited = True
            if time.monotonic() > deadline:
                raise LimitReached("another build has been fetching the same source for too long", hint="try again")
            surroundings.wait(0.1)
        yield file.fileno()


@contextmanager
def tidy(directory: Path) -> Iterator[None]:
    """Take away what a killed git left, before and after; the lock is held, so nobody works with it."""
    _clear(directory)
    try:
        yield
    finally:
        _clear(directory)


def _clear(directory: Path) -> None:
    patterns = ("*.lock", "refs/s2ictl/**/*.lock", "objects/pack/tmp_*")
    for left in (path for pattern in patterns for path in directory.glob(pattern)):
        left.unlink(missing_ok=True)


# ------------------------------------------------------------------------------------------------------- what goes


def sweep(held: Mirror, *, now: float) -> None:
    """Take away what is out of use, a few of them at a time; `held` is the one whose lock the caller has."""
    parent, ours = held.directory.parent, held.directory.stem
    for place in islice(_out_of_use(parent, now), _MOST_SWEPT):
        if place.stem == ours or place.name.startswith("."):
            shutil.rmtree(place, ignore_errors=True)
        else:
            remove_unlocked(place)


def _out_of_use(parent: Path, now: float) -> Iterator[Path]:
    """Mirrors that were replaced or forgotten, and what a killed process had begun to make."""
    newest: dict[str, int] = {}
    places = [path for path in parent.iterdir() if path.is_dir() and (_number(path) or path.name.startswith(".new-"))]
    for place in places:
        newest[place.stem] = max(newest.get(place.stem, 0), _number(place))
    for place in places:
        replaced = place.name.startswith(".new-") or _number(place) < newest[place.stem]
        with contextlib.suppress(FileNotFoundError):
            if now - place.stat().st_mtime > (_REPLACED_FOR if replaced else _UNUSED_FOR):
                yield place


def is_mirror(place: Path) -> bool:
    return _MIRROR.fullmatch(place.name) is not None


def remove_unlocked(place: Path) -> bool:
    """Remove a mirror, unless somebody holds it; whether it is gone."""
    with (place.parent / f"{place.stem}.lock").open("wb") as file:
        if taken(file.fileno()):
            shutil.rmtree(place, ignore_errors=True)
    return not place.exists()
