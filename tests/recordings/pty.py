"""A real terminal of any size, and everything that is printed on it."""

from __future__ import annotations

import fcntl
import os
import struct
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TextIO


def printed(show: Callable[[TextIO], None], *, columns: int, rows: int) -> str:
    """What a terminal receives while `show` writes to it; it must be as it was before."""
    with opened(columns=columns, rows=rows) as (master, slave):
        before = termios.tcgetattr(slave)
        received: list[bytes] = []
        reader = threading.Thread(target=lambda: received.extend(reads(master)))
        reader.start()
        with os.fdopen(os.dup(slave), "w", encoding="utf-8", errors="backslashreplace") as stream:
            show(stream)
        assert termios.tcgetattr(slave) == before
        os.close(slave)
        reader.join()
    return b"".join(received).decode()


@contextmanager
def opened(*, columns: int, rows: int) -> Iterator[tuple[int, int]]:
    master, slave = os.openpty()
    resize(slave, columns=columns, rows=rows)
    try:
        yield master, slave
    finally:
        for descriptor in (master, slave):
            with suppress(OSError):
                os.close(descriptor)


def resize(terminal: int, *, columns: int, rows: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def mark(stream: TextIO, name: str) -> None:
    """Have the screen looked at when it has come to this place."""
    stream.write(f"\x1b]{name}\x07")
    stream.flush()


def reads(master: int) -> Iterator[bytes]:
    """Until nobody has the other end open any more, which Linux says as an error."""
    with suppress(OSError):
        while data := os.read(master, 65536):
            yield data
