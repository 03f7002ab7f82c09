"""Directory trees as a whole: removed, whatever lies in them, and measured.

One descriptor goes down and up again, so that no depth is too deep for the number of open files, for the length of a
path or for Python's stack.
"""

from __future__ import annotations

import errno
import os
import stat

from . import kernel

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove(parent: int, name: str) -> None:
    """Remove what has this name in a directory, with all below it; no matter when there is nothing."""
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):
        if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
            raise
    else:
        return
    _empty(os.open(name, _DIRECTORY, dir_fd=parent))
    os.rmdir(name, dir_fd=parent)


def _empty(here: int) -> None:
    """Remove all that lies in this directory, and close it."""
    above: list[tuple[str, list[str]]] = []
    inside = _without_files(here)
    try:
        while True:
            while inside:
                name = inside.pop()
                below = os.open(name, _DIRECTORY, dir_fd=here)
                os.close(here)
                here = below
                above.append((name, inside))
                inside = _without_files(here)
            if not above:
                return
            name, inside = above.pop()
            up = os.open("..", _DIRECTORY, dir_fd=here)
            os.close(here)
            here = up
            os.rmdir(name, dir_fd=here)
    finally:
        os.close(here)


def _without_files(here: int) -> list[str]:
    """Unlink every file of a directory; answers the names of the directories in it."""
    directories = []
    with os.scandir(here) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                directories.append(entry.name)
            else:
                os.unlink(entry.name, dir_fd=here)
    return directories


def unlink(parent: int, name: str) -> None:
    """Remove a file, or a directory that is empty; whatever else is there stays."""
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):
        try:
            os.rmdir(name, dir_fd=parent)
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise


def size(path: str) -> int:
    """The bytes of all the files below a directory, those of several names counted once; 0 where nothing is."""
    try:
        here = os.open(path, _DIRECTORY)
    except FileNotFoundError:
        return 0
    total, linked = 0, set[int]()
    above: list[list[str]] = []
    inside = os.listdir(here)
    try:
        while True:
            while inside:
                found = os.stat(inside[-1], dir_fd=here, follow_symlinks=False)
                if stat.S_ISDIR(found.st_mode):
                    below = os.open(inside.pop(), _DIRECTORY, dir_fd=here)
                    os.close(here)
                    here = below
                    above.append(inside)
                    inside = os.listdir(here)
                    continue
                inside.pop()
                if found.st_nlink == 1 or found.st_ino not in linked:
                    total += found.st_size
                    linked.add(found.st_ino)
            if not above:
                return total
            inside = above.pop()
            up = os.open("..", _DIRECTORY, dir_fd=here)
            os.close(here)
            here = up
    finally:
        os.close(here)


def beneath(root: int, path: str) -> tuple[int, str] | None:
    """The directory that a path of a root lies in, and its name there; None when there is no such directory."""
    above, name = os.path.split("/" + path.strip("/"))
    if name in ("", ".", ".."):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
    try:
        return kernel.opened(root, above, os.O_PATH | os.O_DIRECTORY), name
    except (FileNotFoundError, NotADirectoryError):
        return None
