"""Builds and deliveries: the queue and the history are the same rows of one SQLite file; the only importer of sqlite3.

Three promises rest on it. What was answered is on the disk: every transaction is synced whole. A job has one owner: it
is claimed in the transaction that marks it running, and two partial indexes keep one running and one waiting job for
each app and ref, whatever the code above does. And a job is never lost: what runs without a living server goes back.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from s2ictl.errors import InvalidConfiguration, LimitReached, RecordNotFound, Unreachable
from s2ictl.models import Entry, EntryState, HookEvent, Outcome, Receipt

if TYPE_CHECKING:
    import sqlite3

VERSION = 1
MAX_QUEUED = 10_000
MAX_DEATHS = 3
BUSY_SECONDS = 10.0

_SCHEMA = """
CREATE TABLE deliveries (
  id TEXT PRIMARY KEY, hook TEXT NOT NULL, provider TEXT NOT NULL, number TEXT NOT NULL,
  verdict TEXT NOT NULL, reason TEXT NOT NULL, jobs TEXT NOT NULL, at REAL NOT NULL) STRICT;
CREATE UNIQUE INDEX one_of_each_number ON deliveries (hook, provider, number) WHERE number <> '';
CREATE TABLE entries (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, delivery TEXT NOT NULL, hook TEXT NOT NULL,
  app TEXT NOT NULL, kind TEXT NOT NULL, ref TEXT NOT NULL, "commit" TEXT NOT NULL, state TEXT NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0, arrived REAL NOT NULL, started REAL NOT NULL DEFAULT 0,
  finished REAL NOT NULL DEFAULT 0, digest TEXT NOT NULL DEFAULT '', address TEXT NOT NULL DEFAULT '',
  reason TEXT NOT NULL DEFAULT '', owner TEXT NOT NULL DEFAULT '') STRICT;
