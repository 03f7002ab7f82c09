"""Members as a tar for an engine: one at a time, so that a tree of any size costs the memory of a few blocks."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain

from s2ictl.archives.headers import BLOCK, headers_for
from s2ictl.archives.members import Entry, Reader
from s2ictl.errors import FetchSourceFailed
from s2ictl.models import Member
from s2ictl.values import dataclass

_HANDED_ON = 1 << 20  # so much at once: of small files many, and of a large one as it is read
_END = bytes(2 * BLOCK)


def tar_stream(entries: Iterable[Entry], *, uid: int, gid: int) -> Iterator[bytes]:
    """Write members as a plain tar that begins with `./`, all owned by this user and group."""
    return joined(chain(_pieces(entries, uid, gid), (_END,)))


def tar_beginning(entries: Iterable[Entry], *, uid: int, gid: int) -> Iterator[bytes]:
    """The same without its end: what is to stand before another tar, and to be unpacked with it."""
    return joined(_pieces(entries, uid, gid))


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What becomes one layer of an image: what that is called, the directories that lead there, and what it brings.

    Those on the `way` are root's in every image. The entries come in the order of their full paths, each with a reader
    that is good until the next is asked for; owners and times are not theirs to say.
    """

    name: str
    way: tuple[Member, ...]
    entries: Callable[[], Iterator[Entry]]


def layer_stream(part: Part, *, uid: int, gid: int, mtime: int) -> Iterator[bytes]:
    """Write a part as a layer of an image; of its root, which every image has, nothing is said.

    The group may write where a mode says so, since whoever a cluster runs it as is of that group.
    """
    way = map(headers_for(uid=0, gid=0), (replace(member, mtime=mtime) for member in part.way))
    entries = ((replace(member, mtime=mtime), read) for member, read in part.entries())
    return joined(chain(way, _members(entries, headers_for(uid=uid, gid=gid, kept=0o775)), (_END,)))


def directory_entry(path: str, *, mode: int = 0o755) -> Entry:
    """A directory that lies nowhere yet."""
    return Member(path=path.lstrip("/"), kind="directory", mode=mode), lambda _: b""


def file_entry(path: str, content: bytes, *, mode: int, mtime: int = 0) -> Entry:
    """A file whose bytes are held in memory."""
    member = Member(path=path.lstrip("/"), kind="file", mode=mode, size=len(content), mtime=mtime)
    return member, io.BytesIO(content).read


def rerooted(member: Member, root: str) -> Member:
    """The member as it is called below `root`; a hard link names another member, which is found there too."""
    target = f"{root}/{member.target}" if member.kind == "hardlink" else member.target
    return replace(member, path=f"{root}/{member.path}", target=target)


def _pieces(entries: Iterable[Entry], uid: int, gid: int) -> Iterator[bytes]:
    # An engine guesses a compression from the first bytes, and a source may begin with a file that is named like one.
    # The entry names the directory that is unpacked into, so it stays root's.
    yield headers_for(uid=0, gid=0)(Member(path=".", kind="directory", mode=0o755))
    yield from _members(entries, headers_for(uid=uid, gid=gid))


def _members(entries: Iterable[Entry], header: Callable[[Member], bytes]) -> Iterator[bytes]:
    for member, read in entries:
        yield header(member)
        if member.kind == "file":
            yield from _content(member, read)


def _content(member: Member, read: Reader) -> Iterator[bytes]:
    """Exactly the bytes that the header promised; a file that grew or shrank since would shift all that follows.

    At the end one byte more is asked for than there should be, which tells of growth without another read.
    """
    left, ended = member.size, False
    while not ended:
        data = read(left + 1 if left <= _HANDED_ON else _HANDED_ON)
        if len(data) > left or (left and not data):
            raise _changed(member)
        left -= len(data)
        ended = not left
        yield data
    yield bytes(-member.size % BLOCK)


def _changed(member: Member) -> FetchSourceFailed:
    return FetchSourceFailed(
        f"{member.path} changed while it was read",
        detail=f"it had {member.size} bytes when it was opened",
        hint="build again when nothing writes to the source",
    )


def joined(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Fewer, larger blocks: a tree of small files would else be two writes to the engine for each."""
    pending: list[bytes] = []
    size = 0
    for piece in pieces:
        pending.append(piece)
        size += len(piece)
        if size >= _HANDED_ON:
            yield b"".join(pending)
            pending, size = [], 0
    if pending:
        yield b"".join(pending)
