"""`builders build` and `builders test`: a builder's image is made, and tried out on its own sample; also for `demo`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from s2ictl import build as story
from s2ictl import ui
from s2ictl.builders import MADE_OF, Folder, fingerprint
from s2ictl.cli import engine as engines
from s2ictl.cli import folders as shelf
from s2ictl.cli import project
from s2ictl.cli import workshop as works
from s2ictl.cli.engine import open_engine
from s2ictl.cli.flags import CaBundle, DryRun
from s2ictl.cli.places import image_shelf
from s2ictl.cli.session import Session
from s2ictl.demo import Expectation, Get, Trial, expectation_of, try_sample
from s2ictl.engines import Runner
from s2ictl.engines.choice import Asked
from s2ictl.errors import InvalidUsage, S2IError, SampleFailed
from s2ictl.events import Emit, Notice
from s2ictl.foundry import build_builder, check_push
from s2ictl.models import BuildRequest, Image, PullPolicy, Source
from s2ictl.shelf import renewed
from s2ictl.transport import HASTY, Transport
from s2ictl.values import dataclass
from s2ictl.workshop import Workshop, had

Name = Annotated[
    str, typer.Argument(metavar="NAME|DIR", help="A builder, as `builders list` names it, or the directory of one.")
]
Names = Annotated[list[str] | None, typer.Argument(metavar="[NAME|DIR]...", help="Builders, or directories of such.")]
All = Annotated[bool, typer.Option("--all", help="Every builder.")]
Push = Annotated[bool, typer.Option("--push", help="Push it to where builders are pulled from: S2ICTL_BUILDERS.")]
Rebuild = Annotated[bool, typer.Option("--rebuild", help="Make the builder's image anew, even if it is here.")]
Pull = Annotated[PullPolicy, typer.Option("--pull-policy", "-p", help="When the base is pulled.")]


def build(
    session: Session,
    name: Name,
    push: Push = False,
    pull_policy: Pull = "if-not-present",
    engine: engines.Engine = None,
    ca: CaBundle = None,
    dry_run: DryRun = False,
) -> None:
    """Make the image of a builder."""
    folder = shelf.named(name, session)
    if push:
        check_push(folder)
    made = Image(names=(folder.image,), id="")
    if not dry_run:
        world, request = session.world, replace(request_of(session, ca, pull_policy), push=push)
        with open_engine(world, session.emit, engines.wanted(world, engine)) as opened:
            made = build_builder(folder, request, works.workshop(world, opened), emit=session.emit)
        renewed(image_shelf(world), str(folder.image))
    answer = str(folder.image.at(made.digest))
    session.answer(ui.Answer(text=answer, names=(answer,), data=_made(folder, made, push=push, dry_run=dry_run)))


def try_builders(
    session: Session,
    name: Names = None,
    every: All = False,
    rebuild: Rebuild = False,
    engine: engines.Engine = None,
    ca: CaBundle = None,
    dry_run: DryRun = False,
) -> None:
    """Build the sample of each builder, run it, and ask it."""
    if bool(name) == every:
        raise InvalidUsage("name the builders to test, or say --all", hint="s2ictl builders test --all")
    chosen = shelf.ours(session) if every else tuple(shelf.named(word, session) for word in name or ())
    if dry_run:
        session.answer(promises(chosen))
        return
    with trying(session, ca, engine) as bench:
        trials = all_tried(chosen, lambda folder: bench.try_as_it_is_now(folder, rebuild=rebuild), session.emit)
    session.answer(
        ui.Answer(
            text=ui.table(("BUILDER", "ANSWER", "TOOK"), [_outcome(trial) for trial in trials]),
            names=tuple(trial.builder for trial in trials),
            data=[told(trial) for trial in trials],
        )
    )


def all_tried(folders: Sequence[Folder], try_out: Callable[[Folder], Trial], emit: Emit) -> list[Trial]:
    """Every one is tried, whatever becomes of those before it; what failed is named when all are through."""
    if len(folders) == 1:
        return [try_out(folders[0])]
    trials: list[Trial] = []
    failed: dict[str, str] = {}
    for folder in folders:
        try:
            trials.append(try_out(folder))
        except S2IError as error:
            failed[folder.word] = error.message
            emit(Notice(text=f"{folder.word}: {error.message}", level="warning"))
    if failed:
        raise SampleFailed(
            f"{len(failed)} of {len(folders)} builders failed: {', '.join(failed)}",
            detail="\n".join(f"{name}: {message}" for name, message in failed.items()),
            hint=f"s2ictl builders test {next(iter(failed))}",
        )
    return trials


# ------------------------------------------------------------------------------------------------- also for the demo


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What builders are tried out with."""

    request: BuildRequest
    workshop: Workshop
    runner: Runner
    get: Get
    emit: Emit

    def try_out(self, folder: Folder) -> Trial:
        """Try a builder out, by its image where that is here."""
        workshop = replace(self.workshop, folders=lambda _: (folder,))
        return try_sample(
            folder,
            self.request,
            build=lambda wanted, emit: story.build(wanted, workshop, emit=emit),
            runner=self.runner,
            get=self.get,
            emit=self.emit,
        )

    def try_as_it_is_now(self, folder: Folder, *, rebuild: bool) -> Trial:
        """The same, with an image that is certainly made of this folder."""
        image = str(folder.image)
        facts, _ = had(image, "never", self.workshop, self.emit)
        if facts is None:
            return self.try_out(folder)  # which makes it
        changed = facts.labels.get(MADE_OF) != fingerprint(folder)
        if changed or rebuild:
            why = "its folder is another now" if changed else "--rebuild"
            self.emit(Notice(text=f"{image} of {facts.created} is made anew: {why}"))
            build_builder(folder, self.request, self.workshop, emit=self.emit)
        else:
            self.emit(Notice(text=f"{image} is here already, of {facts.created} and of this very folder"))
        return self.try_out(folder)


