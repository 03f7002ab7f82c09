"""Whose turn it is to make an image of a name: two at once would take it from each other, and leave one nameless.

Each name is one byte of a file that holds none, locked by the kernel, which gives it back however a process ends.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

from s2ictl.errors import LimitReached
from s2ictl.events import Emit, Notice

if TYPE_CHECKING:
    from concurrent.futures import Future

T = TypeVar("T")

_PAUSE = 0.1


@contextmanager
def turn(
    state: Path, names: Iterable[str], *, seconds: float, emit: Emit, wait: Callable[[float], None] = time.sleep
) -> Iterator[None]:
    """Have these names alone on this machine while the context lasts, as soon as whoever has them is done."""
    with ExitStack() as opened:
        # Always in one order: so nobody waits for one who waits for him.
        places = sorted((_place(name), name) for name in set(names))
        with suppress(OSError):  # without such a place nobody can be waited for, and nobody is
            state.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = opened.enter_context((state / "names.lock").open("ab"))
            for place, name in places:
                _take(file, place, name, seconds, emit, wait)
        yield


def in_time(act: Callable[[], T], *, seconds: float, what: str) -> T:
    """What `act` answers, or nobody waits for it any more: then it is left to itself, and ends with the process.

    Whoever says a byte now and then is never silent, so no timeout of a socket ends the wait for him.
    """
    from concurrent.futures import Future

    answer: Future[T] = Future()
    threading.Thread(target=_answering, args=(act, answer), daemon=True).start()
    try:
        return answer.result(timeout=seconds)
    except TimeoutError as error:
        if answer.done():
            raise
        raise LimitReached(f"{what} took longer than {seconds:g} s") from error


def _answering(act: Callable[[], T], answer: Future[T]) -> None:
    try:
        answer.set_result(act())
    except BaseException as error:  # whoever waits for it raises it
        answer.set_exception(error)


def _place(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big")


def _take(file: BinaryIO, place: int, name: str, seconds: float, emit: Emit, wait: Callable[[float], None]) -> None:
    deadline, waiting = time.monotonic() + seconds, False
    while not _taken(file, place):
        if not waiting:
            emit(Notice(text=f"another build makes {name}; it is waited for"))
            waiting = True
        if time.monotonic() > deadline:
            raise LimitReached(
                f"another build has been making {name} for {seconds:.0f} s", hint="end it, or choose another --tag"
            )
        wait(_PAUSE)


def _taken(file: BinaryIO, place: int) -> bool:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise
        return False
    return True
