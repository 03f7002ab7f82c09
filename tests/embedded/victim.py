"""A process that comes as far with a warden as its second word says, and goes no further: it is to be killed."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.embedded.rooms import IMAGE, Rooms, read_some, rooms_in, started, tar_of

LARGE = 4 << 20


def endless() -> Iterator[bytes]:
    """A tar that is never whole: its sender has said that he is ready, and waits."""
    yield tar_of({"first": b"file", "second": bytes(LARGE)})[: LARGE // 2]
    wait()
    yield b""


def wait() -> None:
    """Say that it has come so far; asked for it by a signal, have a child that outlives it."""
    asked = (signal.SIGUSR1,)
    signal.pthread_sigmask(signal.SIG_BLOCK, asked)
    print("ready", flush=True)
    signal.sigwaitinfo(asked)
    if child := os.fork():
        print(child, flush=True)
    signal.pause()


def asked(rooms: Rooms) -> None:
    rooms.warden.size("layers")
    wait()


def mounted(rooms: Rooms) -> None:
    with rooms.chamber(MARK):
        wait()


def filling(rooms: Rooms) -> None:
    with rooms.chamber(MARK) as chamber:
        chamber.put(endless())


def unpacking(rooms: Rooms) -> None:
    rooms.warden.unpack(endless(), on=IMAGE, to="third")


def running(rooms: Rooms) -> None:
    script = f"mkdir -p /a/b; chmod 0 /a; setsid sleep {MARK} & echo ready; exec sleep {MARK}"
    with rooms.chamber(MARK) as chamber, started(chamber, "/bin/sh", "-c", script) as process:
        read_some(process.stdout)
        wait()


def layering(rooms: Rooms) -> None:
    with rooms.chamber(MARK) as chamber:
        chamber.put(iter([tar_of({"large": bytes(LARGE)})]))
        next(chamber.layer((), epoch=0))
        wait()


def taking(rooms: Rooms) -> None:
    with rooms.chamber(MARK) as chamber, chamber.taken("/bin") as read:
        assert read is not None
        read(1)
        wait()


def networked(rooms: Rooms) -> None:
    with rooms.chamber(MARK) as chamber:
        chamber.network(())
        chamber.forward(8080)
        wait()


STATES: dict[str, Callable[[Rooms], None]] = {
    each.__name__: each for each in (asked, mounted, filling, unpacking, running, layering, taking, networked)
}

if __name__ == "__main__":
    directory, state = sys.argv[1:]
    MARK = os.environ["MARK"]  # what is counted afterwards is called so, and this process is not
    with rooms_in(Path(directory)) as rooms:
        STATES[state](rooms)
