"""Files with holes, as GNU tar has written them: in the header, in pax records of three versions, before the content.

Each of these ways is met in layers, since nobody ever took one back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from .failures import Damaged, TooMuch

Pieces = list[tuple[int, int]]  # where each begins in the file, and how long it is
Take = Callable[[], bytes]

MAP, NAME = b"GNU.sparse.map", b"GNU.sparse.name"
IN_TURN = (b"GNU.sparse.offset", b"GNU.sparse.numbytes")
_SIZES = (b"GNU.sparse.realsize", b"GNU.sparse.size")
_MOST = 1 << 20  # bytes of a map


def size_of(records: dict[bytes, bytes]) -> int:
    """How long the file is with its holes."""
    return _number(next((records[key] for key in _SIZES if key in records), b""))


def is_said_before_content(records: dict[bytes, bytes]) -> bool:
    return (records.get(b"GNU.sparse.major"), records.get(b"GNU.sparse.minor")) == (b"1", b"0")


def in_records(records: dict[bytes, bytes]) -> Pieces:
    return _paired([_number(text) for text in records[MAP].split(b",") if text])


def before_content(take: Take, stored: int) -> Pieces:
    """Lines of numbers, in whole blocks: how many pieces there are, and then both numbers of each."""
    data = b""
    wanted = 1
    while data.count(b"\n") < wanted:
        if len(data) >= min(stored, _MOST):
            raise Damaged("the map of a sparse file in the tar does not end")
        data += take()
        if data.count(b"\n"):
            wanted = 1 + 2 * _number(data.partition(b"\n")[0])
    return _paired([_number(line) for line in data.split(b"\n", wanted)[1:wanted]])


def in_header(block: bytes, take: Take, number: Callable[[bytes], int]) -> Pieces:
    """Four pieces in the header itself, and as many blocks of 21 as are announced one by the other."""
    fields, goes_on = block[386:482], block[482]
    length = 0
    found: list[int] = []
    while True:
        found += [number(field) for field in _fields(fields)]
        if not goes_on:
            return _paired(found)
        length += len(block)
        if length > _MOST:
            raise TooMuch("a sparse file in the tar has too many pieces")
        block = take()
        fields, goes_on = block[:504], block[504]


def _fields(fields: bytes) -> Iterable[bytes]:
    return (fields[at : at + 12] for at in range(0, len(fields), 12) if fields[at - at % 24] != 0)


def checked(pieces: Pieces, size: int, stored: int) -> Pieces:
    """The same, if they stand one behind the other in the file and are as long as what the tar has of it."""
    end = 0
    for begin, length in pieces:
        if begin < end or length < 0:
            raise Damaged("the pieces of a sparse file in the tar overlap")
        end = begin + length
    if end > size or sum(length for _, length in pieces) != stored:
        raise Damaged("the map of a sparse file in the tar is not that of its content")
    return pieces


def _paired(numbers: list[int]) -> Pieces:
    if len(numbers) % 2:
        raise Damaged("the map of a sparse file in the tar is malformed")
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _number(text: bytes) -> int:
    if not text.isdigit() or len(text) > 20:
        raise Damaged("the map of a sparse file in the tar is malformed")
    return int(text)
