"""What was changed in a container → the canonical tar of a layer; and what lies at one path of it → a tar.

The upper directory of an overlay is the layer but for its form: walked once, in the order of names, it is written while
it is read. What the kernel noted beside it, and when, is no part of what was built; so the same changes give the same
bytes everywhere.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator

from . import attributes, beneath, kernel
from .beneath import Facts, Found, Trees
from .failures import Damaged, TooMuch
from .headers import END, header
from .members import (
    BLOCK,
    BLOCK_DEVICE,
    CHARACTER,
    DIRECTORY,
    FIFO,
    FILE,
    HARD_LINK,
    LINK,
    LONGEST_PATH,
    shown,
)

_MARK, _OPAQUE = b".wh.", b".wh..wh..opq"
_BESIDE = (_OPAQUE, b".wh..opq")  # what fuse-overlayfs puts into a directory beside the attribute that says the same
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_HANDED_ON = 1 << 20  # so much at once: of small files many, and of a large one as it is read
_DEEPEST = 256
_MOST_BYTES = 1 << 40
_KINDS = {stat.S_IFLNK: LINK, stat.S_IFCHR: CHARACTER, stat.S_IFBLK: BLOCK_DEVICE, stat.S_IFIFO: FIFO}

_Skips = dict[bytes, "_Skips"]  # by name, what is left out below it; with nothing in it, all


def layer(
    upper: int, lowers: Trees, *, skip: tuple[str, ...], volumes: tuple[str, ...] = (), since: int, epoch: int | None
) -> Iterator[bytes]:
    """The tar of a layer, of an upper directory and the trees below it, the topmost first.

    The paths of `skip` are resolved as in the container, and left out with all below them; what a lower tree has there
    is deleted. Of what lies at or below the `volumes` nothing is said. Times since the nanosecond `since` become
    `epoch`.
    """

    def resolved(paths: tuple[str, ...]) -> Iterator[bytes]:
        return (beneath.resolved((upper, *lowers), os.fsencode(path)) for path in paths)

    walk = _Walk(since=since, epoch=epoch, is_layer=True, passed_over=frozenset(resolved(volumes)))
    return _joined(walk.layer(upper, lowers, _skips(resolved(skip))))


def subtree(root: int, path: str) -> Iterator[bytes] | None:
    """The tar of what lies at a path, called by its last name, a link as a link; None when nothing lies there.

    A path that ends in `/.` means what is in a directory, and the names then begin with `./`. So does one that ends in
    `/..`, which is no name in the directory before it: from the root it would lead outside.
    """
    above, name = os.path.split(path.rstrip("/") or "/.")
    around, name = (path, ".") if name in (".", "..") else (above, name)
    try:
        directory = kernel.opened(root, around, os.O_RDONLY | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        kind = stat.S_IFMT(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return None
    finally:
        os.close(directory)
    return _joined(_subtree(root, around, os.fsencode(name), kind))


def _subtree(root: int, around: str, name: bytes, kind: int) -> Iterator[bytes]:
    directory = kernel.opened(root, around, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield from _Walk(since=0, epoch=None, is_layer=False).entry(directory, name, kind, name, (), {})
    finally:
        os.close(directory)


class _Walk:
    """One tar. Directories in which nothing but time was changed are `pending` until something is written in them."""

    def __init__(
        self, *, since: int, epoch: int | None, is_layer: bool, passed_over: frozenset[bytes] = frozenset()
    ) -> None:
        self._since = since
        self._epoch = epoch
        self._is_layer = is_layer
        self._passed_over = passed_over
        self._pending: list[bytes] = []
        self._first: dict[tuple[int, int], bytes] = {}  # of those with several names, the first in order
        self._bytes = 0

    def layer(self, upper: int, lowers: Trees, skips: _Skips) -> Iterator[bytes]:
        below = Found(os.fstat(lowers[0]), lowers) if lowers else None
        yield from self._directory(upper, b"", below, skips)

    def entry(
        self, directory: int, name: bytes, kind: int, path: bytes, below: Trees, skips: _Skips
    ) -> Iterator[bytes]:
        """What has this name in a directory, with all that lies in it."""
        if len(path) >= LONGEST_PATH or path.count(b"/") > _DEEPEST:
            raise TooMuch(f"{shown(path)} lies too deep for an image")
        if self._is_layer and name.startswith(_MARK):
            raise Damaged(f"{shown(path)} cannot be in an image: a name that begins with .wh. means a deletion there")
        if kind == stat.S_IFDIR:
            descriptor = os.open(name, _READ | os.O_DIRECTORY, dir_fd=directory)
            walk = self._directory(descriptor, path, beneath.found(below, path), skips)
        elif kind == stat.S_IFREG:
            descriptor = os.open(name, _READ, dir_fd=directory)
            walk = self._file(descriptor, path, below)
        else:
            yield from self._special(directory, name, path, below)
            return
        try:
            yield from walk
        finally:
            os.close(descriptor)

    # -------------------------------------------------------------------------------------------------- directories

    def _directory(self, directory: int, path: bytes, below: Found | None, skips: _Skips) -> Iterator[bytes]:
        facts, names = os.fstat(directory), os.listxattr(directory)
        beneath.check_whole(names, path)
        own = attributes.of(directory, names)
        said = self._header(path or b".", facts, DIRECTORY, own)
        is_opaque = beneath.is_opaque(directory, names)
        if is_opaque:
            skips = {**skips, **{name: {} for name in _BESIDE}}
        if below is None or not below.is_directory:
            if path or not self._is_layer:
                yield self._written(said)
            yield from self._inside(directory, path, (), skips)
        elif is_opaque:
            yield self._written(said) + self._deletion(path, _OPAQUE)
            yield from self._inside(directory, path, (), skips)
        elif _owned(facts) != _owned(below.facts) or own != beneath.attributes_of(below.trees[0], path):
            yield self._written(said)
            yield from self._inside(directory, path, below.trees, skips)
        else:  # of the root, which every image has, nothing is said unless it is other
            said = self._header(path, facts, DIRECTORY, own, is_passed=True) if path else b""
            yield from self._around(said, self._inside(directory, path, below.trees, skips))

    def _around(self, said: bytes, inside: Iterator[bytes]) -> Iterator[bytes]:
        """Say of a directory what it is before the first that is written in it, if anything is."""
        self._pending.append(said)
        yield from inside
        if self._pending and self._pending[-1] is said:
            self._pending.pop()

    def _inside(self, directory: int, path: bytes, below: Trees, skips: _Skips) -> Iterator[bytes]:
        with os.scandir(directory) as entries:
            kinds = {os.fsencode(entry.name): _kind(entry) for entry in entries}
        for name in sorted(kinds.keys() | skips.keys()):
            here = path + b"/" + name if path else name
            if here in self._passed_over:
                continue
            left_out = skips.get(name)
            if left_out == {} or name not in kinds:
                yield from self._without(here, beneath.found(below, here), left_out or {})
            else:
                yield from self.entry(directory, name, kinds[name], here, below, left_out or {})

    def _without(self, path: bytes, below: Found | None, skips: _Skips) -> Iterator[bytes]:
        """Delete what the trees below have at a path, or in it those names that are to be left out."""
        if below is None:
            return
        if not skips:
            above, _, name = path.rpartition(b"/")
            yield self._written(self._deletion(above, _MARK + name))
        elif below.is_directory:
            own = beneath.attributes_of(below.trees[0], path)
            said = self._header(path, below.facts, DIRECTORY, own, is_passed=True)
            inside = (
                piece
                for name in sorted(skips)
                for piece in self._without(
                    path + b"/" + name, beneath.found(below.trees, path + b"/" + name), skips[name]
                )
            )
            yield from self._around(said, inside)

    # -------------------------------------------------------------------------------------------------------- files

    def _file(self, file: int, path: bytes, below: Trees) -> Iterator[bytes]:
        facts, names = os.fstat(file), os.listxattr(file)
        if names and not facts.st_size and beneath.is_whiteout(facts, names):
            yield from self._without(path, beneath.found(below, path), {})
            return
        beneath.check_whole(names, path)
        if linked := self._linked(path, facts):
            yield linked
            return
        size = facts.st_size
        self._bytes += size
        if self._bytes > _MOST_BYTES:
            raise TooMuch(f"what was made has more than {_MOST_BYTES} bytes")
        said = self._written(self._header(path, facts, FILE, attributes.of(file, names), size=size))
        if size <= _HANDED_ON:
            data = os.read(file, size)
            if len(data) != size:
                raise _changed(path)
            yield said + data + bytes(-size % BLOCK)
            return
        yield said
        yield from _content(file, size, path)

    def _special(self, directory: int, name: bytes, path: bytes, below: Trees) -> Iterator[bytes]:
        facts = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if beneath.is_whiteout(facts, ()):
            yield from self._without(path, beneath.found(below, path), {})
            return
        kind = _KINDS.get(stat.S_IFMT(facts.st_mode))
        if kind is None:  # a socket, which no tar has a place for and nobody listens at any more
            return
        if linked := self._linked(path, facts):
            yield linked
            return
        place = attributes.path_of(directory, name)
        own = attributes.of(place, os.listxattr(place, follow_symlinks=False))
        target = os.readlink(name, dir_fd=directory) if kind == LINK else b""
        yield self._written(self._header(path, facts, kind, own, target=target))

    def _linked(self, path: bytes, facts: Facts) -> bytes:
        """What says that this is another name of a member before it; nothing where it is the first."""
        if facts.st_nlink == 1:
            return b""
        first = self._first.setdefault((facts.st_dev, facts.st_ino), path)
        return b"" if first == path else self._written(self._header(path, facts, HARD_LINK, {}, target=first))

    # ------------------------------------------------------------------------------------------------------ headers

    def _written(self, piece: bytes) -> bytes:
        """What is written, behind the directories around it that were not yet."""
        if not self._pending:
            return piece
        piece = b"".join((*self._pending, piece))
        self._pending.clear()
        return piece

    def _header(
        self,
        path: bytes,
        facts: Facts,
        kind: bytes,
        own: attributes.Attributes,
        *,
        size: int = 0,
        target: bytes = b"",
        is_passed: bool = False,
    ) -> bytes:
        # A directory that is only passed on the way may have no time in any layer: then it has that of its unpacking.
        is_new = self._epoch is not None and (is_passed or facts.st_mtime_ns >= self._since)
        is_device = kind in (CHARACTER, BLOCK_DEVICE)
        return header(
            path + b"/" if kind == DIRECTORY else path,
            kind,
            mode=stat.S_IMODE(facts.st_mode),
            uid=facts.st_uid,
            gid=facts.st_gid,
            mtime=self._epoch or 0 if is_new else facts.st_mtime_ns // 10**9,
            size=size,
            target=target,
            device=(os.major(facts.st_rdev), os.minor(facts.st_rdev)) if is_device else None,
            attributes=own,
        )

    def _deletion(self, directory: bytes, mark: bytes) -> bytes:
        path = directory + b"/" + mark if directory else mark
        return header(path, FILE, mode=0o600, uid=0, gid=0, mtime=self._epoch or 0)


def _owned(facts: Facts) -> tuple[int, int, int]:
    return stat.S_IMODE(facts.st_mode), facts.st_uid, facts.st_gid


def _kind(entry: os.DirEntry[str]) -> int:
    """Directory, file or something else; most file systems tell that with the name."""
    if entry.is_dir(follow_symlinks=False):
        return stat.S_IFDIR
    return stat.S_IFREG if entry.is_file(follow_symlinks=False) else 0


def _skips(paths: Iterable[bytes]) -> _Skips:
    top: _Skips = {}
    for path in sorted(paths, key=len, reverse=True):  # so that who is above another takes its place
        *way, last = path.split(b"/")
        here = top
        for name in way:
            here = here.setdefault(name, {})
        here[last] = {}
    return top


def _content(file: int, size: int, path: bytes) -> Iterator[bytes]:
    left = size
    while left:
        data = os.read(file, min(left, _HANDED_ON))
        if not data:
            raise _changed(path)
        left -= len(data)
        yield data
    yield bytes(-size % BLOCK)


def _changed(path: bytes) -> Damaged:
    return Damaged(f"{shown(path)} changed while it was read")


def _joined(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Fewer, larger blocks, and the end behind them."""
    waiting: list[bytes] = []
    size = 0
    for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= _HANDED_ON:
            yield b"".join(waiting)
            waiting, size = [], 0
    yield b"".join((*waiting, END))
