"""Every build is recorded: `build`, `b2i` and `rebuild` do their work inside of `recorded`.

A record is for later, so it never stands in the way of the build itself: a ledger that cannot be used costs a warning.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import field
from functools import partial
from pathlib import Path

from s2ictl import journal, ledger
from s2ictl.cli.places import state_directory
from s2ictl.cli.session import ClosedPipe, Session, Stopped, steady_clock
from s2ictl.errors import CLOSED_PIPE, Interrupted, S2IError, Terminated
from s2ictl.events import Emit, Event, Notice
from s2ictl.leases import this_host
from s2ictl.ledger import Ledger
from s2ictl.models import EntryKind, EntryState, Image, Outcome
from s2ictl.values import dataclass

Clock = Callable[[], float]

_PATIENCE_SECONDS = 0.5  # a build is not kept from its start by others who write


@dataclass(slots=True, kw_only=True)
class Record:
    """The record of what is being built; `id` is empty where none is kept. What shall be in its log goes to `emit`."""

    id: str
    emit: Emit
    outcome: Outcome = field(default_factory=Outcome)

    def done(self, image: Image, address: str = "") -> None:
        """Keep what came of it, as soon as it is known; once more, when more is known."""
        self.outcome = Outcome(
            digest=image.digest,
            address=address,
            image=image.id,
            commit=image.commit,
            builder=image.builder,
            tags=tuple(map(str, image.names)),
        )


@contextmanager
def recorded(
    session: Session, *, kind: EntryKind, app: str, source: str, builder: str = "", tags: tuple[str, ...] = ()
) -> Iterator[Record]:
    """Record what is built inside: what is said, what `done` is told, and how it ends."""
    state, identity, clock = state_directory(session.world), ledger.new_id(), steady_clock()
    begin = partial(
        Ledger.begin, entry=identity, kind=kind, app=app, source=source, builder=builder, tags=tags, owner=_owner()
    )
    with ExitStack() as opened:
        try:
            book, keep = _begun(state, identity, begin, opened, clock)
        except (S2IError, OSError) as error:
            opened.close()
            session.emit(_not_recorded(error))
            yield Record(id="", emit=session.emit)
            return
        record = Record(id=identity, emit=_both(keep, session.emit))
        with _to_its_end(book, record, keep=keep, show=session.emit):
            yield record


@contextmanager
def open_known(state: Path, *, patience: float = ledger.BUSY_SECONDS, clock: Clock = time.time) -> Iterator[Ledger]:
    """The ledger, once what was killed is marked as dead in it."""
    with ledger.open_ledger(state, clock, patience=patience) as opened:
        opened.bury(lambda entry: journal.is_being_written(ledger.log_file(state, entry)))
        yield opened


# ------------------------------------------------------------------------------------------------ beginning and end


def _begun(
    state: Path, identity: str, begin: Callable[[Ledger], None], opened: ExitStack, clock: Clock
) -> tuple[Ledger, Emit]:
    path = ledger.log_file(state, identity)
    book = opened.enter_context(open_known(state, patience=_PATIENCE_SECONDS, clock=clock))
    try:
        # The log first: its lock says that this process lives, as soon as there is an entry that others see.
        keep = opened.enter_context(journal.writing(path))
        begin(book)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return book, keep


def _both(keep: Emit, show: Emit) -> Emit:
    def emit(event: Event) -> None:
        keep(event)
        show(event)

    return emit


@contextmanager
def _to_its_end(book: Ledger, record: Record, *, keep: Emit, show: Emit) -> Iterator[None]:
    end = _End(state="succeeded", exit_code=0)
    try:
        yield
    except BaseException as error:
        end = _end_of(error)
        for notice in _said(error):
            keep(notice)
        raise
    finally:
        _close(book, record, end, show)


def _close(book: Ledger, record: Record, end: _End, show: Emit) -> None:
    try:
        book.wait(ledger.BUSY_SECONDS)
        book.end(record.id, end.state, record.outcome, reason=end.reason, exit_code=end.exit_code)
    except S2IError as error:
        with suppress(BrokenPipeError):
            show(_not_recorded(error))


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    state: EntryState
    exit_code: int
    reason: str = ""


def _end_of(error: BaseException) -> _End:
    match error:
        case Stopped() | Terminated():
            return _End(state="cancelled", reason="terminated", exit_code=Terminated.exit_code)
        case KeyboardInterrupt() | Interrupted():
            return _End(state="cancelled", reason="interrupted", exit_code=Interrupted.exit_code)
        case BrokenPipeError() | ClosedPipe():
            return _End(state="cancelled", reason="its output was closed", exit_code=CLOSED_PIPE)
        case S2IError():
            return _End(state="failed", reason=f"{error.reason}: {error.message}", exit_code=error.exit_code)
        case _:
            fault = f"a fault in s2ictl: {type(error).__name__}"
            return _End(state="failed", reason=fault, exit_code=S2IError.exit_code)


def _said(error: BaseException) -> Iterator[Notice]:
    """The error as the terminal shows it, so that the log explains itself."""
    if isinstance(error, S2IError):
        yield Notice(text=f"{error.message} ({error.reason})", level="warning")
        yield from (Notice(text=line) for text in (error.detail, error.hint) for line in text.splitlines())


def _not_recorded(error: S2IError | OSError) -> Notice:
    why = error.in_passing if isinstance(error, S2IError) else str(error)
    return Notice(text=f"this build is not recorded: {why}", level="warning")


def _owner() -> str:
    host = this_host()
    return f"{host.place}/{host.pid}"
