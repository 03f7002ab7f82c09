"""An archive as a tree, read where it lies: walked from its beginning as often as it is asked for, never laid down.

The first walk lists and judges all of it, so that what cannot be built is told before anything begins; it also keeps
the small files that it meets early, since the next question is for one of those.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from s2ictl.archives import CHUNK, Entry, Limits, Reader, called
from s2ictl.archives.unpacked import read_archive
from s2ictl.errors import FetchSourceFailed, InvalidConfiguration, InvalidContextDirectory, LimitReached, Refused
from s2ictl.events import Emit, Notice
from s2ictl.models import Member, Source, Tree
from s2ictl.sources.ignore import LARGEST as LARGEST_RULES
from s2ictl.sources.ignore import NAME, Excludes, excludes
from s2ictl.sources.notices import tell_about
from s2ictl.sources.options import LARGEST_READ, Surroundings
from s2ictl.values import dataclass

_KEPT_EACH, _KEPT_ALL = 64 << 10, 16 << 20
_MANIFEST = "META-INF/MANIFEST.MF"


@contextmanager
def opened(source: Source, path: Path) -> Iterator[BinaryIO]:
    """The file of an archive on this machine."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a fifo would wait for its writer
    except OSError as error:
        raise FetchSourceFailed(
            f"the source {called(source.location)} could not be read",
            detail=error.strerror or "",
            hint="check the path",
        ) from error
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise FetchSourceFailed(
                f"the source {called(source.location)} is no regular file", hint="s2ictl build - takes a pipe"
            )
        yield file


