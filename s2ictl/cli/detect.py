"""`detect`: which builder a source would be made with, and what would run a finished artifact."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import msgspec
import typer

from s2ictl import ui
from s2ictl.artifacts import Meaning, is_artifact, meaning_of, read
from s2ictl.builders import Blueprint
from s2ictl.cli import artifact, flags, folders, origin, project
from s2ictl.cli import workshop as works
from s2ictl.cli.session import Session, command
from s2ictl.detection import Choice
from s2ictl.detection import detect as choose_builder
from s2ictl.events import Notice
from s2ictl.models import AppConfig, Artifact, Source, Tree

_OWN_RUN = ".s2i/bin/run"


def register(app: typer.Typer) -> None:
    command(app, "detect", example="s2ictl detect https://git.example.com/shop.git")(detect)


def detect(
    session: Session,
    wanted: origin.SourceFlags,
    fetched: origin.FetchFlags,
    finished: artifact.ArtifactFlags,
    source: origin.From = "",
) -> None:
    """Say which builder fits a source or a finished artifact, and why."""
    text, wishes = flags.one_of("source", source, wanted.source_flag) or ".", finished.wishes
    allow_http = flags.lets_http(session.world, fetched.allow_http)
    opener = origin.with_secret(origin.origin_of(fetched, session), fetched, session)
    certain = wishes.type is not None
    cwd = session.world.cwd
    with artifact.brought(text, opener, session, cwd=cwd, allow_http=allow_http, certain=certain) as there:
        if there and (certain or is_artifact(there.path, name=there.name)):
            found = read(there.path, name=there.name)
            prefix = works.images_at(session.world, project.builders_prefix(session))
            meaning = meaning_of(found, wishes, prefix=prefix)
            for text in meaning.notices:
                session.emit(Notice(text=text, level="warning"))
            answer = run_by(found, meaning)
        else:
            asked = origin.source_of(
                wanted, AppConfig(name="", source=text), allow_http=allow_http, cwd=session.world.cwd
            )
            answer = _source(there.instead_of(asked) if there else asked, opener, session)
    session.answer(answer)


def _source(source: Source, opener: origin.Origin, session: Session) -> ui.Answer:
    with works.fetch(session.world, opener.options, opener.find_login, source, session.emit) as tree:
        return chosen(choose_builder(tree, folders.ours(session)), tree)


class _Java(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    level: int
    servlet: str | None
    server: str | None
    spring_boot: str | None
    main_class: str | None


class _Binary(msgspec.Struct, frozen=True, kw_only=True):
    machine: str
    linkage: str
    interpreter: str | None


class _Detected(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """What `detect -o json` says; what belongs to an artifact is null for source."""

    kind: str
    builder: str
    because: str
    runner_up: _RunnerUp | None
    java: _Java | None = None
    binary: _Binary | None = None
    base: str
    run: str
    port: int
    context_path: str | None = None


class _RunnerUp(msgspec.Struct, frozen=True, kw_only=True):
    builder: str
    because: str


def chosen(choice: Choice, tree: Tree) -> ui.Answer:
    """The builder that fits, in every form; the names of files are somebody else's text."""
    second = choice.runner_up
    plan = choice.folder.blueprint
    lines = [f"{choice.folder.word}  ({ui.printable(choice.because)})"]
    lines += [f"then {second.folder.word}  ({ui.printable(second.because)})"] if second else []
    detected = _Detected(
        kind="source",
        builder=choice.folder.word,
        because=choice.because,
        runner_up=_RunnerUp(builder=second.folder.word, because=second.because) if second else None,
        base=str(plan.base),
        run=_run_by(plan, tree),
        port=plan.port,
    )
    return ui.Answer(text="\n".join(lines), names=(choice.folder.word,), data=detected)


def _run_by(plan: Blueprint, tree: Tree) -> str:
    """What the result will run."""
    if _OWN_RUN in tree.paths:
        return _OWN_RUN
    return " ".join(plan.runtime.command) if plan.runtime else f"{plan.scripts}/run"


# --------------------------------------------------------------------------------------------------------- artifacts


def run_by(found: Artifact, meaning: Meaning) -> ui.Answer:
    """What runs an artifact, in every form."""
    second = meaning.runner_up
    detected = _Detected(
        kind=found.kind,
        builder=meaning.builder,
        because=meaning.because,
        runner_up=_RunnerUp(builder=second[0], because=second[1]) if second else None,
        java=_java(found),
        binary=_binary(found),
        base=meaning.base,
        run=shlex.join(meaning.run),
        port=meaning.port,
        context_path=meaning.context_path,
    )
    return ui.Answer(text="\n".join(_lines(detected, meaning)), names=(meaning.builder,), data=detected)


def _lines(detected: _Detected, meaning: Meaning) -> Iterator[str]:
    yield f"{detected.builder}  ({detected.because})"
    if detected.runner_up:
        yield f"then {detected.runner_up.builder}  ({detected.runner_up.because})"
    if meaning.java:
        yield f"on    Java {meaning.java}" + (f", Tomcat {meaning.tomcat}" if meaning.tomcat else "")
    yield f"base  {detected.base}"
    yield f"run   {ui.printable(detected.run)}"
    yield f"port  {detected.port}" + (f", at {detected.context_path}" if detected.context_path else "")


def _java(found: Artifact) -> _Java | None:
    java = found.java
    if java is None:
        return None
    return _Java(
        level=java.level,
        servlet=java.servlet,
        server=java.server or None,
        spring_boot=java.spring_boot or None,
        main_class=java.main_class or None,
    )


def _binary(found: Artifact) -> _Binary | None:
    binary = found.binary
    if binary is None:
        return None
    return _Binary(machine=binary.machine, linkage=binary.linkage, interpreter=binary.interpreter or None)
