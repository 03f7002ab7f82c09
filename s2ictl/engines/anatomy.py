"""What an image holds: asked of a container that was just made of it, and remembered, since it never changes.

An image's id says all that is in it, and to ask what every build wants to know costs as much as to build a small
source. So the answers are kept on this machine, a file for each image. One that is gone, cut off or not understood is a
question asked again, and nothing else.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import field
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from s2ictl.engines.containers import SMALL_FILE, Container, ids_of
from s2ictl.engines.programs import interpreter_of
from s2ictl.expressions import expression
from s2ictl.files import write_whole
from s2ictl.values import dataclass

_ID = expression(r"sha256:([0-9a-f]{64})")
_LARGEST = 64 * 1024
_MOST_ANSWERS, _MOST_IMAGES = 500, 200
_OLDEST = 30 * 24 * 3600.0
T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class Memory:
    """What was asked of one image so far, by the words of the question; without a file nothing of it is kept."""

    file: Path | None = None
    answers: dict[str, Any] = field(default_factory=dict)
    is_new: bool = False

    @staticmethod
    def of(image: str, directory: Path | None) -> Memory:
        """What is remembered of the image with this id."""
        match = _ID.fullmatch(image)
        if directory is None or match is None or not _is_ours(directory):
            return Memory()
        file = directory / f"{match[1]}.json"
        return Memory(file=file, answers=_read(file))

    def learn(self, question: str, answer: object) -> None:
        if len(self.answers) < _MOST_ANSWERS:
            self.answers[question] = answer
            self.is_new = True

    def keep(self, *, now: float) -> None:
        """Write down what was learnt, and forget what was learnt long ago."""
        if self.file is None or not self.is_new:
            return
        with suppress(OSError):  # it is only asked again
            self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(self.file, json.dumps(self.answers).encode(), mode=0o600)
            _sweep(self.file.parent, now)


def _is_ours(directory: Path) -> bool:
    """Whether nobody else can have written there; one that is missing is made so."""
    try:
        found = directory.stat()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return found.st_uid == os.geteuid() and not found.st_mode & 0o022


def _sweep(directory: Path, now: float) -> None:
    newest = sorted(((file.stat().st_mtime, file) for file in directory.iterdir()), reverse=True)
    for number, (written, file) in enumerate(newest):
        if number >= _MOST_IMAGES or now - written > _OLDEST:
            file.unlink(missing_ok=True)


def _read(file: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError), file.open("rb") as opened:
        told = json.loads(opened.read(_LARGEST + 1))
        return told if isinstance(told, dict) else {}
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Anatomy:
    """What an image holds, as its memory has it or else as a container shows it that has not been started.

    What lies where something is mounted, or leads there, is the container's own and not remembered.
    """

    container: Container
    memory: Memory
    mounted: tuple[str, ...] = ()

    @property
    def image(self) -> str:
        return self.container.image

    def mode(self, path: str) -> int | None:
        """The mode of a path; None when it is not there."""
        return self._told(f"mode {path}", path, lambda: self.container.mode(path), _is_mode)

    def interpreter(self, path: str) -> str:
        """The program that a script wants, "" for what is none."""
        return self._told(f"interpreter {path}", path, lambda: self._interpreter(path), _is_text)

    def ids(self, user: str) -> tuple[int, int]:
        """The numbers of a user and his group."""
        uid, gid = self._told(f"ids {user}", "/etc", lambda: ids_of(self.container, user), _is_pair)
        return uid, gid

    def _interpreter(self, path: str) -> str:
        return interpreter_of(self.container.read(path, SMALL_FILE) or b"")

    def _told(self, question: str, path: str, ask: Callable[[], T], is_one: Callable[[object], bool]) -> T:
        if any(_meet(path, place) for place in self.mounted):
            return ask()
        remembered: Any = self.memory.answers.get(question, ...)
        if is_one(remembered):
            known: T = remembered
            return known
        answer = ask()
        self.memory.learn(question, answer)
        return answer


def _meet(path: str, place: str) -> bool:
    one, other = PurePosixPath(path), PurePosixPath(place)
    return one.is_relative_to(other) or other.is_relative_to(one)


def _is_mode(answer: object) -> bool:
    return answer is None or type(answer) is int


def _is_text(answer: object) -> bool:
    return isinstance(answer, str)


def _is_pair(answer: object) -> bool:
    return isinstance(answer, Iterable) and [type(number) for number in answer] == [int, int]
