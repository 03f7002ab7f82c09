"""`detect`: which builder a source would be made with."""

from __future__ import annotations

import msgspec
import typer

from s2ictl import ui
from s2ictl.builders import Blueprint, Choice
from s2ictl.builders import detect as choose_builder
from s2ictl.cli import flags, origin
from s2ictl.cli import workshop as works
from s2ictl.cli.session import Session, command
from s2ictl.models import AppConfig, Tree

_OWN_RUN = ".s2i/bin/run"


def register(app: typer.Typer) -> None:
    command(app, "detect", example="s2ictl detect https://git.example.com/shop.git")(detect)


def detect(session: Session, wanted: origin.SourceFlags, fetched: origin.FetchFlags, source: origin.From = "") -> None:
    """Say which builder fits a source, and why."""
    text = flags.one_of("source", source, wanted.source_flag)
    found = origin.source_of(
        wanted,
        AppConfig(name="", source=text or "."),
        allow_http=flags.lets_http(session.world, fetched.allow_http),
        cwd=session.world.cwd,
    )
    opener = origin.with_secret(origin.origin_of(fetched, session), fetched, session)
    with works.fetch(session.world, opener.options, opener.find_login, found, session.emit) as tree:
        choice = choose_builder(tree.paths, works.our_builders())
        answer = chosen(choice, tree)
    session.answer(answer)


class _Detected(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """What `detect -o json` says; what belongs to an artifact is null for source."""

    kind: str
    builder: str
    because: str
    runner_up: _RunnerUp | None
    java: None = None
    binary: None = None
    base: str
    run: str
    port: int
    context_path: None = None


class _RunnerUp(msgspec.Struct, frozen=True, kw_only=True):
    builder: str
    because: str


def chosen(choice: Choice, tree: Tree) -> ui.Answer:
    """The builder that fits, in every form; the names of files are somebody else's text."""
    second = choice.runner_up
    plan = choice.folder.blueprint
    lines = [f"{choice.folder.name}  ({ui.printable(choice.because)})"]
    lines += [f"then {second.folder.name}  ({ui.printable(second.because)})"] if second else []
    detected = _Detected(
        kind="source",
        builder=choice.folder.name,
        because=choice.because,
        runner_up=_RunnerUp(builder=second.folder.name, because=second.because) if second else None,
        base=str(plan.base),
        run=_run_by(plan, tree),
        port=plan.port,
    )
    return ui.Answer(text="\n".join(lines), names=(choice.folder.name,), data=detected)


def _run_by(plan: Blueprint, tree: Tree) -> str:
    """What the result will run."""
    if _OWN_RUN in tree.paths:
        return _OWN_RUN
    return " ".join(plan.runtime.command) if plan.runtime else f"{plan.scripts}/run"
