"""Files that others write or read at the same time, or that are none.

What is written appears whole, or not at all. What is read was named by somebody, and may be a FIFO, a device, or a name
that no file can bear: nobody waits for it, and nobody is surprised.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


def taken(descriptor: int) -> bool:
    """Have a file alone, by a lock that the kernel gives back however a process ends; False while somebody has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_full(error: OSError) -> bool:
    """Whether there was no room, on the disk or in what its owner may have of it."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def write_whole(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Put a file in place, also of an older one; where that fails nothing of it stays."""
    import tempfile

    descriptor, partial = tempfile.mkstemp(dir=path.parent, prefix=".s2ictl-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            os.fchmod(descriptor, mode)
        Path(partial).replace(path)
    finally:
        Path(partial).unlink(missing_ok=True)


def open_regular(path: Path) -> BinaryIO:
    """Open a file to read it; OSError where it is none, as a FIFO that would have us wait for its writer."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return os.fdopen(descriptor, "rb")


def read_small(path: Path, *, most: int) -> bytes:
    """The whole of such a file; OSError where it has more bytes."""
    with open_regular(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it has more than {most} bytes", str(path))
    return content


def is_file(path: Path) -> bool:
    """Whether there is one; a path that the system will not even look at leads to none."""
    return _is(path, Path.is_file)


def is_directory(path: Path) -> bool:
    """Whether there is one, in the same way."""
    return _is(path, Path.is_dir)


def exists(path: Path) -> bool:
    """Whether anything is there, in the same way."""
    return _is(path, Path.exists)


def _is(path: Path, question: Callable[[Path], bool]) -> bool:
    try:
        return question(path)
    except OSError:
        return False
