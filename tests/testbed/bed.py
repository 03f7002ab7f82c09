"""The one directory that the testbed lives in, and what keeps two processes from working on it at once.

<directory>/facts.json       facts of every part that is up
<directory>/<part>.lock      held while the part is brought up or taken down
<directory>/<part>/          everything of that part: data, logs, records of its processes
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from tests.testbed.errors import BedError, Unavailable
from tests.testbed.models import Facts, Name, from_document, to_document

Say: TypeAlias = Callable[[str], None]

SLOTS = range(10)
# A socket's path has 107 characters, and a containerd's own names take up to 45 of them.
LONGEST = 60
# Others may pass through it to what is theirs; what is not is closed by itself.
MODE = 0o711
DEFAULT_SOCKET = "unix:///var/run/docker.sock"


def say_on_stderr(line: str) -> None:
    print(f"testbed: {line}", file=sys.stderr, flush=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bed:
    """Where the parts live: a directory, a cache of compiled servers, and a slot.

    `docker_host` is where a user's own engine would answer. The slot decides ports, bridges and subnets, so that two
    testbeds stand side by side (but for the cluster: two nodes would fight over one machine's service rules).
    """

    directory: Path
    cache: Path
    slot: int = 0
    docker_host: str = DEFAULT_SOCKET
    say: Say = say_on_stderr

    @staticmethod
    def of(environ: Mapping[str, str], say: Say = say_on_stderr) -> Bed:
        """The testbed that the environment names."""
        cache = environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME") or Path.home(), ".cache")
        slot = environ.get("S2ICTL_TESTBED_SLOT") or "0"
        if slot not in map(str, SLOTS):
            raise BedError(f"S2ICTL_TESTBED_SLOT is {slot!r}; it must be one of 0 to {SLOTS[-1]}")
        directory = environ.get("S2ICTL_TESTBED") or f"/var/tmp/s2ictl-testbed-{os.geteuid()}"
        return Bed(
            directory=Path(directory).absolute(),
            cache=Path(cache, "s2ictl-testbed"),
            slot=int(slot),
            docker_host=environ.get("DOCKER_HOST") or DEFAULT_SOCKET,
            say=say,
        )

    def port(self, offset: int) -> int:
        """A port of this slot, below NodePorts and below the range where an outgoing connection may sit on any."""
        return 24600 + 100 * self.slot + offset

    def check_free(self, part: Name, address: str) -> None:
        """Refuse to start a server where another program listens: it would be asked instead of ours."""
        host, _, port = address.rpartition(":")
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, int(port)))
            except OSError as error:
                raise Unavailable(part, f"{address}: {error.strerror}; S2ICTL_TESTBED_SLOT moves all ports") from error

    def at(self, part: Name) -> Path:
        """The directory of one part."""
        return self.directory / part

    def make(self, part: Name) -> Path:
        """The directory of one part; while it is there, `down` takes back what the part made beyond it too."""
        self.at(part).mkdir(mode=0o700, exist_ok=True)
        return self.at(part)

    def facts(self, part: Name) -> Facts | None:
        """What was written down when the part came up; whether it still answers is another question."""
        document = self._documents().get(part)
        return from_document(part, document) if document is not None else None

    def remember(self, part: Name, facts: Facts) -> None:
        with self.locked("facts"):
            self._write({**self._documents(), part: to_document(facts)})

    def forget(self, part: Name) -> None:
        with self.locked("facts"):
            documents = self._documents()
            if documents.pop(part, None) is not None:
                self._write(documents)

    @contextlib.contextmanager
    def locked(self, what: str) -> Iterator[None]:
        """Let no other process of this user do the same meanwhile."""
        self.claim()
        with exclusive(self.directory / f"{what}.lock", lambda: self.say(f"another process works on {what}; waiting")):
            yield

    def claim(self) -> None:
        """Make the directory ours alone; refuse one that somebody else prepared, since we trust what is in it."""
        if len(str(self.directory)) > LONGEST:
            raise BedError(f"{self.directory} is too long: the sockets below it would have no name")
        with contextlib.suppress(FileExistsError):
            self.directory.mkdir(mode=MODE, parents=True)
        found = self.directory.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise Unavailable("testbed", f"{self.directory} is not a directory of this user's own")
        if stat.S_IMODE(found.st_mode) != MODE:
            self.directory.chmod(MODE)

    def _documents(self) -> dict[str, dict[str, str | bool]]:
        try:
            documents: dict[str, dict[str, str | bool]] = json.loads((self.directory / "facts.json").read_text())
        except FileNotFoundError:
            return {}
        return documents

    def _write(self, documents: Mapping[str, Mapping[str, str | bool]]) -> None:
        write_whole(self.directory / "facts.json", json.dumps(documents, indent=2) + "\n")


@contextlib.contextmanager
def exclusive(lock: Path, when_waiting: Callable[[], None]) -> Iterator[None]:
    """Hold a lock file; the kernel lets go of it when this process dies, however it dies."""
    lock.touch(mode=0o600)
    with lock.open("a") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            when_waiting()
            fcntl.flock(held, fcntl.LOCK_EX)
        yield


def write_whole(path: Path, text: str) -> None:
    """Write a file that nobody but this user reads, and that no reader ever sees half."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.unlink(missing_ok=True)
    unfinished.touch(mode=0o600)
    unfinished.write_text(text)
    unfinished.replace(path)
