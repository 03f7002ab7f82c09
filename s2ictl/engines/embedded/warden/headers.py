"""The headers of a canonical tar: ustar, with pax records for what has no room there and for attributes, and no more.

What the writer for sources makes of a file is the same byte for byte (a test says so); that one knows neither owners of
single files nor devices, and is no part of this process.
"""

from __future__ import annotations

from .attributes import Attributes
from .members import BLOCK

END = bytes(2 * BLOCK)
_NAME, _PREFIX = 100, 155
_SMALL, _LARGE = 8**7, 8**11  # the first numbers that seven and eleven octal digits have no room for
_MAGIC = b"ustar\x0000" + bytes(64)  # no names of users or groups
_NO_DEVICE = bytes(16)
_SUM_OF_MAGIC = sum(_MAGIC) + 8 * ord(" ")  # the checksum's own eight bytes count as spaces


def header(
    path: bytes,
    kind: bytes,
    *,
    mode: int,
    uid: int,
    gid: int,
    mtime: int,
    size: int = 0,
    target: bytes = b"",
    device: tuple[int, int] | None = None,
    attributes: Attributes | None = None,
) -> bytes:
    """What stands before a member; `mtime` is in whole seconds, and the path of a directory ends in a slash."""
    prefix, rest = _cut(path)
    numbers = b"%07o\0%07o\0%07o\0%011o\0%011o\0" % (
        mode & 0o7777,
        uid if uid < _SMALL else 0,
        gid if gid < _SMALL else 0,
        size if size < _LARGE else 0,
        mtime if 0 <= mtime < _LARGE else 0,
    )
    devices = b"%07o\0%07o\0" % device if device else _NO_DEVICE
    block = _block(rest or path[-_NAME:], numbers, kind, target[:_NAME], devices, prefix)
    if (
        rest
        and not attributes
        and len(target) <= _NAME
        and max(uid, gid) < _SMALL
        and size < _LARGE
        and (0 <= mtime < _LARGE)
    ):
        return block
    texts = {} if rest else {b"path": path}
    if len(target) > _NAME:
        texts[b"linkpath"] = target
    numbered = ((b"size", size, _LARGE), (b"mtime", mtime, _LARGE), (b"uid", uid, _SMALL), (b"gid", gid, _SMALL))
    large = {key: b"%d" % value for key, value, limit in numbered if not 0 <= value < limit}
    own = {b"SCHILY.xattr." + name: value for name, value in (attributes or {}).items()}
    return _extended(_charset(texts) | texts | large | own) + block


def _cut(path: bytes) -> tuple[bytes, bytes]:
    """A path as its two fields hold it, cut at a slash; nothing where it has no slash in the right place."""
    if len(path) <= _NAME:
        return b"", path
    slash = path.find(b"/", max(len(path) - _NAME - 1, 1), min(_PREFIX + 1, len(path) - 1))
    return (path[:slash], path[slash + 1 :]) if slash > 0 else (b"", b"")


def _block(name: bytes, numbers: bytes, kind: bytes, target: bytes, devices: bytes, prefix: bytes) -> bytes:
    checksum = sum(name) + sum(numbers) + kind[0] + sum(target) + _SUM_OF_MAGIC + sum(devices) + sum(prefix)
    parts = (
        name.ljust(_NAME, b"\0"),
        numbers,
        b"%06o\0 " % checksum,
        kind,
        target.ljust(_NAME, b"\0"),
        _MAGIC,
        devices,
        prefix.ljust(_PREFIX + 12, b"\0"),
    )
    return b"".join(parts)


def _charset(texts: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """Names in a record are UTF-8 unless that is said."""
    try:
        b"/".join(texts.values()).decode()
    except UnicodeDecodeError:
        return {b"hdrcharset": b"BINARY"}
    return {}


def _extended(records: dict[bytes, bytes]) -> bytes:
    body = b"".join(_record(key, value) for key, value in records.items())
    numbers = b"%07o\0%07o\0%07o\0%011o\0%011o\0" % (0o644, 0, 0, len(body), 0)
    return _block(b"././@PaxHeader", numbers, b"x", b"", _NO_DEVICE, b"") + body + bytes(-len(body) % BLOCK)


def _record(key: bytes, value: bytes) -> bytes:
    """`LENGTH KEY=VALUE`, whose length counts its own digits too."""
    rest = len(key) + len(value) + len(" =\n")
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %b=%b\n" % (length, key, value)
