"""git, run with nothing of its surroundings: the one home of GitPython.

A repository is somebody else's, and git obeys configuration, hooks, filters and variables from many places. So it runs
with an argument list, an environment and a configuration of our own, in a process group of its own; every process has
an end. `Git.execute` of GitPython is used with lists alone, none of its conveniences that turn values into options.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import select
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO, Self, cast

from s2ictl.archives import CHUNK, Reader
from s2ictl.errors import LimitReached, S2IError, Unreachable
from s2ictl.sources.words import Explain
from s2ictl.values import dataclass

if TYPE_CHECKING:
    from git import Git as GitPython

_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_INHERITED = (
    *("PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "SSH_AUTH_SOCK"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "CURL_CA_BUNDLE"),
    *_PROXIES,
    *(name.upper() for name in _PROXIES),
)
_VARIABLES = {
    "LC_ALL": "C",  # its words are read
    "LANGUAGE": "C",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_LFS_SKIP_SMUDGE": "1",
    "GIT_ALLOW_PROTOCOL": "none",
    "SSH_ASKPASS_REQUIRE": "never",
}
_OURS = (
    "core.hooksPath=/dev/null",
    "core.attributesFile=/dev/null",
    "core.fsmonitor=false",
    "core.askPass=",
    "core.quotePath=false",
    "core.bigFileThreshold=8m",  # larger files are streamed, not held
    "credential.helper=",
    "fetch.unpackLimit=1",
    "fetch.writeCommitGraph=false",
    "gc.auto=0",
    "http.followRedirects=false",
    "maintenance.auto=false",
    "submodule.recurse=false",
    "tar.umask=0022",
)
_HEARING_MS = 100
_TICK_MS = 250
_KEPT = 16 * 1024
_GRACE = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """When a running git has lasted long enough: by silence, by the clock, by what it has written."""

    total: float
    silence: float = math.inf
    largest: int = 0
    written: Callable[[], int] = lambda: 0

    def verdict(self, *, silent: float, running: float) -> S2IError | None:
        if silent > self.silence:
            return Unreachable(
                f"the git server said nothing for {silent:.0f} s", hint="check the address, the network and the proxy"
            )
        if running > self.total:
            return LimitReached(f"git did not end within {self.total:.0f} s", hint="a larger --timeout allows it")
        if self.written() > self.largest:
            return LimitReached(f"the repository is larger than {self.largest} bytes")
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Git:
    """git in one bare repository of ours. `inherited` are open files that live as long as any of its processes does;
    `tick` is called a few times a second while nothing comes from it."""

    directory: Path
    variables: Mapping[str, str]
    explain: Explain
    patience: Patience | None = None
    inherited: tuple[int, ...] = ()
    settings: tuple[str, ...] = ()
    configuration: tuple[str, ...] = _OURS
    tick: Callable[[], None] | None = None

    def answer(self, *words: str, given: bytes = b"") -> bytes:
        """All that git answers to this command, with `given` on its standard input."""
        with self.stream(*words, given=given) as read:
            return b"".join(iter(lambda: read(CHUNK), b""))

    @contextlib.contextmanager
    def stream(self, *words: str, given: bytes = b"") -> Iterator[Reader]:
        """A reader of what git writes while it writes it; to leave before its end is to end git."""
        with _holding(given) as questions, self._running(words, questions) as process:
            listener = _Listener(process, self.patience)
            try:
                yield _Output(process, listener, self.explain, self.tick).read
            finally:
                end(process)
                listener.leave()

    @contextlib.contextmanager
    def _running(self, words: tuple[str, ...], questions: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
        handle = _gitpython().execute(
            [*_without(os.environ, self.variables), *self._command(words)],
            istream=cast("BinaryIO", questions),
            as_process=True,
            env=self.variables,
            start_new_session=True,
            pass_fds=self.inherited,
        )
        # GitPython's handle ends the process when it is collected, so it is kept until the process has ended.
        with cast("subprocess.Popen[bytes]", handle.proc) as process:
            try:
                yield process
            finally:
                end(process)

    def _command(self, words: tuple[str, ...]) -> list[str]:
        configuration = [word for setting in (*self.configuration, *self.settings) for word in ("-c", setting)]
        return ["git", *configuration, f"--git-dir={self.directory}", "--literal-pathspecs", "--no-pager", *words]


def variables(environ: Mapping[str, str], **more: str) -> Mapping[str, str]:
    """The whole environment of a git: what it may know of ours, and what we tell it."""
    inherited = {name: environ[name] for name in _INHERITED if environ.get(name)}
    return {**inherited, **_VARIABLES, **more}


def users_variables(environ: Mapping[str, str]) -> Mapping[str, str]:
    """The environment of a git that is the user's own, with his configuration and his helpers; it asks him nothing."""
    his = {name: value for name, value in environ.items() if not name.startswith(("GIT_", "S2ICTL_", "SSH_ASKPASS"))}
    configured = {name: value for name, value in environ.items() if name.startswith("GIT_CONFIG")}
    return {**his, **configured, "LC_ALL": "C", "LANGUAGE": "C", "GIT_TERMINAL_PROMPT": "0"}


