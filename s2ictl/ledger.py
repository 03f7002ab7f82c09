"""Builds and deliveries: the queue and the history are the same rows of one SQLite file.

Three promises rest on it. What was answered is on the disk: every transaction is synced whole. A job has one owner: it
is claimed in the transaction that marks it running, and two partial indexes keep one running and one waiting job for
each app and ref, whatever the code above does. And a job is never lost: what runs without a living server goes back.

What is typed by hand is recorded beside the jobs and is none: it has no hook, nobody claims it or gives it back, and as
many as like run at once. Of these only the newest are kept.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from s2ictl import ledgerfile
from s2ictl.errors import InvalidUsage, LimitReached, RecordNotFound
from s2ictl.models import Entry, EntryKind, EntryState, HookEvent, Outcome, Receipt, Verdict
from s2ictl.values import dataclass

if TYPE_CHECKING:
    import sqlite3

MAX_QUEUED = 10_000
MAX_DEATHS = 3
BUSY_SECONDS = 10.0
KEPT_BY_HAND = 200
KEPT_SECONDS = 30 * 24 * 3600.0
KEPT_BYTES = 1 << 30  # of all logs of what was begun by hand
LAST = "last"
_PRUNED_AT_ONCE = 50

_FIELDS = tuple(field.name for field in fields(Entry))


def directory(state: Path) -> Path:
    """Where the ledger and what belongs to it lies in a state directory."""
    return state / "ledger"


def log_file(state: Path, entry: str) -> Path:
    return directory(state) / "logs" / f"{entry}.jsonl"


def new_id() -> str:
    return secrets.token_hex(6)


@contextmanager
def open_ledger(
    state: Path, clock: Callable[[], float], *, check: bool = False, patience: float = BUSY_SECONDS
) -> Iterator[Ledger]:
    """The ledger of a state directory, made where there is none; with `check` it is read whole first."""
    home = directory(state)
    with ledgerfile.translated(_file(home)):
        (home / "logs").mkdir(mode=0o700, parents=True, exist_ok=True)
        home.chmod(0o700)
        connection = ledgerfile.connect(_file(home), check=check, patience=patience)
    try:
        yield Ledger(connection=connection, clock=clock, home=home)
    finally:
        connection.close()


def exists(state: Path) -> bool:
    return _file(directory(state)).exists()


def _file(home: Path) -> Path:
    return home / "ledger.sqlite"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """One connection: used by one thread at a time."""

    connection: sqlite3.Connection
    clock: Callable[[], float]
    home: Path

    def wait(self, seconds: float) -> None:
        """From now on wait so long for others who write."""
        with ledgerfile.translated(_file(self.home)):
            self.connection.execute(f"PRAGMA busy_timeout = {round(seconds * 1000)}")

    # ----------------------------------------------------------------------------------------------- deliveries

    def accept(self, event: HookEvent, *, hook: str, provider: str, apps: Sequence[str]) -> Receipt:
        """Store a push and a job for each app that it concerns; what was told before gets the answer of then."""
        with self._transaction():
            if known := self._known(hook, provider, event.delivery):
                return known
            jobs = [(app, self._done(app, event)) for app in apps]
            delivery = new_id()
            entries = tuple(done or self._enqueue(app, event, hook, delivery) for app, done in jobs)
            verdict: Verdict = "duplicate" if all(done for _, done in jobs) else "accepted"
            receipt = Receipt(verdict=verdict, delivery=delivery, jobs=entries)
            self._record(receipt, hook, provider, event.delivery)
        return receipt

    def note(self, event: HookEvent, *, hook: str, provider: str, reason: str) -> Receipt:
        """Store a delivery that starts nothing, and why."""
        with self._transaction():
            if known := self._known(hook, provider, event.delivery):
                return known
            verdict: Verdict = "ping" if event.kind == "ping" else "ignored"
            receipt = Receipt(verdict=verdict, delivery=new_id(), reason=reason)
            self._record(receipt, hook, provider, event.delivery)
        return receipt

    def _known(self, hook: str, provider: str, number: str) -> Receipt | None:
        if not number:
            return None
        row = self._one(
            "SELECT id, jobs FROM deliveries WHERE hook = ? AND provider = ? AND number = ?", hook, provider, number
        )
        if row is None:
            return None
        jobs = tuple(self.entry(job) for job in row[1].split())
        return Receipt(verdict="duplicate", delivery=row[0], jobs=jobs)

    def _record(self, receipt: Receipt, hook: str, provider: str, number: str) -> None:
        jobs = " ".join(job.id for job in receipt.jobs)
        row = (receipt.delivery, hook, provider, number, receipt.verdict, receipt.reason, jobs, self.clock())
        self.connection.execute("INSERT INTO deliveries VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)

    def _done(self, app: str, event: HookEvent) -> Entry | None:
        """The job that answers for this commit already: done, at work, waiting, or overtaken by a newer one.

        A branch that was moved back to an older commit is no repetition. The sender says so himself: what the branch
        pointed to before is the newest commit known here.
        """
        newest = self._one("SELECT * FROM jobs WHERE app = ? AND ref = ? ORDER BY sequence DESC", app, event.ref)
        if newest is not None and _entry(newest).commit == event.before:
            return None
        row = self._one(
            'SELECT * FROM jobs WHERE app = ? AND ref = ? AND "commit" = ?'
            " AND state NOT IN ('failed', 'dead') ORDER BY sequence DESC",
            *(app, event.ref, event.commit),
        )
        return _entry(row) if row else None

    def _enqueue(self, app: str, event: HookEvent, hook: str, delivery: str) -> Entry:
        queued = self._one("SELECT count(*) FROM jobs WHERE state = 'queued'")
        if queued and queued[0] >= MAX_QUEUED:
            raise LimitReached(f"{MAX_QUEUED} jobs are waiting already")
        identity = new_id()
        now = self.clock()
        self.connection.execute(
            "UPDATE entries SET state = 'superseded', finished = ?, reason = ?"
            " WHERE app = ? AND ref = ? AND state = 'queued' AND hook <> ''",
            (now, f"superseded by {identity}", app, event.ref),
        )
        self.connection.execute(
            'INSERT INTO entries (id, delivery, hook, app, kind, ref, "commit", state, arrived)'
            " VALUES (?, ?, ?, ?, 'build', ?, ?, 'queued', ?)",
            (identity, delivery, hook, app, event.ref, event.commit, now),
        )
        return self.entry(identity)

    # ----------------------------------------------------------------------------------------------------- work

    def claim(self, owner: str) -> Entry | None:
        """Take the oldest job whose app and ref have none at work; it stays `owner`'s until its end."""
        with self._transaction():
            row = self._one(
                "SELECT id FROM jobs AS waiting WHERE state = 'queued' AND NOT EXISTS (SELECT 1 FROM jobs AS busy"
                " WHERE busy.state = 'running' AND busy.app = waiting.app AND busy.ref = waiting.ref)"
                " ORDER BY sequence LIMIT 1"
            )
            if row is None:
                return None
            self.connection.execute(
                "UPDATE entries SET state = 'running', owner = ?, started = ?, attempts = attempts + 1 WHERE id = ?",
                (owner, self.clock(), row[0]),
            )
            return self.entry(row[0])

    def built(self, entry: str, digest: str) -> None:
        """Keep what was pushed: if the job is interrupted after this, it goes on from here."""
        with self._transaction():
            self.connection.execute("UPDATE entries SET digest = ? WHERE id = ? AND state = 'running'", (digest, entry))

    def succeed(self, entry: str, outcome: Outcome) -> None:
        self._finish(entry, "succeeded", outcome)

    def fail(self, entry: str, reason: str) -> None:
        self._finish(entry, "failed", Outcome(), reason=reason)

    def settle(self, entry: str) -> Entry:
        """Say what became of a job whose worker is gone; one that went without a word is tried again, not for ever."""
        with self._transaction():
            known = self.entry(entry)
            if known.state == "running" and known.hook:
                self._settle(known)
            return self.entry(entry)

    def _settle(self, known: Entry) -> None:
        if known.attempts >= MAX_DEATHS:
            self._set(known, "dead", Outcome(), reason=f"its worker died {known.attempts} times")
        else:
            self._requeue(known, attempts=known.attempts)

    def give_back(self) -> int:
        """Put what runs back into the queue, when nobody can be at work any more: that was no attempt."""
        with self._transaction():
            rows = self.connection.execute("SELECT * FROM jobs WHERE state = 'running'").fetchall()
            for row in rows:
                entry = _entry(row)
                self._requeue(entry, attempts=max(0, entry.attempts - 1))
        return len(rows)

    def _requeue(self, entry: Entry, *, attempts: int) -> None:
        newer = self._one("SELECT id FROM jobs WHERE app = ? AND ref = ? AND state = 'queued'", entry.app, entry.ref)
        if newer:
            self._set(entry, "superseded", Outcome(), reason=f"superseded by {newer[0]}")
            return
        self.connection.execute(
            "UPDATE entries SET state = 'queued', owner = '', started = 0, attempts = ? WHERE id = ?",
            (attempts, entry.id),
        )

    def _finish(self, entry: str, state: EntryState, outcome: Outcome, *, reason: str = "") -> None:
        with self._transaction():
            known = self.entry(entry)
            if known.state == "running":
                self._set(known, state, outcome, reason=reason)

    def _set(
        self, known: Entry, state: EntryState, outcome: Outcome, *, reason: str, exit_code: int | None = None
    ) -> None:
        """Close an entry: what the outcome does not say stays as it is known."""
        facts = {
            "digest": outcome.digest or known.digest,
            "address": outcome.address or known.address,
            "image": outcome.image or known.image,
            "commit": outcome.commit or known.commit,
            "builder": outcome.builder or known.builder,
            "tags": " ".join(outcome.tags or known.tags),
        }
        self.connection.execute(
            "UPDATE entries SET state = :state, finished = :now, reason = :reason, exit_code = :exit_code, owner = '',"
            ' digest = :digest, address = :address, image = :image, "commit" = :commit, builder = :builder,'
            " tags = :tags WHERE id = :id",
            facts
            | {"id": known.id, "state": state, "now": self.clock(), "reason": _text(reason), "exit_code": exit_code},
        )

    # -------------------------------------------------------------------------------------------------- by hand

    def begin(
        self, entry: str, *, kind: EntryKind, app: str, source: str, builder: str, tags: Sequence[str], owner: str
    ) -> None:
        """Record that something was begun by hand; what is too old to be kept goes."""
        now = self.clock()
        with self._transaction():
            self.connection.execute(
                'INSERT INTO entries (id, delivery, hook, app, kind, ref, "commit", state, attempts, arrived, started,'
                " owner, source, builder, tags) VALUES (?, '', '', ?, ?, '', '', 'running', 1, ?, ?, ?, ?, ?, ?)",
                (entry, _text(app), kind, now, now, owner, _text(source), _text(builder), " ".join(tags)),
            )
            self._prune(now - KEPT_SECONDS)

    def end(
        self, entry: str, state: EntryState, outcome: Outcome, *, reason: str = "", exit_code: int | None = None
    ) -> None:
        """Record what came of it; one that was taken for dead and speaks is believed."""
        if not _file(self.home).exists():  # moved or removed meanwhile: nobody would read there what is written now
            raise _unknown(entry)
        with self._transaction():
            known = self.entry(entry)
            if not known.hook and known.state in ("running", "dead"):
                self._set(known, state, outcome, reason=reason, exit_code=exit_code)

    def bury(self, is_at_work: Callable[[str], bool]) -> None:
        """Mark as dead what was begun by hand and has nobody at work any more; nobody knows when that happened."""
        with ledgerfile.translated(_file(self.home)):
            rows = self.connection.execute("SELECT id FROM entries WHERE hook = '' AND state = 'running'").fetchall()
        gone = [row[0] for row in rows if not is_at_work(row[0])]
        if not gone:  # looking waits for no writer
            return
        with self._transaction():
            self.connection.executemany(
                "UPDATE entries SET state = 'dead', reason = 'its process ended without a word', owner = ''"
                " WHERE id = ? AND state = 'running'",  # it may have ended well between the two looks
                [(entry,) for entry in gone],
            )

    def _prune(self, oldest: float) -> None:
        """Forget what was begun by hand too long ago, too many builds ago or too many bytes ago, and its log first."""
        rows = self.connection.execute(
            "SELECT id FROM entries WHERE hook = '' AND state <> 'running' AND (arrived < ? OR sequence <= ("
            "SELECT sequence FROM entries WHERE hook = '' ORDER BY sequence DESC LIMIT 1 OFFSET ?))"
            " ORDER BY sequence LIMIT ?",
            (oldest, KEPT_BY_HAND, _PRUNED_AT_ONCE),
        ).fetchall()
        for entry in {*(row[0] for row in rows), *islice(self._bytes_ago(), _PRUNED_AT_ONCE)}:
            log_file(self.home.parent, entry).unlink(missing_ok=True)
            self.connection.execute("DELETE FROM entries WHERE id = ?", (entry,))

    def _bytes_ago(self) -> Iterator[str]:
        """What was begun by hand before the logs of what came after it had filled all that they may."""
        rows = self.connection.execute("SELECT id, state FROM entries WHERE hook = '' ORDER BY sequence DESC")
        left, logs = KEPT_BYTES, self.home / "logs"
        for entry, state in rows.fetchall():
            with suppress(FileNotFoundError):
                left -= os.stat(f"{logs}/{entry}.jsonl").st_size  # noqa: PTH116  (of 200 logs at each beginning)
            if left < 0 and state != "running":
                yield entry

    # -------------------------------------------------------------------------------------------------- reading

    def entry(self, identity: str) -> Entry:
        """One job; RecordNotFound when there is none of that id."""
        with ledgerfile.translated(_file(self.home)):
            row = self._one("SELECT * FROM entries WHERE id = ?", identity)
        if row is None:
            raise _unknown(identity)
        return _entry(row)

    def find(self, text: str) -> Entry:
        """The one build whose id begins so, or the newest of all when `last` is asked for."""
        with ledgerfile.translated(_file(self.home)):
            rows = self.connection.execute(
                "SELECT * FROM entries WHERE :text = :last OR substr(id, 1, :length) = :text"
                " ORDER BY sequence DESC LIMIT CASE :text WHEN :last THEN 1 ELSE 5 END",
                {"text": text, "last": LAST, "length": len(text)},
            ).fetchall()
        if not rows:
            raise _unknown(text)
        if len(rows) > 1:
            raise InvalidUsage(f"{text!r} begins the id of several builds", hint=" or ".join(row["id"] for row in rows))
        return _entry(rows[0])

    def entries(self, *, limit: int) -> tuple[Entry, ...]:
        """The newest jobs first."""
        with ledgerfile.translated(_file(self.home)):
            rows = self.connection.execute("SELECT * FROM entries ORDER BY sequence DESC LIMIT ?", (limit,)).fetchall()
        return tuple(_entry(row) for row in rows)

    def probe(self) -> None:
        """Write something: a store that can only be read is not ready."""
        with self._transaction():
            self.connection.execute("UPDATE probe SET at = ?", (self.clock(),))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with ledgerfile.translated(_file(self.home)):
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise

    def _one(self, statement: str, *values: object) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self.connection.execute(statement, values).fetchone()
        return row


def _entry(row: sqlite3.Row) -> Entry:
    values = {name: row[name] for name in _FIELDS}
    return Entry(**values | {"tags": tuple(row["tags"].split())})


def _text(text: str) -> str:
    """What SQLite takes: a path may hold bytes that are no text."""
    return text.encode("utf-8", "backslashreplace").decode()


def _unknown(text: str) -> RecordNotFound:
    return RecordNotFound(f"no build {text[:80]!r}", hint="s2ictl builds list --all")
