"""Whoever is on a line is answered: at once and in turn, or by a process of its own on a line that came along."""

from __future__ import annotations

import os
import signal

from .failures import told
from .lines import Line, line_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    AtOnce = Callable[..., Any]
    Apart = Callable[..., Any]

DEAF_TO = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)  # the end of the line is what ends a warden


class Post:
    """Where calls come in. Those `at_once` get what came with them; those `apart` a line of their own before it."""

    def __init__(self, line: Line, *, at_once: dict[str, AtOnce], apart: dict[str, Apart]) -> None:
        self._line = line
        self._at_once = at_once
        self._apart = apart

    def attend(self) -> bool:
        """Serve one call; False when the other side has hung up."""
        heard = self._line.hear()
        if heard is None:
            return False
        (name, given), descriptors = heard
        try:
            if name in self._at_once:
                answer(self._line, self._at_once[name], descriptors, given)
            else:
                self._fork(self._apart[name], descriptors, given)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return True

    def _fork(self, call: Apart, descriptors: list[int], given: dict[str, Any]) -> None:
        if os.fork():
            return
        status = 1
        try:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._line.close()
            line = line_of(os.dup(descriptors[0]))
            os.close(descriptors.pop(0))
            answer(line, call, [line, *descriptors], given)
            status = 0
        finally:
            os._exit(status)


def answer(line: Line, call: AtOnce, handed: list[Any], given: dict[str, Any]) -> None:
    """Do it, and say what came of it; nobody may be there to hear it any more."""
    try:
        said = {"answer": call(*handed, **given)}
    except Exception as error:  # whatever it is, the other side makes an error of it
        said = {"failure": told(error)}
    try:
        line.say(said)
    except OSError:
        return


def write(descriptor: int, block: bytes) -> None:
    """The whole block into a pipe."""
    rest = memoryview(block)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