CREATE UNIQUE INDEX one_running ON entries (app, ref) WHERE state = 'running';
CREATE UNIQUE INDEX one_waiting ON entries (app, ref) WHERE state = 'queued';
CREATE INDEX by_lane ON entries (app, ref, sequence);
CREATE TABLE probe (at REAL NOT NULL) STRICT;
INSERT INTO probe VALUES (0);
"""
_FIELDS = tuple(field.name for field in fields(Entry))


def directory(state: Path) -> Path:
    """Where the ledger and what belongs to it lies in a state directory."""
    return state / "ledger"


def log_file(state: Path, entry: str) -> Path:
    return directory(state) / "logs" / f"{entry}.jsonl"


@contextmanager
def open_ledger(state: Path, clock: Callable[[], float], *, check: bool = False) -> Iterator[Ledger]:
    """The ledger of a state directory, made where there is none; with `check` it is read whole first."""
    home = directory(state)
    with _translated(home):
        (home / "logs").mkdir(mode=0o700, parents=True, exist_ok=True)
        home.chmod(0o700)
        connection = _connect(home / "ledger.sqlite", check=check)
    try:
        yield Ledger(connection=connection, clock=clock, home=home)
    finally:
        connection.close()


def exists(state: Path) -> bool:
    return (directory(state) / "ledger.sqlite").exists()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """One connection: used by one thread at a time."""

    connection: sqlite3.Connection
    clock: Callable[[], float]
    home: Path

    # ----------------------------------------------------------------------------------------------- deliveries

    def accept(self, event: HookEvent, *, hook: str, provider: str, apps: Sequence[str]) -> Receipt:
        """Store a push and a job for each app that it concerns; what was told before gets the answer of then."""
        with self._transaction():
            if known := self._known(hook, provider, event.delivery):
                return known
            jobs = [(app, self._done(app, event)) for app in apps]
            delivery = _new_id()
            entries = tuple(done or self._enqueue(app, event, hook, delivery) for app, done in jobs)
            verdict = "duplicate" if all(done for _, done in jobs) else "accepted"
            receipt = Receipt(verdict=verdict, delivery=delivery, jobs=entries)  # type: ignore[arg-type]
            self._record(receipt, hook, provider, event.delivery)
        return receipt

    def note(self, event: HookEvent, *, hook: str, provider: str, reason: str) -> Receipt:
        """Store a delivery that starts nothing, and why."""
        with self._transaction():
            if known := self._known(hook, provider, event.delivery):
                return known
            verdict = "ping" if event.kind == "ping" else "ignored"
            receipt = Receipt(verdict=verdict, delivery=_new_id(), reason=reason)  # type: ignore[arg-type]
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
        newest = self._one("SELECT * FROM entries WHERE app = ? AND ref = ? ORDER BY sequence DESC", app, event.ref)
        if newest is not None and _entry(newest).commit == event.before:
            return None
        row = self._one(
            'SELECT * FROM entries WHERE app = ? AND ref = ? AND "commit" = ?'
            " AND state NOT IN ('failed', 'dead') ORDER BY sequence DESC",
            *(app, event.ref, event.commit),
        )
        return _entry(row) if row else None

    def _enqueue(self, app: str, event: HookEvent, hook: str, delivery: str) -> Entry:
        queued = self._one("SELECT count(*) FROM entries WHERE state = 'queued'")
        if queued and queued[0] >= MAX_QUEUED:
            raise LimitReached(f"{MAX_QUEUED} jobs are waiting already")
        identity = _new_id()
        now = self.clock()
        self.connection.execute(
            "UPDATE entries SET state = 'superseded', finished = ?, reason = ?"
            " WHERE app = ? AND ref = ? AND state = 'queued'",
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
                "SELECT id FROM entries AS waiting WHERE state = 'queued' AND NOT EXISTS (SELECT 1 FROM entries AS busy"
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
        self._finish(entry, "succeeded", digest=outcome.digest, address=outcome.address)

    def fail(self, entry: str, reason: str) -> None:
        self._finish(entry, "failed", reason=reason)

    def settle(self, entry: str) -> Entry:
        """Say what became of a job whose worker is gone; one that went without a word is tried again, not for ever."""
        with self._transaction():
            known = self.entry(entry)
            if known.state == "running" and known.attempts >= MAX_DEATHS:
                self._set(entry, "dead", digest=known.digest, reason=f"its worker died {known.attempts} times")
            elif known.state == "running":
                self._requeue(known, attempts=known.attempts)
            return self.entry(entry)

    def give_back(self) -> int:
        """Put what runs back into the queue, when nobody can be at work any more: that was no attempt."""
        with self._transaction():
            rows = self.connection.execute("SELECT * FROM entries WHERE state = 'running'").fetchall()
            for row in rows:
                entry = _entry(row)
                self._requeue(entry, attempts=max(0, entry.attempts - 1))
        return len(rows)

    def _requeue(self, entry: Entry, *, attempts: int) -> None:
        newer = self._one("SELECT id FROM entries WHERE app = ? AND ref = ? AND state = 'queued'", entry.app, entry.ref)
        if newer:
            self._set(entry.id, "superseded", digest=entry.digest, reason=f"superseded by {newer[0]}")
            return
        self.connection.execute(
            "UPDATE entries SET state = 'queued', owner = '', started = 0, attempts = ? WHERE id = ?",
            (attempts, entry.id),
        )

    def _finish(self, entry: str, state: EntryState, *, digest: str = "", address: str = "", reason: str = "") -> None:
        with self._transaction():
            known = self.entry(entry)
            if known.state == "running":
                self._set(entry, state, digest=digest or known.digest, address=address, reason=reason)

    def _set(self, entry: str, state: EntryState, *, digest: str = "", address: str = "", reason: str = "") -> None:
        self.connection.execute(
            "UPDATE entries SET state = ?, finished = ?, digest = ?, address = ?, reason = ?, owner = '' WHERE id = ?",
            (state, self.clock(), digest, address, reason, entry),
        )

    # -------------------------------------------------------------------------------------------------- reading

    def entry(self, identity: str) -> Entry:
        """One job; RecordNotFound when there is none of that id."""
        with _translated(self.home):
            row = self._one("SELECT * FROM entries WHERE id = ?", identity)
        if row is None:
            raise RecordNotFound(f"no build {identity[:80]!r}", hint="s2ictl builds list --all")
        return _entry(row)

    def entries(self, *, limit: int) -> tuple[Entry, ...]:
        """The newest jobs first."""
        with _translated(self.home):
            rows = self.connection.execute("SELECT * FROM entries ORDER BY sequence DESC LIMIT ?", (limit,)).fetchall()
        return tuple(_entry(row) for row in rows)

    def probe(self) -> None:
        """Write something: a store that can only be read is not ready."""
        with self._transaction():
            self.connection.execute("UPDATE probe SET at = ?", (self.clock(),))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with _translated(self.home):
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
    return Entry(**{name: row[name] for name in _FIELDS})


def _new_id() -> str:
    return secrets.token_hex(6)


def _connect(file: Path, *, check: bool) -> sqlite3.Connection:
    import sqlite3

    # Made by us before SQLite opens it: its journal files inherit these permissions.
    os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(file, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        _migrate(connection, file)
        if check:
            _check(connection, file)
    except BaseException:
        connection.close()
        raise
    return connection


def _migrate(connection: sqlite3.Connection, file: Path) -> None:
    """Bring the file to this version; one that has it already is only read, so looking waits for no writer."""
    version = _version(connection)
    if version > VERSION:
        raise InvalidConfiguration(f"{file} was written by a newer s2ictl (version {version})", hint="update s2ictl")
    if version == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    if _version(connection) == 0:  # another process may have made it while this one waited
        for statement in _SCHEMA.split(";\n"):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def _check(connection: sqlite3.Connection, file: Path) -> None:
    faults = [row[0] for row in connection.execute("PRAGMA integrity_check(3)")]
    if faults != ["ok"]:
        raise _damaged(file, "; ".join(faults))


def _damaged(file: Path, detail: str) -> InvalidConfiguration:
    return InvalidConfiguration(
        f"{file} is damaged", detail=detail[:500], hint=f"keep it and start anew: mv {file} {file}.damaged"
    )


@contextmanager
def _translated(home: Path) -> Iterator[None]:
    import sqlite3

    try:
        yield
    except sqlite3.OperationalError as error:
        hint = "is the disk full, read-only, or the file in use by another program?"
        raise Unreachable(f"the ledger in {home} cannot be used", detail=str(error), hint=hint) from error
    except sqlite3.DatabaseError as error:
        raise _damaged(home / "ledger.sqlite", str(error)) from error
    except OSError as error:
        raise Unreachable(f"the ledger in {home} cannot be used", detail=error.strerror or str(error)) from error
