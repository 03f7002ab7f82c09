"""Network namespaces: made, led out of by a helper, and led into from this machine's loopback.

All runs in the process of a chamber, which stays in this machine's network: whatever must be in another one is a child
of it, and is killed with it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import struct

from . import failures, kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_NAMESPACE, _READY = "{namespace}", "{ready}"
_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 0x1
_BLOCK = 1 << 16
_LONGEST = 2000  # of what a helper says of its failure
_DEAF_TO = (signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # here, and pasta would not start so
_PATIENCE = 20_000  # milliseconds


def network(directory: str, helper: tuple[str, ...]) -> str:
    """A network of its own with loopback up, as the path of a file in this directory; `helper` leads out of it."""
    place = f"{directory}/network"
    os.close(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    _apart(lambda: _make(place))
    if helper:
        _lead_out(helper, place)
    return place


def forward(network: str, port: int) -> int:
    """A free loopback port of this machine that leads to this port in that network; "" is this machine's own."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        if os.fork() == 0:
            try:
                _serve(listener, network, port)
            finally:
                os._exit(1)
        number: int = listener.getsockname()[1]
        return number


# ---------------------------------------------------------------------------------------------- the namespace


def _make(place: str) -> None:
    kernel.unshare(kernel.CLONE_NEWNET)
    _raise_loopback()
    kernel.mount("/proc/self/ns/net", place, "", kernel.MS_BIND)


def _raise_loopback() -> None:
    from fcntl import ioctl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        known = ioctl(asking, _GET_FLAGS, struct.pack("16sH14x", b"lo", 0))
        (flags,) = struct.unpack_from("H", known, 16)
        ioctl(asking, _SET_FLAGS, struct.pack("16sH14x", b"lo", flags | _UP))


def _apart(work: Callable[[], None]) -> None:
    """Do it in a process of its own, which it changes; its failure is ours."""
    told, telling = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            work()
        except OSError as error:
            os.write(telling, str(error.errno).encode())
        finally:
            os._exit(0)
    os.close(telling)
    with os.fdopen(told, "rb") as answer:
        number = answer.read()
    os.waitpid(child, 0)
    if number:
        raise OSError(int(number), os.strerror(int(number)), "a network namespace")


# ------------------------------------------------------------------------------------------------- the way out


def _lead_out(words: tuple[str, ...], place: str) -> None:
    """Start the helper and return when it is ready: it says so by a byte, or by going to the background."""
    ready, readying = os.pipe()
    log = f"{place}.log"  # and no pipe: nobody listens later, and it would die of what it says then
    told = {_NAMESPACE: place, _READY: str(readying)}
    command = [_filled(word, told) for word in words]
    child = os.posix_spawn(
        command[0],
        command,
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
            (os.POSIX_SPAWN_DUP2, readying, readying),
        ],
        setsigdef=_DEAF_TO,
    )
    os.close(readying)
    try:
        is_ready = _has_said(ready) if any(_READY in word for word in words) else _has_left(child)
    finally:
        os.close(ready)
    if not is_ready:
        raise failures.Missing(
            f"{os.path.basename(command[0])} led nowhere: {_end_of(log) or 'it was never ready'}",
            hint="--network host shares this machine's network",
        )


def _filled(word: str, told: dict[str, str]) -> str:
    for name, value in told.items():
        word = word.replace(name, value)
    return word


def _has_said(ready: int) -> bool:
    """The byte, or the end of the pipe when it has ended without one."""
    return _comes(ready) and bool(os.read(ready, 1))


def _has_left(child: int) -> bool:
    """Whether it ended well: what does its work is a child of it."""
    watched = os.pidfd_open(child)
    try:
        return _comes(watched) and os.waitpid(child, 0)[1] == 0
    finally:
        os.close(watched)


def _comes(descriptor: int) -> bool:
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    return bool(waiting.poll(_PATIENCE))


def _end_of(log: str) -> str:
    with open(log, encoding="utf-8", errors="replace") as file:
        return "; ".join(dict.fromkeys(file.read()[-_LONGEST:].splitlines()))


# -------------------------------------------------------------------------------------------------- the way in


def _serve(listener: socket.socket, network: str, port: int) -> None:
    """Lead each connection on: a socket stays in the network where it was made, this process goes into the other."""
    import threading

    _keep_only(listener.fileno())
    if network:
        entrance = os.open(network, os.O_RDONLY | os.O_CLOEXEC)
        kernel.enter(entrance, kernel.CLONE_NEWNET)
    while True:
        near, _ = listener.accept()
        threading.Thread(target=_join, args=(near, port), daemon=True).start()


def _keep_only(descriptor: int) -> None:
    """Whoever waits for the end of a pipe of the chamber must not wait for this process."""
    os.closerange(3, descriptor)
    os.closerange(descriptor + 1, os.sysconf("SC_OPEN_MAX"))


def _join(near: socket.socket, port: int) -> None:
    """Both directions, each until its own end; where nobody listens yet, whoever asked is told by the end."""
    import threading

    try:
        far = socket.create_connection(("127.0.0.1", port))
    except OSError:
        near.close()
        return
    with near, far:
        back = threading.Thread(target=_pour, args=(far, near), daemon=True)
        back.start()
        _pour(near, far)
        back.join()


def _pour(source: socket.socket, target: socket.socket) -> None:
    try:
        while block := source.recv(_BLOCK):
            target.sendall(block)
        target.shutdown(socket.SHUT_WR)
    except OSError:  # one of them is gone: the other has nobody to talk to
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
