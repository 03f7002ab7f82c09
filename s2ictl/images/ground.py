"""The directory in which the images lie: its parts, who holds it, and whose turn it is at one thing in it.

Whoever uses anything here has the lock of all together with others; only who has it alone takes something away. The
kernel gives both kinds of locks back however a process ends. What a killed one leaves is told by a mark: it is made
before anything else is, and goes when somebody has cleared up.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from s2ictl import files, layouts
from s2ictl.errors import CommitContainerFailed, LimitReached, S2IError
from s2ictl.layouts import Layout

_PAUSE = 0.05


class Ground:
    """The directory, which need not be there."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.layout = Layout(directory / "oci")
        self.trees = directory / "layers"
        self.turns = directory / "locks"
        self._mark = directory / "unswept"
        self._key = directory / "lock"
        self._lock: int | None = None
        self._begun = False

    def is_there(self) -> bool:
        """Whether anything is; it is held then."""
        if not files.is_file(self.layout.directory / layouts.MARK):
            return False
        with suppress(OSError):  # where nobody can write, nobody takes anything away
            self._hold()
        return True

    def begin(self) -> None:
        """Have the directory, hold it, and say that something is put there."""
        if self._begun:
            return
        with door(f"use {self.directory}", hint="name another: S2ICTL_STATE=DIR"):
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._hold()
            with layouts.writable(self.layout.directory):
                """A new one appears whole."""
            for part in (self.trees, self.turns):
                part.mkdir(mode=0o700, exist_ok=True)
            self._mark.touch()
        self._begun = True

    def _hold(self) -> None:
        if self._lock is None:
            self._lock = _opened(self._key)
            fcntl.flock(self._lock, fcntl.LOCK_SH)

    def close(self, sweep: Callable[[], None]) -> None:
        """Let go of it; where something was put, and nobody else uses it, it is cleared up."""
        if self._lock is None:
            return
        try:
            if self._mark.exists() and files.taken(self._lock):
                with suppress(OSError, S2IError):  # what cannot go now goes another time: it is no matter of this build
                    self.swept(sweep)
        finally:
            self.let_go()

    def let_go(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
            self._begun = False

    def swept(self, sweep: Callable[[], None]) -> None:
        """Clear up; for who has it alone."""
        self._mark.touch()
        sweep()
        self._mark.unlink(missing_ok=True)

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Have all of it while the context lasts; False when somebody uses it right now."""
        lock = _opened(self._key)
        try:
            yield files.taken(lock)
        finally:
            os.close(lock)

    @contextmanager
    def turn(self, name: str, *, waiting: Callable[[], None]) -> Iterator[Path]:
        """Be the only one who makes the thing of this name, once nobody else does; `waiting` is called until then.

        The file that is locked is for whatever is to be noted of it.
        """
        path = self.turns / name
        lock = _opened(path)
        try:
            while not files.taken(lock):
                waiting()
                time.sleep(_PAUSE)
            yield path
        finally:
            os.close(lock)


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


@contextmanager
def door(doing: str, *, hint: str = "") -> Iterator[None]:
    """What the system refuses here, as one of our failures."""
    try:
        yield
    except OSError as error:
        detail = error.strerror or ""
        if files.is_full(error):
            raise LimitReached(f"no space is left to {doing}", detail=detail, hint=layouts.MAKE_ROOM) from error
        raise CommitContainerFailed(f"could not {doing}", detail=detail, hint=hint) from error
