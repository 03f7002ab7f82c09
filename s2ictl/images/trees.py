"""The layers of an image, each unpacked once: a tree, called by what it is made of and by all that is below it.

A tree has its name when all of it is there and the tar that it was made of had the digest that its image says. Of two
that want it one makes it, and the other waits.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Protocol

from s2ictl.compression import plain
from s2ictl.errors import LimitReached, PullBuilderImageFailed, S2IError
from s2ictl.images.ground import Ground, door
from s2ictl.values import dataclass

_LARGEST = 64 << 30  # bytes of a layer
_UNFINISHED = ".partial"


class Unpacker(Protocol):
    """Who may make files for anybody: the engine's warden."""

    def unpack(self, tar: Iterator[bytes], *, on: tuple[str, ...], to: str) -> int:
        """Make a layer's tree `to` of its plain tar; `on` are those below it, topmost first. Answers its bytes."""

    def discard(self, paths: tuple[str, ...]) -> None:
        """Remove these trees, named below the store's directory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A layer of an image as it lies here, whose plain tar is said to have the digest `diff_id`."""

    image: str
    diff_id: str
    chunks: Callable[[], Iterator[bytes]]


def chain_ids(diff_ids: Sequence[str]) -> tuple[str, ...]:
    """What the trees of these layers are called, the lowest first: each by its layer and by all below."""
    names: list[str] = []
    for diff_id in diff_ids:
        below = f"sha256:{names[-1]} {diff_id}" if names else ""
        names.append(hashlib.sha256(below.encode()).hexdigest() if below else diff_id.removeprefix("sha256:"))
    return tuple(names)


def is_there(ground: Ground, name: str) -> bool:
    return (ground.trees / name).is_dir()


def make(
    ground: Ground, name: str, layer: Layer, *, on: tuple[str, ...], unpacker: Unpacker, waiting: Callable[[], None]
) -> None:
    """Have the tree of this name, unless somebody else makes it first."""
    with door(f"unpack a layer in {ground.directory}"), ground.turn(name, waiting=waiting) as note:
        if is_there(ground, name):
            return
        unfinished = f"{name}{_UNFINISHED}"
        _discard(ground, unfinished, unpacker)  # of somebody who was killed
        try:
            tar = _Tar(layer)
            with closing(tar.chunks):
                size = unpacker.unpack(tar.chunks, on=on, to=unfinished)
                tar.check()
            (ground.trees / unfinished).rename(ground.trees / name)
        except BaseException:
            with suppress(S2IError, OSError):  # if it cannot go now, it goes with the next that clears up
                _discard(ground, unfinished, unpacker)
            raise
        note.write_text(str(size))


def _discard(ground: Ground, name: str, unpacker: Unpacker) -> None:
    if is_there(ground, name):
        unpacker.discard((f"{ground.trees.name}/{name}",))


class _Tar:
    """The plain tar of a layer, hashed while it is read."""

    def __init__(self, layer: Layer) -> None:
        self._layer = layer
        self._seen = hashlib.sha256()
        self.chunks = self._read()

    def check(self) -> None:
        """Refuse one that was not what it should be; what stands behind the end of the archive counts for it too."""
        for _ in self.chunks:
            pass
        if f"sha256:{self._seen.hexdigest()}" != self._layer.diff_id:
            raise self._broken(f"a layer unpacks to other bytes than {self._layer.diff_id}, as it calls it itself")

    def _read(self) -> Generator[bytes, None, None]:
        count = 0
        for chunk in plain(self._layer.chunks(), error=self._broken):
            count += len(chunk)
            if count > _LARGEST:
                raise LimitReached(f"a layer of {self._layer.image} unpacks to more than {_LARGEST} bytes")
            self._seen.update(chunk)
            yield chunk

    def _broken(self, detail: str) -> S2IError:
        return broken(self._layer.image, detail)


def broken(image: str, detail: str) -> PullBuilderImageFailed:
    return PullBuilderImageFailed(
        f"{image} is broken", detail=detail, hint="have it made or sent anew, or name another"
    )


# --------------------------------------------------------------------------------------------------------------- notes


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A tree that is there, with its bytes, 0 where nobody knows them, and when it was used last, since 1970."""

    name: str
    size: int
    used: float


def used(ground: Ground, names: Sequence[str]) -> None:
    """Note that these are used now."""
    for name in names:
        with suppress(OSError):
            os.utime(ground.turns / name)


def listed(ground: Ground) -> tuple[Tree, ...]:
    """All that lie there, also what is not finished or no tree at all."""
    with suppress(FileNotFoundError):
        return tuple(_noted(ground.turns / path.name, path) for path in sorted(ground.trees.iterdir()))
    return ()


def _noted(note: Path, tree: Path) -> Tree:
    with suppress(OSError, ValueError):
        return Tree(name=tree.name, size=int(note.read_text() or "0"), used=note.stat().st_mtime)
    return Tree(name=tree.name, size=0, used=time.time())
