"""The warden from its exec to its end: two processes, of which the inner one is the first of its process namespace.

Whoever started it has one end of a line. When that is hung up, or he is dead, all processes in here are killed, and
what they held is taken away. Where it is killed itself, the kernel ends its namespaces; what is left then are
directories and control groups that nobody has locked, and the next warden takes those away.
"""

from __future__ import annotations

import os
import select
import signal
import sys

from . import kernel, leases
from .calls import Place, calls
from .failures import Missing, told
from .lines import Line, line_of
from .serving import DEAF_TO, Post

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn


def main() -> NoReturn:
    """Started with a line and a descriptor of the process that has its other end; what else it needs is said there."""
    line, client = line_of(int(sys.argv[1])), int(sys.argv[2])
    for number in DEAF_TO:
        signal.signal(number, signal.SIG_IGN)
    try:
        heard = line.hear()
        if heard is None:
            os._exit(0)
        given = heard[0]
        if given["mapping"]:
            _be_root_of_a_user_namespace(given["mapping"])
        kernel.unshare(kernel.CLONE_NEWNS | kernel.CLONE_NEWPID | kernel.CLONE_NEWIPC)
        inner = os.fork()
        if not inner:
            _live(line, client, given)
    except Exception as error:  # whatever it is, the other side makes an error of it
        _last_words(line, error)
        os._exit(1)
    line.close()
    os.close(client)
    os._exit(os.waitstatus_to_exitcode(os.waitpid(inner, 0)[1]) & 0x7F)


def _live(line: Line, client: int, given: dict[str, Any]) -> NoReturn:
    """The inner process."""
    try:
        kernel.die_with_parent()
        kernel.be_called("s2ictl-warden")
        os.umask(0o022)
        kernel.mount("", "/", "", kernel.MS_REC | kernel.MS_SLAVE)
        kernel.mount("proc", "/proc", "proc", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # its children, and the orphans, are waited for by the kernel
        place = Place(given["directory"], rootless=bool(given["mapping"]), programs=tuple(given["overlays"]))
        _sweep_apart(line, place)
        _serve(line, client, Post(line, at_once={}, apart=calls(place)))
        _end(place)
    except Exception as error:
        _last_words(line, error)
        os._exit(1)
    os._exit(0)


def _serve(line: Line, client: int, post: Post) -> None:
    heard = select.poll()
    heard.register(line.fileno(), select.POLLIN)
    heard.register(client, select.POLLIN)
    while True:
        ready = [descriptor for descriptor, _ in heard.poll()]
        if client in ready or not post.attend():
            return


def _sweep_apart(line: Line, place: Place) -> None:
    """What the dead left is taken away by a process of its own: nobody waits for it."""
    if os.fork():
        return
    try:
        line.close()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        leases.sweep(place.chambers)
    finally:
        os._exit(0)


def _end(place: Place) -> None:
    """Kill whatever still runs in here, and take away what it held."""
    try:
        os.kill(-1, signal.SIGKILL)
        while True:
            os.waitpid(-1, 0)
    except (ProcessLookupError, ChildProcessError):
        leases.sweep(place.chambers)


def _last_words(line: Line, error: Exception) -> None:
    try:
        line.say({"failure": told(error)})
    except OSError:
        return


def _be_root_of_a_user_namespace(mapping: list[list[str]]) -> None:
    """Have the ids of this user and his subordinate ones, by the programs that may give them, run from outside."""
    me = str(os.getpid())
    come, gone = os.pipe()
    helper = os.fork()
    if not helper:
        os.close(gone)
        _map(come, [[program, me, *ids] for program, *ids in mapping])
    os.close(come)
    try:
        kernel.unshare(kernel.CLONE_NEWUSER)
    except OSError as error:
        raise Missing(
            f"this user may not make a user namespace: {os.strerror(error.errno or 0)}",
            "the kernel's settings forbid it (`sysctl user.max_user_namespaces`, or a policy of the distribution)",
        ) from error
    os.write(gone, b"!")
    os.close(gone)
    if os.waitpid(helper, 0)[1]:
        raise Missing(
            f"{mapping[0][0]} refused the subordinate ids", "/etc/subuid and /etc/subgid must give this user some"
        )
    os.setgid(0)
    os.setuid(0)
    os.setgroups([])


def _map(come: int, commands: list[list[str]]) -> NoReturn:
    try:
        if os.read(come, 1):
            pids = [os.posix_spawn(command[0], command, {}) for command in commands]
            os._exit(max([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0 for pid in pids]))
    finally:
        os._exit(1)
