"""Trees below each other as one, with an upper directory that takes what is changed."""

from __future__ import annotations

import errno
import os
import stat

from . import kernel
from .failures import Missing

KERNEL = "overlay"
_PLAIN = "index=off,metacopy=off,redirect_dir=nofollow"  # each of these would say something in marks that no layer has
_HASTY = "volatile"  # nobody waits for the disk: what is in it when the machine stops is of no use to anybody


def overlay(directory: str, lowers: list[str], *, on: str, rootless: bool, programs: tuple[str, ...]) -> None:
    """Mount at `on` the trees, the topmost first, and on them an upper directory made in `directory`.

    The programs are tried in turn. The trees are named by short links, because all their paths would not fit into the
    one page that a mount takes.
    """
    links = os.path.join(directory, "links")
    os.mkdir(links)
    for name in ("upper", "work", "empty"):
        os.mkdir(os.path.join(directory, name))
        os.symlink(f"../{name}", os.path.join(links, name[0]))
    below = lowers or [os.path.join(directory, "empty")]
    for number, tree in enumerate(below):
        os.symlink(tree, os.path.join(links, str(number)))
    _like(below[0], os.path.join(directory, "upper"))
    os.chdir(links)
    try:
        _mounted(":".join(map(str, range(len(below)))), on, rootless, programs)
    finally:
        os.chdir("/")


def _like(tree: str, upper: str) -> None:
    """The root of what is mounted is the upper directory's, whatever those below say."""
    found = os.stat(tree)
    os.chown(upper, found.st_uid, found.st_gid)
    os.chmod(upper, stat.S_IMODE(found.st_mode))
    os.utime(upper, ns=(found.st_mtime_ns, found.st_mtime_ns))


def _mounted(lowers: str, on: str, rootless: bool, programs: tuple[str, ...]) -> None:
    places = f"lowerdir={lowers},upperdir=u,workdir=w"
    refused = ""
    for program in programs:
        try:
            if program == KERNEL:
                _by_kernel(places, on, rootless)
            else:
                _by_program(program, places, on)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            refused = f"{program}: {os.strerror(error.errno or 0)}"
        else:
            return
    hint = (
        "`s2ictl doctor` says what is missing" if rootless else "the file system of the store may be an overlay itself"
    )
    raise Missing(f"the layers could not be mounted ({refused})", hint)


def _by_kernel(places: str, on: str, rootless: bool) -> None:
    marks = "userxattr," if rootless else ""
    for options in (f"{marks}{_PLAIN},{_HASTY},", f"{marks}{_PLAIN},", marks):
        try:
            kernel.mount("overlay", on, "overlay", kernel.MS_NODEV, options + places)
        except OSError as error:
            if error.errno != errno.EINVAL or options == marks:  # an option that this kernel does not know
                raise
        else:
            return


def _by_program(program: str, places: str, on: str) -> None:
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        actions = [(os.POSIX_SPAWN_DUP2, null, number) for number in (0, 1, 2)]
        pid = os.posix_spawn(program, [program, "-o", places, on], {}, file_actions=actions)
        _, status = os.waitpid(pid, 0)
    finally:
        os.close(null)
    if status:
        raise OSError(errno.EIO, os.strerror(errno.EIO), program)
