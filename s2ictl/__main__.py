"""The process: what it was given becomes a World, what it answers becomes an exit status."""

from __future__ import annotations

import atexit
import errno
import gc
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from s2ictl import __version__
from s2ictl.errors import CLOSED_PIPE, Interrupted

_OBJECTS = 50_000  # made before cycles are looked for: what is imported, and what is listed of a source, all stays


def run() -> None:
    """Run s2ictl on this process's own arguments, environment and streams."""
    gc.set_threshold(_OBJECTS)
    ended: list[int] = []
    atexit.register(_end, ended)  # the first of all, so that whatever else is registered ends before
    ended.append(_quietly(_version if sys.argv[1:] == ["--version"] else _main))
    for late in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # all has been said, and the status with it
        signal.signal(late, signal.SIG_IGN)
    sys.exit(ended[0])


def _end(ended: list[int]) -> None:
    """End the process as it is: the interpreter would take itself apart first, a tenth of a small build."""
    for status in ended:
        with suppress(OSError):
            sys.stdout.flush()
        os._exit(status)


def _version() -> int:
    """Answered before typer is imported."""
    sys.stdout.write(f"s2ictl {__version__}\n")
    return 0


def _main() -> int:
    from s2ictl.cli.main import main
    from s2ictl.cli.session import World

    return main(
        World(
            arguments=tuple(sys.argv[1:]),
            environ=dict(os.environ),
            cwd=Path.cwd(),
            home=Path(os.environ.get("HOME") or "/nonexistent"),
            stdin=sys.stdin,
            stdout=sys.stdout,
            stderr=sys.stderr,
        )
    )


def _quietly(act: Callable[[], int]) -> int:
    """Let the interpreter's own last flush find an open descriptor, so that a closed pipe stays quiet."""
    try:
        status = act()
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError as gone:
        if gone.errno not in (errno.EPIPE, errno.EIO):  # a pipe that nobody reads, a terminal that was closed
            raise
        nobody = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nobody, sys.stdout.fileno())
        os.dup2(nobody, sys.stderr.fileno())
        return CLOSED_PIPE
    except KeyboardInterrupt:  # before anything was begun, or again when all has been said
        return Interrupted.exit_code
    return status


if __name__ == "__main__":
    run()
