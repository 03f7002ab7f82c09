"""Tar, streamed: written for an engine, read from a program, and never unpacked on this machine.

Members and their bytes pass through one at a time, so a tree of any size costs the memory of one chunk. Names are bytes
to a tar and to the kernel; here they are text with the undecodable bytes escaped (`os.fsdecode`), and come out as the
very bytes that went in.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from s2ictl.errors import FetchSourceFailed, LimitReached, Refused
from s2ictl.models import Member

Reader = Callable[[int], bytes]
Entry = tuple[Member, Reader]

CHUNK = 256 * 1024
_BLOCK = 512
_END = bytes(_BLOCK)

# ---------------------------------------------------------------------------------------------------------- writing

_TYPES = {"file": tarfile.REGTYPE, "directory": tarfile.DIRTYPE, "link": tarfile.SYMTYPE}
_KEPT_MODE = 0o755  # as the umask of an assemble user leaves it: no setuid, and nobody but the owner writes


def tar_stream(entries: Iterable[Entry], *, uid: int, gid: int) -> Iterator[bytes]:
    """Write members as a plain tar that begins with `./`, all owned by this user and group."""
    return _joined(_pieces(entries, uid, gid))


def _pieces(entries: Iterable[Entry], uid: int, gid: int) -> Iterator[bytes]:
    # An engine guesses a compression from the first bytes, and a source may begin with a file that is named like one.
    # The entry names the directory that is unpacked into, so it stays root's.
    yield _header(Member(path=".", kind="directory", mode=0o755), 0, 0)
    for member, read in entries:
        yield _header(member, uid, gid)
        if member.kind == "file":
            yield from _content(member, read)
    yield _END + _END


def _header(member: Member, uid: int, gid: int) -> bytes:
    entry = tarfile.TarInfo(member.path)
    entry.type, entry.linkname = _TYPES[member.kind], member.target
    entry.mode, entry.mtime = member.mode & _KEPT_MODE, member.mtime
    entry.uid, entry.gid = uid, gid
    entry.size = member.size if member.kind == "file" else 0
    return entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _content(member: Member, read: Reader) -> Iterator[bytes]:
    """Exactly the bytes that the header promised; a file that grew or shrank since would shift all that follows."""
    left = member.size
    while left:
        data = read(min(left, CHUNK))
        if not data or len(data) > left:
            raise _changed(member)
        yield data
        left -= len(data)
    if read(1):
        raise _changed(member)
    yield bytes(-member.size % _BLOCK)


def _changed(member: Member) -> FetchSourceFailed:
    return FetchSourceFailed(
        f"{member.path} changed while it was read",
        detail=f"it had {member.size} bytes when it was opened",
        hint="build again when nothing writes to the source",
    )


def _joined(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Fewer, larger chunks: a tree of small files would else be two writes to the engine for each."""
    pending: list[bytes] = []
    size = 0
    for piece in pieces:
        pending.append(piece)
        size += len(piece)
        if size >= CHUNK:
            yield b"".join(pending)
            pending, size = [], 0
    if pending:
        yield b"".join(pending)


# ---------------------------------------------------------------------------------------------------------- reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much of somebody else's archive is taken: members, bytes of all files, bytes of one name."""

    members: int
    size: int
    name: int = 32 * 1024


def read_tar(read: Reader, *, name: str, limits: Limits) -> Iterator[Entry]:
    """Read a plain tar from beginning to end, each member with a reader that is good until the next is asked for.

    What would leave the tree when unpacked is refused, here and once, so that nobody after this needs to look again.
    """
    source = _Source(read, name)
    links: set[str] = set()
    count = total = 0
    for member in _members(source, limits):
        count, total = count + 1, total + member.size
        if count > limits.members:
            raise LimitReached(f"{name} has more than {limits.members} members")
        if total > limits.size:
            raise LimitReached(f"the files of {name} have more than {limits.size} bytes")
        _refuse_through_link(member, links, name)
        if member.kind == "link":
            links.add(member.path)
        content = _Content(source, member.size)
        yield member, content.read
        content.finish()


