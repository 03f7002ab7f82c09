"""The helper process, from its start to its end, and what is asked of it."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from s2ictl.engines.embedded import subordinate
from s2ictl.engines.embedded.asking import Desk, closing, closing_line, gone, is_heard, meant
from s2ictl.engines.embedded.chambers import Chamber
from s2ictl.engines.embedded.surroundings import SYSTEM_PATH, name_of
from s2ictl.engines.embedded.warden.failures import told
from s2ictl.engines.embedded.warden.lines import Line, pair
from s2ictl.errors import S2IError

_BEGIN = "import sys; sys.path.append(sys.argv.pop(1)); from warden.process import main; main()"


class Warden:
    """See `wardens.Warden`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def unpack(self, tar: Iterator[bytes], *, on: tuple[str, ...], to: str) -> int:
        size: int = self._desk.feed_apart("unpack", tar, name=_name("unpack"), on=on, to=to)
        return size

    def fill(self, tar: Iterator[bytes], *, to: str) -> None:
        self._desk.feed_apart("fill", tar, to=to)

    @contextmanager
    def chamber(self, name: str, layers: tuple[str, ...]) -> Iterator[Chamber]:
        with self._desk.apart("chamber", name=name, layers=layers) as talk:
            made = talk.answer()
            yield Chamber(name, Desk(talk.line, gone), root=made["root"], handed=made["handed"])

    def cache(self, name: str, uid: int, gid: int) -> str:
        path: str = self._asked("cache", name=_name("cache"), to=name, uid=uid, gid=gid)
        return path

    def discard(self, paths: tuple[str, ...]) -> None:
        self._asked("discard", name=_name("discard"), paths=paths)

    def size(self, path: str) -> int:
        total: int = self._asked("size", path=path)
        return total

    def _asked(self, call: str, **given: Any) -> Any:
        with self._desk.apart(call, **given) as talk:
            return talk.answer()


@contextmanager
def started(directory: Path, *, rootless: bool, overlays: tuple[str, ...]) -> Iterator[Warden]:
    """The process at work while the context lasts; what keeps it from working is said when it is asked first."""
    given = {
        "directory": str(directory.resolve()),
        "mapping": _mapping() if rootless else (),
        "overlays": overlays,
    }
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise meant(told(error), "start") from error
    here, there = pair()
    with ExitStack() as stack:
        stack.callback(here.close)
        with closing_line(there):
            process = _executed(there)
        stack.callback(process.wait)
        stack.callback(here.hang_up)
        here.say(given)
        yield Warden(Desk(here, lambda: _last_words(here)))


def _executed(line: Line) -> subprocess.Popen[bytes]:
    """Its own session hears no Ctrl-C of this terminal, and its environment holds nobody's secrets."""
    own = Path(__file__).parent
    with closing(os.pidfd_open(os.getpid())) as me:
        command = [sys.executable, "-I", "-S", "-c", _BEGIN, str(own), str(line.fileno()), str(me)]
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(line.fileno(), me),
            start_new_session=True,
            cwd="/",
            env={"PATH": SYSTEM_PATH},
        )


def _last_words(line: Line) -> S2IError:
    """What it said before it went, or that it said nothing."""
    heard = line.hear() if is_heard(line, 0) else None
    return gone() if heard is None else meant(heard[0]["failure"], "start")


def _mapping() -> tuple[tuple[str, ...], ...]:
    uid = os.getuid()
    return subordinate.mapping(name_of(uid), uid, os.getgid(), read=_read, find=_find)


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _find(program: str) -> str | None:
    return shutil.which(program, path=SYSTEM_PATH)


def _name(call: str) -> str:
    return f"{call}-{secrets.token_hex(8)}"