@contextmanager
def trying(session: Session, ca: Path | None, named: Asked | None = None) -> Iterator[Bench]:
    """What builders are tried out with, while its engine is open."""
    world = session.world
    with (
        open_engine(world, session.emit, engines.wanted(world, named)) as engine,
        Transport({}, emit=session.emit, patience=HASTY) as http,
    ):
        yield Bench(
            request=request_of(session, ca, "if-not-present"),
            workshop=works.workshop(world, engine, prefix=project.builders_prefix(session)),
            runner=engine,
            get=lambda url: http.once("GET", url),
            emit=session.emit,
        )


def request_of(session: Session, ca: Path | None, pull_policy: PullPolicy) -> BuildRequest:
    """What concerns the container alone: the user's mirrors, proxies and certificates. What is tried is built."""
    return BuildRequest(
        source=Source(kind="directory", location=""),
        builder="",
        names=(),
        surroundings=works.package_sources(session.world.environ),
        pull_policy=pull_policy,
        force=True,
        ca_bundle=works.bundle(session.world, ca),
    )


def promises(folders: Sequence[Folder]) -> ui.Answer:
    """What would be tried, and what is expected of it."""
    wanted = [(folder, expectation_of(folder)) for folder in folders]
    return ui.Answer(
        text=ui.table(("BUILDER", "PATH", "STATUS", "CONTAINS"), [_expected(*each) for each in wanted]),
        names=tuple(folder.word for folder in folders),
        data=[{"builder": folder.word, "expected": expected} for folder, expected in wanted],
    )


# --------------------------------------------------------------------------------------------------------- answers


def _expected(folder: Folder, expected: Expectation) -> tuple[str, ...]:
    return (folder.word, expected.path, str(expected.status), expected.contains)


def _outcome(trial: Trial) -> tuple[str, ...]:
    return (trial.builder, trial.answer, ui.seconds(trial.seconds))


class _Made(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """What `builders build -o json` says."""

    builder: str
    image: str
    runtime_image: str
    base: str
    id: str
    digest: str
    push: bool
    dry_run: bool


def _made(folder: Folder, made: Image, *, push: bool, dry_run: bool) -> _Made:
    return _Made(
        builder=folder.word,
        image=str(folder.image),
        runtime_image=str(folder.runtime_image) if folder.blueprint.runtime else "",
        base=str(folder.blueprint.base),
        id=made.id,
        digest=made.digest,
        push=push,
        dry_run=dry_run,
    )


class _Step(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    seconds: float


class _Tried(msgspec.Struct, frozen=True, kw_only=True):
    """What `builders test -o json` says of each, and `demo -o json`."""

    builder: str
    image: str
    answer: str
    seconds: float
    steps: tuple[_Step, ...]


def told(trial: Trial) -> _Tried:
    return _Tried(
        builder=trial.builder,
        image=str(trial.image.names[0]),
        answer=trial.answer,
        seconds=round(trial.seconds, 3),
        steps=tuple(_Step(name=each.name, seconds=round(each.seconds, 3)) for each in trial.steps),
    )
