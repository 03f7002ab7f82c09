"""Zip, read by the standard library under rules of our own.

A zip is described in two places, at each member and in the directory at its end, and readers differ in whom they
believe. So what could be read in two ways is refused: members that overlap, bytes that nothing stands for, names that
are a path on another system.
"""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from calendar import timegm
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import IO, Literal

from s2ictl.archives.members import FREE, RATIO, Entry, Limits, Seen, called, inside
from s2ictl.errors import FetchSourceFailed, LimitReached, Refused
from s2ictl.models import Member

_UNIX = 3
_UTF8 = 0x800
_ENCRYPTED = 0x2041  # any of the ways to do it
_LONGEST_LINK = 4096
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_END_SIZE, _LONGEST_COMMENT = 22, 0xFFFF
_LOCATOR_SIZE, _END64_SIZE = 20, 56
_HEADER_SIZE = 30
_ENTRY = b"PK\x01\x02"
_ROOM = 100  # bytes that one entry of the directory takes beside its name
_SPECIAL = {stat.S_IFIFO: "fifo", stat.S_IFCHR: "character device", stat.S_IFBLK: "block device"}


def read_zip(file: IO[bytes], *, name: str, limits: Limits) -> Iterator[Entry]:
    """Read a zip in the order of its directory, each member with a reader that is good until the next is asked for."""
    with _told(name):
        _check_directory(file, name, limits)
        with zipfile.ZipFile(file) as archive:
            infos = archive.infolist()
            _refuse_overlap(infos, archive.start_dir, name)
            seen = Seen(name, limits)
            for info in infos:
                yield from _entry(archive, info, seen, name)


def _entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo, seen: Seen, name: str) -> Iterator[Entry]:
    _check(info, name)
    member = _member(archive, info, name)
    if member.path:
        seen.admit(member)
        with archive.open(info) as content:
            yield member, _Content(content, member, name).read


class _Content:
    """Exactly as many bytes as the directory says; the checksum is compared by the standard library at the last."""

    def __init__(self, content: IO[bytes], member: Member, name: str) -> None:
        self._content = content
        self._left = member.size
        self._path = member.path
        self._name = name

    def read(self, size: int) -> bytes:
        if not self._left or not size:
            return b""
        with _told(self._name):
            data = self._content.read(min(size, self._left))
        if not data:
            raise _damaged(self._name, f"{called(self._path)} ends in the middle")
        self._left -= len(data)
        return data


@contextmanager
def _told(name: str) -> Iterator[None]:
    try:
        yield
    except NotImplementedError as error:
        raise FetchSourceFailed(f"{name} cannot be read", detail=str(error)[:200]) from error
    except (zipfile.BadZipFile, zlib.error, EOFError, UnicodeDecodeError, struct.error) as error:
        raise _damaged(name, str(error)[:200]) from error


def _damaged(name: str, why: str) -> FetchSourceFailed:
    return FetchSourceFailed(f"{name} is not a whole zip archive", detail=why, hint="bring it here again")


# -------------------------------------------------------------------------------------------------- the directory


def _check_directory(file: IO[bytes], name: str, limits: Limits) -> None:
    """The standard library makes an object of each entry before anything can be counted, so it is counted here."""
    end = _end_of_directory(file, name)
    file.seek(end)
    (length,) = struct.unpack_from("<L", file.read(_END_SIZE), 12)
    before = end - _LOCATOR_SIZE - _END64_SIZE
    if before >= 0:
        file.seek(before)
        record = file.read(_LOCATOR_SIZE + _END64_SIZE)
        if record.startswith(b"PK\x06\x06") and record[_END64_SIZE:].startswith(b"PK\x06\x07"):
            end, (length,) = before, struct.unpack_from("<Q", record, 40)
    if length > end:
        raise _damaged(name, "its directory is longer than itself")
    if length > limits.names + _ROOM * limits.members:
        raise LimitReached(f"the directory of {name} has {length} bytes")
    file.seek(end - length)
    if file.read(length).count(_ENTRY) > limits.members:
        raise LimitReached(f"{name} has more than {limits.members} members")


