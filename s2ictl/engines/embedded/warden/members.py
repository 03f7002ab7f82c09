"""The members of a tar, read as it comes, in every form that layers have been written in.

A layer may hold far more than a source: owners, devices, attributes, sparse files, and headers from forty years. What
becomes of a member is not decided here, only that it says something that can be meant.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from zlib import adler32

from . import sparse
from .attributes import Attributes
from .failures import Damaged, TooMuch

BLOCK = 512
LONGEST_PATH = 4096
_END = bytes(BLOCK)
_CHUNK = 1 << 20
_LARGEST_RECORDS = 1 << 20
_MOST_EXTENDED = 16
_LARGEST = 1 << 62
_LONGEST_TIME = 1 << 40  # seconds from 1970; what is further away no file system can say
_NOBODY = (1 << 32) - 1  # which to the kernel means: leave the owner as it is
_ATTRIBUTE = b"SCHILY.xattr."
_ADLER = 65521

FILE, HARD_LINK, LINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"
_KINDS = {
    **{kind: kind for kind in (FILE, HARD_LINK, LINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO)},
    b"\0": FILE,
    b"7": FILE,
    b"S": FILE,
    b"D": DIRECTORY,
}
_EXTENDED = b"xXLKgV"  # what stands before a member and says more of it, or of all, or of the tar
_PLACELESS = (b"", b".", b"./", b"/")

Records = dict[bytes, bytes]


class Member:
    """One of them. `pieces` are where a sparse file has content; None where it has it everywhere."""

    __slots__ = ("attributes", "device", "gid", "kind", "mode", "mtime", "path", "pieces", "size", "target", "uid")

    path: bytes
    kind: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int  # nanoseconds
    target: bytes
    device: tuple[int, int]
    attributes: Attributes
    pieces: sparse.Pieces | None


class Tar:
    """A plain tar from a descriptor, to its end; `closed` is one that must say where that is."""

    def __init__(self, descriptor: int, *, closed: bool) -> None:
        self._descriptor = descriptor
        self._closed = closed
        self._data = memoryview(b"")
        self._at = 0
        self._before = 0

    def members(self) -> Iterator[Member]:
        """Each member, and its content to be taken by `pour` before the next is asked for."""
        records: Records = {}
        extended = 0
        while block := self._header():
            kind, size = block[156:157], number(block[124:136])
            if kind in _EXTENDED:
                extended += 1
                if extended > _MOST_EXTENDED:
                    raise TooMuch(f"a file has more than {_MOST_EXTENDED} extended headers")
                self._extended(kind, size, records)
                continue
            member = _member(block, records)
            stored = _stored(member, block, records)
            if kind == b"S":
                self._find_older_pieces(member, block, stored)
            end = self._position + stored + -stored % BLOCK
            if records:
                self._find_pieces(member, records, stored)
            records, extended = {}, 0
            yield member
            self._skip(end - self._position)
        while self._fill():
            """What stands behind the end says nothing; its writer has to come to an end of it."""

    def pour(self, into: int, size: int) -> None:
        """Write so many bytes of the content to a file."""
        while size:
            if self._at == len(self._data) and not self._fill():
                raise _cut_off()
            written = os.write(into, self._data[self._at : self._at + size])
            self._at += written
            size -= written

    # ---------------------------------------------------------------------------------------------------- headers

    def _header(self) -> bytes:
        """The next header; nothing at the end of the tar."""
        if self._at == len(self._data) and not self._fill():
            if self._closed:
                raise _cut_off()
            return b""
        block = self._take(BLOCK)
        if block == _END:
            return b""
        _check(block)
        return block

    def _extended(self, kind: bytes, size: int, records: Records) -> None:
        if not 0 <= size <= _LARGEST_RECORDS:
            raise TooMuch(f"an extended header has {size} bytes")
        data = self._take(size)
        self._skip(-size % BLOCK)
        if kind in b"xX":
            _add(data, records)
        elif kind in b"LK":
            records[b"path" if kind == b"L" else b"linkpath"] = data.partition(b"\0")[0]

    def _find_pieces(self, member: Member, records: Records, stored: int) -> None:
        """Where the content of a sparse file belongs, in each of the ways in which records have said that."""
        begin = self._position
        if sparse.is_said_before_content(records):
            found = sparse.before_content(lambda: self._take(BLOCK), stored)
        elif sparse.MAP in records:
            found = sparse.in_records(records)
        else:
            return
        member.path = records.get(sparse.NAME) or member.path
        member.size = sparse.size_of(records)
        member.pieces = sparse.checked(found, member.size, stored - (self._position - begin))

    def _find_older_pieces(self, member: Member, block: bytes, stored: int) -> None:
        """The same as the header itself says it, and more blocks of it behind that."""
        member.size = number(block[483:495])
        found = sparse.in_header(block, lambda: self._take(BLOCK), number)
        member.pieces = sparse.checked(found, member.size, stored)

    # ------------------------------------------------------------------------------------------------------ bytes

    @property
    def _position(self) -> int:
        return self._before + self._at

    def _fill(self) -> int:
        """Have the next bytes in place of those that were taken; answers how many."""
        self._before += len(self._data)
        self._data = memoryview(os.read(self._descriptor, _CHUNK))
        self._at = 0
        return len(self._data)

    def _take(self, size: int) -> bytes:
        begin = self._at
        if begin + size <= len(self._data):
            self._at += size
            return bytes(self._data[begin : begin + size])
        parts = []
        while size:
            if self._at == len(self._data) and not self._fill():
                raise _cut_off()
            part = bytes(self._data[self._at : self._at + size])
            parts.append(part)
            self._at += len(part)
            size -= len(part)
        return b"".join(parts)

    def _skip(self, size: int) -> None:
        while size > (ahead := len(self._data) - self._at):
            size -= ahead
            if not self._fill():
                raise _cut_off()
        self._at += size


def _cut_off() -> Damaged:
    return Damaged("the tar ends in the middle")


def _check(block: bytes) -> None:
    """Compare the checksum of a header; some old programs took its bytes for signed ones."""
    plain = block[:148] + b"        " + block[156:]
    written = number(block[148:156])
    # Half of this other checksum is the sum of the bytes and one more, in a twentieth of the time.
    if adler32(plain) & 0xFFFF != (written + 1) % _ADLER and written != _signed(plain):
        raise Damaged("a header of the tar does not match its checksum")


def _signed(block: bytes) -> int:
    return sum(byte - 256 if byte > 127 else byte for byte in block)


def number(field: bytes) -> int:
    """Octal digits, or the base-256 form of a number too large or too small for them."""
    if field[0] & 0x80:
        first = field[0] if field[0] & 0x40 else field[0] & 0x7F
        return int.from_bytes(bytes((first,)) + field[1:], "big", signed=True)
    digits = field.strip(b" \0").partition(b"\0")[0].rstrip(b" ")
    if digits.strip(b"01234567"):  # what is left begins with something else
        raise Damaged("a header of the tar holds something that is no number")
    return int(digits or b"0", 8)


# ------------------------------------------------------------------------------------------------------------ members


def _member(block: bytes, records: Records) -> Member:
    member = Member()
    kind = _KINDS.get(block[156:157])
    member.path = path = records.get(b"path") or _name(block)
    if kind is None:
        raise Damaged(f"{shown(path)} is of a kind that no file is ({block[156:157]!r})")
    if kind == FILE and path.endswith(b"/"):
        kind = DIRECTORY  # as it was written before there was a kind for it
    if len(path) > LONGEST_PATH or b"\0" in path:
        raise Damaged(f"{shown(path)} is no path")
    member.kind = kind
    member.mode = number(block[100:108]) & 0o7777
    member.mtime = _time(records[b"mtime"]) if records.get(b"mtime") else _bounded(number(block[136:148])) * 10**9
    member.uid = _owner(records.get(b"uid"), block[108:116], path)
    member.gid = _owner(records.get(b"gid"), block[116:124], path)
    member.target = b""
    member.device = (0, 0)
    member.attributes = _attributes(records) if records else {}
    member.pieces = None
    member.size = 0
    if kind in (LINK, HARD_LINK):
        member.target = _target(records.get(b"linkpath") or _text(block[157:257]), path)
    elif kind in (CHARACTER, BLOCK_DEVICE):
        member.device = (number(block[329:337]), number(block[337:345]))
    return member


def _stored(member: Member, block: bytes, records: Records) -> int:
    """How many bytes of the tar are a member's: of what is no file none, whatever its header says."""
    if member.kind != FILE:
        return _dumped(block)
    said = records.get(b"size")
    size = _digits(said) if said else number(block[124:136])
    if not 0 <= size < _LARGEST:
        raise Damaged(f"{shown(member.path)} has a size that no file has")
    member.size = size
    return size


