"""The ledger: what it promises to those who deliver, those who work, and those who look later."""

from __future__ import annotations

import itertools
import sqlite3
import stat
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from s2ictl import ledger as ledgers
from s2ictl.errors import InvalidConfiguration, LimitReached, RecordNotFound, Unreachable
from s2ictl.ledger import Ledger, open_ledger
from s2ictl.models import Entry, HookEvent, Outcome, Receipt
from tests.fakes.deliveries import NOTHING, A, B, C

MAIN = "refs/heads/main"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(tmp_path, itertools.count(1.0).__next__) as opened:
        yield opened


def _pushed(commit: str, number: str = "", *, before: str = NOTHING, ref: str = MAIN) -> HookEvent:
    return HookEvent(kind="push", delivery=number, ref=ref, commit=commit, before=before)


def _accept(ledger: Ledger, event: HookEvent, *apps: str) -> Receipt:
    return ledger.accept(event, hook="shop", provider="gitea", apps=apps or ("shop",))


def _states(ledger: Ledger) -> list[tuple[str, str]]:
    return [(entry.commit, entry.state) for entry in reversed(ledger.entries(limit=100))]


def _claimed(ledger: Ledger) -> Entry:
    entry = ledger.claim("me")
    assert entry is not None
    return entry


def test_a_push_is_one_job_for_each_app(ledger: Ledger) -> None:
    receipt = _accept(ledger, _pushed(A, "1"), "front", "back")
    assert receipt.verdict == "accepted"
    assert [(job.app, job.ref, job.commit, job.state, job.attempts) for job in receipt.jobs] == [
        ("front", MAIN, A, "queued", 0),
        ("back", MAIN, A, "queued", 0),
    ]


def test_the_same_delivery_again_gets_the_first_ones_jobs(ledger: Ledger) -> None:
    first = _accept(ledger, _pushed(A, "1"))
    assert _accept(ledger, _pushed(A, "1")) == replace(first, verdict="duplicate")
    assert len(ledger.entries(limit=10)) == 1


def test_the_numbers_of_another_hook_are_its_own(ledger: Ledger) -> None:
    _accept(ledger, _pushed(A, "1"))
    other = ledger.accept(_pushed(A, "1"), hook="other", provider="gitea", apps=("other",))
    assert other.verdict == "accepted"


@pytest.mark.parametrize("state", ["queued", "running", "succeeded"])
def test_another_delivery_of_a_commit_that_has_its_job_is_a_duplicate(ledger: Ledger, state: str) -> None:
    first = _accept(ledger, _pushed(A, "1"))
    if state != "queued":
        _claimed(ledger)
    if state == "succeeded":
        ledger.succeed(first.jobs[0].id, Outcome(digest="sha256:1"))
    again = _accept(ledger, _pushed(A, "2"))
    assert (again.verdict, [job.id for job in again.jobs]) == ("duplicate", [first.jobs[0].id])


def test_a_commit_that_failed_may_be_delivered_again(ledger: Ledger) -> None:
    first = _accept(ledger, _pushed(A, "1"))
    ledger.fail(_claimed(ledger).id, "no")
    again = _accept(ledger, _pushed(A, "2"))
    assert again.verdict == "accepted"
    assert again.jobs != first.jobs


def test_the_newest_waits_alone(ledger: Ledger) -> None:
    for number, commit in enumerate((A, B, C)):
        _accept(ledger, _pushed(commit, str(number)))
    assert _states(ledger) == [(A, "superseded"), (B, "superseded"), (C, "queued")]
    newest, second, _ = ledger.entries(limit=3)
    assert second.reason == f"superseded by {newest.id}"


def test_a_late_repetition_of_an_older_push_overtakes_nothing(ledger: Ledger) -> None:
    _accept(ledger, _pushed(A, "1"))
    _accept(ledger, _pushed(B, "2", before=A))
    assert _accept(ledger, _pushed(A, "3")).verdict == "duplicate"
    assert _states(ledger) == [(A, "superseded"), (B, "queued")]


def test_a_branch_that_was_moved_back_is_built_again(ledger: Ledger) -> None:
    for number, (commit, before) in enumerate([(A, NOTHING), (B, A), (A, B)]):
        assert _accept(ledger, _pushed(commit, str(number), before=before)).verdict == "accepted"
        ledger.succeed(_claimed(ledger).id, Outcome(digest="sha256:1"))
    assert _states(ledger) == [(A, "succeeded"), (B, "succeeded"), (A, "succeeded")]


