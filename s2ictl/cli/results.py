"""What is said of an image that was made: the same object on stdout, in a file, from source and from an artifact."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import field
from pathlib import Path

import msgspec

from s2ictl import ui
from s2ictl.cli import outputs
from s2ictl.cli.session import Session
from s2ictl.engines.choice import Choice
from s2ictl.errors import InvalidUsage
from s2ictl.events import Emit, Event, StepFinished
from s2ictl.files import is_directory, write_whole
from s2ictl.models import Image, Target
from s2ictl.targets import ENGINE, REGISTRY, places
from s2ictl.values import dataclass


class Step(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    seconds: float
    cached: bool = False


class Engine(msgspec.Struct, frozen=True, kw_only=True):
    """Which one it was, and why that one."""

    name: str
    because: str

    @staticmethod
    def of(choice: Choice) -> Engine:
        return Engine(name=choice.engine, because=choice.because)


class Pushed(msgspec.Struct, frozen=True, kw_only=True):
    """What `-o json` and `--result-file` say of every image; `image` is the name by which it is had."""

    image: str
    tags: tuple[str, ...]
    digest: str
    id: str


class Result(Pushed, frozen=True, kw_only=True):
    """And of one that was made; `build` is the number of the record, where one is kept."""

    builder: str
    commit: str
    unchanged: bool
    seconds: float
    steps: tuple[Step, ...]
    address: str
    build: str
    engine: Engine | msgspec.UnsetType = msgspec.UNSET  # where there was one
    context_path: str | msgspec.UnsetType = msgspec.field(name="context-path", default=msgspec.UNSET)  # of a war alone


@dataclass(slots=True, kw_only=True)
class Tally:
    """Passes on what is said, and keeps how long each step took; `build` is the number of the record."""

    emit: Emit
    build: str = ""
    began: float = field(default_factory=time.monotonic)
    steps: list[Step] = field(default_factory=list)
    engine: Engine | None = None

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
            engine=self.engine or msgspec.UNSET,
            context_path=image.context_path or msgspec.UNSET,
        )


def pushed(image: Image) -> Pushed:
    """What is said of an image that only went somewhere."""
    return Pushed(
        image=str(image.names[0].at(image.digest)),
        tags=tuple(map(str, image.names)),
        digest=image.digest,
        id=image.id,
    )


def had_by(image: Image, targets: Collection[Target]) -> tuple[str, ...]:
    """Where an image was wanted, and is now: by its digest where it has one there, by its id where it has no name."""
    pushed, in_engine = REGISTRY in targets, ENGINE in targets
    named = tuple(str(name.at(image.digest if pushed else "")) for name in image.names) if pushed or in_engine else ()
    here = named or ((image.id,) if in_engine else ())
    files = [target for target in targets if target not in (REGISTRY, ENGINE)]
    return (*here, *(f"{place}@{image.digest}" for place in places(files, image.names)))


def check(session: Session, path: Path | None) -> None:
    """Refuse a file that could not be written, before there is anything to write."""
    if path is not None and not is_directory((session.world.cwd / path).parent):
        raise InvalidUsage(f"--result-file {path} lies in a directory that is not there", hint="make it first")
    if path is not None and is_directory(session.world.cwd / path):
        raise InvalidUsage(f"--result-file {path} is a directory", hint="name a file in it")


def give(session: Session, answer: ui.Answer, path: Path | None) -> None:
    """Answer, write the same as JSON where it was asked for, and tell the forge in whose pipeline this runs."""
    if path is not None:
        content = msgspec.json.format(msgspec.json.encode(answer.data), indent=2) + b"\n"
        try:
            write_whole(session.world.cwd / path, content)
        except OSError as error:
            raise InvalidUsage(f"could not write the result to {path}: {error.strerror}") from error
    every = answer.data if isinstance(answer.data, tuple) else (answer.data,)
    outputs.tell([each for each in every if isinstance(each, Pushed)], session.world, session.emit)
    session.answer(answer)
