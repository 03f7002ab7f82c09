"""Files of this machine for one command alone: where each goes, what has to be made for it, and what is removed again.

A directory's content goes below its target, as in the older tool; a single file goes into the target where that is a
directory, and is called like the target where nothing is. Nothing that the image has is ever written over: it would be
removed with the rest.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Literal

from s2ictl.archives import Entry, directory_entry, tar_stream
from s2ictl.errors import CommitContainerFailed, InvalidUsage, LimitReached
from s2ictl.models import Injection, Member
from s2ictl.values import dataclass

MOST = 2000  # as many paths as one command line takes when they are removed

Modes = Callable[[str], int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Injected:
    """One thing that is put into the container: a directory, a link, or the bytes of `source`."""

    path: str
    kind: Literal["file", "directory", "link"]
    source: Path | None = None
    target: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that is put there, each after the directory that it lies in."""

    things: tuple[Injected, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        return tuple(thing.path for thing in self.things if thing.kind == "file")

    @property
    def contents(self) -> tuple[str, ...]:
        """All that may not stay; a directory may, when assemble has put something of its own there."""
        return tuple(thing.path for thing in self.things if thing.kind != "directory")

    @property
    def removed(self) -> tuple[str, ...]:
        """In the order in which they can be removed."""
        return tuple(thing.path for thing in reversed(self.things))


NOTHING = Plan()


def plan(injections: Iterable[Injection], *, workdir: str, mode: Modes) -> Plan:
    """Decide where everything goes; `mode` looks into the container."""
    found = Known(mode)
    things: list[Injected] = []
    for injection in injections:
        for thing in _things(injection, workdir, found):
            things += [Injected(path=parent, kind="directory") for parent in found.missing_above(thing.path)]
            if found.exists(thing.path) and thing.kind != "directory":
                raise _taken(injection, thing.path)
            if not found.exists(thing.path):
                things.append(thing)
                found.make(thing.path)
            if len(things) > MOST:
                raise LimitReached(f"more than {MOST} files and directories are to be injected")
    return Plan(things=tuple(things))


def upload(planned: Plan, uid: int, gid: int) -> Iterator[bytes]:
    """The tar of everything, for the command's user alone."""
    return tar_stream(_entries(planned), uid=uid, gid=gid)


def present_above(path: str, mode: Modes) -> frozenset[str]:
    """Of the directories that lead to a path, those that are there already: they are not made anew."""
    known = Known(mode)
    return frozenset(str(parent) for parent in PurePosixPath(path).parents if known.exists(str(parent)))


def left(paths: Iterable[str]) -> CommitContainerFailed:
    """The error of a layer in which something stayed that only the command may see."""
    return CommitContainerFailed(
        "what only assemble may see could not be removed again, and nothing was committed",
        detail=f"still there: {', '.join(list(paths)[:5])}",
        hint="a process that assemble left running, or a volume at that place, may hold it",
    )


class Known:
    """What exists in the container, asked once for each path, and never below what is missing."""

    def __init__(self, mode: Modes) -> None:
        self._mode = mode
        self._known: dict[str, bool] = {"/": True}
        self._made: set[str] = set()

    def exists(self, path: str) -> bool:
        if path not in self._known:
            parent = posixpath.dirname(path)
            asked = self.exists(parent) and parent not in self._made
            self._known[path] = asked and self._mode(path) is not None
        return self._known[path]

    def is_directory(self, path: str) -> bool:
        return self.exists(path) and stat.S_ISDIR(self._mode(path) or 0)

    def missing_above(self, path: str) -> list[str]:
        """The directories that lead to it and are not there; they are taken for made."""
        parents = [str(parent) for parent in reversed(PurePosixPath(path).parents)]
        missing = [parent for parent in parents if not self.exists(parent)]
        for parent in missing:
            self.make(parent)
        return missing

    def make(self, path: str) -> None:
        self._known[path] = True
        self._made.add(path)


def _things(injection: Injection, workdir: str, found: Known) -> Iterator[Injected]:
    place = posixpath.normpath(posixpath.join("/", workdir, injection.target))
    place = f"/{place.lstrip('/')}"
    source = injection.source
    if source.is_dir():
        yield Injected(path=place, kind="directory")
        yield from _below(source, place)
    elif source.is_file():
        into = injection.target.endswith("/") or found.is_directory(place)
        yield Injected(path=posixpath.join(place, source.name) if into else place, kind="file", source=source)
    else:
        raise InvalidUsage(f"{source} cannot be injected: it is no file and no directory")


def _below(root: Path, place: str) -> Iterator[Injected]:
    """What lies in a directory; links are resolved only inside of it."""
    try:
        inside = root.resolve(strict=True)
        for directory, names, files in os.walk(root, onerror=_raised):
            at = Path(directory)
            for name in sorted((*names, *files)):
                yield _thing(at / name, posixpath.join(place, (at / name).relative_to(root).as_posix()), inside)
    except OSError as error:
        raise InvalidUsage(f"{error.filename or root} cannot be injected: {error.strerror}") from error
    except RuntimeError as error:  # what pathlib calls a link that leads to itself
        raise InvalidUsage(f"{root} cannot be injected: a link in it leads to itself") from error


def _raised(error: OSError) -> None:
    raise error


def _thing(path: Path, place: str, inside: Path) -> Injected:
    real = path.resolve(strict=True)
    if not real.is_relative_to(inside):
        raise InvalidUsage(f"{path} cannot be injected: the link leads out of the directory")
    if path.is_symlink() and real.is_dir():
        # As Kubernetes lays out its secrets: the files are links through a link to a directory.
        return Injected(path=place, kind="link", target=os.path.relpath(real, path.parent.resolve()))
    if real.is_dir():
        return Injected(path=place, kind="directory")
    if not real.is_file():
        raise InvalidUsage(f"{path} cannot be injected: only files, directories and links are")
    return Injected(path=place, kind="file", source=real)


def _taken(injection: Injection, path: str) -> InvalidUsage:
    return InvalidUsage(
        f"{injection.source} would replace {path}, which is in the image already",
        detail="what is injected is removed before the image is made, and the image's own file would be lost",
        hint="inject it at another place",
    )


def _entries(planned: Plan) -> Iterator[Entry]:
    for thing in planned.things:
        if thing.source is not None:
            yield from _file(thing.path.lstrip("/"), thing.source)
        elif thing.kind == "link":
            link = Member(path=thing.path.lstrip("/"), kind="link", mode=0o777, target=thing.target)
            yield link, lambda _: b""
        else:
            yield directory_entry(thing.path, mode=0o700)


def _file(path: str, source: Path) -> Iterator[Entry]:
    try:
        with source.open("rb") as file:
            found = os.fstat(file.fileno())
            mode = 0o700 if found.st_mode & 0o111 else 0o600
            yield Member(path=path, kind="file", mode=mode, size=found.st_size), file.read
    except OSError as error:
        raise InvalidUsage(f"{source} cannot be injected: {error.strerror}") from error
