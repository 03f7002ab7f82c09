"""Tar, read from a program or a file from its beginning to its end, and never unpacked on this machine.

The standard library's reader wants to go back and forth and takes what is damaged for the end; this one does neither.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from s2ictl.archives.members import CHUNK, Entry, Limits, Reader, Seen, called, inside
from s2ictl.errors import FetchSourceFailed, LimitReached, Refused
from s2ictl.expressions import expression
from s2ictl.models import Member

_BLOCK = 512
_END = bytes(_BLOCK)
_MAGIC, _MAGIC_AT = b"ustar", 257
_OCTAL = expression(rb"[ \0]*([0-7]+)[ \0]*")
_LONGEST_TAIL = 16 << 20
_MOST_EXTENDED = 16
_LONGEST_TIME = 1 << 40  # seconds from 1970; engines refuse what they cannot say in nanoseconds or years


def read_tar(read: Reader, *, name: str, limits: Limits, noise: int = 0) -> Iterator[Entry]:
    """Read a plain tar from beginning to end, each member with a reader that is good until the next is asked for.

    What would leave the tree when unpacked is refused, here and once, so that nobody after this needs to look again.
    Where a program wrote it that also talks, up to `noise` bytes before it are passed over, and all that follows it;
    what said nothing at all has then saved nothing.
    """
    source = _Source(read, name)
    if noise and not source.skip_to_header(noise):
        return
    seen = Seen(name, limits)
    for member in _members(source, limits):
        seen.admit(member)
        content = _Content(source, member.size)
        yield member, content.read
        content.finish()
    source.drain(talk=bool(noise))


class _Source:
    """Exactly so many bytes, or the archive is cut off."""

    def __init__(self, read: Reader, name: str) -> None:
        self._read = read
        self._ahead = b""
        self.name = name

    def some(self, size: int) -> bytes:
        data = self._next(size)
        if not data:
            raise self.damaged("it ends in the middle")
        return data

    def _next(self, size: int) -> bytes:
        if not self._ahead:
            return self._read(size)
        data, self._ahead = self._ahead[:size], self._ahead[size:]
        return data

    def take(self, size: int) -> bytes:
        parts = []
        while size:
            parts.append(self.some(size))
            size -= len(parts[-1])
        return b"".join(parts)

    def skip_to_header(self, noise: int) -> bool:
        """Go to where the archive begins; False when there is nothing at all."""
        while len(self._ahead) < noise + 2 * _BLOCK and (data := self._read(noise + 2 * _BLOCK - len(self._ahead))):
            self._ahead += data
        begin = _beginning(self._ahead) if self._ahead else 0
        if begin is None:
            raise self.damaged(f"its first {noise} bytes hold no header")
        self._ahead = self._ahead[begin:]
        return bool(self._ahead)

    def drain(self, *, talk: bool) -> None:
        """Take what follows the end, so that its writer can end too: blocks of nothing, unless it also talks."""
        taken = 0
        while data := self._next(CHUNK):
            taken += len(data)
            if taken > _LONGEST_TAIL:
                raise LimitReached(f"{self.name} goes on for more than {_LONGEST_TAIL} bytes behind its end")
            if not talk and data.strip(b"\0"):
                raise Refused(f"{self.name} goes on behind its end", detail="what is there would be left out")

    def damaged(self, why: str) -> FetchSourceFailed:
        return FetchSourceFailed(f"{self.name} is not a whole tar archive", detail=why)


def _beginning(data: bytes) -> int | None:
    """Where the first header stands, or the end of an archive that is empty."""
    if is_header(data[:_BLOCK]):
        return 0
    found = data.find(_MAGIC)
    while found >= 0:
        begin = found - _MAGIC_AT
        if begin >= 0 and is_header(data[begin : begin + _BLOCK]):
            return begin
        found = data.find(_MAGIC, found + 1)
    return None if (end := data.find(_END + _END)) < 0 else end


def is_header(block: bytes) -> bool:
    """Whether these bytes are the header of a member; its checksum says so, of every kind of tar."""
    written = _OCTAL.fullmatch(block[148:156])
    return len(block) == _BLOCK and written is not None and int(written[1], 8) == _checksum(block)


class _Content:
    """The bytes of one member, and the padding behind them."""

    def __init__(self, source: _Source, size: int) -> None:
        self._source = source
        self._left = size
        self._padding = -size % _BLOCK

    def read(self, size: int) -> bytes:
        if not self._left or not size:
            return b""
        data = self._source.some(min(size, self._left))
        self._left -= len(data)
        return data

    def finish(self) -> None:
        while self._left:
            self.read(CHUNK)
        self._source.take(self._padding)


Records = Mapping[bytes, bytes]  # the keywords of a pax header: path, linkpath, size, mtime


def _members(source: _Source, limits: Limits) -> Iterator[Member]:
    records: Records = {}
    extended = 0
    while (block := source.take(_BLOCK)) != _END:
        if _checksum(block) != _number(block[148:156], source):
            raise source.damaged("a header does not match its checksum")
        kind, size = block[156:157], _number(block[124:136], source)
        if kind in b"xgLK":
            extended += 1
            if extended > _MOST_EXTENDED:
                raise LimitReached(f"{source.name} has a member with more than {_MOST_EXTENDED} extended headers")
            records = _extended(kind, _bounded(source, size, limits), records, source)
        else:
            member = _member(block, records, source)
            records, extended = {}, 0
            if member.path:
                yield member
            elif member.size:
                raise source.damaged("its root is a file")


def _checksum(block: bytes) -> int:
    return sum(block) - sum(block[148:156]) + 8 * ord(" ")


def _bounded(source: _Source, size: int, limits: Limits) -> bytes:
    if size > 2 * limits.name:
        raise LimitReached(f"{source.name} has a name of more than {limits.name} bytes")
    data = source.take(size)
    source.take(-size % _BLOCK)
    return data


def _extended(kind: bytes, data: bytes, records: Records, source: _Source) -> Records:
    """What an extended header adds to the member after it."""
    if kind == b"x":
        return {**records, **dict(_pax(data, source))}
    if kind == b"g":
        return records  # for all members: git's commit id, and nothing that a member needs
    return {**records, (b"path" if kind == b"L" else b"linkpath"): data.partition(b"\0")[0]}


def _pax(data: bytes, source: _Source) -> Iterator[tuple[bytes, bytes]]:
    while data:
        length, space, _ = data.partition(b" ")
        if not (space and length.isdigit() and len(length) < 10 and len(length) + 2 < int(length) <= len(data)):
            raise source.damaged("an extended header is malformed")
        record, data = data[len(length) + 1 : int(length)], data[int(length) :]
        keyword, equals, value = record.partition(b"=")
        if not equals or not value.endswith(b"\n") or keyword.startswith(b"GNU.sparse"):
            raise source.damaged("an extended header is malformed, or of a sparse file")
        yield keyword, value[:-1]


_KINDS = {b"0": "file", b"\0": "file", b"7": "file", b"5": "directory", b"2": "link", b"1": "hardlink"}
_REFUSED = {b"3": "character device", b"4": "block device", b"6": "fifo", b"S": "sparse file"}


def _member(block: bytes, records: Records, source: _Source) -> Member:
    raw = records.get(b"path", _name(block))
    path = inside(raw, source.name)
    mode, mtime = _number(block[100:108], source) & 0o7777, _mtime(block, records, source)
    match _KINDS.get(block[156:157]):
        case "file" if not raw.endswith(b"/"):
            return Member(path=path, kind="file", mode=mode, mtime=mtime, size=_size(block, records, source))
        case "file" | "directory":
            return Member(path=path, kind="directory", mode=mode, mtime=mtime)
        case "link":
            target = os.fsdecode(_target(block, path, records, source))
            return Member(path=path, kind="link", mode=mode, mtime=mtime, target=target)
        case "hardlink":
            target = inside(_target(block, path, records, source), source.name)
            return Member(path=path, kind="hardlink", mode=mode, mtime=mtime, target=target)
    what = _REFUSED.get(block[156:157], "special file")
    raise Refused(f"{called(path)} in {source.name} is a {what}", detail="only files, directories and links are taken")


def _target(block: bytes, path: str, records: Records, source: _Source) -> bytes:
    target = records.get(b"linkpath", _text(block[157:257]))
    if not target or b"\0" in target:
        raise source.damaged(f"the link {called(path)} leads nowhere")
    return target


def _name(block: bytes) -> bytes:
    prefix = _text(block[345:500]) if block[257:263] == b"ustar\0" else b""
    return (prefix + b"/" if prefix else b"") + _text(block[:100])


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _size(block: bytes, records: Records, source: _Source) -> int:
    text = records.get(b"size")
    if text is None:
        return _number(block[124:136], source)
    if not text.isdigit() or len(text) > 20:
        raise source.damaged("a size is no number")
    return int(text)


def _mtime(block: bytes, records: Records, source: _Source) -> int:
    text = records.get(b"mtime", b"").partition(b".")[0]
    if text and not (text.removeprefix(b"-").isdigit() and len(text) <= 20):
        raise source.damaged("a time is no number")
    time = int(text) if text else _number(block[136:148], source)
    if abs(time) > _LONGEST_TIME:
        raise source.damaged("a time is further away than any file's")
    return time


def _number(field: bytes, source: _Source) -> int:
    """Octal digits, or the base-256 form of a number too large for them."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0")
    if digits.strip(b"01234567"):  # what is left begins with something else
        raise source.damaged("a header holds something that is no number")
    return int(digits or b"0", 8)
