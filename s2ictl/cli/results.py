"""What is said of an image that was made: the same object on stdout, in a file, from source and from an artifact."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from s2ictl import ui
from s2ictl.cli.session import Session
from s2ictl.errors import InvalidUsage
from s2ictl.events import Emit, Event, StepFinished
from s2ictl.files import write_whole
from s2ictl.models import Image


class Step(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    seconds: float
    cached: bool = False


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What `-o json` and `--result-file` say; `build` is the number of the record, where one is kept."""

    image: str
    tags: tuple[str, ...]
    digest: str
    id: str
    builder: str
    commit: str
    unchanged: bool
    seconds: float
    steps: tuple[Step, ...]
    address: str
    build: str


@dataclass(slots=True, kw_only=True)
class Tally:
    """Passes on what is said, and keeps how long each step took; `build` is the number of the record."""

    emit: Emit
    build: str = ""
    began: float = field(default_factory=time.monotonic)
    steps: list[Step] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        if isinstance(event, StepFinished):
            self.steps.append(Step(name=event.name, seconds=round(event.seconds, 3), cached=event.cached))
        self.emit(event)

    def result(self, image: Image, *, name: str, address: str = "") -> Result:
        """All that is known of the image; `name` is the one by which it is had."""
        return Result(
            image=name,
            tags=tuple(map(str, image.names)),
            digest=image.digest,
            id=image.id,
            builder=image.builder,
            commit=image.commit,
            unchanged=image.unchanged,
            seconds=round(time.monotonic() - self.began, 3),
            steps=tuple(self.steps),
            address=address,
            build=self.build,
        )


def check(session: Session, path: Path | None) -> None:
    """Refuse a file that could not be written, before there is anything to write."""
    if path is not None and not (session.world.cwd / path).parent.is_dir():
        raise InvalidUsage(f"--result-file {path} lies in a directory that is not there", hint="make it first")


def give(session: Session, answer: ui.Answer, path: Path | None) -> None:
    """Answer, and write the same as JSON where it was asked for."""
    if path is not None:
        content = msgspec.json.format(msgspec.json.encode(answer.data), indent=2) + b"\n"
        try:
            write_whole(session.world.cwd / path, content)
        except OSError as error:
            raise InvalidUsage(f"could not write the result to {path}: {error.strerror}") from error
    session.answer(answer)
