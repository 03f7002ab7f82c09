"""A server as `s2ictl serve` runs it, with a job that builds nothing: a program, because it is there to be killed.

    python -m tests.fakes.server serve APPS STATE PORT      the server
    python -m tests.fakes.server work STATE ENTRY LIFELINE  what it starts for each job

Each job writes a line when it begins and one when it has done its work. What it shall do otherwise stands in the file
`orders` in the state directory, if there is one: `sleep SECONDS`, `die`, `fail`, `fault`, or `linger` (to be told to
end, and to take its time for that until it has other orders).
"""

from __future__ import annotations

import os
import signal
import sys
import time
from functools import partial
from pathlib import Path
from types import FrameType

from s2ictl import serve
from s2ictl.errors import AssembleFailed
from s2ictl.events import Emit, Event, Line, Notice
from s2ictl.listener import Address, Limits
from s2ictl.models import Entry, Outcome

DIGEST = "sha256:" + "d" * 64


def main(arguments: list[str]) -> None:
    match arguments:
        case ["serve", apps, state, port]:
            _serve(Path(apps), Path(state), int(port))
        case ["work", state, entry, lifeline]:
            _work(Path(state), entry, int(lifeline))


def _serve(apps: Path, state: Path, port: int) -> None:
    hooks, faults = serve.load_hooks(apps, os.environ)
    for fault in faults:
        print(fault.message, file=sys.stderr)
    serve.serve(
        serve.ServeRequest(
            state=state,
            address=Address(host="127.0.0.1", port=port),
            limits=Limits(header_seconds=0.5),
            workers=2,
            grace=10.0,
        ),
        hooks=hooks,
        worker=(sys.executable, "-m", "tests.fakes.server", "work", str(state)),
        environ=os.environ,
        clock=time.time,
        emit=_print,
    )


def _print(event: Event) -> None:
    if isinstance(event, Notice):
        print(event.text, flush=True)


def _work(state: Path, entry: str, lifeline: int) -> None:
    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    serve.work(entry, state=state, lifeline=lifeline, perform=partial(_perform, state), clock=time.time)


def _perform(state: Path, entry: Entry, emit: Emit, built: serve.Built) -> Outcome:
    try:
        _tell(state, f"begun {entry.id} {entry.commit}")
        emit(Line(text=f"building {entry.commit}"))
        match _orders(state):
            case ["sleep", seconds]:
                time.sleep(float(seconds))
            case ["linger"]:
                time.sleep(60)
            case ["die"]:
                os.kill(os.getpid(), signal.SIGKILL)
            case ["fail"]:
                raise AssembleFailed("the assemble script ended with 3", hint="s2ictl builds logs")
            case ["fault"]:
                raise ZeroDivisionError("one of ours")
    except KeyboardInterrupt:
        while _orders(state) == ["linger"]:
            time.sleep(0.02)
        _tell(state, f"cleaned {entry.id} {entry.commit}")
        raise
    _tell(state, f"done {entry.id} {entry.commit}")
    return Outcome(digest=DIGEST, address="http://127.0.0.1:30080/")


def _orders(state: Path) -> list[str]:
    path = state / "orders"
    return path.read_text().split() if path.exists() else []


def _tell(state: Path, line: str) -> None:
    descriptor = os.open(state / "told", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, f"{line}\n".encode())
    os.close(descriptor)


if __name__ == "__main__":
    main(sys.argv[1:])
