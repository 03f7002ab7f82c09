"""The ledger's one file: its tables and how they came to be, and what SQLite says when they cannot be used.

A new file goes through every step that an old one still needs, so that the two can never differ.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from s2ictl.errors import InvalidConfiguration, Unreachable

if TYPE_CHECKING:
    import sqlite3

_QUEUE = """
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
# What is typed by hand has no hook, waits for nobody and stands in nobody's way: all that is said of the queue is said
# of the view `jobs`.
_BY_HAND = """
ALTER TABLE entries ADD COLUMN source TEXT NOT NULL DEFAULT '';
ALTER TABLE entries ADD COLUMN builder TEXT NOT NULL DEFAULT '';
ALTER TABLE entries ADD COLUMN tags TEXT NOT NULL DEFAULT '';
ALTER TABLE entries ADD COLUMN image TEXT NOT NULL DEFAULT '';
ALTER TABLE entries ADD COLUMN exit_code INTEGER;
DROP INDEX one_running;
DROP INDEX one_waiting;
CREATE UNIQUE INDEX one_running ON entries (app, ref) WHERE state = 'running' AND hook <> '';
CREATE UNIQUE INDEX one_waiting ON entries (app, ref) WHERE state = 'queued' AND hook <> '';
CREATE INDEX by_hand ON entries (sequence) WHERE hook = '';
CREATE VIEW jobs AS SELECT * FROM entries WHERE hook <> '';
"""
_STEPS = (_QUEUE, _BY_HAND)
VERSION = len(_STEPS)


def connect(file: Path, *, check: bool, patience: float) -> sqlite3.Connection:
    """Open the file at this version, made where there is none; `patience` is how long a writer is waited for."""
    import sqlite3

    # Made by us before SQLite opens it: its journal files inherit these permissions. Where it is there it is let alone:
    # whoever closes any descriptor of a file loses the locks on it that other connections of the same process have.
    with suppress(FileExistsError):
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(file, timeout=patience, isolation_level=None, check_same_thread=False)
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
    for number in range(_version(connection), VERSION):  # another process may have done it while this one waited
        for statement in _STEPS[number].split(";\n"):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {number + 1}")
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
def translated(file: Path) -> Iterator[None]:
    """Say what SQLite and the disk say in words of ours."""
    import sqlite3

    try:
        yield
    except sqlite3.OperationalError as error:
        hint = "is the disk full, read-only, or the file in use by another program?"
        raise Unreachable(f"the ledger in {file.parent} cannot be used", detail=str(error), hint=hint) from error
    except sqlite3.DatabaseError as error:
        raise _damaged(file, str(error)) from error
    except OSError as error:
        raise Unreachable(f"the ledger in {file.parent} cannot be used", detail=error.strerror or str(error)) from error
