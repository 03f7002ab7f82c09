"""`builders`: what s2ictl brings to turn source into an image; listed, made, and tried out on its own sample."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from s2ictl import build as story
from s2ictl import ui
from s2ictl.builders import Folder, Sign
from s2ictl.cli import workshop as works
from s2ictl.cli.flags import CaBundle, DryRun
from s2ictl.cli.session import Session, command
from s2ictl.demo import Expectation, Trial, expectation_of, try_sample
from s2ictl.engines.docker import open_docker
from s2ictl.errors import InvalidUsage
from s2ictl.leases import this_host
from s2ictl.models import BuildRequest, PullPolicy, Source
from s2ictl.transport import HASTY, Transport

Name = Annotated[str, typer.Argument(metavar="NAME", help="A builder, as `builders list` names it.")]
Names = Annotated[
    list[str] | None, typer.Argument(metavar="[NAME]...", help="Builders, as `builders list` names them.")
]
All = Annotated[bool, typer.Option("--all", help="Every builder.")]
Pull = Annotated[PullPolicy, typer.Option("--pull-policy", "-p", help="When the base is pulled.")]


def register(app: typer.Typer) -> None:
    builders = typer.Typer(name="builders", help="The builders that come with s2ictl.", rich_markup_mode=None)
    command(builders, "list", example="s2ictl builders list -o json")(list_builders)
    command(builders, "build", example="s2ictl builders build python")(build)
    command(builders, "test", example="s2ictl builders test --all")(try_builders)
    app.add_typer(builders)


def list_builders(session: Session) -> None:
    """List the builders, and the files by which each knows a source."""
    folders = works.our_builders()
    session.answer(
        ui.Answer(
            text=ui.table(("NAME", "VERSION", "IMAGE", "DETECTS"), [_row(folder) for folder in folders]),
            names=tuple(folder.name for folder in folders),
            data=[_described(folder) for folder in folders],
        )
    )


def build(
    session: Session, name: Name, pull_policy: Pull = "if-not-present", ca: CaBundle = None, dry_run: DryRun = False
) -> None:
    """Make the image of a builder."""
    (folder,) = chosen([name])
    identity = ""
    if not dry_run:
        world, request = session.world, request_of(session, ca, pull_policy)
        with open_docker(world.environ, host=this_host(), emit=session.emit) as engine:
            identity = story.build_builder(folder, request, works.workshop(world, engine), emit=session.emit).id
    image = str(folder.image)
    made = _Made(builder=folder.name, image=image, base=str(folder.blueprint.base), id=identity, dry_run=dry_run)
    session.answer(ui.Answer(text=image, names=(image,), data=made))


def try_builders(
    session: Session, name: Names = None, every: All = False, ca: CaBundle = None, dry_run: DryRun = False
) -> None:
    """Build each builder's sample, run it, ask it, and compare its answer with what the builder promises."""
    if bool(name) == every:
        raise InvalidUsage("name the builders to test, or say --all", hint="s2ictl builders test --all")
    folders = works.our_builders() if every else chosen(name or ())
    if dry_run:
        session.answer(promises(folders))
        return
    with trying(session, ca) as try_out:
        trials = [try_out(folder) for folder in folders]
    session.answer(
        ui.Answer(
            text=ui.table(("BUILDER", "ANSWER", "TOOK"), [_outcome(trial) for trial in trials]),
            names=tuple(trial.builder for trial in trials),
            data=[told(trial) for trial in trials],
        )
    )


# ------------------------------------------------------------------------------------------------- also for the demo


def chosen(names: Sequence[str]) -> tuple[Folder, ...]:
    """The builders of these names."""
    known = {folder.name: folder for folder in works.our_builders()}
    for name in names:
        if name not in known:
            raise InvalidUsage(f"there is no builder {name!r}", hint=f"there are: {', '.join(known)}")
    return tuple(known[name] for name in names)


@contextmanager
def trying(session: Session, ca: Path | None) -> Iterator[Callable[[Folder], Trial]]:
    """What tries a builder out, while its engine is open."""
    world, request = session.world, request_of(session, ca, "if-not-present")
    with (
        open_docker(world.environ, host=this_host(), emit=session.emit) as engine,
        Transport({}, emit=session.emit, patience=HASTY) as http,
    ):
        bench = works.workshop(world, engine)
        yield lambda folder: try_sample(
            folder,
            request,
            build=lambda wanted, emit: story.build(wanted, bench, emit=emit),
            runner=engine,
            get=lambda url: http.once("GET", url),
            emit=session.emit,
        )


def request_of(session: Session, ca: Path | None, pull_policy: PullPolicy) -> BuildRequest:
    """What concerns the container alone: the user's mirrors, proxies and certificates."""
    return BuildRequest(
        source=Source(kind="directory", location=""),
        builder="",
        names=(),
        build_env=works.package_sources(session.world.environ),
        pull_policy=pull_policy,
        ca_bundle=works.bundle(session.world, ca),
    )


def promises(folders: Sequence[Folder]) -> ui.Answer:
    """What would be tried, and what is expected of it."""
    wanted = [(folder, expectation_of(folder)) for folder in folders]
    return ui.Answer(
        text=ui.table(("BUILDER", "PATH", "STATUS", "CONTAINS"), [_expected(*each) for each in wanted]),
        names=tuple(folder.name for folder in folders),
        data=[{"builder": folder.name, "expected": expected} for folder, expected in wanted],
    )


# --------------------------------------------------------------------------------------------------------- answers


class _Listed(msgspec.Struct, frozen=True, kw_only=True):
    """What `builders list -o json` says of each."""

    name: str
    version: str
    image: str
    description: str
    base: str
    port: int
    detects: tuple[Sign, ...]


def _described(folder: Folder) -> _Listed:
    plan = folder.blueprint
    return _Listed(
        name=plan.name,
        version=plan.version,
        image=str(folder.image),
        description=plan.description,
        base=str(plan.base),
        port=plan.port,
        detects=plan.detects,
    )


def _row(folder: Folder) -> tuple[str, ...]:
    signs = ", ".join(sign.file for sign in folder.blueprint.detects)
    return (folder.name, folder.blueprint.version, str(folder.image), signs)


def _expected(folder: Folder, expected: Expectation) -> tuple[str, ...]:
    return (folder.name, expected.path, str(expected.status), expected.contains)


def _outcome(trial: Trial) -> tuple[str, ...]:
    return (trial.builder, trial.answer, ui.seconds(trial.seconds))


class _Made(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """What `builders build -o json` says."""

    builder: str
    image: str
    base: str
    id: str
    dry_run: bool


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