class _Output:
    """What git writes; at its end stands whether git did well, so that nobody takes a part for the whole."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        listener: _Listener,
        explain: Explain,
        tick: Callable[[], None] | None,
    ) -> None:
        self._process = process
        self._listener = listener
        self._explain = explain
        self._tick = tick

    def read(self, size: int) -> bytes:
        if self._tick:
            self._wait(self._tick)
        data = cast("IO[bytes]", self._process.stdout).read(size)
        if not data and size:
            self._check()
        return data

    def _wait(self, tick: Callable[[], None]) -> None:
        poll = select.poll()
        poll.register(cast("IO[bytes]", self._process.stdout), select.POLLIN)
        while not poll.poll(_TICK_MS):
            tick()

    def _check(self) -> None:
        status = self._process.wait()
        said = self._listener.leave()
        if self._listener.verdict:
            raise self._listener.verdict
        if status:
            raise self._explain(said)


class _Listener:
    """Hears what git says on the side, so that git never waits for a reader, and ends it when it lasts too long."""

    def __init__(self, process: subprocess.Popen[bytes], patience: Patience | None) -> None:
        self.verdict: S2IError | None = None
        self._process = process
        self._patience = patience
        self._said = b""
        self._left = threading.Event()
        # One of its own: whoever is interrupted before he has the listener closes the process's and knows of none.
        voice = os.dup(cast("IO[bytes]", process.stderr).fileno())
        self._thread = threading.Thread(target=self._listen, args=(voice,), daemon=True)
        self._thread.start()

    def leave(self) -> str:
        """Wait until git has nothing more to say; answers the end of it."""
        # What git has started may hold its voice open and outlive it, such as an ssh that serves others as well.
        self._thread.join(_GRACE)
        self._left.set()
        self._thread.join()
        return self._said.decode(errors="replace")

    def _listen(self, voice: int) -> None:
        with open(voice, "rb", buffering=0):
            poll = select.poll()
            poll.register(voice, select.POLLIN)
            began = heard = time.monotonic()
            while self.verdict is None and not self._left.is_set():
                if poll.poll(_HEARING_MS):
                    data = os.read(voice, 65536)
                    if not data:
                        return
                    self._said, heard = (self._said + data)[-_KEPT:], time.monotonic()
                if self._patience:
                    now = time.monotonic()
                    self.verdict = self._patience.verdict(silent=now - heard, running=now - began)
            if self.verdict:
                end(self._process)


def end(process: subprocess.Popen[bytes]) -> None:
    """End git and whatever it has started; asked first, since git then takes away what it has half written."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_GRACE)


@contextlib.contextmanager
def _holding(given: bytes) -> Iterator[IO[bytes]]:
    with tempfile.TemporaryFile() as file:
        file.write(given)
        file.seek(0)
        yield file


def _without(environ: Iterable[str], variables: Mapping[str, str]) -> list[str]:
    """GitPython hands its own process's whole environment down; env takes away again what git may not know."""
    return ["env", *(word for name in environ if name and name not in variables for word in ("-u", name))]


@functools.cache
def _gitpython() -> GitPython:
    try:
        from git import Git as GitPython
    except ImportError as error:
        raise Unreachable(
            "git is not to be found on this machine", detail=str(error).strip().partition("\n")[0], hint="install git"
        ) from error

    class Quiet(GitPython):
        """Its handle looks for its process without end when Ctrl-C comes between its making and its first line."""

        class AutoInterrupt(GitPython.AutoInterrupt):
            __slots__ = ()

            def __new__(cls, *_args: object, **_given: object) -> Self:
                handle = super().__new__(cls)
                handle.proc = handle.args = handle.status = None
                return handle

    return Quiet()