def test_of_an_app_and_ref_one_job_is_at_work(ledger: Ledger) -> None:
    _accept(ledger, _pushed(A))
    first = _claimed(ledger)
    _accept(ledger, _pushed(B))
    assert ledger.claim("me") is None
    _accept(ledger, _pushed(B, ref="refs/heads/dev"))
    assert _claimed(ledger).ref == "refs/heads/dev"
    ledger.succeed(first.id, Outcome(digest="sha256:1"))
    assert _claimed(ledger).commit == B


def test_the_oldest_is_claimed_first_and_once(ledger: Ledger) -> None:
    _accept(ledger, _pushed(A), "one", "two")
    assert [_claimed(ledger).app, _claimed(ledger).app, ledger.claim("me")] == ["one", "two", None]


def test_what_a_job_came_to_is_kept(ledger: Ledger) -> None:
    _accept(ledger, _pushed(A))
    claimed = _claimed(ledger)
    ledger.succeed(claimed.id, Outcome(digest="sha256:1", address="http://a/"))
    kept = ledger.entry(claimed.id)
    expected = replace(
        claimed, state="succeeded", digest="sha256:1", address="http://a/", attempts=1, finished=kept.finished
    )
    assert kept == expected
    assert kept.finished > kept.started > kept.arrived > 0


def test_the_death_of_the_server_is_no_attempt(ledger: Ledger) -> None:
    _accept(ledger, _pushed(A))
    for _ in range(5):
        assert _claimed(ledger).attempts == 1
        assert ledger.give_back() == 1
    assert [(entry.state, entry.attempts) for entry in ledger.entries(limit=1)] == [("queued", 0)]


@pytest.mark.parametrize("death", ["server", "worker"])
def test_what_was_pushed_is_known_when_the_job_starts_again(ledger: Ledger, death: str) -> None:
    _accept(ledger, _pushed(A))
    claimed = _claimed(ledger)
    ledger.built(claimed.id, "sha256:1")
    if death == "server":
        ledger.give_back()
    else:
        ledger.settle(claimed.id)
    assert _claimed(ledger).digest == "sha256:1"
    ledger.fail(claimed.id, "the rollout failed")
    assert ledger.entry(claimed.id).digest == "sha256:1"


def test_three_deaths_of_the_worker_are_the_end(ledger: Ledger) -> None:
    _accept(ledger, _pushed(A))
    after = [ledger.settle(_claimed(ledger).id) for _ in range(3)]
    assert [(entry.state, entry.attempts) for entry in after] == [("queued", 1), ("queued", 2), ("dead", 3)]
    assert after[2].reason == "its worker died 3 times"
    assert ledger.claim("me") is None


@pytest.mark.parametrize("death", ["server", "worker"])
def test_a_job_that_goes_back_makes_way_for_a_newer_one(ledger: Ledger, death: str) -> None:
    _accept(ledger, _pushed(A))
    claimed = _claimed(ledger)
    _accept(ledger, _pushed(B))
    if death == "server":
        ledger.give_back()
    else:
        ledger.settle(claimed.id)
    assert _states(ledger) == [(A, "superseded"), (B, "queued")]


def test_a_worker_that_recorded_its_end_is_believed(ledger: Ledger) -> None:
    _accept(ledger, _pushed(A))
    claimed = _claimed(ledger)
    ledger.succeed(claimed.id, Outcome(digest="sha256:1"))
    assert ledger.settle(claimed.id).state == "succeeded"
    ledger.fail(claimed.id, "too late")
    assert ledger.entry(claimed.id).state == "succeeded"


def test_a_delivery_that_starts_nothing_is_kept_with_its_reason(ledger: Ledger) -> None:
    ping = HookEvent(kind="ping", delivery="1", reason="ping")
    first = ledger.note(ping, hook="shop", provider="gitea", reason="ping")
    assert (first.verdict, first.reason, first.jobs) == ("ping", "ping", ())
    again = ledger.note(ping, hook="shop", provider="gitea", reason="ping")
    assert (again.verdict, again.delivery) == ("duplicate", first.delivery)


