"""The runtime's document at work: one command, from its start to its end, and nothing of it after that."""

from __future__ import annotations

import json
import os
import select
import signal

from . import cgroups, kernel, reaping, trees
from .failures import Missing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .leases import Lease
    from .lines import Line

_RESET = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE, signal.SIGCHLD, signal.SIGXFSZ]
_NOT_EXECUTABLE, _NOT_FOUND = 126, 127  # as a shell and every engine says it
_MOST_SAID = 64 << 10

Answer = dict[str, int | bool]


class Run:
    """One command of a chamber, in a directory in memory that is its own."""

    def __init__(self, lease: Lease, memory: str, *, runtime: str, cgroup: str) -> None:
        self._cgroup = cgroup
        self._runtime = runtime
        self._name = f"{lease.name}-{os.getpid()}"
        self._directory = os.path.join(memory, self._name)
        os.mkdir(self._directory, 0o700)
        if cgroup:
            lease.note(cgroup)

    def performed(self, line: Line, spec: int, stdout: int, stderr: int) -> Answer:
        """Run it until it ends or nobody listens any more; the signals that it is to get are heard on the line."""
        kernel.adopt_orphans()
        try:
            init = self._started(spec, stdout, stderr)
            os.close(stdout)
            os.close(stderr)
            if isinstance(init, dict):
                line.say({"answer": True})
                return init
            return self._watched(line, init)
        finally:
            self._clear()

    def _started(self, spec: int, stdout: int, stderr: int) -> int | Answer:
        """The process that the runtime leaves to us, its first in the container; or how it ended before it began."""
        self._write(spec)
        null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        wires = [(os.POSIX_SPAWN_DUP2, end, number) for number, end in enumerate((null, stdout, stderr))]
        pid = os.posix_spawn(self._runtime, self._command(), os.environ, file_actions=wires, setsigdef=_RESET)
        os.close(null)
        if os.waitpid(pid, 0)[1]:
            return _unstarted(self._read("log"))
        return int(self._read("pid"))

    def _write(self, spec: int) -> None:
        """The document, in which a process namespace of its own becomes one that somebody waits in."""
        with open(spec, "rb", closefd=False) as file:
            document = json.load(file)
        for namespace in document.get("linux", {}).get("namespaces", ()):
            if namespace == {"type": "pid"}:
                namespace["path"] = self._path("processes")
                reaping.namespace(namespace["path"])
        with open(self._path("config.json"), "x", encoding="utf-8") as file:
            json.dump(document, file)

    def _command(self) -> list[str]:
        log = ["--log", self._path("log"), "--log-format", "json"]
        run = ["run", "--detach", "--bundle", self._directory, "--pid-file", self._path("pid"), self._name]
        return [self._runtime, "--root", self._path("state"), *log, *run]

    def _watched(self, line: Line, init: int) -> Answer:
        process = os.pidfd_open(init)
        heard = select.poll()
        heard.register(process, select.POLLIN)
        heard.register(line.fileno(), select.POLLIN)
        line.say({"answer": True})
        while not any(descriptor == process for descriptor, _ in heard.poll()):
            said = line.hear()
            if said is None:
                heard.unregister(line.fileno())
            os.kill(init, signal.SIGKILL if said is None else said[0])
        status = os.waitstatus_to_exitcode(os.waitpid(init, 0)[1])
        end_children()  # with the first process of its namespace, all the others
        ended = status if status >= 0 else 128 - status
        return {"status": ended, "out_of_memory": bool(self._cgroup) and cgroups.out_of_memory(self._cgroup)}

    def _clear(self) -> None:
        end_children()
        for point in kernel.mounted_below(self._directory):
            kernel.unmount(point)
        if self._cgroup:
            cgroups.remove(self._cgroup)
        above = os.open(os.path.dirname(self._directory), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        trees.remove(above, self._name)
        os.close(above)

    def _read(self, name: str) -> str:
        try:
            with open(self._path(name), encoding="utf-8", errors="replace") as file:
                return file.read(_MOST_SAID)
        except FileNotFoundError:
            return ""

    def _path(self, name: str) -> str:
        return os.path.join(self._directory, name)


def _unstarted(log: str) -> Answer:
    """A command that is not there ends as in a shell; anything else is the runtime's own failure."""
    said = _last_error(log)
    if "exec" in said and ("not found" in said or "no such file" in said.lower()):
        return {"status": _NOT_FOUND, "out_of_memory": False}
    if "exec" in said and "permission denied" in said.lower():
        return {"status": _NOT_EXECUTABLE, "out_of_memory": False}
    raise Missing(
        f"the runtime could not start a container: {said}", "`s2ictl doctor` tries it and says what is missing"
    )


def _last_error(log: str) -> str:
    said = "it said nothing"
    for line in log.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and entry.get("level") in ("error", "fatal"):
            said = str(entry.get("msg", ""))
    return said


def end_children() -> None:
    """Kill every process that descends from this one, which has adopted their orphans, and wait for them.

    For whichever has ended: the first of a process namespace has not before all the others there are waited for.
    """
    while kill_children():
        os.waitpid(-1, 0)


def kill_children() -> bool:
    """The same, waiting for none; whether there were any."""
    children = _children()
    for child in children:
        os.kill(child, signal.SIGKILL)
    return bool(children)


def _children() -> list[int]:
    me = os.getpid()
    return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _parent(pid) == me]


def _parent(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0
