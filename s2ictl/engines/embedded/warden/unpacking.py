"""A tar → files below one directory: a layer of an image as the specification says, or what is put into a container.

Whatever the tar says, and whatever lies there already, nothing outside of the directory is touched: each member is made
by its last name in a directory that is held, and that name is never followed.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

from . import attributes, trees
from .failures import Damaged, TooMuch
from .members import (
    BLOCK_DEVICE,
    CHARACTER,
    DIRECTORY,
    FIFO,
    FILE,
    HARD_LINK,
    LINK,
    Member,
    Tar,
    shown,
)
from .rooted import Directory, Rooted

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MARK, _OF_MARKS, _OPAQUE = b".wh.", b".wh..wh.", b".wh..wh..opq"
_SPECIAL = {CHARACTER: stat.S_IFCHR, BLOCK_DEVICE: stat.S_IFBLK, FIFO: stat.S_IFIFO}
_IMPOSSIBLE = {errno.EINVAL, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOENT, errno.EPERM, errno.EMLINK, errno.EXDEV}
_MOST_MEMBERS = 4_000_000
_MOST_BYTES = 1 << 40


def unpack(
    source: int,
    root: int,
    *,
    layer: bool,
    rootless: bool,
    most_members: int = _MOST_MEMBERS,
    most_bytes: int = _MOST_BYTES,
) -> tuple[int, int]:
    """Make files of a plain tar; answers the bytes of their content, and how many devices could not be made.

    With `layer` its whiteouts delete what lies there, and it may say of the root whose that is.
    """
    unpacking = _Unpacking(root, layer=layer, rootless=rootless, most_members=most_members, most_bytes=most_bytes)
    tar = Tar(source, closed=not layer)
    try:
        for member in tar.members():
            unpacking.take(member, tar)
        unpacking.settle()
    finally:
        unpacking.close()
    return unpacking.size, unpacking.left_out


class _Unpacking:
    def __init__(self, root: int, *, layer: bool, rootless: bool, most_members: int, most_bytes: int) -> None:
        self._tree = Rooted(root)
        self._layer = layer
        self._rootless = rootless
        self._most_members = most_members
        self._most_bytes = most_bytes
        self._members = 0
        self._brought: set[bytes] = set()  # true places, and what leads there; of fresh directories all are brought
        self._last: tuple[bytes, Directory] | None = None
        self.size = 0
        self.left_out = 0
        self._make = {FILE: self._file, DIRECTORY: self._directory, LINK: self._link, HARD_LINK: self._hard_link}

    def close(self) -> None:
        self._tree.close()

    def take(self, member: Member, tar: Tar) -> None:
        """Make of one member what it says."""
        self._count(member)
        if self._tree.relieve():
            self._last = None
        try:
            above, _, name = member.path.rstrip(b"/").rpartition(b"/")
            if name in (b"", b".", b"..") or b".." in above:
                above, name = _split(member.path)
            if self._layer and _MARK in member.path and self._delete(above, name):
                return
            if name:
                place = self._place(above)
                self._bring(place, name)
                self._make.get(member.kind, self._special)(place, name, member, tar)
            else:
                self._root(member)
        except OSError as error:
            if error.errno in _IMPOSSIBLE:
                raise Damaged(f"{shown(member.path)} cannot be unpacked: {os.strerror(error.errno)}") from error
            raise

    def settle(self) -> None:
        """Do what can only be done when nothing comes any more."""
        self._tree.settle()

    def _count(self, member: Member) -> None:
        self._members += 1
        self.size += member.size
        if self._members > self._most_members:
            raise TooMuch(f"there are more than {self._most_members} files")
        if self.size > self._most_bytes:
            raise TooMuch(f"the files have more than {self._most_bytes} bytes")

    # ----------------------------------------------------------------------------------------------------- places

    def _place(self, path: bytes) -> Directory:
        """The directory at a path of the tar, to make something in it."""
        if self._last is not None and self._last[0] == path:
            return self._last[1]
        found = self._tree.directory(path)
        self._tree.keep_time(found)
        self._last = (path, found)
        return found

    def _bring(self, directory: Directory, name: bytes) -> None:
        """Remember a place as this layer's, whatever it says later of what lay there before."""
        if not self._layer or directory.path in self._tree.fresh:
            return
        self._brought.add(directory.path + b"/" + name)
        path = directory.path
        while path and path not in self._brought:
            self._brought.add(path)
            path = path.rpartition(b"/")[0]

    def _anew(self, directory: Directory, name: bytes, make: Callable[[], object]) -> None:
        """Make something where nothing else may be."""
        try:
            make()
        except FileExistsError:
            self._remove(directory, name)
            make()

    def _opened(self, directory: Directory, name: bytes) -> int:
        """A new file, in place of whatever has this name."""
        try:
            return os.open(name, _NEW, 0o600, dir_fd=directory.descriptor)
        except FileExistsError:
            self._remove(directory, name)
            return os.open(name, _NEW, 0o600, dir_fd=directory.descriptor)

    def _remove(self, directory: Directory, name: bytes) -> None:
        trees.remove(directory.descriptor, os.fsdecode(name))
        self._tree.forget(directory.path + b"/" + name)
        self._last = None  # it may have been a link on the way

    # ---------------------------------------------------------------------------------------------------- members

    def _file(self, directory: Directory, name: bytes, member: Member, tar: Tar) -> None:
        file = self._opened(directory, name)
        try:
            if member.pieces is None:
                tar.pour(file, member.size)
            else:
                for begin, length in member.pieces:
                    os.lseek(file, begin, os.SEEK_SET)
                    tar.pour(file, length)
                os.ftruncate(file, member.size)
            self._attribute(file, member)
            os.utime(file, ns=(member.mtime, member.mtime))
        finally:
            os.close(file)

    def _directory(self, above: Directory, name: bytes, member: Member, _: Tar) -> None:
        path = above.path + b"/" + name
        try:
            os.mkdir(name, 0o700, dir_fd=above.descriptor)
            self._tree.fresh.add(path)
        except FileExistsError:
            if not stat.S_ISDIR(os.stat(name, dir_fd=above.descriptor, follow_symlinks=False).st_mode):
                self._remove(above, name)
                os.mkdir(name, 0o700, dir_fd=above.descriptor)
                self._tree.fresh.add(path)
        here = self._tree.entered(above, name).descriptor
        if self._layer and path not in self._tree.fresh:
            attributes.take(here, but=member.attributes)
        self._attribute(here, member)
        self._tree.times[path] = member.mtime

    def _root(self, member: Member) -> None:
        """The directory itself. What is put into a container does not say whose that is."""
        if member.kind != DIRECTORY:
            raise Damaged("the root of the tar is no directory")
        if self._layer:
            root = self._tree.directory(b"")
            self._attribute(root.descriptor, member)
            self._tree.times[b""] = member.mtime

    def _attribute(self, file: int, member: Member) -> None:
        """Give owner, then mode and attributes: the kernel takes rights away from what changes its owner."""
        try:
            os.fchown(file, member.uid, member.gid)
        except OSError as error:
            raise _nobody(member, error) from error
        os.fchmod(file, member.mode)
        if member.attributes:
            attributes.give(file, member.attributes)

    def _link(self, directory: Directory, name: bytes, member: Member, _: Tar) -> None:
        self._anew(directory, name, lambda: os.symlink(member.target, name, dir_fd=directory.descriptor))
        self._attribute_by_name(directory, name, member)

    def _special(self, directory: Directory, name: bytes, member: Member, _: Tar) -> None:
        if member.kind != FIFO and self._rootless:
            self.left_out += 1
            self._remove(directory, name)
            return
        major, minor = member.device
        if not (0 <= major < 1 << 12 and 0 <= minor < 1 << 20):
            raise Damaged(f"{shown(member.path)} is a device that no kernel has")
        if member.kind == CHARACTER and member.device == (0, 0):
            raise Damaged(f"{shown(member.path)} is a device by which this machine would say that something is deleted")
        kind, device = _SPECIAL[member.kind] | 0o600, os.makedev(major, minor)
        self._anew(directory, name, lambda: os.mknod(name, kind, device, dir_fd=directory.descriptor))
        self._attribute_by_name(directory, name, member)

    def _attribute_by_name(self, directory: Directory, name: bytes, member: Member) -> None:
        here = directory.descriptor
        try:
            os.chown(name, member.uid, member.gid, dir_fd=here, follow_symlinks=False)
        except OSError as error:
            raise _nobody(member, error) from error
        if member.kind != LINK:
            os.chmod(name, member.mode, dir_fd=here)
        if member.attributes:
            attributes.give(attributes.path_of(here, name), member.attributes)
        os.utime(name, ns=(member.mtime, member.mtime), dir_fd=here, follow_symlinks=False)

    def _hard_link(self, directory: Directory, name: bytes, member: Member, _: Tar) -> None:
        above, last = _split(member.target)
        place = self._tree.present(above)
        if place is None or not last:
            raise _not_there(member)
        if (place.path, last) == (directory.path, name):
            return
        if (place.path + b"/").startswith(directory.path + b"/" + name + b"/"):
            raise Damaged(f"{shown(member.path)} is to be the same as what lies in it")
        source, target = place.descriptor, directory.descriptor

        def make() -> None:
            os.link(last, name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)

        try:
            self._anew(directory, name, make)
        except FileNotFoundError as error:
            raise _not_there(member) from error

    # -------------------------------------------------------------------------------------------------- deletions

    def _delete(self, above: bytes, name: bytes) -> bool:
        """Do what a whiteout says; False of anything else. Only what the layers below had is deleted by one."""
        if any(step.startswith(_MARK) and not step.startswith(_OF_MARKS) for step in above.split(b"/")):
            raise Damaged(f"{shown(above)} is a name that means a deletion, and a directory")
        if not name.startswith(_MARK):
            return any(step.startswith(_OF_MARKS) for step in above.split(b"/"))
        place = self._tree.present(above)
        if name.startswith(_OF_MARKS):
            if name == _OPAQUE and place is not None:
                self._clear(place)
            return True
        gone = name.removeprefix(_MARK)
        if gone in (b"", b".", b".."):
            raise Damaged(f"{shown(above + b'/' + name)} deletes nothing that can be named")
        if place is not None and place.path not in self._tree.fresh:
            self._delete_below(place, gone)
        return True

    def _clear(self, directory: Directory) -> None:
        """Delete what a directory had before this layer."""
        if directory.path in self._tree.fresh:
            return
        for name in map(os.fsencode, os.listdir(directory.descriptor)):
            self._delete_below(directory, name)

    def _delete_below(self, directory: Directory, name: bytes) -> None:
        path = directory.path + b"/" + name
        if path not in self._brought:
            self._tree.keep_time(directory)
            self._remove(directory, name)
        elif stat.S_ISDIR(os.stat(name, dir_fd=directory.descriptor, follow_symlinks=False).st_mode):
            self._clear(self._tree.entered(directory, name))


def _split(path: bytes) -> tuple[bytes, bytes]:
    """A path of the tar as that of a directory, and a name in it; without a name it is the root's."""
    steps = [step for step in path.split(b"/") if step not in (b"", b".")]
    if b".." in steps:
        raise Damaged(f"{shown(path)} leads upwards")
    return (b"/".join(steps[:-1]), steps[-1]) if steps else (b"", b"")


def _not_there(member: Member) -> Damaged:
    return Damaged(f"{shown(member.path)} is to be the same as {shown(member.target)}, and that is not there")


def _nobody(member: Member, error: OSError) -> Exception:
    """In a user namespace there are only so many users."""
    if error.errno != errno.EINVAL:
        return error
    return Damaged(
        f"{shown(member.path)} belongs to {member.uid}:{member.gid}, and this user has no such subordinate id here"
    )
