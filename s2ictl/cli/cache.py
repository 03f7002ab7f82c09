"""What is kept so that the next build is quicker: `cache info` and `cache prune`, in the engine and on this machine.

What the engine without a daemon has lies here too, and with it what is no cache: images that somebody made. They are
shown, and go only by their names.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from s2ictl import images, shelf, ui
from s2ictl.addresses import DOCKER_HUB
from s2ictl.cli.engine import open_daemon
from s2ictl.cli.flags import duration
from s2ictl.cli.places import cache_directory, dependencies_directory, image_shelf, image_store
from s2ictl.cli.session import Session, command
from s2ictl.engines import Keeper, Kept
from s2ictl.engines.kept import DEPENDENCIES
from s2ictl.errors import ImageNotFound, InvalidUsage, LimitReached, Unreachable
from s2ictl.events import Notice
from s2ictl.sources.stored import Stored, forget, stored
from s2ictl.turns import turn
from s2ictl.values import dataclass

if TYPE_CHECKING:
    from s2ictl.engines.embedded.wardens import Warden

_HEAD = ("KIND", "APP", "BUILDER", "WHAT", "SIZE", "USED")
_HELP = "What is kept for later builds: see what it takes up, and let go of it."
_MONTH = 30 * 24 * 3600

# What the directories below our cache are for, by their names.
_SHELVES = {
    "git": ("source", "repositories"),
    "lfs": ("source", "large files"),
    "digests": ("knowledge", "directories"),
    "images": ("knowledge", "images"),
}

App = Annotated[str, typer.Option("--app", metavar="NAME", help="Only the caches of this app, however new.")]
OlderThan = Annotated[
    int | None,
    typer.Option(
        "--older-than",
        metavar="DURATION",
        parser=duration,
        help="Only what was not used for so long.",
        show_default="30d, when nothing else is chosen",
    ),
]
Named = Annotated[
    list[str] | None,
    typer.Option(
        "--image",
        metavar="NAME",
        help="Only this image of the engine without a daemon, with all its names; also one that was built here.",
    ),
]
All = Annotated[bool, typer.Option("--all", help="Everything, however new.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would be removed.")]


def register(app: typer.Typer) -> None:
    cache = typer.Typer(name="cache", help=_HELP, rich_markup_mode=None)
    command(cache, "info", example="s2ictl cache info -o json")(info)
    command(cache, "prune", example="s2ictl cache prune --older-than 7d")(prune)
    app.add_typer(cache)


def info(session: Session) -> None:
    """Show what is kept for later builds."""
    with _keeper(session) as keeper, _hands(session) as hands:
        shown = _gathered(_things(keeper, hands, session))
    session.answer(ui.Answer(text=_table(shown), names=tuple(row.name for row in shown), data=shown))


def prune(
    session: Session,
    app: App = "",
    older_than: OlderThan = None,
    image: Named = None,
    everything: All = False,
    dry_run: DryRun = False,
) -> None:
    """Remove what was not used for a month, or what is chosen."""
    chosen = _choice(app, older_than, tuple(image or ()), everything=everything, now=time.time())
    with _keeper(session) as keeper, _hands(session) as hands:
        wanted = [thing for thing in _things(keeper, hands, session) if chosen(thing)]
        _check_found(image or (), wanted)
        over = [(thing, dry_run or thing.forget()) for thing in wanted]
    held = _gathered(thing for thing, is_gone in over if not is_gone)
    for row in held:
        session.emit(Notice(text=f"in use, and stays: {' '.join(filter(None, (row.app, row.what)))}", level="warning"))
    rows = _gathered(thing for thing, is_gone in over if is_gone)
    freed = sum(row.size for row in rows)
    data = _Pruned(removed=rows, in_use=held, freed=freed, dry_run=dry_run)
    session.emit(Notice(text=f"{'would free' if dry_run else 'freed'} {ui.size(freed)}"))
    session.answer(ui.Answer(text=_table(rows), names=tuple(row.name for row in rows), data=data))


def _choice(
    app: str, older_than: int | None, named: tuple[str, ...], *, everything: bool, now: float
) -> Callable[[_Thing], bool]:
    """Which of all are to go."""
    if everything and (app or named or older_than is not None):
        raise InvalidUsage("--all leaves nothing to choose", hint="leave out --all, or --app, --image and --older-than")
    if named:
        if app or older_than is not None:
            raise InvalidUsage("--image names what is to go", hint="leave out --app and --older-than, or --image")
        return lambda thing: any(map(thing.is_called, named))
    usual = 0 if everything or app else _MONTH
    age = usual if older_than is None else older_than
    before = _iso(now - age)
    return lambda thing: (
        not thing.is_own and (not app or thing.row.app == app) and (age == 0 or "" < thing.row.used <= before)
    )


def _check_found(named: Iterable[str], wanted: Iterable[_Thing]) -> None:
    there = tuple(wanted)
    for name in named:
        if not any(thing.is_called(name) for thing in there):
            hint = "s2ictl cache info lists those of the engine without a daemon"
            raise ImageNotFound(f"there is no image {name} on this machine", hint=hint)


# --------------------------------------------------------------------------------------------------- what there is


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What `cache info -o json` says of each; `used` is empty where nobody knows it."""

    kind: str
    app: str = ""
    builder: str = ""
    name: str
    what: str
    size: int
    used: str


