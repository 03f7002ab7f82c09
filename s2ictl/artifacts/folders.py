"""A directory as a pack: an application that somebody has unpacked, or a program with what lies beside it.

No link is followed: what it leads to is not part of what was handed over.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from s2ictl.archives import Limits, called
from s2ictl.archives.members import Budget
from s2ictl.artifacts.packs import Entry
from s2ictl.errors import InvalidArtifact
from s2ictl.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A directory, listed: its files, and the links that are no part of it."""

    path: Path
    name: str
    entries: Sequence[Entry]
    links: Sequence[Entry] = ()

    def head(self, entry: Entry, size: int) -> bytes:
        with self.open(entry) as file:
            return file.read(size)

    def open(self, entry: Entry) -> BinaryIO:
        try:
            descriptor = os.open(self.path / entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise _unreadable(self.name, entry.path, error) from error
        return os.fdopen(descriptor, "rb")


def read_folder(path: Path, *, name: str, limits: Limits) -> Folder:
    """List a directory within limits, in the order of names."""
    entries = sorted(_walk(path, name, Budget(name, limits)), key=lambda entry: os.fsencode(entry.path))
    return Folder(
        path=path,
        name=name,
        entries=tuple(entry for entry in entries if not entry.is_link),
        links=tuple(entry for entry in entries if entry.is_link),
    )


def _walk(root: Path, name: str, budget: Budget) -> Iterator[Entry]:
    """Everything below the root; directories are counted too, since there may be more of them than of files."""
    waiting = [""]
    while waiting:
        below = waiting.pop()
        for child, facts in _children(root, below, name):
            path = f"{below}{child}"
            budget.spend(path, facts.st_size if stat.S_ISREG(facts.st_mode) else 0)
            if stat.S_ISDIR(facts.st_mode):
                waiting.append(f"{path}/")
            elif stat.S_ISREG(facts.st_mode):
                yield Entry(path=path, size=facts.st_size)
            elif stat.S_ISLNK(facts.st_mode):
                yield Entry(path=path, size=0, is_link=True)


def _children(root: Path, below: str, name: str) -> Iterator[tuple[str, os.stat_result]]:
    try:
        with os.scandir(root / below) as found:
            for child in found:
                yield child.name, child.stat(follow_symlinks=False)
    except OSError as error:
        raise _unreadable(name, below, error) from error


def _unreadable(name: str, path: str, error: OSError) -> InvalidArtifact:
    return InvalidArtifact(f"{called(path) or 'the directory'} in {name} cannot be read", detail=error.strerror or "")