def _dumped(block: bytes) -> int:
    """GNU's incremental dumps list a directory's names behind its header."""
    return max(number(block[124:136]), 0) if block[156:157] == b"D" else 0


def _name(block: bytes) -> bytes:
    if block[257:263] != b"ustar\0":
        return _text(block[:100])
    prefix = _text(block[345:476] if block[508:512] == b"tar\0" else block[345:500])
    return (prefix + b"/" if prefix else b"") + _text(block[:100])


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _target(target: bytes, path: bytes) -> bytes:
    if not target or b"\0" in target or len(target) >= LONGEST_PATH:
        raise Damaged(f"the link {shown(path)} leads nowhere")
    return target


def _owner(said: bytes | None, field: bytes, path: bytes) -> int:
    owner = _digits(said) if said else number(field)
    if not 0 <= owner < _NOBODY:
        raise Damaged(f"{shown(path)} has an owner that nobody can be")
    return owner


def _digits(text: bytes) -> int:
    if not text.isdigit() or len(text) > 20:
        raise Damaged("an extended header of the tar holds something that is no number")
    return int(text)


def _time(text: bytes) -> int:
    """A decimal fraction of seconds, in nanoseconds; what is finer is cut off."""
    seconds, _, fraction = text.removeprefix(b"-").partition(b".")
    nanoseconds = _bounded(_digits(seconds or b"0")) * 10**9 + _digits((fraction or b"0")[:9].ljust(9, b"0"))
    return -nanoseconds if text.startswith(b"-") else nanoseconds


