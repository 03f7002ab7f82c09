"""`builders`: what s2ictl brings to turn source into an image, and what any builder says of itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated

import msgspec
import typer

from s2ictl import scaffold, ui
from s2ictl.builders import Folder, Sign, promised, settings
from s2ictl.cli import folders, trials
from s2ictl.cli import workshop as works
from s2ictl.cli.engine import open_engine
from s2ictl.cli.flags import DryRun
from s2ictl.cli.session import Session, command
from s2ictl.engines import Whole
from s2ictl.errors import InvalidUsage, LimitReached, PullBuilderImageFailed, RolloutFailed
from s2ictl.events import Emit, Event, Line, Notice
from s2ictl.models import Builder, ImageFacts, PullPolicy
from s2ictl.workshop import had, nowhere

_LONGEST_USAGE = 256 * 1024

AnyBuilder = Annotated[
    str, typer.Argument(metavar="NAME|IMAGE|DIR", help="One of `builders list`, an image, or a builder's directory.")
]
Pull = Annotated[PullPolicy, typer.Option("--pull-policy", "-p", help="When an image is pulled.")]
NewName = Annotated[str, typer.Argument(metavar="NAME", help="What the new builder is called.")]
NewDirectory = Annotated[
    str, typer.Argument(metavar="[DIR]", help="Where it is written.", show_default="a directory of its name")
]


def register(app: typer.Typer) -> None:
    builders = typer.Typer(
        name="builders", help="Builders: those that come with s2ictl, and your own.", rich_markup_mode=None
    )
    command(builders, "list", example="s2ictl builders list -o json")(list_builders)
    command(builders, "show", example="s2ictl builders show python")(show)
    command(builders, "usage", example="s2ictl builders usage python")(usage)
    command(builders, "create", example="s2ictl builders create pages")(create)
    command(builders, "build", example="s2ictl builders build python")(trials.build)
    command(builders, "test", example="s2ictl builders test --all")(trials.try_builders)
    app.add_typer(builders)


def list_builders(session: Session) -> None:
    """List the builders, and the files by which each knows a source."""
    ours = folders.ours(session)
    session.answer(
        ui.Answer(
            text=ui.table(("NAME", "VERSION", "IMAGE", "DETECTS"), [_row(folder) for folder in ours]),
            names=tuple(folder.name for folder in ours),
            data=[_described(folder) for folder in ours],
        )
    )


def show(session: Session, builder: AnyBuilder, pull_policy: Pull = "if-not-present") -> None:
    """Show what a builder is made of, and what it promises."""
    folder = folders.found(builder, session)
    if folder is not None:
        shown = _shown(_promises_of(folder), folder)
    else:
        with open_engine(session.world, session.emit) as engine:
            shown = _shown(_of_image(builder, pull_policy, engine, session), None)
    session.answer(ui.Answer(text=_summary(shown), names=(shown.image,), data=shown))


def usage(session: Session, builder: AnyBuilder, pull_policy: Pull = "if-not-present") -> None:
    """Say how a builder is used, in its own words."""
    folder = folders.found(builder, session)
    with open_engine(session.world, session.emit) as engine:
        known = _here(folder, engine, session) if folder else _of_image(builder, pull_policy, engine, session)
        said = _said(known, engine, session.emit) if known.facts.id else ""
    text = said or _summary(_shown(known, folder))
    data = _Usage(image=known.image, usage=text, by="script" if said else "labels")
    session.answer(ui.Answer(text=text, names=(known.image,), data=data))


def create(session: Session, name: NewName, directory: NewDirectory = "", dry_run: DryRun = False) -> None:
    """Write a new builder that works, to begin with."""
    scaffold.check_name(name)
    if any(folder.name == name for folder in folders.ours(session)):
        raise InvalidUsage(f"there is a builder {name} already", hint="choose another name")
    place = directory or name
    if dry_run:
        written = tuple(file for file, _, _ in scaffold.files(name))
    else:
        written = scaffold.create(name, session.world.cwd / place)
        session.emit(
            Notice(
                text=f"try it: s2ictl builders test {place}; then build with it: s2ictl build SOURCE s2ictl/{name}:1.0"
            )
        )
    data = _Created(builder=name, directory=place, files=written, dry_run=dry_run)
    session.answer(ui.Answer(text=place, names=(place,), data=data))


# ---------------------------------------------------------------------------------------------- what builders promise


def _promises_of(folder: Folder) -> Builder:
    """What the image of one of ours will say, before there is one."""
    plan = folder.blueprint
    facts = ImageFacts(
        id="",
        labels=plan.labels,
        env=tuple(f"{name}={value}" for name, value in plan.env.items()),
        user=plan.user,
        workdir=plan.workdir,
        exposed=(f"{plan.port}/tcp",),
    )
    return promised(str(folder.image), facts)


def _of_image(image: str, policy: PullPolicy, engine: Whole, session: Session) -> Builder:
    facts, _ = had(image, policy, works.workshop(session.world, engine), session.emit)
    if facts is None:
        raise nowhere("builder image", image, policy)
    builder = promised(image, facts)
    if not builder.scripts:
        raise PullBuilderImageFailed(
            f"{image} is not labelled as a builder",
            detail="looked for the label io.openshift.s2i.scripts-url",
            hint="name a builder image, or one of `s2ictl builders list`",
        )
    return builder


def _here(folder: Folder, engine: Whole, session: Session) -> Builder:
    """One of ours, as its image says it; where there is none yet, as its folder does."""
    image = str(folder.image)
    facts, _ = had(image, "never", works.workshop(session.world, engine), session.emit)
    if facts is None:
        session.emit(Notice(text=f"{image} is not here yet: s2ictl builders build makes it"))
        return _promises_of(folder)
    return promised(image, facts)


def _said(builder: Builder, engine: Whole, emit: Emit) -> str:
    """What its usage script prints; "" where that fails, which a usage script may."""
    lines: list[str] = []
    size = 0

    def heard(event: Event) -> None:
        nonlocal size
        if isinstance(event, Line) and event.stream == "stdout":
            size += len(event.text)
            lines.extend([event.text] if size <= _LONGEST_USAGE else [])
        else:
            emit(event)

    script = f"{builder.scripts}/usage"
    try:
        engine.output(builder.image, command=(script,), emit=heard)
    except (RolloutFailed, PullBuilderImageFailed, LimitReached) as error:
        emit(Notice(text=f"{script} does not say it: {error.message}; this is what the labels say", level="warning"))
        return ""
    return "\n".join(ui.printable(line) for line in lines).strip()


# --------------------------------------------------------------------------------------------------------- answers


class _Listed(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """What `builders list -o json` says of each."""

    name: str
    version: str
    versions: tuple[str, ...]
    image: str
    description: str
    base: str
    port: int
    detects: tuple[Sign, ...]
    caches: tuple[str, ...]
    dependencies: tuple[str, ...]
    aliases: tuple[str, ...]
    reproducible: bool


class _Shown(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """What `builders show -o json` says; of an image that is none of ours, what only a folder can say is empty."""

    name: str
    version: str
    versions: tuple[str, ...]
    image: str
    runtime_image: str
    base: str
    detects: tuple[Sign, ...]
    caches: tuple[str, ...]
    dependencies: tuple[str, ...]
    aliases: tuple[str, ...]
    reproducible: bool
    settings: tuple[str, ...]
    env: Mapping[str, str]
    user: str
    assemble_user: str
    workdir: str
    scripts: str
    destination: str
    ports: tuple[str, ...]
    labels: Mapping[str, str]


class _Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What `builders usage -o json` says; `by` is who said it: its script, or its labels."""

    image: str
    usage: str
    by: str