def _end_of_directory(file: IO[bytes], name: str) -> int:
    size = file.seek(0, os.SEEK_END)
    start = max(0, size - _END_SIZE - _LONGEST_COMMENT)
    file.seek(start)
    tail = file.read()
    found = tail.rfind(b"PK\x05\x06")
    if found < 0 or len(tail) - found < _END_SIZE:
        raise _damaged(name, "it has no directory at its end")
    comment = int.from_bytes(tail[found + 20 : found + _END_SIZE], "little")
    if found + _END_SIZE + comment != len(tail):
        raise Refused(f"{name} goes on behind its end", detail="what is there would be left out")
    return start + found


def _refuse_overlap(infos: list[zipfile.ZipInfo], directory: int, name: str) -> None:
    end = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        if info.header_offset < end:
            raise Refused(f"{called(info.filename)} in {name} lies over another member")
        if not end and info.header_offset:
            raise Refused(f"{name} has something before its first member")
        end = info.header_offset + _HEADER_SIZE + len(_raw(info)) + info.compress_size
    if end > directory:
        raise Refused(f"the last member of {name} lies over its directory")


# ------------------------------------------------------------------------------------------------------- one member


def _check(info: zipfile.ZipInfo, name: str) -> None:
    shown = called(info.orig_filename)
    if info.flag_bits & _ENCRYPTED:
        raise FetchSourceFailed(f"{shown} in {name} is encrypted", hint="pack it without a password")
    if info.compress_type not in _METHODS:
        raise FetchSourceFailed(
            f"{shown} in {name} is packed by method {info.compress_type}", detail="read are 0 (stored) and 8 (deflated)"
        )
    if "\\" in info.orig_filename:
        raise Refused(f"{shown!r} in {name} has a backslash in its name", hint="pack it with / between directories")
    if info.file_size > FREE + RATIO * info.compress_size:
        raise LimitReached(f"{shown} in {name} grows to more than {RATIO} times its size")


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> Member:
    raw = _raw(info)
    path, mode = inside(raw, name), info.external_attr >> 16 if info.create_system == _UNIX else 0
    what = _kind(mode, raw, path, name)
    member = Member(path=path, kind=what, mode=stat.S_IMODE(mode), mtime=_mtime(info))
    match what:
        case "directory" if info.file_size:
            raise _damaged(name, f"the directory {called(path)} has content")
        case "directory":
            return replace(member, mode=member.mode or 0o755)
        case "file":
            return replace(member, mode=member.mode or 0o644, size=info.file_size)
        case _:
            return replace(member, target=_target(archive, info, path, name))


def _kind(mode: int, raw: bytes, path: str, name: str) -> Literal["file", "directory", "link"]:
    form = stat.S_IFMT(mode)
    if form == stat.S_IFDIR or (raw.endswith(b"/") and form in (0, stat.S_IFREG)):
        return "directory"
    if form in (0, stat.S_IFREG):
        return "file"
    if form == stat.S_IFLNK:
        return "link"
    raise Refused(f"{called(path)} in {name} is a {_SPECIAL.get(form, 'special file')}")


def _target(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: str, name: str) -> str:
    if info.file_size > _LONGEST_LINK:
        raise LimitReached(f"the link {called(path)} in {name} leads to a name of more than {_LONGEST_LINK} bytes")
    target = archive.read(info)
    if not target or b"\0" in target:
        raise _damaged(name, f"the link {called(path)} leads nowhere")
    return os.fsdecode(target)


def _raw(info: zipfile.ZipInfo) -> bytes:
    """The name as it stands in the file; without a word about its letters, Unix means bytes and DOS its own code."""
    if info.flag_bits & _UTF8 or info.create_system != _UNIX:
        return info.orig_filename.encode()
    return info.orig_filename.encode("cp437")


def _mtime(info: zipfile.ZipInfo) -> int:
    """The time that Unix adds; else the one of DOS, which has no zone and is taken for UTC."""
    extra = info.extra
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        if kind == 0x5455 and size >= 5 and len(extra) >= 9 and extra[4] & 1:
            return int(struct.unpack_from("<l", extra, 5)[0])
        extra = extra[4 + size :]
    try:
        return timegm((*info.date_time, 0, 0, 0))
    except ValueError:
        return 0
