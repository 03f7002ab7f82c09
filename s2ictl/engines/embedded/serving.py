"""A container of an image that runs as the image says: its ports, its log, and its end."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice

from s2ictl.engines import Running, accounts, outcomes, streams
from s2ictl.engines.embedded import listening
from s2ictl.engines.embedded.commands import Command, Site, environment, running
from s2ictl.engines.embedded.wardens import Chamber, Process
from s2ictl.engines.streams import Limit, Silence
from s2ictl.errors import RolloutFailed
from s2ictl.events import Emit, Line
from s2ictl.models import ImageFacts

_RUN_LIMIT = 365 * 24 * 3600.0
_OUTPUT_LIMIT = 600.0
_LONGEST_LOG = 10 << 20  # characters of it that are kept for who asks late
_GRACE, _FAREWELL = 3.0, 5.0


@contextmanager
def served(site: Site, image: str, *, ports: tuple[int, ...], env: Mapping[str, str], owner: str) -> Iterator[Running]:
    """The image at work while the context lasts, then asked to end, and then made to."""
    facts = site.image(image)
    with site.chamber(facts, owner, _silently, seconds=_RUN_LIMIT) as chamber:
        command = _command(chamber, facts, (*facts.entrypoint, *facts.command), env)
        with running(site, chamber, command) as process:
            log = _Log(process)
            try:
                leading = {port: chamber.forward(port) for port in ports}
                if ports and process.ended(0.0) is not None:
                    raise RolloutFailed(f"{image} ended at once", hint="run it by hand, and see what it prints")
                yield Running(ports=leading, follow=log.follow)
            finally:
                _stop(process)
                log.close()


def output(site: Site, image: str, command: tuple[str, ...], emit: Emit) -> outcomes.Ended:
    """Run one command in the image, say what it prints, and answer how it ended."""
    facts, limit = site.image(image), Limit.of(command[0], _OUTPUT_LIMIT)
    with (
        site.chamber(facts, "output", emit, seconds=_OUTPUT_LIMIT) as chamber,
        running(site, chamber, _command(chamber, facts, command, {})) as process,
    ):
        for line in streams.lines(listening.heard(process, limit, _SILENCE)):
            emit(line)
        return listening.ended(process, limit)


def _command(chamber: Chamber, facts: ImageFacts, words: tuple[str, ...], env: Mapping[str, str]) -> Command:
    account = accounts.account_of(facts.user, chamber.read)
    if not words:
        raise RolloutFailed("the image does not say what is to be run in it")
    return Command(words=words, env=environment(facts, account, env.items()), workdir=facts.workdir, account=account)


def _stop(process: Process) -> None:
    process.signal("TERM")
    if process.ended(_GRACE) is None:
        process.signal("KILL")


def _left_alone() -> None:
    """It may be silent as long as it likes."""


def _silently(_: object) -> None:
    """Nobody has asked how it comes to run."""


_SILENCE = Silence(seconds=3600.0, heard=_left_alone)


class _Log:
    """What a container says, heard while it runs and kept for whoever asks, but not without end."""

    def __init__(self, process: Process) -> None:
        self._lines: deque[Line] = deque()
        self._first = self._size = 0
        self._ended = False
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._listen, args=(process,), name="s2ictl-log", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Its descriptors are closed next, so nobody may listen to them any more."""
        self._thread.join(_FAREWELL)

    def follow(self, emit: Emit, *, wait: bool = True) -> None:
        at = 0
        while True:
            with self._news:
                while wait and not self._ended and at >= self._first + len(self._lines):
                    self._news.wait()
                at = max(at, self._first)
                fresh = tuple(islice(self._lines, at - self._first, None))
            if not fresh:
                return
            at += len(fresh)
            for line in fresh:
                emit(line)

    def _listen(self, process: Process) -> None:
        limit = Limit.of("the container", _RUN_LIMIT)
        try:
            for line in streams.lines(listening.heard(process, limit, _SILENCE)):
                with self._news:
                    self._keep(line)
                    self._news.notify_all()
        finally:
            with self._news:
                self._ended = True
                self._news.notify_all()

    def _keep(self, line: Line) -> None:
        self._lines.append(line)
        self._size += len(line.text) + 1
        while self._size > _LONGEST_LOG:
            self._size -= len(self._lines.popleft().text) + 1
            self._first += 1