class _Created(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """What `builders create -o json` says."""

    builder: str
    directory: str
    files: tuple[str, ...]
    dry_run: bool


def _described(folder: Folder) -> _Listed:
    plan = folder.blueprint
    return _Listed(
        name=plan.name,
        version=folder.version,
        versions=folder.versions,
        image=str(folder.image),
        description=plan.description,
        base=str(plan.base),
        port=plan.port,
        detects=plan.detects,
        caches=plan.caches,
        dependencies=plan.dependencies,
        aliases=_aliases(folder),
        reproducible=plan.reproducible,
    )


def _aliases(folder: Folder) -> tuple[str, ...]:
    return tuple(str(alias) for _, alias in folder.known_as)


def _row(folder: Folder) -> tuple[str, ...]:
    return (folder.name, ",".join(folder.versions), str(folder.image), ", ".join(folder.files))


def _shown(builder: Builder, folder: Folder | None) -> _Shown:
    plan, facts = folder.blueprint if folder else None, builder.facts
    return _Shown(
        name=plan.name if plan else "",
        version=folder.version if folder else "",
        versions=folder.versions if folder else (),
        image=builder.image,
        runtime_image=str(folder.runtime_image) if folder and folder.blueprint.runtime else "",
        base=str(plan.base) if plan else "",
        detects=plan.detects if plan else (),
        caches=plan.caches if plan else builder.caches,
        dependencies=plan.dependencies if plan else builder.locks,
        aliases=_aliases(folder) if folder else (),
        reproducible=plan.reproducible if plan else False,
        settings=settings(folder) if folder else (),
        env=facts.variables,
        user=facts.user,
        assemble_user=builder.assemble_user,
        workdir=facts.workdir,
        scripts=builder.scripts,
        destination=builder.destination,
        ports=facts.exposed,
        labels=dict(sorted(facts.labels.items())),
    )


def _summary(shown: _Shown) -> str:
    return "\n".join(f"{word:<13} {ui.printable(value)}" for word, value in _lines(shown) if value)


def _lines(shown: _Shown) -> Iterator[tuple[str, str]]:
    yield "builder", f"{shown.name} {shown.version}".strip()
    yield "versions", ", ".join(shown.versions) if len(shown.versions) > 1 else ""
    yield "image", shown.image
    yield "runtime image", shown.runtime_image
    yield "base", shown.base
    yield from (("detects", f"{sign.file}: {sign.means}") for sign in shown.detects)
    yield "aliases", " ".join(shown.aliases)
    yield from (("cache", path) for path in shown.caches)
    yield "dependencies", " ".join(shown.dependencies)
    yield "reproducible", "yes" if shown.reproducible else ""
    yield "settings", " ".join(shown.settings)
    yield "user", shown.user
    yield "assembles as", shown.assemble_user
    yield "workdir", shown.workdir
    yield "scripts", shown.scripts
    yield "destination", shown.destination
    yield "ports", " ".join(shown.ports)
    yield from (("env", f"{name}={value}") for name, value in shown.env.items())
    yield from (("label", f"{name}={value}") for name, value in shown.labels.items())
