"""What may be asked of the warden; each is performed by a process of its own, on the line that came with the call."""

from __future__ import annotations

import errno
import os
from contextlib import suppress

from . import kernel, leases, overlays, trees, unpacking
from .chambers import chamber
from .failures import Damaged, Missing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .lines import Line
    from .serving import Apart

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Place:
    """The store's directory, as the warden sees it, and how it mounts."""

    def __init__(self, directory: str, *, rootless: bool, programs: tuple[str, ...]) -> None:
        self.directory = directory
        self.rootless = rootless
        self.overlays = programs
        self.chambers = os.path.join(directory, "chambers")
        _close_to_others(directory)
        for name in ("chambers", "layers", "caches"):
            os.makedirs(os.path.join(directory, name), 0o700, exist_ok=True)
        kernel.spread(self.chambers)

    def layer(self, name: str) -> str:
        return self.below("layers", name)

    def below(self, *names: str) -> str:
        """A path below the directory; who asks for another has a fault."""
        for name in names:
            if name.startswith("/") or ".." in name.split("/") or not name.strip("/."):
                raise Damaged(f"{name!r} names nothing in the store")
        return os.path.join(self.directory, *names)


def calls(place: Place) -> dict[str, Apart]:
    """The table of all of them."""

    def chamber_of(line: Line, *, name: str, layers: list[str]) -> None:
        chamber(line, place, name=name, layers=layers)

    def unpack(line: Line, tar: int, *, name: str, on: list[str], to: str) -> int:
        lease = leases.lease(place.chambers, name)
        try:
            tree, size = _unpacked(tar, place, lease, on)
            if line.hear() is None:
                raise Damaged("its sender has not said that this was all")
            lease.unmount()  # before anybody else mounts it
            _settle(tree, place.layer(to), lease)
            return size
        finally:
            lease.unmount()
            lease.remove()

    def fill(_: Line, tar: int, *, to: str) -> int:
        root = os.open(place.below(to), _DIRECTORY | os.O_NOFOLLOW)
        try:
            return unpacking.unpack(tar, root, layer=False, rootless=place.rootless)[0]
        finally:
            os.close(root)

    def cache(_: Line, *, name: str, to: str, uid: int, gid: int) -> str:
        directory = place.below("caches", to)
        if os.path.isdir(directory):
            _open(directory, uid, gid)  # a build may have closed it, and the next finds it open
            return directory
        lease = leases.lease(place.chambers, name)
        try:
            made = lease.path("cache")
            os.mkdir(made)
            _open(made, uid, gid)
            _place(made, directory)
            return directory
        finally:
            lease.remove()

    def discard(_: Line, *, name: str, paths: list[str]) -> None:
        lease = leases.lease(place.chambers, name)
        try:
            for number, path in enumerate(paths):
                with suppress(FileNotFoundError):
                    os.rename(place.below(path), lease.path(str(number)))
        finally:
            lease.remove()

    def size(_: Line, *, path: str) -> int:
        return trees.size(place.below(path))

    table = (unpack, fill, cache, discard, size)
    return {"chamber": chamber_of, **{call.__name__: call for call in table}}


def _close_to_others(directory: str) -> None:
    """What lies in it runs as root, and some of it for whoever starts it: nobody else may change it, or come near."""
    if os.stat(directory).st_uid != os.getuid():
        raise Missing(f"{directory} belongs to another user", "name a directory of your own: S2ICTL_STATE=DIR")
    os.chmod(directory, 0o700)


def _open(directory: str, uid: int, gid: int) -> None:
    os.chmod(directory, 0o755)
    os.chown(directory, uid, gid)


def _unpacked(tar: int, place: Place, lease: leases.Lease, on: list[str]) -> tuple[str, int]:
    """The tree of a layer, and its bytes; what it deletes is marked by the kernel, on a mount of the trees below."""
    os.mkdir(lease.path("root"), 0o755)
    if on:
        lowers = [place.layer(name) for name in on]
        overlays.overlay(
            lease.directory, lowers, on=lease.path("root"), rootless=place.rootless, programs=place.overlays
        )
    root = os.open(lease.path("root"), _DIRECTORY)
    try:
        size, _ = unpacking.unpack(tar, root, layer=True, rootless=place.rootless)
    finally:
        os.close(root)
    return lease.path("upper" if on else "root"), size


def _place(made: str, directory: str) -> None:
    """Rename it into place, unless somebody was quicker."""
    try:
        os.rename(made, directory)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise


def _settle(tree: str, place: str, lease: leases.Lease) -> None:
    """Rename it into place; what was there goes with the lease."""
    with suppress(FileNotFoundError):
        os.rename(place, lease.path("before"))
    os.rename(tree, place)
