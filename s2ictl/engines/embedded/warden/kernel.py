"""What the kernel offers and the standard library does not: mounts, namespaces, paths that stay below a root."""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_BIND = 4096
MS_REC = 16384
MS_SLAVE = 1 << 19
_DETACHED = 2  # of umount2: from every name at once, and gone when nobody uses it any more

_DEATH_SIGNAL, _DUMPABLE, _NAME, _REAPER = 1, 4, 15, 36  # of prctl
_OPENAT2 = 437  # on every architecture
_IN_ROOT, _NO_MAGIC = 0x10, 0x02  # links lead nowhere outside, and never by way of /proc/…/fd
_KILL = 9
_GET_FLAGS, _SET_FLAGS, _TOP = 0x80086601, 0x40086602, 0x00020000  # of a file, by ioctl; the last is ext4's `chattr +T`
_FLAGS = struct.Struct("l")

_libc = ctypes.CDLL(None, use_errno=True)


class _How(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def opened(root: int, path: str | bytes, flags: int, *, mode: int = 0) -> int:
    """Open a path as a process would whose root this directory is."""
    how = _How(flags | os.O_CLOEXEC, mode if flags & os.O_CREAT else 0, _IN_ROOT | _NO_MAGIC)
    while True:
        found: int = _libc.syscall(_OPENAT2, root, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how))
        if found >= 0:
            return found
        try:
            _fail(path)
        except (BlockingIOError, InterruptedError):  # a rename elsewhere on the machine, while `..` was looked at
            continue


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    given = os.fsencode(options) if options else None
    if _libc.mount(os.fsencode(source), os.fsencode(target), kind.encode(), ctypes.c_ulong(flags), given):
        _fail(target)


def unmount(target: str) -> None:
    if _libc.umount2(os.fsencode(target), _DETACHED):
        _fail(target)


def spread(directory: str) -> None:
    """Have directories that are made in this one lie far apart on the disk, where its file system can be told that.

    ext4 looks for room near by, and one after another passes over all that was freed in the last minutes: after a build
    of many files each file of the next took thirty times as long.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        (flags,) = _FLAGS.unpack(fcntl.ioctl(descriptor, _GET_FLAGS, bytes(_FLAGS.size)))
        if not flags & _TOP:
            fcntl.ioctl(descriptor, _SET_FLAGS, _FLAGS.pack(flags | _TOP))
    except OSError:  # another file system, which needs no telling
        return
    finally:
        os.close(descriptor)


def unshare(namespaces: int) -> None:
    if _libc.unshare(namespaces):
        _fail("")


def enter(namespace: int, kind: int) -> None:
    """Go into the namespace that this descriptor is of."""
    if _libc.setns(namespace, kind):
        _fail("")


def die_with_parent() -> None:
    _control(_DEATH_SIGNAL, _KILL)


def adopt_orphans() -> None:
    """Be the parent of all that descends from this process and has lost its own."""
    _control(_REAPER, 1)


def be_opaque() -> None:
    """Let nobody see this process's memory, environment and files but who may see everybody's."""
    _control(_DUMPABLE, 0)


def be_called(name: str) -> None:
    _libc.prctl(_NAME, name.encode(), 0, 0, 0)


def mounted_below(directory: str) -> list[str]:
    """Every mount point at or below a directory, the ones that lie deepest first."""
    with open("/proc/self/mountinfo", "rb") as table:
        points = [_unescaped(line.split(b" ", 5)[4]) for line in table]
    whole = os.fsencode(directory)
    found = [point for point in points if point == whole or point.startswith(whole.rstrip(b"/") + b"/")]
    return [os.fsdecode(point) for point in reversed(found)]


def _unescaped(point: bytes) -> bytes:
    if b"\\" not in point:
        return point
    first, *others = point.split(b"\\")
    return first + b"".join(bytes((int(each[:3], 8),)) + each[3:] for each in others)


def _control(what: int, value: int) -> None:
    if _libc.prctl(what, value, 0, 0, 0):
        _fail("")


def _fail(path: str | bytes) -> None:
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number), path)