@dataclass(frozen=True, slots=True, kw_only=True)
class _Archive:
    """The open file, and how it was when it was listed."""

    file: BinaryIO
    name: str
    limits: Limits
    stamp: tuple[int, int]

    def walk(self) -> Iterator[Entry]:
        yield from read_archive(self.file, name=self.name, limits=self.limits)
        if _stamp(self.file) != self.stamp:
            raise FetchSourceFailed(
                f"{self.name} changed while it was read", hint="build again when nothing writes to it"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listing:
    """What lies in the archive by its own paths, and what was kept of it in memory."""

    members: Mapping[str, Member]
    small: Mapping[str, bytes]


def archive_tree(source: Source, file: BinaryIO, surroundings: Surroundings) -> Tree:
    """The archive as it was packed, or its context directory alone."""
    emit = surroundings.emit
    name = "standard input" if source.kind == "stdin" else called(source.location.rpartition("/")[2])
    archive = _Archive(file=file, name=name, limits=surroundings.options.limits, stamp=_stamp(file))
    known = check_sum(source, file, name, emit)
    listing = _list(archive)
    _refuse_artifact(source, listing, name)
    root = _root(listing, source.context_dir, name, emit)
    kept = _kept(listing, root, excludes(_ignore_file(archive, listing, root)), name)
    tell_about(kept.values(), emit)
    files = {path: member for path, member in kept.items() if member.kind in ("file", "hardlink")}
    return Tree(
        location=source.location,
        context_dir=source.context_dir,
        commit=None,
        paths=tuple(sorted(files, key=os.fsencode)),
        links={path: member.target for path, member in kept.items() if member.kind == "link"},
        read=lambda path: _read(archive, listing, root, files, path),
        members=lambda: _members(archive, root, kept),
        size=sum(member.size for member in files.values()),
        digest=lambda: _digest(archive, source.context_dir, known),
        epoch=max((0, *(member.mtime for member in kept.values()))),
    )


def _digest(archive: _Archive, context_dir: str, known: str) -> str:
    """What every archive of these bytes holds; "" where it is not the one any more that was listed."""
    content = known or _sha256(archive.file)
    if _stamp(archive.file) != archive.stamp:
        return ""
    return hashlib.sha256(os.fsencode(f"s2ictl archive 1\0{content}\0{context_dir}")).hexdigest()


def _stamp(file: BinaryIO) -> tuple[int, int]:
    facts = os.fstat(file.fileno())
    return facts.st_size, facts.st_mtime_ns


def check_sum(source: Source, file: BinaryIO, name: str, emit: Emit) -> str:
    """The sha256 of the archive, where there was a reason to find it out."""
    from_elsewhere = source.kind == "archive" and source.path is None
    if not (source.checksum or from_elsewhere):
        return ""
    found = _sha256(file)
    if not source.checksum:
        text = f"no checksum was given; to take this archive and no other, add #sha256={found} to its address"
        emit(Notice(text=text))
    elif found != source.checksum:
        raise FetchSourceFailed(
            f"{name} is not the archive that was asked for",
            detail=f"its sha256 is {found}, and {source.checksum} was expected",
            hint="check the address; if the change is meant, give the new digest",
        )
    return found


def _sha256(file: BinaryIO) -> str:
    seen = hashlib.sha256()
    file.seek(0)
    while data := file.read(CHUNK):
        seen.update(data)
    return seen.hexdigest()


# --------------------------------------------------------------------------------------------------------- listing


def _list(archive: _Archive) -> _Listing:
    members: dict[str, Member] = {}
    small: dict[str, bytes] = {}
    room = _KEPT_ALL
    for member, read in archive.walk():
        if member.path in members and member.kind != "directory":
            raise Refused(f"{called(member.path)} stands twice in {archive.name}")
        members[member.path] = member
        if member.kind == "file" and member.size <= min(_KEPT_EACH, room):
            small[member.path] = _whole(read, member.size)
            room -= member.size
    if not members:
        raise FetchSourceFailed(f"{archive.name} holds nothing", hint="check how it was packed")
    return _Listing(members=members, small=small)


def _whole(read: Reader, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := read(min(size - len(data), CHUNK))):
        data += more
    return data


def _refuse_artifact(source: Source, listing: _Listing, name: str) -> None:
    if _MANIFEST in listing.members:
        raise FetchSourceFailed(
            f"{name} is no source but a finished artifact",
            detail=f"it has {_MANIFEST}, as a jar or a war has",
            hint=f"s2ictl b2i {source.path or 'FILE'}",
        )


def _root(listing: _Listing, context_dir: str, name: str, emit: Emit) -> str:
    """Where the tree begins, as the beginning of all paths in it: "" for the archive itself."""
    tops = {path.partition("/")[0] for path in listing.members}
    top = tops.pop()
    single = not tops and not top.startswith(".") and _is_directory(listing, top)
    if single:
        emit(Notice(text=f"all of {name} lies in {called(top)}/, which is taken for its root"))
    base = f"{top}/" if single else ""
    if not context_dir:
        return base
    if not _is_directory(listing, f"{base}{context_dir}"):
        raise InvalidContextDirectory(
            f"the context directory {called(context_dir)} is no directory of {name}",
            detail=f"its root is {called(base)}" if base else "",
        )
    return f"{base}{context_dir}/"


def _is_directory(listing: _Listing, path: str) -> bool:
    member = listing.members.get(path)
    if member is None:
        return any(other.startswith(f"{path}/") for other in listing.members)
    return member.kind == "directory"


def _ignore_file(archive: _Archive, listing: _Listing, root: str) -> bytes:
    member = listing.members.get(f"{root}{NAME}")
    if member is None:
        return b""
    if member.kind != "file":
        raise InvalidConfiguration(f"{NAME} is not a file", hint="its rules have to stand in the file itself")
    return _content(archive, listing, member, LARGEST_RULES)


def _kept(listing: _Listing, root: str, out: Excludes, name: str) -> dict[str, Member]:
    """What is part of the tree, by its path there, each directory before what is in it."""
    kept: dict[str, Member] = {}
    for member in listing.members.values():
        path = member.path.removeprefix(root)
        if not member.path.startswith(root) or not path or out(path, member.kind == "directory"):
            continue
        for parent in _unknown_parents(path, kept):
            kept[parent] = _directory(listing, root, parent, member)
        kept.setdefault(path, _moved(member, root, kept, name))
    return kept


def _unknown_parents(path: str, known: Container[str]) -> list[str]:
    """The directories above a path that nothing has named yet, the uppermost first: not every packer writes them."""
    unknown = []
    parent = path.rpartition("/")[0]
    while parent and parent not in known:
        unknown.append(parent)
        parent = parent.rpartition("/")[0]
    return unknown[::-1]


def _directory(listing: _Listing, root: str, path: str, first: Member) -> Member:
    named = listing.members.get(f"{root}{path}")
    if named is not None:
        return replace(named, path=path)
    return Member(path=path, kind="directory", mode=0o755, mtime=first.mtime)


def _moved(member: Member, root: str, kept: Container[str], name: str) -> Member:
    path, target = member.path.removeprefix(root), member.target
    if member.kind != "hardlink":
        return replace(member, path=path)
    if not target.startswith(root) or target.removeprefix(root) not in kept:
        raise Refused(
            f"{called(member.path)} in {name} is a hard link to what is left out",
            detail=f"{called(target)} is not part of the source",
            hint="tar --hard-dereference packs the content twice",
        )
    return replace(member, path=path, target=target.removeprefix(root))


# --------------------------------------------------------------------------------------------------------- content


def _members(archive: _Archive, root: str, kept: Mapping[str, Member]) -> Iterator[Entry]:
    given: set[str] = set()
    for member, read in archive.walk():
        path = member.path.removeprefix(root) if member.path.startswith(root) else ""
        if path not in kept or path in given:
            continue
        for parent in _unknown_parents(path, given):
            given.add(parent)
            yield kept[parent], _nothing
        given.add(path)
        yield kept[path], read


def _nothing(_: int) -> bytes:
    return b""


def _read(archive: _Archive, listing: _Listing, root: str, files: Mapping[str, Member], path: str) -> bytes:
    if path not in files:
        raise FetchSourceFailed(f"there is no file {called(path)} in the source")
    member = files[path]
    while member.kind == "hardlink":
        member = files[member.target]
    return _content(archive, listing, listing.members[f"{root}{member.path}"], LARGEST_READ)


def _content(archive: _Archive, listing: _Listing, wanted: Member, largest: int) -> bytes:
    if wanted.path in listing.small:
        return listing.small[wanted.path]
    if wanted.size > largest:
        raise LimitReached(f"{called(wanted.path)} is larger than {largest} bytes")
    return next(_whole(read, member.size) for member, read in archive.walk() if member.path == wanted.path)
