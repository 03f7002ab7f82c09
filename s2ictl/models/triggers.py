"""Deliveries and the jobs that come of them: what the server takes, keeps and does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from s2ictl.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What a sender posted, untouched; the names of its headers are in lower case."""

    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class HookEvent:
    """What a verified delivery says. Nothing in it decides where source is fetched from or an image goes to."""

    kind: Literal["push", "ping", "ignored"]
    delivery: str
    reason: str = ""
    ref: str = ""
    commit: str = ""
    before: str = ""
    repositories: tuple[str, ...] = ()
    default_branch: str = ""
    message: str = ""


EntryState = Literal["queued", "running", "succeeded", "failed", "superseded", "cancelled", "dead"]
EntryKind = Literal["build", "b2i", "rebuild"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One job of the queue and later its record, or the record of what was typed by hand: that has no hook.

    Times are seconds since 1970, 0 for what has not happened; an exit code is there once a command has told it.
    """

    id: str
    delivery: str
    hook: str
    app: str
    kind: EntryKind
    ref: str
    commit: str
    state: EntryState
    attempts: int
    arrived: float
    started: float = 0.0
    finished: float = 0.0
    digest: str = ""
    address: str = ""
    reason: str = ""
    owner: str = ""
    source: str = ""
    builder: str = ""
    tags: tuple[str, ...] = ()
    image: str = ""
    exit_code: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a build, as far as it came; `image` is the id by which an engine knows it."""

    digest: str = ""
    address: str = ""
    image: str = ""
    commit: str = ""
    builder: str = ""
    tags: tuple[str, ...] = ()


Verdict = Literal["accepted", "duplicate", "ignored", "ping"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What the ledger made of a delivery, and what its sender is told."""

    verdict: Verdict
    delivery: str
    reason: str = ""
    jobs: tuple[Entry, ...] = ()
