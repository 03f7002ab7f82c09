"""The files of an artifact, one by one and in one order, however it lies on this machine: as a file, in a directory, or
in a zip that is read and never unpacked.

What is written of it was counted before, and some of it is read twice. So a file that is another one by then is told
from the one that was looked at, without reading it for that.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import zip_longest
from typing import BinaryIO

from s2ictl.archives import Budget, called
from s2ictl.artifacts.folders import Folder, read_folder
from s2ictl.artifacts.packs import LIMITS, Entry
from s2ictl.artifacts.reading import opened
from s2ictl.artifacts.zips import Zip, read_zip
from s2ictl.errors import InvalidArtifact, Refused
from s2ictl.models import Artifact
from s2ictl.values import dataclass

Open = Callable[[Entry], BinaryIO]
_WHITEOUT = ".wh."


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """The files of an artifact in the order of their names; whoever reads them opens all of it, and then each.

    The `links` are not among them: what they lead to is no part of what was handed over.
    """

    files: Sequence[Entry]
    opened: Callable[[], AbstractContextManager[Open]]
    links: Sequence[Entry] = ()


def contents_of(artifact: Artifact) -> Contents:
    """What an artifact consists of; a single file is one that bears its name."""
    match artifact.form:
        case "directory":
            folder = read_folder(artifact.path, name=artifact.name, limits=LIMITS)
            files = _checked(folder.entries, artifact)
            return Contents(files=files, opened=partial(_of_folder, folder), links=folder.links)
        case "zip":
            return packed_in(artifact)
        case "file":
            with opened(artifact.path, artifact.name) as file:
                now = _now(file, artifact)
            whole = Entry(path=artifact.name, size=artifact.size)
            return Contents(files=(whole,), opened=partial(_of_file, artifact, now))


def packed_in(artifact: Artifact) -> Contents:
    """What lies in an artifact that is a zip, as every jar and war is one."""
    with opened(artifact.path, artifact.name) as file:
        now = _now(file, artifact)
        pack = read_zip(file, name=artifact.name, limits=LIMITS)
    files = _checked(pack.entries, artifact)
    return Contents(files=files, opened=partial(_of_zip, artifact, pack, now), links=pack.links)


@contextmanager
def _of_folder(folder: Folder) -> Iterator[Open]:
    yield folder.open


@contextmanager
def _of_file(artifact: Artifact, before: _Now) -> Iterator[Open]:
    with opened(artifact.path, artifact.name) as file:
        _refuse_another(file, artifact, before)
        yield lambda _: _again(file)
        _refuse_another(file, artifact, before)


def _again(file: BinaryIO) -> BinaryIO:
    """The same open file from its beginning, to be closed by itself."""
    again = os.fdopen(os.dup(file.fileno()), "rb")
    again.seek(0)
    return again


@contextmanager
def _of_zip(artifact: Artifact, pack: Zip, before: _Now) -> Iterator[Open]:
    with opened(artifact.path, artifact.name) as file:
        _refuse_another(file, artifact, before)
        yield Zip(file=file, name=pack.name, entries=pack.entries).open
        _refuse_another(file, artifact, before)


# --------------------------------------------------------------------------------------------------- what is refused

_Now = tuple[int, ...]


def _now(file: BinaryIO, artifact: Artifact) -> _Now:
    facts = os.fstat(file.fileno())
    if facts.st_size != artifact.size:
        raise _changed(artifact)
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns


def _refuse_another(file: BinaryIO, artifact: Artifact, before: _Now) -> None:
    if _now(file, artifact) != before:
        raise _changed(artifact)


def _changed(artifact: Artifact) -> InvalidArtifact:
    return InvalidArtifact(
        f"{artifact.path} was changed while it was read", hint="build when whoever writes it is done"
    )


def directories_of(paths: Iterable[str]) -> Iterator[str]:
    """Every directory that leads to one of these files, once; those above a directory come after it."""
    known = set()
    for path in paths:
        while (path := path.rpartition("/")[0]) and path not in known:
            known.add(path)
            yield path


def _checked(files: Sequence[Entry], artifact: Artifact) -> Sequence[Entry]:
    """The files by name, each of them once: where one stands in the place of another, nobody knows what is meant."""
    ordered = sorted(files, key=lambda file: os.fsencode(file.path))
    paths = [file.path for file in ordered]
    budget = Budget(artifact.name, LIMITS)
    directories = set()
    for directory in directories_of(paths):
        budget.remember(directory)  # a few long paths lead through very many
        directories.add(directory)
    for path, following in zip_longest(paths, paths[1:]):
        if path in directories or path == following:
            raise Refused(f"{called(path)} in {artifact.name} stands in the place of another file")
        if path.startswith(_WHITEOUT) or f"/{_WHITEOUT}" in path:
            raise Refused(
                f"{called(path)} in {artifact.name} has a name that would take files away from the image",
                detail="in a layer, a name that begins with .wh. says that something is gone",
            )
    return tuple(ordered)
