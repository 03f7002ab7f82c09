"""A directory of this machine as a tree, read by descriptors.

Whoever writes into a source can swap a directory for a link between one look and the next. So no path is ever resolved
by its words: each step is opened from the one above it and never through a link, and what was opened is what counts.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import BinaryIO

from s2ictl.archives import Budget, Entry
from s2ictl.errors import (
    FetchSourceFailed,
    InvalidConfiguration,
    InvalidContextDirectory,
    LimitReached,
    Refused,
    S2IError,
)
from s2ictl.models import Member, Source, Tree
from s2ictl.sources.ignore import LARGEST as LARGEST_RULES
from s2ictl.sources.ignore import NAME, Excludes, excludes
from s2ictl.sources.notices import tell_about
from s2ictl.sources.options import LARGEST_READ, Surroundings

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a fifo in a file's place would wait for a writer
_SPECIAL = {
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where the tree begins: a directory that was typed, and a path below it that nobody has looked at."""

    directory: Path
    context_dir: str

    @contextmanager
    def opened(self) -> Iterator[_Descent]:
        """The way down from the root of the tree, open while the context lasts."""
        try:
            typed = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise self._missing(error) from error
        with _Descent(typed) as from_typed:
            try:
                root = os.dup(from_typed.enter(self.context_dir))
            except OSError as error:
                raise self._no_context(error) from error
            with _Descent(root) as descent:
                yield descent

    def _missing(self, error: OSError) -> S2IError:
        hint = (
            "s2ictl b2i FILE builds a finished artifact"
            if error.errno == errno.ENOTDIR
            else "an address begins with https:// or ssh://"
        )
        return FetchSourceFailed(
            f"the source {self.directory} could not be read",
            detail=error.strerror or "",
            hint=f"check the path; {hint}",
        )

    def _no_context(self, error: OSError) -> S2IError:
        return InvalidContextDirectory(
            f"the context directory {self.context_dir} is no directory of {self.directory}",
            detail=error.strerror or "",
        )


class _Descent:
    """The open directories from a root down to where we are; it owns them, the root too."""

    def __init__(self, root: int) -> None:
        self._open = [root]
        self._parts: list[str] = []
        self._directory = ""

    def __enter__(self) -> _Descent:
        return self

    def __exit__(self, *_: object) -> None:
        while self._open:
            os.close(self._open.pop())

    def enter(self, directory: str) -> int:
        """The descriptor of a directory, by its path from the root; good until the next is entered."""
        if directory != self._directory:
            self._go([part for part in directory.split("/") if part])
            self._directory = directory
        return self._open[-1]

    def _go(self, parts: list[str]) -> None:
        shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(self._parts, parts, strict=False)))
        while len(self._parts) > shared:
            os.close(self._open.pop())
            self._parts.pop()
        self._directory = "/".join(self._parts)
        for part in parts[shared:]:
            self._open.append(os.open(part, _DIRECTORY, dir_fd=self._open[-1]))
            self._parts.append(part)
            self._directory = "/".join(self._parts)


def directory_tree(source: Source, directory: Path, surroundings: Surroundings) -> Tree:
    """The directory as it is now: listed whole, so that what cannot be built is told before anything begins."""
    place = _Place(directory=directory, context_dir=source.context_dir)
    budget = Budget("the source", surroundings.options.limits, hint=f"leave some out by {NAME}")
    with place.opened() as descent:
        listing = list(_within(_walk(descent, excludes(_ignore_file(descent))), budget))
    tell_about(listing, surroundings.emit)
    paths = tuple(member.path for member in listing if member.kind == "file")
    return Tree(
        location=source.location,
        context_dir=source.context_dir,
        commit=None,
        paths=paths,
        links={member.path: member.target for member in listing if member.kind == "link"},
        read=lambda path: _read(place, path),
        members=lambda: _members(place, listing),
        size=sum(member.size for member in listing if member.kind == "file"),
    )


def _within(members: Iterator[Member], budget: Budget) -> Iterator[Member]:
    for member in members:
        budget.spend(member.path, member.size)
        yield member


# --------------------------------------------------------------------------------------------------------- listing


