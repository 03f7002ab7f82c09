"""A directory of this machine as a tree, read by descriptors.

Whoever writes into a source can swap a directory for a link between one look and the next. So no path is ever resolved
by its words: each step is opened from the one above it and never through a link, and what was opened is what counts.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path

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
from s2ictl.sources.digests import Facts, Listed, Record, digest_of, facts_of, record_for
from s2ictl.sources.ignore import LARGEST as LARGEST_RULES
from s2ictl.sources.ignore import NAME, Excludes, excludes
from s2ictl.sources.notices import tell_about
from s2ictl.sources.options import LARGEST_READ, Surroundings
from s2ictl.values import dataclass

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a fifo in a file's place would wait for a writer
_BLOCK = 1 << 20
_SECOND = 1_000_000_000
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
    now = surroundings.clock()
    with place.opened() as descent:
        root = os.fstat(descent.enter(""))
        found = _walk(descent, excludes(_ignore_file(descent)))
        budget = Budget("the source", surroundings.options.limits, hint=f"leave some out by {NAME}")
        listing = list(_within(found, budget))
    members = [member for member, _ in listing]
    files = [member for member in members if member.kind == "file"]
    tell_about(members, surroundings.emit)
    record = record_for(surroundings.cache, directory / source.context_dir, root, now=now)
    content = _Content(place, listing, record)
    return Tree(
        location=source.location,
        context_dir=source.context_dir,
        commit=None,
        paths=tuple(file.path for file in files),
        links={member.path: member.target for member in members if member.kind == "link"},
        read=lambda path: _read(place, path),
        members=content.members,
        size=sum(file.size for file in files),
        digest=content.digest,
        epoch=max((0, *(file.mtime for file in files))),
    )


def _within(listing: Iterator[Listed], budget: Budget) -> Iterator[Listed]:
    for listed in listing:
        budget.spend(listed[0].path, listed[0].size)
        yield listed


# --------------------------------------------------------------------------------------------------------- listing


def _walk(descent: _Descent, out: Excludes) -> Iterator[Listed]:
    """All members in the order of git's own trees."""
    levels = [_level(descent, "", out)]
    while levels:
        listed = next(levels[-1], None)
        if listed is None:
            levels.pop()
            continue
        yield listed
        if listed[0].kind == "directory":
            levels.append(_level(descent, listed[0].path, out))


def _level(descent: _Descent, directory: str, out: Excludes) -> Iterator[Listed]:
    """What lies in one directory; what lies below that is asked for in between."""
    within, us = f"{directory}/" if directory else "", os.geteuid()
    for name, is_directory in _names(descent, directory):
        path = within + name
        if out(path, is_directory):
            continue
        try:
            above = descent.enter(directory)
            facts = os.stat(name, dir_fd=above, follow_symlinks=False)
            if not stat.S_ISREG(facts.st_mode):
                yield _other(path, facts, name, above), b""
                continue
            # The kernel asks the same of us when it is opened, but only after much else has been done.
            if not (facts.st_uid == us and facts.st_mode & stat.S_IRUSR):
                _check_readable(name, above)
        except OSError as error:
            raise _failure(path, error) from error
        yield _file(path, facts), facts_of(facts)


def _names(descent: _Descent, directory: str) -> list[tuple[str, bool]]:
    with _told(directory), os.scandir(descent.enter(directory)) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    return sorted(found, key=lambda entry: os.fsencode(entry[0]) + b"/" * entry[1])


def _file(path: str, facts: os.stat_result) -> Member:
    mode, mtime = stat.S_IMODE(facts.st_mode), facts.st_mtime_ns // _SECOND
    return Member(path=path, kind="file", mode=mode, size=facts.st_size, mtime=mtime)


def _other(path: str, facts: os.stat_result, name: str, above: int) -> Member:
    mode, mtime = stat.S_IMODE(facts.st_mode), facts.st_mtime_ns // _SECOND
    match stat.S_IFMT(facts.st_mode):
        case stat.S_IFDIR:
            return Member(path=path, kind="directory", mode=mode, mtime=mtime)
        case stat.S_IFLNK:
            return Member(path=path, kind="link", mode=mode, mtime=mtime, target=os.readlink(name, dir_fd=above))
        case kind:
            raise Refused(f"{path} is a {_SPECIAL.get(kind, 'special file')}", hint=f"leave it out by {NAME}")


