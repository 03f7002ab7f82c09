"""What a container of the Docker API left behind, as a layer, by the engine's own words: its list of what has changed,
and archives of that, as few as cover it.

The bytes are those that the container's own directory gives (`upper`), as far as an engine tells: of attributes only
capabilities; two names of one file as two files where they do not lie in one new directory; a directory that was made
anew in the place of another as one in which all was exchanged; and names that are not UTF-8 not at all. Nothing is held
but the list, and of that no more of a new directory than its name.
"""

from __future__ import annotations

import codecs
import json
import os
import posixpath
import stat
import tarfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import field
from itertools import chain
from typing import IO, Any

from s2ictl.archives import joined
from s2ictl.engines import streams
from s2ictl.engines.connection import WORK, answer, door
from s2ictl.engines.containers import Container
from s2ictl.engines.embedded.warden.headers import END, header
from s2ictl.errors import CommitContainerFailed
from s2ictl.values import dataclass

_MODIFIED, _ADDED, _DELETED = range(3)
_MANY = 64  # so many archives are asked for one by one; beyond it, the directory around them as a whole
_BLOCK, _CHUNK = 512, 1 << 20
_MARK = b".wh."
_ATTRIBUTE = "SCHILY.xattr."
_UNTOLD = "\ufffd"  # what the engine writes for bytes that are no UTF-8
_KINDS = {
    tarfile.DIRTYPE: b"5",
    tarfile.SYMTYPE: b"2",
    tarfile.LNKTYPE: b"1",
    tarfile.CHRTYPE: b"3",
    tarfile.BLKTYPE: b"4",
    tarfile.FIFOTYPE: b"6",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What is wanted of it: without the paths of `skip`, and times from the nanosecond `since` on as `epoch`, if any.
    An engine tells whole seconds: what was put in has to be older than the one in which the container was made."""

    skip: tuple[str, ...]
    since: int
    epoch: int | None


@dataclass(slots=True)
class Change:
    """What became of a path, None where only something in it is other; `inside` is told by name."""

    kind: int | None = None
    inside: dict[str, Change] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Member:
    """One of an archive, under its absolute path."""

    path: str
    info: tarfile.TarInfo
    file: IO[bytes] | None
    around: str  # where the archive begins

    @property
    def facts(self) -> tuple[object, ...]:
        """What makes a directory another one than that of the image; time is no part of it."""
        return (self.info.isdir(), self.info.mode & 0o7777, self.info.uid, self.info.gid, _attributes(self.info))


Members = Iterator[_Member]


def chunks(
    container: Container, left: Left, original: Callable[[], Container], mounted: Iterable[str]
) -> Iterator[bytes]:
    """The layer; `original` is a container of the same image in which nothing has changed, and nothing of what lies
    below `mounted` is the container's own."""
    layer = _Layer(container=container, left=left, original=original, mounted=frozenset(mounted))
    return joined(chain(layer.inside("", changes(container)), (END,)))


def changes(container: Container) -> Change:
    """All that has changed, from the root on."""
    asking = answer(container.api, "GET", f"containers/{container.id}/changes", {}, silence=WORK)
    with door("ask what has changed", CommitContainerFailed), asking as given:
        return tree_of(told(given.iter_content()))


def told(chunks: Iterable[bytes]) -> Iterator[tuple[str, int]]:
    """The paths of the list and what became of each, while it comes."""
    decoder, incoming, text = json.JSONDecoder(), codecs.getincrementaldecoder("utf-8")(), ""
    for chunk in chunks:
        text += incoming.decode(chunk)
        end = 0
        while (begin := text.find("{", end)) >= 0:
            try:
                record, end = decoder.raw_decode(text, begin)
            except ValueError:  # the rest of it is on its way
                break
            yield str(record["Path"]), int(record["Kind"])
        text = text[end:]


def tree_of(listed: Iterable[tuple[str, int]]) -> Change:
    """The same as a tree; of what is new nothing more is kept, since all that is in it is new."""
    root = Change()
    for path, kind in listed:
        here = root
        for name in filter(None, path.split("/")):
            if here.kind == _ADDED:
                break
            if _UNTOLD in name:
                raise CommitContainerFailed(
                    f"{path} has a name that the engine cannot tell",
                    detail="it is not UTF-8",
                    hint="have the image made by the engine itself: --to docker",
                )
            here = here.inside.setdefault(name, Change())
        else:
            here.kind = kind
            if kind == _ADDED:
                here.inside.clear()
    return root


@dataclass(slots=True, kw_only=True)
class _Layer:
    """One tar. Directories in which nothing but time was changed are `pending` until something is written in them."""

    container: Container
    left: Left
    original: Callable[[], Container]
    mounted: frozenset[str]
    pending: list[bytes] = field(default_factory=list)

    def inside(self, path: str, change: Change) -> Iterator[bytes]:
        """What has changed in a directory, in the order of names."""
        whole = [name for name, each in change.inside.items() if each.kind in (_MODIFIED, _ADDED) and not each.inside]
        with ExitStack() as opened:
            together = _Together(opened.enter_context(self._archive(path or "/."))) if len(whole) > _MANY else None
            for name in sorted(change.inside, key=os.fsencode):
                here, each = f"{path}/{name}", change.inside[name]
                if each.kind == _DELETED:
                    yield self._written(self._deletion(path, _MARK + os.fsencode(name)))
                elif self._is_left_out(here):
                    continue
                elif each.inside:
                    yield from self._around(here, each)
                elif together:
                    yield from self._whole(here, each, together.of(here))
                else:
                    with self._archive(here) as members:
                        yield from self._whole(here, each, members)

    def _around(self, path: str, change: Change) -> Iterator[bytes]:
        """A directory that was there before, with what has changed in it."""
        now = self._first(self.container, path)
        if now.facts != self._first(self.original(), path).facts:
            yield self._written(self._header(now))
            yield from self.inside(path, change)
            return
        self.pending.append(said := self._header(now, is_passed=True))
        yield from self.inside(path, change)
        if self.pending and self.pending[-1] is said:
            self.pending.pop()

    def _whole(self, path: str, change: Change, members: Members) -> Iterator[bytes]:
        """All of what is new; of a directory that was there before, only what it is itself."""
        for member in members:
            if change.kind == _MODIFIED and member.info.isdir():
                if member.path == path and member.facts != self._first(self.original(), path).facts:
                    yield self._written(self._header(member))
                return
            yield from self._copied(member)

    def _copied(self, member: _Member) -> Iterator[bytes]:
        if self._is_left_out(member.path):
            return
        yield self._written(self._header(member))
        if member.file is not None:
            left = member.info.size
            while data := member.file.read(min(left, _CHUNK)):
                left -= len(data)
                yield data
            yield bytes(-member.info.size % _BLOCK)

    def _is_left_out(self, path: str) -> bool:
        way = [path, *_parents(path)]
        return any(each in self.left.skip for each in way) or any(each in self.mounted for each in way[1:])

    # ---------------------------------------------------------------------------------------------------- archives

    @contextmanager
    def _archive(self, path: str) -> Iterator[Members]:
        with self._archive_of(self.container, path) as members:
            yield members

    @contextmanager
    def _archive_of(self, container: Container, path: str) -> Iterator[Members]:
        with container.taken(path) as read:
            if read is None:
                raise CommitContainerFailed(f"{path} is gone from the container", hint="build it again")
            file = streams.File(read)
            with tarfile.open(mode="r|", fileobj=file, bufsize=_CHUNK, encoding="utf-8") as tar:
                yield _members(tar, posixpath.dirname(path.removesuffix("/.")))

    def _first(self, container: Container, path: str) -> _Member:
        """What lies at a path, without what is in it."""
        with self._archive_of(container, path) as members:
            return next(members)

    # ----------------------------------------------------------------------------------------------------- headers

    def _written(self, piece: bytes) -> bytes:
        """What is written, behind the directories around it that were not yet."""
        piece = b"".join((*self.pending, piece))
        self.pending.clear()
        return piece

    def _header(self, member: _Member, *, is_passed: bool = False) -> bytes:
        info, epoch = member.info, self.left.epoch
        is_new = epoch is not None and (is_passed or info.mtime >= self.left.since // 10**9)
        kind = _KINDS.get(info.type, b"0")
        path = os.fsencode(member.path[1:])
        target = b"" if not info.linkname else os.fsencode(info.linkname)
        if info.islnk():
            target = os.fsencode(posixpath.join(member.around, info.linkname)[1:])
        return header(
            path + b"/" if info.isdir() else path,
            kind,
            mode=stat.S_IMODE(info.mode),
            uid=info.uid,
            gid=info.gid,
            mtime=epoch or 0 if is_new else int(info.mtime),
            size=info.size if info.isreg() else 0,
            target=target,
            device=(info.devmajor, info.devminor) if info.isdev() and not info.isfifo() else None,
            attributes=dict(_attributes(info)),
        )

    def _deletion(self, directory: str, mark: bytes) -> bytes:
        path = os.fsencode(directory[1:] + "/" if directory else "") + mark
        return header(path, b"0", mode=0o600, uid=0, gid=0, mtime=self.left.epoch or 0)


class _Together:
    """The archive of a directory, of which some children are wanted, in its own order."""

    def __init__(self, members: Members) -> None:
        self._members = members
        self._ahead: _Member | None = None

    def of(self, path: str) -> Members:
        """The members that lie at a path; those before it are passed over."""
        for member in chain((self._ahead,) if self._ahead else (), self._members):
            if member.path == path or member.path.startswith(f"{path}/"):
                self._ahead = None
                yield member
            elif _order(member.path) > _order(path):
                self._ahead = member
                return


def _order(path: str) -> list[bytes]:
    return os.fsencode(path).split(b"/")


def _members(tar: tarfile.TarFile, around: str) -> Members:
    while (info := tar.next()) is not None:
        tar.members.clear()  # type: ignore[attr-defined]  # it would hold all of them
        path = posixpath.normpath(posixpath.join("/", around, info.name))
        yield _Member(path, info, tar.extractfile(info) if info.isreg() else None, around or "/")


def _attributes(info: tarfile.TarInfo) -> tuple[tuple[bytes, bytes], ...]:
    own = ((name, value) for name, value in sorted(info.pax_headers.items()) if name.startswith(_ATTRIBUTE))
    return tuple((_bytes(name.removeprefix(_ATTRIBUTE)), _bytes(value)) for name, value in own)


def _bytes(text: Any) -> bytes:
    return str(text).encode("utf-8", "surrogateescape")


def _parents(path: str) -> Iterator[str]:
    while (path := posixpath.dirname(path)) not in ("/", ""):
        yield path