def _walk(descent: _Descent, out: Excludes) -> Iterator[Member]:
    """All members in the order of git's own trees."""
    levels = [_names(descent, "")]
    while levels:
        path = next(levels[-1], None)
        if path is None:
            levels.pop()
            continue
        facts = _facts(descent, path)
        directory = stat.S_ISDIR(facts.st_mode)
        if out(path, directory):
            continue
        yield _member(descent, path, facts)
        if directory:
            levels.append(_names(descent, path))


def _names(descent: _Descent, directory: str) -> Iterator[str]:
    with _told(directory), os.scandir(descent.enter(directory)) as entries:
        names = sorted(
            (os.fsencode(entry.name) + (b"/" if entry.is_dir(follow_symlinks=False) else b""), entry.name)
            for entry in entries
        )
    return (f"{directory}/{name}" if directory else name for _, name in names)


def _facts(descent: _Descent, path: str) -> os.stat_result:
    directory, _, name = path.rpartition("/")
    with _told(path):
        return os.stat(name, dir_fd=descent.enter(directory), follow_symlinks=False)


def _member(descent: _Descent, path: str, facts: os.stat_result) -> Member:
    member = Member(path=path, kind="file", mode=stat.S_IMODE(facts.st_mode), mtime=int(facts.st_mtime))
    match stat.S_IFMT(facts.st_mode):
        case stat.S_IFREG:
            _check_readable(descent, path)
            return replace(member, size=facts.st_size)
        case stat.S_IFDIR:
            return replace(member, kind="directory")
        case stat.S_IFLNK:
            directory, _, name = path.rpartition("/")
            with _told(path):
                return replace(member, kind="link", target=os.readlink(name, dir_fd=descent.enter(directory)))
        case kind:
            raise Refused(f"{path} is a {_SPECIAL.get(kind, 'special file')}", hint=f"leave it out by {NAME}")


def _check_readable(descent: _Descent, path: str) -> None:
    directory, _, name = path.rpartition("/")
    with _told(path):
        if not os.access(name, os.R_OK, dir_fd=descent.enter(directory), effective_ids=True):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


# --------------------------------------------------------------------------------------------------------- content


def _members(place: _Place, listing: list[Member]) -> Iterator[Entry]:
    """What was listed, each as it is now; what is new since then is not part of it."""
    with place.opened() as descent:
        for member in listing:
            if member.kind != "file":
                yield member, _nothing
                continue
            with _opened(descent, member.path) as file:
                facts = os.fstat(file.fileno())
                yield (
                    replace(member, size=facts.st_size, mode=stat.S_IMODE(facts.st_mode)),
                    partial(_some, file, member.path),
                )


def _some(file: BinaryIO, path: str, size: int) -> bytes:
    with _told(path):
        return file.read(size)


def _nothing(_: int) -> bytes:
    return b""


@contextmanager
def _opened(descent: _Descent, path: str) -> Iterator[BinaryIO]:
    directory, _, name = path.rpartition("/")
    with _told(path):
        fd = os.open(name, _FILE, dir_fd=descent.enter(directory))
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise _changed(path)
        yield file


def _read(place: _Place, path: str) -> bytes:
    with place.opened() as descent, _opened(descent, path) as file:
        content = file.read(LARGEST_READ + 1)
    if len(content) > LARGEST_READ:
        raise LimitReached(f"{path} is larger than {LARGEST_READ} bytes")
    return content


def _ignore_file(descent: _Descent) -> bytes:
    with _told(NAME):
        try:
            facts = os.stat(NAME, dir_fd=descent.enter(""), follow_symlinks=False)
        except FileNotFoundError:
            return b""
    if not stat.S_ISREG(facts.st_mode):
        raise InvalidConfiguration(f"{NAME} is not a file", hint="its rules have to stand in the file itself")
    with _opened(descent, NAME) as file:
        return file.read(LARGEST_RULES + 1)


@contextmanager
def _told(path: str) -> Iterator[None]:
    """What the kernel says of a path, in the user's words."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise LimitReached(f"{path} lies too deep: too many open files", hint="ulimit -n allows more") from error
        if error.errno in (errno.EACCES, errno.EPERM):
            raise FetchSourceFailed(
                f"{path} may not be read",
                detail=error.strerror or "",
                hint=f"change its mode, or leave it out by {NAME}",
            ) from error
        raise _changed(path) from error


def _changed(path: str) -> FetchSourceFailed:
    return FetchSourceFailed(f"{path} changed while it was read", hint="build again when nothing writes to the source")