def _check_readable(name: str, above: int) -> None:
    if not os.access(name, os.R_OK, dir_fd=above, effective_ids=True):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


# --------------------------------------------------------------------------------------------------------- content


class _Content:
    """The bytes of what was listed, and whether it was still that when it was read."""

    def __init__(self, place: _Place, listing: list[Listed], record: Record) -> None:
        self._place = place
        self._listing = listing
        self._record = record
        self._moved = False

    def members(self) -> Iterator[Entry]:
        """What was listed, each as it is now; what is new since then is not part of it."""
        with self._place.opened() as descent:
            for member, known in self._listing:
                if member.kind != "file":
                    yield member, _nothing
                    continue
                with _Opened(descent, member.path) as file:
                    still = facts_of(file.facts) == known
                    yield member if still else _file(member.path, file.facts), file.read
                    self._moved = self._moved or facts_of(os.fstat(file.descriptor)) != known

    def digest(self) -> str:
        """What lies there, "" where it has moved under our eyes."""
        if self._moved:
            return ""
        with self._place.opened() as descent:
            return digest_of(self._listing, self._record, lambda member, facts: _sha256(descent, member, facts))


def _sha256(descent: _Descent, member: Member, known: Facts) -> bytes:
    """The sha256 of a file; b"" where it is not the one that is known any more."""
    with _Opened(descent, member.path) as file:
        seen = hashlib.sha256()
        while data := file.read(_BLOCK):
            seen.update(data)
        still = facts_of(file.facts) == known == facts_of(os.fstat(file.descriptor))
    return seen.digest() if still else b""


def _nothing(_: int) -> bytes:
    return b""


class _Opened:
    """A file of the tree, open while the context lasts; by hand, since there are tens of thousands of them."""

    __slots__ = ("_descent", "_path", "descriptor", "facts")

    def __init__(self, descent: _Descent, path: str) -> None:
        self._descent = descent
        self._path = path

    def __enter__(self) -> _Opened:
        directory, _, name = self._path.rpartition("/")
        try:
            self.descriptor = os.open(name, _FILE, dir_fd=self._descent.enter(directory))
        except OSError as error:
            raise _failure(self._path, error) from error
        self.facts = os.fstat(self.descriptor)
        if not stat.S_ISREG(self.facts.st_mode):
            os.close(self.descriptor)
            raise _changed(self._path)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)

    def read(self, size: int) -> bytes:
        try:
            return os.read(self.descriptor, size)
        except OSError as error:
            raise _failure(self._path, error) from error


def _read(place: _Place, path: str) -> bytes:
    with place.opened() as descent, _Opened(descent, path) as file:
        content = _whole(file, LARGEST_READ + 1)
    if len(content) > LARGEST_READ:
        raise LimitReached(f"{path} is larger than {LARGEST_READ} bytes")
    return content


def _whole(file: _Opened, most: int) -> bytes:
    parts = []
    while most and (data := file.read(min(most, _BLOCK))):
        parts.append(data)
        most -= len(data)
    return b"".join(parts)


def _ignore_file(descent: _Descent) -> bytes:
    with _told(NAME):
        try:
            facts = os.stat(NAME, dir_fd=descent.enter(""), follow_symlinks=False)
        except FileNotFoundError:
            return b""
    if not stat.S_ISREG(facts.st_mode):
        raise InvalidConfiguration(f"{NAME} is not a file", hint="its rules have to stand in the file itself")
    with _Opened(descent, NAME) as file:
        return _whole(file, LARGEST_RULES + 1)


@contextmanager
def _told(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _failure(path, error) from error


def _failure(path: str, error: OSError) -> S2IError:
    """What the kernel says of a path, in the user's words."""
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return LimitReached(f"{path} lies too deep: too many open files", hint="ulimit -n allows more")
    if error.errno in (errno.EACCES, errno.EPERM):
        return FetchSourceFailed(
            f"{path} may not be read",
            detail=error.strerror or "",
            hint=f"change its mode, or leave it out by {NAME}",
        )
    return _changed(path)


def _changed(path: str) -> FetchSourceFailed:
    return FetchSourceFailed(f"{path} changed while it was read", hint="build again when nothing writes to the source")
