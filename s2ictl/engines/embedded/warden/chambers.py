"""One container's mounts, and what is asked of them, served by a process that lives exactly as long."""

from __future__ import annotations

import os
import signal
import stat

from . import kernel, layering, leases, networking, overlays, trees, unpacking
from .failures import Damaged
from .running import Answer, Run, end_children, kill_children
from .serving import Post, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .calls import Place
    from .lines import Line

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Chamber:
    """Its directories, open; what cannot be opened there stays where it is."""

    def __init__(self, place: Place, lease: leases.Lease, layers: list[str]) -> None:
        self._rootless = place.rootless
        self._lease = lease
        self._lowers = [place.layer(name) for name in layers]
        self._root = self._mounted(place)
        self._since = os.stat(lease.path("links")).st_mtime_ns
        self._network = ""

    def _mounted(self, place: Place) -> int:
        for name in ("root", "memory"):
            os.mkdir(self._lease.path(name), 0o700)
        overlays.overlay(
            self._lease.directory,
            self._lowers,
            on=self._lease.path("root"),
            rootless=place.rootless,
            programs=place.overlays,
        )
        kernel.mount("tmpfs", self._lease.path("memory"), "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=0700")
        for name in ("handed", "network", "runs"):
            os.mkdir(self._memory(name), 0o700)
        return os.open(self._lease.path("root"), _DIRECTORY)

    def _memory(self, name: str) -> str:
        return os.path.join(self._lease.path("memory"), name)

    # at once

    def mode(self, path: str) -> int | None:
        try:
            found = kernel.opened(self._root, path, os.O_PATH | os.O_NOFOLLOW)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            return os.fstat(found).st_mode
        finally:
            os.close(found)

    def read(self, path: str, limit: int) -> str | None:
        """The bytes as Latin-1, which is any bytes."""
        try:
            found = kernel.opened(self._root, path, os.O_PATH)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            # Opening what is no file may wait, or do something.
            if not stat.S_ISREG(os.fstat(found).st_mode):
                return None
            with open(f"/proc/self/fd/{found}", "rb") as file:
                return file.read(limit + 1).decode("latin-1")
        finally:
            os.close(found)

    def put(self, tar: int) -> tuple[int, int]:
        return unpacking.unpack(tar, self._root, layer=False, rootless=self._rootless)

    def hand(self, tar: int) -> tuple[int, int]:
        root = os.open(self._memory("handed"), _DIRECTORY)
        try:
            return unpacking.unpack(tar, root, layer=False, rootless=self._rootless)
        finally:
            os.close(root)

    def erase(self, paths: list[str]) -> None:
        for path in paths:
            found = trees.beneath(self._root, path)
            if found is None:
                continue
            try:
                trees.unlink(*found)
            finally:
                os.close(found[0])

    def mount_points(self, targets: list[tuple[str, bool]]) -> list[str]:
        return [made for path, is_file in targets for made in self._mount_point(path, is_file=is_file)]

    def _mount_point(self, path: str, *, is_file: bool) -> list[str]:
        names = [name for name in path.split("/") if name]
        made = []
        for depth in range(1, len(names) + 1):
            here = "/" + "/".join(names[:depth])
            wanted = stat.S_IFREG if is_file and depth == len(names) else stat.S_IFDIR
            if not self._has(here, wanted):
                self._make(here, wanted)
                made.append(here)
        return made

    def _has(self, path: str, wanted: int) -> bool:
        try:
            found = kernel.opened(self._root, path, os.O_PATH)
        except FileNotFoundError:
            return False
        try:
            is_directory = stat.S_ISDIR(os.fstat(found).st_mode)
        finally:
            os.close(found)
        if is_directory != (wanted == stat.S_IFDIR):
            raise Damaged(
                f"{path} is {'a' if is_directory else 'no'} directory in the image: nothing can be mounted there"
            )
        return True

    def _make(self, path: str, wanted: int) -> None:
        above, name = trees.beneath(self._root, path) or (-1, "")
        try:
            if wanted == stat.S_IFDIR:
                os.mkdir(name, 0o755, dir_fd=above)
                os.chmod(name, 0o755, dir_fd=above)
            else:
                os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=above))
        except FileExistsError:
            raise Damaged(f"{path} is a link that leads nowhere in the image: nothing can be mounted there") from None
        finally:
            os.close(above)

    def network(self, helper: list[str]) -> str:
        self._network = networking.network(self._memory("network"), tuple(helper))
        return self._network

    def forward(self, port: int) -> int:
        return networking.forward(self._network, port)

    def cut_off(self) -> None:
        """What still runs is of the network, and its last packets take the kernel a while."""
        kill_children()

    # apart

    def run(self, line: Line, spec: int, stdout: int, stderr: int, *, runtime: str, cgroup: str) -> Answer:
        run = Run(self._lease, self._memory("runs"), runtime=runtime, cgroup=cgroup)
        return run.performed(line, spec, stdout, stderr)

    def layer(self, _: Line, pipe: int, *, skip: list[str], volumes: list[str], epoch: int | None) -> None:
        upper, lowers = self._trees()
        blocks = layering.layer(upper, lowers, skip=tuple(skip), volumes=tuple(volumes), since=self._since, epoch=epoch)
        for block in blocks:
            write(pipe, block)

    def take(self, line: Line, pipe: int, *, path: str) -> None:
        blocks = layering.subtree(self._root, path)
        line.say({"answer": blocks is not None})
        for block in blocks or ():
            write(pipe, block)

    def _trees(self) -> tuple[int, tuple[int, ...]]:
        upper = os.open(self._lease.path("upper"), _DIRECTORY)
        return upper, tuple(os.open(lower, _DIRECTORY) for lower in self._lowers)

    def close(self) -> None:
        """End every process of it and take away its mounts; the directory is still there."""
        end_children()
        os.close(self._root)
        self._lease.unmount()


def chamber(line: Line, place: Place, *, name: str, layers: list[str]) -> None:
    """Make one and serve it until the other side hangs up; its files go when that has heard of the end."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    kernel.adopt_orphans()
    lease = leases.lease(place.chambers, name)
    try:
        made = Chamber(place, lease, layers)
        try:
            line.say({"answer": {"root": lease.path("root"), "handed": lease.path("memory/handed")}})
            post = _post(made, line)
            while post.attend():
                _reap()
        finally:
            made.close()
    except BaseException:
        lease.unmount()
        lease.remove()
        raise
    line.close()
    lease.remove()


def _post(made: Chamber, line: Line) -> Post:
    at_once = (
        made.mode,
        made.read,
        made.put,
        made.hand,
        made.erase,
        made.mount_points,
        made.network,
        made.forward,
        made.cut_off,
    )
    apart = (made.run, made.layer, made.take)
    return Post(
        line,
        at_once={call.__name__: call for call in at_once},
        apart={call.__name__: call for call in apart},
    )


def _reap() -> None:
    """Forget the children that have ended; what networking has started is asked for by its id when it matters."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return
