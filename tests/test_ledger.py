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
from s2ictl import ledgerfile
from s2ictl.errors import InvalidConfiguration, InvalidUsage, LimitReached, RecordNotFound, Unreachable
from s2ictl.ledger import KEPT_BY_HAND, KEPT_BYTES, KEPT_SECONDS, Ledger, log_file, new_id, open_ledger
from s2ictl.models import Entry, HookEvent, Outcome, Receipt
from tests.fakes.deliveries import NOTHING, A, B, C

MAIN = "refs/heads/main"
HOUR = 3600.0
VERSION_1 = Path(__file__).parent / "fakes/recorded/ledger-1.sql"


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
        claimed, state="succeeded", digest="sha256:1", address="http://a/", finished=kept.finished, owner=""
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
        " VALUES (?, '', 'shop', ?, 'build', '', '', 'queued', 0)",
        [(str(number), str(number)) for number in range(ledgers.MAX_QUEUED)],
    )
    ledger.connection.execute("COMMIT")
    with pytest.raises(LimitReached):
        _accept(ledger, _pushed(A, "1"))
    assert ledger.connection.execute("SELECT count(*) FROM deliveries").fetchone()[0] == 0


@pytest.mark.parametrize("text", ["nonsense", "%", "_", "*", "last"])
def test_an_unknown_build_is_not_found(ledger: Ledger, text: str) -> None:
    with pytest.raises(RecordNotFound, match="no build '"):
        ledger.entry(text)
    with pytest.raises(RecordNotFound, match="no build '"):
        ledger.find(text)


def test_the_beginning_of_an_id_is_enough_where_it_is_the_only_one(ledger: Ledger) -> None:
    for identity in ("aa1000000000", "aa2000000000"):
        _begin(ledger, identity)
    assert [ledger.find(text).id for text in ("aa1", "aa2000000000", "last")] == [
        *("aa1000000000", "aa2000000000", "aa2000000000"),
    ]
    with pytest.raises(InvalidUsage, match="'aa' begins the id of several builds") as caught:
        ledger.find("aa")
    assert caught.value.hint == "aa2000000000 or aa1000000000"


# ----------------------------------------------------------------------------------------------------------- by hand


def _begin(ledger: Ledger, identity: str = "", *, app: str = "shop") -> str:
    identity = identity or new_id()
    ledger.begin(
        identity, kind="build", app=app, source="/src/shop", builder="python", tags=("shop:1", "shop:2"), owner="me/1"
    )
    return identity


def test_what_is_typed_by_hand_is_an_entry_without_a_hook(ledger: Ledger) -> None:
    identity = _begin(ledger)
    assert ledger.entries(limit=9) == (
        Entry(
            id=identity,
            delivery="",
            hook="",
            app="shop",
            kind="build",
            ref="",
            commit="",
            state="running",
            attempts=1,
            arrived=1.0,
            started=1.0,
            owner="me/1",
            source="/src/shop",
            builder="python",
            tags=("shop:1", "shop:2"),
        ),
    )


def test_what_came_of_it_is_kept_and_the_rest_stays_as_it_was(ledger: Ledger) -> None:
    begun = ledger.entry(_begin(ledger))
    ledger.end(begun.id, "succeeded", Outcome(digest="sha256:1", image="sha256:2", commit=A), exit_code=0)
    assert ledger.entry(begun.id) == replace(
        begun,
        state="succeeded",
        finished=2.0,
        digest="sha256:1",
        image="sha256:2",
        commit=A,
        exit_code=0,
        owner="",
    )


def test_as_many_as_like_run_at_once_and_no_job_of_a_hook_waits_for_them(ledger: Ledger) -> None:
    by_hand = [_begin(ledger), _begin(ledger)]
    (job,) = ledger.accept(_pushed(A, ref=""), hook="shop", provider="gitea", apps=("shop",)).jobs
    assert _claimed(ledger).id == job.id
    assert [ledger.entry(identity).state for identity in by_hand] == ["running", "running"]


def test_no_queue_touches_what_was_typed_by_hand(ledger: Ledger) -> None:
    begun = ledger.entry(_begin(ledger))
    assert ledger.claim("server") is None
    assert ledger.give_back() == 0
    assert ledger.settle(begun.id) == begun
    ledger.end(begun.id, "succeeded", Outcome(commit=A))
    assert _accept(ledger, _pushed(A, ref="")).verdict == "accepted"


def test_a_job_of_a_hook_is_none_that_was_typed(ledger: Ledger) -> None:
    _accept(ledger, _pushed(A))
    claimed = _claimed(ledger)
    ledger.end(claimed.id, "cancelled", Outcome())
    ledger.bury(lambda _: False)
    assert ledger.entry(claimed.id) == claimed


def test_what_was_killed_is_marked_by_the_next_who_looks_and_only_that(ledger: Ledger) -> None:
    killed, lives, done = _begin(ledger), _begin(ledger), _begin(ledger)
    ledger.end(done, "failed", Outcome(), reason="no")
    ledger.bury(lambda entry: entry == lives)
    assert [(ledger.entry(identity).state, ledger.entry(identity).reason) for identity in (killed, lives, done)] == [
        ("dead", "its process ended without a word"),
        ("running", ""),
        ("failed", "no"),
    ]