class _Source:
    """Exactly so many bytes, or the archive is cut off."""

    def __init__(self, read: Reader, name: str) -> None:
        self._read = read
        self.name = name

    def some(self, size: int) -> bytes:
        data = self._read(size)
        if not data:
            raise self.damaged("it ends in the middle")
        return data

    def take(self, size: int) -> bytes:
        parts = []
        while size:
            parts.append(self.some(size))
            size -= len(parts[-1])
        return b"".join(parts)

    def damaged(self, why: str) -> FetchSourceFailed:
        return FetchSourceFailed(f"{self.name} is not a whole tar archive", detail=why)


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
    while (block := source.take(_BLOCK)) != _END:
        if _checksum(block) != _number(block[148:156], source):
            raise source.damaged("a header does not match its checksum")
        kind, size = block[156:157], _number(block[124:136], source)
        if kind in b"xgLK":
            records = _extended(kind, _bounded(source, size, limits), records, source)
        else:
            member = _member(block, records, source)
            records = {}
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


_KINDS = {b"0": "file", b"\0": "file", b"7": "file", b"5": "directory", b"2": "link"}
_REFUSED = {b"1": "hard link", b"3": "character device", b"4": "block device", b"6": "fifo"}


def _member(block: bytes, records: Records, source: _Source) -> Member:
    raw = records.get(b"path", _name(block))
    path = _inside(raw, source)
    member = Member(
        path=path, kind="directory", mode=_number(block[100:108], source) & 0o7777, mtime=_mtime(block, records, source)
    )
    match _KINDS.get(block[156:157]):
        case "file" if not raw.endswith(b"/"):
            return replace(member, kind="file", size=_size(block, records, source))
        case "file" | "directory":
            return member
        case "link":
            target = records.get(b"linkpath", _text(block[157:257]))
            if not target or b"\0" in target:
                raise source.damaged(f"the link {path} leads nowhere")
            return replace(member, kind="link", target=os.fsdecode(target))
    what = _REFUSED.get(block[156:157], "special file")
    raise Refused(f"{path} in {source.name} is a {what}", detail="only files, directories and links are taken")


def _name(block: bytes) -> bytes:
    prefix = _text(block[345:500]) if block[257:263] == b"ustar\0" else b""
    return (prefix + b"/" if prefix else b"") + _text(block[:100])


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _inside(raw: bytes, source: _Source) -> str:
    """The path below the root, without the dots; one that is absolute or climbs is refused."""
    parts = [part for part in raw.split(b"/") if part not in (b"", b".")]
    if raw.startswith(b"/") or b".." in parts or b"\0" in raw:
        raise Refused(f"{os.fsdecode(raw)} in {source.name} leads out of the archive")
    return os.fsdecode(b"/".join(parts))


def _refuse_through_link(member: Member, links: set[str], name: str) -> None:
    parts = member.path.split("/") if links else []
    if any("/".join(parts[: depth + 1]) in links for depth in range(len(parts))):
        raise Refused(f"{member.path} in {name} would be written through a link")


def _size(block: bytes, records: Records, source: _Source) -> int:
    text = records.get(b"size")
    if text is None:
        return _number(block[124:136], source)
    if not text.isdigit() or len(text) > 20:
        raise source.damaged("a size is no number")
    return int(text)


def _mtime(block: bytes, records: Records, source: _Source) -> int:
    text = records.get(b"mtime", b"").partition(b".")[0]
    if not text:
        return _number(block[136:148], source)
    if not text.removeprefix(b"-").isdigit() or len(text) > 20:
        raise source.damaged("a time is no number")
    return int(text)


def _number(field: bytes, source: _Source) -> int:
    """Octal digits, or the base-256 form of a number too large for them."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0")
    if any(digit not in b"01234567" for digit in digits):
        raise source.damaged("a header holds something that is no number")
    return int(digits or b"0", 8)
