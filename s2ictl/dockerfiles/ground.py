"""The files that a Dockerfile copies, laid down below a directory: by descriptors, and never through a link.

What a source brings is somebody else's. The tar it travels in is read strictly; here each file is made by its name in a
directory that is open, so that nothing which is made can lead anywhere else.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from s2ictl.archives import CHUNK, Limits, Reader, read_tar, reader_of
from s2ictl.models import Member
from s2ictl.values import dataclass

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LATEST = (1 << 33) - 1  # what a plain tar can say, and docker sends this in one
_ROOMY = Limits(members=1 << 40, size=1 << 60, names=1 << 40)  # it was bounded where it came from


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """What lies at `source`, relative to the Dockerfile, goes to the absolute path `target` in the image."""

    source: str
    target: str


def lay(tar: Iterator[bytes], directory: Path, *, name: str, strip: str) -> tuple[Copy, ...]:
    """Unpack an upload, and answer what of it is copied where: each member that lies in no other.

    The directory will be called `name`, and stands for `strip` in the image; what lies elsewhere keeps its whole path.
    """
    directory.mkdir(exist_ok=True)
    home = f"{strip.strip('/')}/"
    tops: dict[str, Copy] = {}
    with closing(_Ground(os.open(directory, _DIRECTORY))) as ground:
        for member, read in read_tar(reader_of(tar), name="the upload", limits=_ROOMY):
            ground.make(member.path.removeprefix(home), member, read, target=member.target.removeprefix(home))
            if not any(member.path.startswith(f"{top}/") for top in tops):
                tops[member.path] = Copy(source=f"{name}/{member.path.removeprefix(home)}", target=f"/{member.path}")
    return tuple(tops.values())


class _Ground:
    """A directory that is being filled; the parent of the last member stays open for the next."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._path = ""
        self._parent = os.dup(root)

    def close(self) -> None:
        os.close(self._parent)
        os.close(self._root)

    def make(self, path: str, member: Member, read: Reader, *, target: str) -> None:
        above, _, name = path.rpartition("/")
        parent = self._enter(above)
        match member.kind:
            case "directory":
                self._directory(name, parent, member.mode)
            case "file":
                _file(name, parent, member, read)
            case "link":
                _anew(name, parent)
                os.symlink(member.target, name, dir_fd=parent)
            case "hardlink":
                self._same(target, name, parent)

    def _same(self, target: str, name: str, parent: int) -> None:
        above, _, other = target.rpartition("/")
        _anew(name, parent)
        with closing(_Open(self._descend(above))) as there:
            os.link(other, name, src_dir_fd=there.number, dst_dir_fd=parent, follow_symlinks=False)

    def _directory(self, name: str, parent: int, mode: int) -> None:
        with closing(_Open(_entered(name, parent))) as made:
            os.fchmod(made.number, mode | 0o700)  # else neither docker could read it nor the next build remove it

    def _enter(self, path: str) -> int:
        if path != self._path:
            descriptor = self._descend(path)
            os.close(self._parent)
            self._parent, self._path = descriptor, path
        return self._parent

    def _descend(self, path: str) -> int:
        here = os.dup(self._root)
        for part in filter(None, path.split("/")):
            try:
                below = _entered(part, here)
            finally:
                os.close(here)
            here = below
        return here


class _Open:
    """A descriptor that `closing` can close."""

    def __init__(self, number: int) -> None:
        self.number = number

    def close(self) -> None:
        os.close(self.number)


def _entered(name: str, parent: int) -> int:
    with suppress(FileExistsError):  # made for what lies in it, or named twice; a link there is not followed
        os.mkdir(name, 0o755, dir_fd=parent)
    return os.open(name, _DIRECTORY, dir_fd=parent)


def _anew(name: str, parent: int) -> None:
    """Of two members of one name the later counts, as for the engine."""
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=parent)


def _file(name: str, parent: int, member: Member, read: Reader) -> None:
    _anew(name, parent)
    with open(os.open(name, _FILE, 0o600, dir_fd=parent), "wb") as file:  # noqa: PTH123  (a descriptor)
        while data := read(CHUNK):
            file.write(data)
        file.flush()
        os.fchmod(file.fileno(), member.mode | 0o400)
        moment = min(max(member.mtime, 0), _LATEST)
        os.utime(file.fileno(), (moment, moment))


# ------------------------------------------------------------------------------------------------ as a whole


def exchange(fresh: Path, place: Path) -> None:
    """Put a directory in the place of an older one, which is then called as the fresh one was."""
    old = fresh.with_name(f"{fresh.name}-old")
    if place.exists():
        place.rename(old)
    try:
        fresh.rename(place)
    except BaseException:
        if old.exists():
            old.rename(place)
        raise
    if old.exists():
        old.rename(fresh)


def remove(directory: Path) -> None:
    if directory.exists():
        shutil.rmtree(directory)