def test_what_was_taken_for_dead_and_speaks_is_believed(ledger: Ledger) -> None:
    identity = _begin(ledger)
    ledger.bury(lambda _: False)
    ledger.end(identity, "succeeded", Outcome(), exit_code=0)
    ledger.end(identity, "failed", Outcome(), reason="too late", exit_code=1)
    assert (ledger.entry(identity).state, ledger.entry(identity).reason) == ("succeeded", "")


def test_bytes_that_are_no_text_are_kept_escaped(ledger: Ledger) -> None:
    identity = _begin(ledger, app="caf\udce9")
    ledger.end(identity, "failed", Outcome(), reason="no \udcff")
    assert (ledger.entry(identity).app, ledger.entry(identity).reason) == ("caf\\udce9", "no \\udcff")


def test_of_what_was_typed_only_the_newest_are_kept(tmp_path: Path) -> None:
    with open_ledger(tmp_path, lambda: 1.0) as ledger:
        (job,) = _accept(ledger, _pushed(A)).jobs
        by_hand = [_begin(ledger) for _ in range(KEPT_BY_HAND)]
        logs = [log_file(tmp_path, identity) for identity in (job.id, *by_hand[:3])]
        for log in logs:
            log.touch()
        ledger.end(by_hand[0], "succeeded", Outcome())
        ledger.end(by_hand[1], "succeeded", Outcome())
        newest = _begin(ledger)
        assert {entry.id for entry in ledger.entries(limit=999)} == {job.id, *by_hand[1:], newest}
        assert [log.exists() for log in logs] == [True, False, True, True]


def test_of_what_was_typed_no_more_is_kept_than_its_logs_may_fill(tmp_path: Path) -> None:
    with open_ledger(tmp_path, lambda: 1.0) as ledger:
        running, *others = [_begin(ledger) for _ in range(4)]
        for identity in (running, *others):
            with log_file(tmp_path, identity).open("wb") as log:
                log.truncate(KEPT_BYTES // 5 * 2)  # of holes: nothing is written
        for identity in others:
            ledger.end(identity, "succeeded", Outcome())
        newest = _begin(ledger)
        assert [entry.id for entry in ledger.entries(limit=9)] == [newest, others[2], others[1], running]
        kept = {log.stem for log in log_file(tmp_path, newest).parent.iterdir()}
        assert kept == {running, others[1], others[2]}


def test_of_what_was_typed_nothing_is_kept_for_ever_but_what_runs(tmp_path: Path) -> None:
    times = iter([0.0, 0.0, 1 * HOUR, 3 * HOUR, KEPT_SECONDS + 2 * HOUR])
    with open_ledger(tmp_path, times.__next__) as ledger:
        running, old = _begin(ledger), _begin(ledger)
        ledger.end(old, "succeeded", Outcome())
        young = _begin(ledger)
        newest = _begin(ledger)
        assert [entry.id for entry in ledger.entries(limit=9)] == [newest, young, running]


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
    assert values == ["wal", 2, ledgerfile.VERSION]


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


def test_a_file_of_version_1_goes_on_as_one_of_today(tmp_path: Path) -> None:
    file = tmp_path / "ledger" / "ledger.sqlite"
    file.parent.mkdir()
    old = sqlite3.connect(file)
    old.executescript(VERSION_1.read_text())
    old.close()
    with open_ledger(tmp_path, lambda: 1.0, check=True) as ledger:
        assert [(e.id, e.commit, e.state, e.attempts, e.tags, e.exit_code) for e in ledger.entries(limit=9)] == [
            ("00000000000a", C, "queued", 0, (), None),
            ("000000000008", B, "running", 1, (), None),
            ("000000000006", A, "superseded", 0, (), None),
            ("000000000004", B, "failed", 1, (), None),
            ("000000000002", A, "succeeded", 1, (), None),
        ]
        assert _accept(ledger, _pushed(A, "1")).verdict == "duplicate"
        ledger.bury(lambda _: False)
        assert ledger.give_back() == 1
        assert _claimed(ledger).id == "00000000000a"
        _begin(ledger)
        _begin(ledger)


def test_an_old_file_and_a_new_one_have_the_same_tables(tmp_path: Path) -> None:
    old = sqlite3.connect(tmp_path / "old")
    old.executescript(VERSION_1.read_text())
    old.close()
    tables = []
    for name in ("old", "new"):
        connection = ledgerfile.connect(tmp_path / name, check=True, patience=1.0)
        tables.append([tuple(row) for row in connection.execute("SELECT type, name, sql FROM sqlite_schema")])
        connection.close()
    assert sorted(tables[0], key=str) == sorted(tables[1], key=str)


def test_many_who_open_it_first_make_it_once(tmp_path: Path) -> None:
    together, faults = threading.Barrier(8), []

    def begin() -> None:
        together.wait()
        try:
            with open_ledger(tmp_path, lambda: 1.0) as mine:
                _begin(mine)
        except Exception as fault:
            faults.append(fault)

    threads = [threading.Thread(target=begin) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with open_ledger(tmp_path, lambda: 1.0, check=True) as ledger:
        assert (len(ledger.entries(limit=99)), faults) == (8, [])


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