def _bounded(seconds: int) -> int:
    if abs(seconds) > _LONGEST_TIME:
        raise Damaged("a time in the tar is further away than any file's")
    return seconds


def shown(path: bytes) -> str:
    """A path as it may stand in a message: nobody's terminal does what it says."""
    text = os.fsdecode(path[:200]).encode("utf-8", "backslashreplace").decode()
    return "/" + "".join(sign if sign.isprintable() else "?" for sign in text).lstrip("/")


# -------------------------------------------------------------------------------------------------------- pax records


def _add(data: bytes, records: Records) -> None:
    at, in_turn = 0, []
    while at < len(data):
        space = data.find(b" ", at, at + 8)
        length = data[at:space] if space > 0 else b""
        end = at + int(length) if length.isdigit() else 0
        keyword, equals, value = data[space + 1 : end - 1].partition(b"=")
        if not equals or not space < end <= len(data) or data[end - 1 : end] != b"\n":
            raise Damaged("an extended header of the tar is malformed")
        if keyword in sparse.IN_TURN:  # of each piece one of both, all under the same two keywords
            in_turn.append(value)
        records[keyword] = value
        at = end
    if in_turn:
        records[sparse.MAP] = b",".join(in_turn)


def _attributes(records: Records) -> Attributes:
    start = len(_ATTRIBUTE)
    return {keyword[start:]: value for keyword, value in records.items() if keyword.startswith(_ATTRIBUTE)}