class _Pruned(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """What `cache prune -o json` says."""

    removed: list[Row]
    in_use: list[Row]
    freed: int
    dry_run: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Thing:
    """One thing that can go by itself; those of one `shelf` are shown together. What is somebody's `own` goes only if
    it `is_called` what he says."""

    row: Row
    forget: Callable[[], bool]
    shelf: str = ""
    is_own: bool = False
    is_called: Callable[[str], bool] = lambda _: False


@contextmanager
def _keeper(session: Session) -> Iterator[Keeper | None]:
    """The engine that has a daemon; where none answers, only this machine is spoken of."""
    with ExitStack() as opened:
        keeper: Keeper | None = None
        try:
            keeper = opened.enter_context(open_daemon(session.world, session.emit))
        except Unreachable as error:
            named = session.world.environ.get("DOCKER_HOST")
            text = f"{error.message}: this is what lies on this machine"
            session.emit(Notice(text=text, level="warning" if named else "info"))
        yield keeper


@contextmanager
def _hands(session: Session) -> Iterator[Callable[[], Warden]]:
    """Who may measure and remove what containers have made, started when he is needed."""
    with ExitStack() as opened:

        @cache
        def hands() -> Warden:
            from s2ictl.engines.embedded.wardens import warden

            return opened.enter_context(warden(image_store(session.world), rootless=os.geteuid() != 0))

        yield hands


def _things(keeper: Keeper | None, hands: Callable[[], Warden], session: Session) -> Iterator[_Thing]:
    """All that is kept: what the engine has, then what lies here."""
    if keeper is not None:
        for kept in keeper.kept():
            yield _Thing(row=_kept_row(kept), forget=partial(_forget_kept, keeper, kept, session))
    directory = image_shelf(session.world)
    for image in shelf.kept(directory):
        yield _Thing(row=_base_row(image), forget=partial(shelf.forget, directory, image.id))
    yield from _of_the_store(hands, session)
    for thing in stored(cache_directory(session.world)):
        yield _Thing(row=_stored_row(thing), forget=partial(forget, thing, now=time.time()), shelf=thing.kind)


def _of_the_store(hands: Callable[[], Warden], session: Session) -> Iterator[_Thing]:
    """What the engine without a daemon has here, whether or not it could work."""
    from s2ictl.engines.embedded.downloads import Downloads

    directory = image_store(session.world)
    downloads = Downloads(directory=directory, warden=hands)
    for kept in downloads.kept():
        yield _Thing(row=_kept_row(kept), forget=partial(downloads.forget, kept.name))
    for thing in images.kept(directory):
        yield _Thing(
            row=_image_row(thing) if thing.kind == "image" else _tree_row(thing, directory),
            forget=partial(images.forget, directory, thing, hands),
            shelf="layers" if thing.kind == "tree" else "",
            is_own=thing.is_own,
            is_called=thing.is_called,
        )


def _forget_kept(keeper: Keeper, kept: Kept, session: Session) -> bool:
    """What is being made by a build of this machine is not taken away from it."""
    try:
        with turn(dependencies_directory(session.world), (kept.name,), seconds=0.0, emit=lambda _: None):
            return keeper.forget(kept)
    except LimitReached:
        return False


def _kept_row(kept: Kept) -> Row:
    return Row(
        kind=kept.kind,
        app=kept.app,
        builder=kept.builder.removeprefix(f"{DOCKER_HUB}/"),
        name=kept.name,
        what=kept.what,
        size=kept.size,
        used=kept.used,
    )


def _base_row(image: shelf.Kept) -> Row:
    return Row(kind="base", name=image.id, what=image.name, size=image.size, used=_iso(image.used))


def _image_row(image: images.Kept) -> Row:
    is_ours = image.names and all(name.startswith(DEPENDENCIES) for name in image.names)
    kind, what = ("dependencies" if is_ours else "image"), ", ".join(image.names) or "without a name"
    return Row(kind=kind, name=image.name, what=what, size=image.size, used=_iso(image.used))


def _tree_row(tree: images.Kept, directory: Path) -> Row:
    return Row(kind="image", name=str(directory), what="layers, unpacked", size=tree.size, used=_iso(tree.used))


def _stored_row(thing: Stored) -> Row:
    kind, what = _SHELVES[thing.kind]
    return Row(kind=kind, name=str(thing.path.parent), what=what, size=thing.size, used=_iso(thing.used))


def _gathered(things: Iterable[_Thing]) -> list[Row]:
    """A row for each thing of the engine's, and one for all that lies together here."""
    alone: list[Row] = []
    shelves: dict[str, list[Row]] = {}
    for thing in things:
        (shelves.setdefault(thing.shelf, []) if thing.shelf else alone).append(thing.row)
    return [*alone, *(_together(rows) for rows in shelves.values())]


def _together(rows: list[Row]) -> Row:
    first = rows[0]
    return msgspec.structs.replace(
        first,
        name=os.path.commonpath([row.name for row in rows]),
        what=f"{first.what}: {len(rows)}",
        size=sum(row.size for row in rows),
        used=max(row.used for row in rows),
    )


def _table(rows: list[Row]) -> str:
    cells = [(row.kind, row.app, row.builder, row.what, ui.size(row.size), row.used) for row in rows]
    return ui.table(_HEAD, list(cells))


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
