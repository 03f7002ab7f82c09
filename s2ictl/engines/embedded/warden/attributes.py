"""Extended attributes, as far as they belong to an image: none that says something of the machine or of its mounts."""

from __future__ import annotations

import errno
import os

Attributes = dict[bytes, bytes]

_OVERLAY = ("trusted.overlay.", "user.overlay.", "user.fuseoverlayfs.")
_MACHINE = ("security.selinux", "security.ima", "security.evm")  # labels and sums that each machine makes for itself
_NOT_HERE = {
    errno.ENOTSUP,
    errno.EPERM,
}  # a file system without them; `user.` of a link; `trusted.` in a user namespace


def belongs(name: str) -> bool:
    return not name.startswith(_OVERLAY) and name not in _MACHINE


def of(file: int | bytes, names: list[str]) -> Attributes:
    """Those of a file's attributes that belong to an image, in the order of their names."""
    kept = sorted(os.fsencode(name) for name in names if belongs(name))
    return {name: os.getxattr(file, name, follow_symlinks=isinstance(file, int)) for name in kept}


def give(file: int | bytes, attributes: Attributes) -> None:
    """Set those that belong to an image, as far as there is a place for them here."""
    for name, value in attributes.items():
        if not belongs(os.fsdecode(name)):
            continue
        try:
            os.setxattr(file, name, value, follow_symlinks=isinstance(file, int))
        except OSError as error:
            if error.errno not in _NOT_HERE:
                raise


def take(file: int, *, but: Attributes) -> None:
    """Remove those that belong to an image and are not among these."""
    for name in os.listxattr(file):
        if belongs(name) and os.fsencode(name) not in but:
            os.removexattr(file, name)


def path_of(directory: int, name: bytes) -> bytes:
    """A name by which the calls reach what cannot be opened: they take no descriptor of a directory."""
    return b"/proc/self/fd/%d/%b" % (directory, name)
