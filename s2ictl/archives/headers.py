"""The header of a member of a tar, as every reader takes it: ustar, with a pax record only for what has no room there.

The standard library's writer spends on one header what a file of a few thousand bytes costs to read, and a source has
tens of thousands of them. Names are the very bytes that they are on disk, in both forms.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from s2ictl.models import Member

BLOCK = 512
_KINDS = {"file": b"0", "directory": b"5", "link": b"2", "hardlink": b"1"}
KEPT_MODE = 0o755  # as the umask of an assemble user leaves it: no setuid, and nobody but the owner writes
_NAME, _PREFIX = 100, 155
_SMALL, _LARGE = 8**7, 8**11  # the first numbers that seven and eleven octal digits have no room for
_MIDDLE = b"ustar\x0000" + bytes(32 + 32 + 8 + 8)  # no names of users or groups, and no device
_SUM_OF_MIDDLE = sum(_MIDDLE) + 8 * ord(" ")  # the checksum's own eight bytes count as spaces

Records = dict[bytes, bytes]


def headers_for(*, uid: int, gid: int, kept: int = KEPT_MODE) -> Callable[[Member], bytes]:
    """What makes the header of each member of one tar, all of it owned by this user and group.

    Of each mode only those bits are taken that are `kept`.
    """
    owner = b"%07o\0%07o\0" % (_fitting(uid, _SMALL), _fitting(gid, _SMALL))
    owned = {key: b"%d" % number for key, number in ((b"uid", uid), (b"gid", gid)) if number >= _SMALL}

    def header(member: Member) -> bytes:
        name, target = os.fsencode(member.path), os.fsencode(member.target)
        size, mtime = (member.size if member.kind == "file" else 0), member.mtime
        if member.kind == "directory":
            name += b"/"
        prefix, rest = _cut(name)
        fits = rest and len(target) <= _NAME and size < _LARGE and 0 <= mtime < _LARGE and not owned
        mode, size_field, mtime_field = member.mode & kept, _fitting(size, _LARGE), _fitting(mtime, _LARGE)
        numbers = b"%07o\0%b%011o\0%011o\0" % (mode, owner, size_field, mtime_field)
        block = _block(rest or name[-_NAME:], numbers, _KINDS[member.kind], target[:_NAME], prefix)
        if fits:
            return block
        return _extended(_records(b"" if rest else name, target, size, mtime) | owned) + block

    return header


def _cut(name: bytes) -> tuple[bytes, bytes]:
    """A name as its two fields hold it, cut at a slash; nothing where it has no slash in the right place."""
    if len(name) <= _NAME:
        return b"", name
    slash = name.find(b"/", max(len(name) - _NAME - 1, 1), min(_PREFIX + 1, len(name) - 1))
    return (name[:slash], name[slash + 1 :]) if slash > 0 else (b"", b"")


def _fitting(number: int, limit: int) -> int:
    return number if 0 <= number < limit else 0


def _block(name: bytes, numbers: bytes, kind: bytes, target: bytes, prefix: bytes) -> bytes:
    checksum = sum(name) + sum(numbers) + kind[0] + sum(target) + _SUM_OF_MIDDLE + sum(prefix)
    parts = (
        name.ljust(_NAME, b"\0"),
        numbers,
        b"%06o\0 " % checksum,
        kind,
        target.ljust(_NAME, b"\0"),
        _MIDDLE,
        prefix.ljust(_PREFIX + 12, b"\0"),
    )
    return b"".join(parts)


# ------------------------------------------------------------------------------------------------------ pax records


def _records(name: bytes, target: bytes, size: int, mtime: int) -> Records:
    """What has no room in the header itself; `name` is empty where it has."""
    texts = {b"path": name} if name else {}
    if len(target) > _NAME:
        texts[b"linkpath"] = target
    numbers = {}
    if size >= _LARGE:
        numbers[b"size"] = b"%d" % size
    if not 0 <= mtime < _LARGE:
        numbers[b"mtime"] = b"%d" % mtime
    return _charset(texts) | texts | numbers


def _charset(texts: Records) -> Records:
    """Names in a record are UTF-8 unless that is said."""
    try:
        b"/".join(texts.values()).decode()
    except UnicodeDecodeError:
        return {b"hdrcharset": b"BINARY"}
    return {}


def _extended(records: Records) -> bytes:
    body = b"".join(_record(key, value) for key, value in records.items())
    numbers = b"%07o\0%07o\0%07o\0%011o\0%011o\0" % (0o644, 0, 0, len(body), 0)
    return _block(b"././@PaxHeader", numbers, b"x", b"", b"") + body + bytes(-len(body) % BLOCK)


def _record(key: bytes, value: bytes) -> bytes:
    """`LENGTH KEY=VALUE`, whose length counts its own digits too."""
    rest = len(key) + len(value) + len(" =\n")
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %b=%b\n" % (length, key, value)
