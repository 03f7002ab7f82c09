"""A directory as a pack: an application that somebody has unpacked, or a program with what lies beside it.

No link is followed: what it leads to is not part of what was handed over.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from s2ictl.archives import Limits, called
from s2ictl.archives.members import Budget
from s2ictl.artifacts.packs import Entry
from s2ictl.errors import InvalidArtifact


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A directory, listed."""

    path: Path
    name: str
    entries: Sequence[Entry]

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
    budget = Budget(name, limits)
    entries = []
    for entry in _walk(path, "", name):
        budget.spend(entry.path, entry.size)
        entries.append(entry)
    return Folder(path=path, name=name, entries=tuple(sorted(entries, key=lambda entry: os.fsencode(entry.path))))


def _walk(root: Path, below: str, name: str) -> Iterator[Entry]:
    try:
        with os.scandir(root / below) as found:
            children = [(child.name, child.stat(follow_symlinks=False)) for child in found]
    except OSError as error:
        raise _unreadable(name, below, error) from error
    for child, facts in children:
        path = f"{below}{child}"
        if stat.S_ISDIR(facts.st_mode):
            yield from _walk(root, f"{path}/", name)
        elif stat.S_ISREG(facts.st_mode):
            yield Entry(path=path, size=facts.st_size)


def _unreadable(name: str, path: str, error: OSError) -> InvalidArtifact:
    return InvalidArtifact(f"{called(path) or 'the directory'} in {name} cannot be read", detail=error.strerror or "")