def test_a_full_queue_takes_nothing_and_keeps_what_it_has(ledger: Ledger) -> None:
    ledger.connection.execute("BEGIN")
    ledger.connection.executemany(
        'INSERT INTO entries (id, delivery, hook, app, kind, ref, "commit", state, arrived)'
        " VALUES (?, '', '', ?, 'build', '', '', 'queued', 0)",
        [(str(number), str(number)) for number in range(ledgers.MAX_QUEUED)],
    )
    ledger.connection.execute("COMMIT")
    with pytest.raises(LimitReached):
        _accept(ledger, _pushed(A, "1"))
    assert ledger.connection.execute("SELECT count(*) FROM deliveries").fetchone()[0] == 0


def test_an_unknown_build_is_not_found(ledger: Ledger) -> None:
    with pytest.raises(RecordNotFound, match="no build 'nonsense'"):
        ledger.entry("nonsense")


# ---------------------------------------------------------------------------------------------------------- the file


def test_it_is_nobodys_elses_to_read(tmp_path: Path) -> None:
    with open_ledger(tmp_path, lambda: 1.0) as ledger:
        _accept(ledger, _pushed(A))
        files = [path for path in (tmp_path / "ledger").rglob("*") if path.is_file()]
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
        assert stat.S_IMODE((tmp_path / "ledger").stat().st_mode) == 0o700


def test_every_transaction_is_synced_whole(ledger: Ledger) -> None:
    pragmas = ("journal_mode", "synchronous", "user_version")
    values = [ledger.connection.execute(f"PRAGMA {pragma}").fetchone()[0] for pragma in pragmas]
    assert values == ["wal", 2, ledgers.VERSION]


def test_it_is_there_again_after_it_was_closed(tmp_path: Path) -> None:
    with open_ledger(tmp_path, lambda: 1.0) as ledger:
        receipt = _accept(ledger, _pushed(A, "1"))
    with open_ledger(tmp_path, lambda: 2.0, check=True) as ledger:
        assert ledger.entries(limit=9) == receipt.jobs
        assert _accept(ledger, _pushed(A, "1")).verdict == "duplicate"


def test_a_damaged_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    with open_ledger(tmp_path, lambda: 1.0) as ledger:
        _accept(ledger, _pushed(A))
    file = tmp_path / "ledger" / "ledger.sqlite"
    content = bytearray(file.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)
    file.write_bytes(content)
    with pytest.raises(InvalidConfiguration) as caught, open_ledger(tmp_path, lambda: 1.0, check=True):
        pass
    assert caught.value.message == f"{file} is damaged"
    assert caught.value.hint == f"keep it and start anew: mv {file} {file}.damaged"


def test_what_is_no_database_is_damaged_too(tmp_path: Path) -> None:
    (tmp_path / "ledger").mkdir()
    (tmp_path / "ledger" / "ledger.sqlite").write_bytes(b"this was something else" * 100)
    with pytest.raises(InvalidConfiguration, match="is damaged"), open_ledger(tmp_path, lambda: 1.0):
        pass


def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    with open_ledger(tmp_path, lambda: 1.0) as ledger:
        ledger.connection.execute("PRAGMA user_version = 99")
    with pytest.raises(InvalidConfiguration, match="newer s2ictl"), open_ledger(tmp_path, lambda: 1.0):
        pass


def test_a_store_that_cannot_be_written_says_so(ledger: Ledger) -> None:
    ledger.connection.execute("PRAGMA query_only = 1")
    with pytest.raises(Unreachable, match="cannot be used"):
        ledger.probe()
    with pytest.raises(Unreachable, match="cannot be used"):
        _accept(ledger, _pushed(A))


def test_two_that_claim_at_once_never_get_the_same(tmp_path: Path) -> None:
    claimed: list[str] = []

    def claim_all(path: Path) -> None:
        with open_ledger(path, lambda: 1.0) as mine:
            while entry := mine.claim("me"):
                claimed.append(entry.id)

    with open_ledger(tmp_path, lambda: 1.0) as ledger:
        jobs = _accept(ledger, _pushed(A), *(f"app{number}" for number in range(40))).jobs
    threads = [threading.Thread(target=claim_all, args=(tmp_path,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == sorted(job.id for job in jobs)


def test_the_database_itself_refuses_two_at_work_or_two_waiting(ledger: Ledger) -> None:
    _accept(ledger, _pushed(A))
    for state in ("queued", "running"):
        ledger.connection.execute("UPDATE entries SET state = ?", (state,))
        with pytest.raises(sqlite3.IntegrityError):
            ledger.connection.execute(
                'INSERT INTO entries (id, delivery, hook, app, kind, ref, "commit", state, arrived)'
                " SELECT 'x', delivery, hook, app, kind, ref, 'x', state, arrived FROM entries"
            )
