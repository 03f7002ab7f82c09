"""The process namespace of a container, with a first process that does nothing but wait.

The kernel spares the first process of a namespace most signals and makes it the parent of all orphans. A script is
written for neither: `kill -9 $$` is to end it, and what it leaves behind is not its to wait for.
"""

from __future__ import annotations

import errno
import os
import signal
import struct

from . import kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_SAID = struct.Struct("ii")  # the process's id, and the number of an error or 0


def namespace(place: str) -> int:
    """Make one, as the path of this file; answers its first process, a child of whoever adopts orphans here."""
    os.close(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    told, telling = os.pipe()
    between = os.fork()
    if not between:
        _between(place, telling)
    os.close(telling)
    said = b""
    while block := os.read(told, 2 * _SAID.size):
        said += block
    os.close(told)
    os.waitpid(between, 0)
    answers = list(_SAID.iter_unpack(said))
    number: int = max([number for _, number in answers], default=errno.EIO)
    if number:
        raise OSError(number, os.strerror(number), place)
    first: int = max(pid for pid, _ in answers)
    return first


def _between(place: str, telling: int) -> NoReturn:
    """Its children are in the namespace, and it is not."""
    try:
        kernel.unshare(kernel.CLONE_NEWPID)
        first = os.fork()
        if not first:
            _wait(place, telling)
        os.write(telling, _SAID.pack(first, 0))
    except OSError as error:
        os.write(telling, _SAID.pack(0, error.errno or errno.EIO))
    finally:
        os._exit(0)


def _wait(place: str, telling: int) -> NoReturn:
    """Be nothing that a process of the container could look into, and have no file open."""
    try:
        kernel.mount("/proc/self/ns/pid", place, "", kernel.MS_BIND)
        kernel.be_opaque()
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel then waits for the orphans itself
        os.write(telling, _SAID.pack(0, 0))
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        while True:
            signal.pause()
    except OSError as error:
        os.write(telling, _SAID.pack(0, error.errno or errno.EIO))
    finally:
        os._exit(1)
