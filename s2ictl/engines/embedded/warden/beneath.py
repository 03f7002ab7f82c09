"""Trees on top of each other, looked at without a mount: what they have at a path, and where a path leads.

The kernel marks what is deleted in more than one way, by its age and by who had the right to do what. Each name on a
path was seen to be a directory in its tree before what lies in that is looked for, and nobody changes these trees.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

from . import attributes
from .attributes import Attributes
from .failures import Damaged
from .members import shown

Trees = tuple[int, ...]  # directory descriptors, the topmost first
Facts = os.stat_result

_OVERLAYS = ("trusted.overlay.", "user.overlay.", "user.fuseoverlayfs.")
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_MOST_LINKS = 40


class Found:
    """What lies at a path, and the trees that have a part in it; that is one alone where it is no directory."""

    __slots__ = ("facts", "trees")

    def __init__(self, facts: Facts, trees: Trees) -> None:
        self.facts = facts
        self.trees = trees

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.facts.st_mode)


def found(trees: Trees, path: bytes) -> Found | None:
    """What trees have at a path that all have its directory in common."""
    top: Facts | None = None
    parts: list[int] = []
    for tree in trees:
        try:
            facts = os.stat(path, dir_fd=tree, follow_symlinks=False)
        except FileNotFoundError:
            continue
        if is_whiteout(facts, _names(tree, path, facts)):
            break
        if not stat.S_ISDIR(facts.st_mode):
            return Found(top, tuple(parts)) if top else Found(facts, (tree,))
        top = top or facts
        parts.append(tree)
        if _ends(tree, path):
            break
    return Found(top, tuple(parts)) if top else None


def resolved(trees: Trees, path: bytes) -> bytes:
    """Where a path leads in them, without links on the way, which lead nowhere outside; its end is not followed."""
    ahead = _steps(path)
    way: list[tuple[bytes, Trees]] = []
    links = 0
    while ahead:
        name = ahead.pop()
        if name == b"..":
            del way[-1:]
            continue
        here = b"/".join((*(step for step, _ in way), name))
        there = found(way[-1][1] if way else trees, here)
        if not ahead or there is None or not stat.S_ISLNK(there.facts.st_mode):
            way.append((name, there.trees if there is not None and there.is_directory else ()))
            continue
        links += 1
        if links > _MOST_LINKS:
            raise Damaged(f"the links at {shown(here)} lead nowhere")
        target = os.readlink(here, dir_fd=there.trees[0])
        way = [] if target.startswith(b"/") else way
        ahead += _steps(target)
    return b"/".join(step for step, _ in way)


def attributes_of(tree: int, path: bytes) -> Attributes:
    """Those that belong to an image, of a directory."""
    file = os.open(path or b".", _READ, dir_fd=tree)
    try:
        return attributes.of(file, os.listxattr(file))
    finally:
        os.close(file)


# -------------------------------------------------------------------------------------------------------------- marks


def is_whiteout(facts: Facts, names: Iterable[str]) -> bool:
    """Whether something says that nothing is there: a device of no kind or, since Linux 6.7, an empty file."""
    if stat.S_ISCHR(facts.st_mode):
        return facts.st_rdev == 0
    return any(f"{overlay}whiteout" in names for overlay in _OVERLAYS) if names else False


def is_opaque(directory: int, names: Iterable[str]) -> bool:
    """Whether of a directory the trees below have no part; the same mark may also say that whiteouts lie in it."""
    marks = (f"{overlay}opaque" for overlay in _OVERLAYS)
    return any(mark in names and os.getxattr(directory, mark) == b"y" for mark in marks)


def check_whole(names: Iterable[str], path: bytes) -> None:
    """Refuse what has its content elsewhere: no mount of ours makes that, but somebody else's may."""
    if any(f"{overlay}{mark}" in names for overlay in _OVERLAYS for mark in ("metacopy", "redirect")):
        raise Damaged(f"{shown(path)} is only a part of what it shows: its overlay keeps the rest elsewhere")


def _names(tree: int, path: bytes, facts: Facts) -> list[str]:
    """The attributes of what may be a whiteout by one of them."""
    if facts.st_size or not stat.S_ISREG(facts.st_mode):
        return []
    file = os.open(path, _READ, dir_fd=tree)
    try:
        return os.listxattr(file)
    finally:
        os.close(file)


def _ends(tree: int, path: bytes) -> bool:
    file = os.open(path, _READ, dir_fd=tree)
    try:
        return is_opaque(file, os.listxattr(file))
    finally:
        os.close(file)


def _steps(path: bytes) -> list[bytes]:
    """The names of a path, the first of them last."""
    return [name for name in reversed(path.split(b"/")) if name not in (b"", b".")]
