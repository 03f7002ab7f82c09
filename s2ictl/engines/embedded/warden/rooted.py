"""Where a path truly leads below a root: every link on the way resolved as in there, none of them able to lead out.

The kernel could do that too, but would not say where it came to; and what a layer deletes is told apart from what it
brings by true places. Each step opens one name in a directory that is held, and follows nothing.
"""

from __future__ import annotations

import errno
import os

from .failures import Damaged, TooMuch
from .members import shown

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_HELD = 256
_DEEPEST = 256
_MOST_LINKS = 40


class Directory:
    """One that is held open. `path` is its true place, without links: empty for the root, `/usr/lib` for another."""

    __slots__ = ("descriptor", "path")

    def __init__(self, path: bytes, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor


class Rooted:
    """The directories below a root, which stays its opener's.

    What was made here is remembered as `fresh`, and of what is changed the time that it has to have in the end.
    """

    def __init__(self, root: int) -> None:
        self._root = Directory(b"", root)
        self._held = {b"": self._root}
        self.fresh: set[bytes] = set()
        self.times: dict[bytes, int] = {}

    def close(self) -> None:
        """Let go of all but the root."""
        for directory in self._held.values():
            if directory is not self._root:
                os.close(directory.descriptor)
        self._held = {b"": self._root}

    def relieve(self) -> bool:
        """Let go of the directories when they have become many; no longer any use of them then."""
        if len(self._held) <= _MOST_HELD:
            return False
        self.close()
        return True

    def forget(self, path: bytes) -> None:
        """Something that may have been a directory, or a link to one, is no longer there."""
        if path not in self._held:  # and so nothing below it is
            return
        for each in [held for held in self._held if held == path or held.startswith(path + b"/")]:
            os.close(self._held.pop(each).descriptor)

    def directory(self, path: bytes) -> Directory:
        """The directory at a path, made with all that lead there where nothing is."""
        found = self._walk(path, making=True)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return found

    def present(self, path: bytes) -> Directory | None:
        """The directory at a path, if there is one."""
        return self._walk(path, making=False)

    def keep_time(self, directory: Directory) -> None:
        """Something will change in a directory that is no less old for it."""
        if directory.path not in self.times:
            self.times[directory.path] = os.fstat(directory.descriptor).st_mtime_ns

    def settle(self) -> None:
        """Give every directory its time, when nothing is made in them any more."""
        for path in sorted(self.times):
            self.relieve()
            directory = self.present(path)
            if directory is not None and directory.path == path:
                os.utime(directory.descriptor, ns=(self.times[path], self.times[path]))

    def entered(self, above: Directory, name: bytes) -> Directory:
        """The directory of this name, which must be there and no link."""
        path = above.path + b"/" + name
        found = self._held.get(path)
        if found is None:
            if path.count(b"/") > _DEEPEST:
                raise TooMuch(f"{shown(path)} lies deeper than {_DEEPEST} directories")
            found = self._held[path] = Directory(path, os.open(name, _DIRECTORY, dir_fd=above.descriptor))
        return found

    def _walk(self, path: bytes, *, making: bool) -> Directory | None:
        here, links = self._root, 0
        ahead = _steps(path)
        while ahead:
            name = ahead.pop()
            if name == b"..":
                here = self._held[here.path.rpartition(b"/")[0]]
                continue
            try:
                here = self.entered(here, name)
            except FileNotFoundError:
                if not making:
                    return None
                here = self._made(here, name)
            except OSError as error:
                if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                    raise
                target = _target(here, name)
                links += 1
                if target is None or links > _MOST_LINKS:
                    if making:
                        raise Damaged(f"{shown(path)} is no directory, and something is to lie in it") from error
                    return None
                here = self._root if target.startswith(b"/") else here
                ahead += _steps(target)
        return here

    def _made(self, above: Directory, name: bytes) -> Directory:
        """One that nobody says anything of: root's, and of no time."""
        self.keep_time(above)
        os.mkdir(name, 0o755, dir_fd=above.descriptor)
        found = self.entered(above, name)
        self.fresh.add(found.path)
        self.times[found.path] = 0
        os.fchown(found.descriptor, 0, 0)
        os.fchmod(found.descriptor, 0o755)
        return found


def _steps(path: bytes) -> list[bytes]:
    """The names of a path, the first of them last."""
    return [name for name in reversed(path.split(b"/")) if name not in (b"", b".")]


def _target(directory: Directory, name: bytes) -> bytes | None:
    try:
        return os.readlink(name, dir_fd=directory.descriptor)
    except OSError as error:
        if error.errno == errno.EINVAL:  # no link
            return None
        raise
