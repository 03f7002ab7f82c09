"""Members as a tar for an engine: one at a time, so that a tree of any size costs the memory of one chunk."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import replace

from s2ictl.archives.members import CHUNK, Entry, Reader
from s2ictl.errors import FetchSourceFailed
from s2ictl.models import Member

_BLOCK = 512
_END = bytes(_BLOCK)
_TYPES = {
    "file": tarfile.REGTYPE,
    "directory": tarfile.DIRTYPE,
    "link": tarfile.SYMTYPE,
    "hardlink": tarfile.LNKTYPE,
}
_KEPT_MODE = 0o755  # as the umask of an assemble user leaves it: no setuid, and nobody but the owner writes


def tar_stream(entries: Iterable[Entry], *, uid: int, gid: int) -> Iterator[bytes]:
    """Write members as a plain tar that begins with `./`, all owned by this user and group."""
    return _joined(_pieces(entries, uid, gid))


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
