"""What was built: `builds list`, `builds show`, `builds logs`; read from the ledger, whether or not a server runs."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from s2ictl import journal, ledger, ui
from s2ictl.cli import waterfall
from s2ictl.cli.places import state_directory
from s2ictl.cli.records import open_known
from s2ictl.cli.session import Session, World, command
from s2ictl.errors import RecordNotFound
from s2ictl.journal import Moment, Span
from s2ictl.ledger import Ledger
from s2ictl.models import Entry
from s2ictl.ui.jsonlines import JsonLines
from s2ictl.ui.plain import Plain
from s2ictl.ui.terminal import Marks, marks_of

NEWEST = 20
_NO_LIMIT = 1_000_000
_AT_WORK = ("queued", "running")
_PAUSE_SECONDS = 0.2
_HEAD = ("ID", "APP", "COMMIT", "STATE", "WHEN", "TOOK")
_WORTH_SHOWING = 12  # characters of a source or an image, below which a cut one tells nothing

State = Annotated[Path | None, typer.Option("--state", metavar="DIR", help="Where builds are recorded (S2ICTL_STATE).")]
Identity = Annotated[
    str, typer.Argument(metavar="ID", help="A build as `builds list` names it, how its id begins, or `last`.")
]


def register(app: typer.Typer) -> None:
    builds = typer.Typer(name="builds", help="What was built, and what waits to be.", rich_markup_mode=None)
    command(builds, "list", example="s2ictl builds list --all -o json")(list_builds)
    command(builds, "show", example="s2ictl builds show last")(show)
    command(builds, "logs", example="s2ictl builds logs 7b0228009f70 --follow", without=frozenset({"-f"}))(logs)
    app.add_typer(builds)


def list_builds(
    session: Session,
    everything: Annotated[bool, typer.Option("--all", help=f"All of them, not the newest {NEWEST}.")] = False,
    state: State = None,
) -> None:
    """List builds, the newest first."""
    entries = _entries(_state(session, state), limit=_NO_LIMIT if everything else NEWEST)
    names = tuple(entry.id for entry in entries)
    text = _table(entries, width=_width(session.world), marks=marks_of(session.world.stdout))
    session.answer(ui.Answer(text=text, names=names, data=[record(entry) for entry in entries]))


def show(session: Session, identity: Identity, state: State = None) -> None:
    """Say everything that is known of one build, and where its time went."""
    home = _state(session, state)
    with _opened(home, identity) as opened:
        entry = opened.find(identity)
    spans = journal.timeline(ledger.log_file(home, entry.id))
    if entry.state == "running":
        spans = _so_far(spans, time.time() - entry.started)
    facts = _facts(entry)
    lines = [f"{key + ':':<10} {ui.printable(_text(value))}" for key, value in facts.items() if value]
    world = session.world
    drawn = waterfall.draw(spans, width=_width(world) or waterfall.WIDTH, marks=marks_of(world.stdout))
    text = "\n".join([*lines, *(["", drawn] if drawn else [])])
    data = facts | {"steps": [_step(span, over=entry.state not in _AT_WORK) for span in spans]}
    session.answer(ui.Answer(text=text, names=(entry.id,), data=data))


def logs(
    session: Session,
    identity: Identity,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the build is over.")] = False,
    state: State = None,
) -> None:
    """Show again what was said while something was built."""
    home = _state(session, state)
    with _opened(home, identity) as opened:
        found = opened.find(identity).id

    def is_over() -> bool:
        with _opened(home, found) as opened:
            return opened.entry(found).state not in _AT_WORK

    path = ledger.log_file(home, found)
    _say(journal.follow(path, is_over=is_over, pause=_pause) if follow else journal.moments(path), session)


def _say(moments: Iterator[Moment], session: Session) -> None:
    """As it was said then, in the time of then."""
    stdout, now = session.world.stdout, 0.0
    as_json = session.general.output == "json"
    look = JsonLines(stdout, clock=lambda: now) if as_json else Plain(stdout, clock=lambda: now)
    for moment in moments:
        now = now if moment.at is None else moment.at
        if session.general.verbose and not as_json:
            stdout.write(f"{'' if moment.at is None else f'{now:.3f}':>9}  ")
        look.show(moment.event)


def _pause() -> None:
    time.sleep(_PAUSE_SECONDS)


# ------------------------------------------------------------------------------------------------------- the ledger


def _state(session: Session, given: Path | None) -> Path:
    return session.world.cwd / given if given else state_directory(session.world)


def _entries(state: Path, *, limit: int) -> tuple[Entry, ...]:
    """Nothing was built where there is no ledger yet, and looking does not make one."""
    if not ledger.exists(state):
        return ()
    with open_known(state) as opened:
        return opened.entries(limit=limit)


@contextmanager
def _opened(state: Path, identity: str) -> Iterator[Ledger]:
    if not ledger.exists(state):
        raise RecordNotFound(
            f"no build {identity[:80]!r}", detail=f"nothing was built in {state} yet", hint="--state DIR"
        )
    with open_known(state) as opened:
        yield opened


# -------------------------------------------------------------------------------------------------------- as a table


def _table(entries: Sequence[Entry], *, width: int, marks: Marks) -> str:
    """What is short stands whole; what something was built from and into gets the room that a terminal has left."""
    rows = [_row(entry) for entry in entries]
    taken = len(ui.table(_HEAD, [tuple(text.ljust(1) for text in row) for row in rows]).split("\n")[0])
    room = (width - taken) // 2 - 2 if width else _NO_LIMIT
    if room < _WORTH_SHOWING:
        return ui.table(_HEAD, rows)
    ends = [tuple(_cut(text, room, marks) for text in _ends(entry)) for entry in entries]
    return ui.table((*_HEAD, "FROM", "INTO"), [(*row, *each) for row, each in zip(rows, ends, strict=True)])


def _row(entry: Entry) -> tuple[str, ...]:
    return (entry.id, entry.app, entry.commit[:12], entry.state, _iso(entry.arrived) or "", _took(entry))


def _ends(entry: Entry) -> tuple[str, str]:
    branch = entry.ref.removeprefix("refs/heads/")
    return entry.source or branch, next(iter(entry.tags), entry.digest or entry.image)


def _cut(text: str, room: int, marks: Marks) -> str:
    """The end of an address or of a path tells more than how it begins."""
    return text if len(text) <= room else marks.cut + text[1 - room :]


def _width(world: World) -> int:
    """The columns of the terminal that the answer goes to; 0 where there is none, and no limit."""
    if not world.stdout.isatty():
        return 0
    given = world.environ.get("COLUMNS", "")
    return int(given) if given.isascii() and given.isdigit() else os.get_terminal_size(world.stdout.fileno()).columns


# ------------------------------------------------------------------------------------------------------- as objects


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
        "source": entry.source,
        "builder": entry.builder,
        "tags": entry.tags,
    }


def _facts(entry: Entry) -> dict[str, Any]:
    return record(entry) | {
        "took": _took(entry),
        "image": entry.image,
        "ref": entry.ref,
        "delivery": entry.delivery,
        "arrived": _iso(entry.arrived),
        "address": entry.address,
        "reason": entry.reason,
        "exit": entry.exit_code,
        "owner": entry.owner,
    }


def _step(span: Span, *, over: bool) -> dict[str, Any]:
    """A step whose end nobody told, in a build that is over, has failed."""
    return {
        "name": span.name,
        "began": round(span.began, 3),
        "seconds": round(span.seconds, 3),
        "cached": span.cached,
        "size": span.size,
        "failed": span.failed or (over and not span.finished),
    }


def _so_far(spans: tuple[Span, ...], elapsed: float) -> tuple[Span, ...]:
    """A step at work lasts until now, also when it has said nothing for a while."""
    return tuple(s if s.finished else replace(s, seconds=max(s.seconds, elapsed - s.began)) for s in spans)


def _text(value: object) -> str:
    return " ".join(value) if isinstance(value, tuple) else str(value)


def _iso(seconds: float) -> str | None:
    return (
        datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z") if seconds else None
    )


def _took(entry: Entry) -> str:
    return ui.seconds(entry.finished - entry.started) if entry.started and entry.finished else ""
