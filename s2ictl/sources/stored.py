"""What lies in the cache directory of this machine, all of which can be fetched or worked out again, and how it goes.

A source that a build reads right now was asked for a moment ago: who reads holds no lock, so such a thing stays.
Anybody may say that his cache is in a directory where other things lie too: what is not called as ours is not ours.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from s2ictl.errors import InvalidUsage
from s2ictl.expressions import expression
from s2ictl.sources.places import is_mirror, remove_unlocked
from s2ictl.values import dataclass

_READ_NOW = 15 * 60.0  # seconds in which a tree of any size has reached its engine
_SOURCES = ("git", "lfs")
_NAMES = {
    "lfs": expression(r"[0-9a-f]{64}"),
    "digests": expression(r"[0-9a-f]{32}"),
    "images": expression(r"[0-9a-f]{64}\.json"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """One thing, with the name of the directory of its kind; `used` is when it was last asked for, since 1970."""

    kind: str
    path: Path
    size: int
    used: float


def stored(cache: Path) -> Iterator[Stored]:
    """All that is there, in the order of its names; what is only being written is not there yet."""
    for shelf in sorted(_inside(cache)):
        for path in sorted(_things(shelf)):
            with contextlib.suppress(FileNotFoundError):  # somebody sweeps
                yield Stored(kind=shelf.name, path=path, size=_size(path), used=path.stat().st_mtime)


def forget(thing: Stored, *, now: float) -> bool:
    """Remove it; False when somebody may be reading it."""
    try:
        if thing.kind in _SOURCES and now - thing.path.stat().st_mtime < _READ_NOW:
            return False
        if thing.path.is_dir():
            return remove_unlocked(thing.path)
        thing.path.unlink()
    except FileNotFoundError:
        return True
    except OSError as error:
        raise InvalidUsage(f"could not remove {thing.path}: {error.strerror}") from error
    return True


def _things(shelf: Path) -> Iterator[Path]:
    """The mirrors of repositories, each a directory; of everything else the files."""
    if shelf.name == "git":
        yield from filter(is_mirror, _inside(shelf))
    elif ours := _NAMES.get(shelf.name):
        for directory, _, names in os.walk(shelf):
            yield from (Path(directory) / name for name in names if ours.fullmatch(name))


def _inside(directory: Path) -> Iterator[Path]:
    with contextlib.suppress(FileNotFoundError):
        yield from (path for path in directory.iterdir() if path.is_dir() and not path.is_symlink())


def _size(path: Path) -> int:
    if not path.is_dir():
        return path.stat().st_size
    files = (os.path.join(directory, name) for directory, _, names in os.walk(path) for name in names)  # noqa: PTH118
    return sum(_size_of_file(file) for file in files)


def _size_of_file(file: str) -> int:
    with contextlib.suppress(FileNotFoundError):
        return os.lstat(file).st_size
    return 0
