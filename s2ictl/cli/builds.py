"""What was built: `builds list`, `builds show`, `builds logs`; read from the ledger, whether or not a server runs."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from s2ictl import journal, ledger, ui
from s2ictl.cli.places import state_directory
from s2ictl.cli.session import Session, command
from s2ictl.errors import RecordNotFound
from s2ictl.models import Entry

NEWEST = 20
_EVERYTHING = 1_000_000
_OVER = ("succeeded", "failed", "superseded", "dead")
_PAUSE_SECONDS = 0.2

State = Annotated[
    Path | None, typer.Option("--state", metavar="DIR", help="The state directory of the server (S2ICTL_STATE).")
]
Identity = Annotated[str, typer.Argument(metavar="ID", help="A build, as `builds list` names it.")]


def register(app: typer.Typer) -> None:
    builds = typer.Typer(name="builds", help="What was built, and what waits to be.", rich_markup_mode=None)
    command(builds, "list", example="s2ictl builds list --all -o json")(list_builds)
    command(builds, "show", example="s2ictl builds show 7b0228009f70")(show)
    command(builds, "logs", example="s2ictl builds logs 7b0228009f70 --follow", without=frozenset({"-f"}))(logs)
    app.add_typer(builds)


def list_builds(
    session: Session,
    everything: Annotated[bool, typer.Option("--all", help=f"All of them, not the newest {NEWEST}.")] = False,
    state: State = None,
) -> None:
    """List builds, the newest first."""
    entries = _entries(_state(session, state), limit=_EVERYTHING if everything else NEWEST)
    rows = [_row(entry) for entry in entries]
    head = ("ID", "APP", "COMMIT", "STATE", "ATTEMPTS", "ARRIVED", "TOOK")
    names = tuple(entry.id for entry in entries)
    session.answer(ui.Answer(text=ui.table(head, rows), names=names, data=[record(entry) for entry in entries]))


def _row(entry: Entry) -> tuple[str, ...]:
    commit, attempts = entry.commit[:12], str(entry.attempts)
    return (entry.id, entry.app, commit, entry.state, attempts, _when(entry.arrived), _took(entry))


def show(session: Session, identity: Identity, state: State = None) -> None:
    """Say everything that is known of one build."""
    entry = _entry(_state(session, state), identity)
    data = record(entry) | {
        "ref": entry.ref,
        "delivery": entry.delivery,
        "arrived": _iso(entry.arrived),
        "address": entry.address,
        "reason": entry.reason,
    }
    text = "\n".join(f"{key + ':':<10} {ui.printable(str(value))}" for key, value in data.items() if value)
    session.answer(ui.Answer(text=text, names=(entry.id,), data=data))


def logs(
    session: Session,
    identity: Identity,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the build is over.")] = False,
    state: State = None,
) -> None:
    """Show again what was said while something was built."""
    home = _state(session, state)
    path = ledger.log_file(home, _entry(home, identity).id)
    stdout = session.world.stdout
    look = ui.JsonLines(stdout) if session.general.output == "json" else ui.Plain(stdout)

    def is_over() -> bool:
        return _entry(home, identity).state in _OVER

    for event in journal.follow(path, is_over=is_over, pause=_pause) if follow else journal.replay(path):
        look.show(event)


def record(entry: Entry) -> dict[str, Any]:
    """One job, as programs read it."""
    return {
        "id": entry.id,
        "app": entry.app,
        "kind": entry.kind,
        "commit": entry.commit,
        "state": entry.state,
        "attempts": entry.attempts,
        "digest": entry.digest,
        "started": _iso(entry.started),
        "finished": _iso(entry.finished),
    }


def _state(session: Session, given: Path | None) -> Path:
    return session.world.cwd / given if given else state_directory(session.world)


def _entries(state: Path, *, limit: int) -> tuple[Entry, ...]:
    """Nothing was built where there is no ledger yet, and looking does not make one."""
    if not ledger.exists(state):
        return ()
    with ledger.open_ledger(state, time.time) as opened:
        return opened.entries(limit=limit)


def _entry(state: Path, identity: str) -> Entry:
    if not ledger.exists(state):
        raise RecordNotFound(
            f"no build {identity[:80]!r}", detail=f"nothing was built in {state} yet", hint="--state DIR"
        )
    with ledger.open_ledger(state, time.time) as opened:
        return opened.entry(identity)


def _pause() -> None:
    time.sleep(_PAUSE_SECONDS)


def _iso(seconds: float) -> str | None:
    return (
        datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z") if seconds else None
    )


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _took(entry: Entry) -> str:
    return ui.seconds(entry.finished - entry.started) if entry.started and entry.finished else ""
