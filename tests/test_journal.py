"""The journal: what a build said is said again as it was, and what a kill or a full disk took spoils nothing else."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from s2ictl import journal
from s2ictl.events import Event, Line, Notice, Progress, StepFinished, StepStarted
from s2ictl.journal import AGAIN, Moment, Span
from tests.logs import said

TEXT = st.text(st.characters(codec=None), max_size=40)
NUMBERS = st.floats(0, 1e6)
EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(StepStarted, name=TEXT, subject=TEXT),
    st.builds(
        StepFinished, name=TEXT, seconds=NUMBERS, failed=st.booleans(), cached=st.booleans(), size=st.integers(0, 2**62)
    ),
    st.builds(Line, text=TEXT, stream=st.sampled_from(["stdout", "stderr"])),
    st.builds(Notice, text=TEXT, level=st.sampled_from(["info", "warning"])),
)
STEPS = st.one_of(
    st.builds(StepStarted, name=st.sampled_from("abc")),
    st.builds(StepFinished, name=st.sampled_from("abc"), seconds=st.floats(allow_nan=True, allow_infinity=True)),
    st.just(AGAIN),
)
OFTEN = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log"


def _write(path: Path, *timed: tuple[float, Event]) -> None:
    """A journal in which each event came at its second."""
    clock = iter([0.0, *(at for at, _ in timed)])
    with journal.writing(path, clock=lambda: next(clock)) as emit:
        for _, event in timed:
            emit(event)


def _append(path: Path, *lines: str) -> None:
    with path.open("a") as file:
        file.writelines(f"\n{line}" for line in lines)


# ------------------------------------------------------------------------------------------------- written and read


@OFTEN
@given(events=st.lists(EVENTS, max_size=8))
def test_what_was_said_is_said_again_to_the_byte(path: Path, events: list[Event]) -> None:
    path.unlink(missing_ok=True)
    _write(path, *((0.5, event) for event in events))
    assert said(path) == events


@OFTEN
@given(events=st.lists(EVENTS, min_size=1, max_size=6), data=st.data())
def test_what_is_torn_out_of_the_middle_spoils_two_lines_at_most(
    path: Path, events: list[Event], data: st.DataObject
) -> None:
    path.unlink(missing_ok=True)
    _write(path, *((0.5, event) for event in events))
    whole = path.read_bytes()
    first = data.draw(st.integers(0, len(whole)))
    last = data.draw(st.integers(first, min(len(whole), first + 20)))
    path.write_bytes(whole[:first] + whole[last:])
    lost = whole[first:last].count(b"\n") + 1
    assert len(said(path)) >= len(events) - lost - 1
    journal.timeline(path)


@OFTEN
@given(content=st.one_of(st.binary(max_size=200), st.lists(st.text(max_size=30)).map(lambda t: "\n".join(t).encode())))
def test_whatever_lies_there_is_read_without_a_fault(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert list(journal.moments(path)) == []
    assert journal.timeline(path) == ()


@pytest.mark.parametrize(
    "line",
    [
        "{}",
        "[]",
        "null",
        '"text"',
        "7",
        "[" * 100_000,
        '{"event": "Line"}',
        '{"event": "Line", "text": 7}',
        '{"event": "Elsewhere", "text": "x"}',
        '{"event": ["Line"], "text": "x"}',
        '{"event": "Line", "text": "x", "stream": "third"}',
    ],
)
def test_a_foreign_line_is_passed_over(path: Path, line: str) -> None:
    _append(path, line, '{"event": "Line", "text": "after"}')
    assert said(path) == [Line(text="after")]


@pytest.mark.parametrize("at", ["-1", "NaN", "Infinity", '"soon"', "null", "[]", "1" + "0" * 400])
def test_a_time_that_is_none_takes_nothing_from_its_line(path: Path, at: str) -> None:
    _append(path, f'{{"event": "Line", "text": "x", "at": {at}}}')
    assert list(journal.moments(path)) == [Moment(event=Line(text="x"), at=None)]


def test_every_line_says_when_it_came(path: Path) -> None:
    _write(path, (0.1234, Line(text="a")), (61.0, Line(text="b")))
    assert [(moment.at, moment.event) for moment in journal.moments(path)] == [
        (0.123, Line(text="a")),
        (61.0, Line(text="b")),
    ]
    assert [json.loads(line) for line in path.read_text().split("\n")[1:]] == [
        {"event": "Line", "at": 0.123, "text": "a", "stream": "stdout"},
        {"event": "Line", "at": 61.0, "text": "b", "stream": "stdout"},
    ]


def test_the_time_of_a_second_writer_goes_on_where_the_first_was_torn_off(path: Path) -> None:
    _write(path, (5.0, Line(text="first")), (7.0, Line(text="torn")))
    path.write_bytes(path.read_bytes()[:-5])
    clock = iter([100.0, 101.0, 102.0])
    with journal.writing(path, clock=lambda: next(clock)) as emit:
        emit(Line(text="second"))
    assert list(journal.moments(path)) == [
        Moment(event=Line(text="first"), at=5.0),
        Moment(event=AGAIN, at=6.0),
        Moment(event=Line(text="second"), at=7.0),
    ]


def test_a_log_is_kept_within_a_limit(path: Path) -> None:
    with journal.writing(path, limit=600) as emit:
        for _ in range(20):
            emit(Line(text="x" * 80))
    *lines, last = said(path)
    assert (set(lines), last) == ({Line(text="x" * 80)}, Notice(text="the log ends here: it is too long"))
    assert path.stat().st_size < 800


def test_a_disk_that_is_full_costs_lines_and_not_the_job(path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with journal.writing(path) as emit:
        emit(Line(text="kept"))
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, before[1]))
        try:
            emit(Line(text="lost"))
            emit(Line(text="lost too"))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        emit(Line(text="kept again"))
    first, missing, last = said(path)
    assert (first, last) == (Line(text="kept"), Line(text="kept again"))
    assert missing == Notice(text="lines are missing here: File too large", level="warning")


def test_a_follower_sees_what_comes_and_ends_with_the_build(path: Path) -> None:
    over = iter([False, False, False, True])
    coming: list[Event] = [Progress(subject="nobody keeps this", done=1), Line(text="1"), Line(text="2")]
    with journal.writing(path) as emit:
        followed = journal.follow(path, is_over=lambda: next(over), pause=lambda: emit(coming.pop(0)))
        assert [moment.event for moment in followed] == [Line(text="1"), Line(text="2")]


def test_a_follower_takes_no_half_line_for_a_whole_one(path: Path) -> None:
    whole = b'\n{"event": "Line", "text": "whole"}'

    def pieces() -> Iterator[bytes]:
        for size in (1, 7, len(whole)):
            yield whole[:size]

    written = pieces()
    over = iter([False, False, False, True])
    followed = journal.follow(path, is_over=lambda: next(over), pause=lambda: _overwrite(path, next(written)))
    assert [moment.event for moment in followed] == [Line(text="whole")]


def _overwrite(path: Path, content: bytes) -> None:
    path.write_bytes(content)


# ------------------------------------------------------------------------------------------------ who is at work


def test_as_long_as_its_writer_lives_a_journal_is_being_written(path: Path) -> None:
    assert not journal.is_being_written(path)
    with journal.writing(path):
        assert journal.is_being_written(path)
    assert not journal.is_being_written(path)


def test_two_who_look_at_once_hide_nobody(path: Path) -> None:
    with journal.writing(path):
        other = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(other, fcntl.LOCK_SH)
        assert journal.is_being_written(path)
        os.close(other)


def test_what_a_writer_starts_does_not_live_on_for_it(path: Path) -> None:
    program = [sys.executable, "-c", "print('here', flush=True); input()"]
    with journal.writing(path):
        child = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=False)
    with child:
        assert child.stdout is not None
        child.stdout.readline()
        assert not journal.is_being_written(path)
        child.kill()


# ----------------------------------------------------------------------------------------------- the line of time


def test_steps_lie_on_the_line_of_time_and_within_each_other(path: Path) -> None:
    _write(
        path,
        (0.0, StepStarted(name="fetch", subject="shop")),
        (0.4, StepFinished(name="fetch", seconds=0.4, size=7)),
        (0.5, StepStarted(name="choose builder", subject="by detection")),
        (0.5, StepStarted(name="base", subject="debian")),
        (0.6, StepFinished(name="base", seconds=0.1, cached=True)),
        (0.7, StepFinished(name="choose builder", seconds=0.2)),
        (0.7, StepStarted(name="assemble", subject="python")),
        (9.7, StepFinished(name="assemble", seconds=9.0, failed=True)),
    )
    assert journal.timeline(path) == (
        Span(name="fetch", subject="shop", began=0.0, seconds=0.4, finished=True, size=7),
        Span(name="choose builder", subject="by detection", began=0.5, seconds=0.2, finished=True),
        Span(name="base", subject="debian", began=0.5, seconds=0.1, depth=1, finished=True, cached=True),
        Span(name="assemble", subject="python", began=0.7, seconds=9.0, finished=True, failed=True),
    )


def test_a_step_whose_end_nobody_told_lasts_until_the_last_word(path: Path) -> None:
    _write(path, (1.0, StepStarted(name="assemble")), (3.0, Line(text="…")))
    assert journal.timeline(path) == (Span(name="assemble", began=1.0, seconds=2.0),)


def test_a_job_that_began_again_stands_beside_what_it_left(path: Path) -> None:
    _write(path, (1.0, StepStarted(name="fetch")), (3.0, AGAIN), (3.0, StepStarted(name="fetch")))
    assert journal.timeline(path) == (
        Span(name="fetch", began=1.0, seconds=2.0),
        Span(name="fetch", began=3.0, seconds=0.0),
    )


def test_a_step_whose_beginning_was_lost_began_so_long_before_its_end(path: Path) -> None:
    _write(path, (5.0, StepFinished(name="fetch", seconds=2.0)))
    assert journal.timeline(path) == (Span(name="fetch", began=3.0, seconds=2.0, finished=True),)


def test_a_step_within_one_that_is_over_is_over_too(path: Path) -> None:
    _write(
        path,
        (0.0, StepStarted(name="outer")),
        (1.0, StepStarted(name="inner")),
        (4.0, StepFinished(name="outer", seconds=4.0)),
        (5.0, StepStarted(name="next")),
    )
    assert [(span.name, span.depth, span.seconds, span.finished) for span in journal.timeline(path)] == [
        ("outer", 0, 4.0, True),
        ("inner", 1, 3.0, False),
        ("next", 0, 0.0, False),
    ]


def test_a_journal_of_an_older_s2ictl_has_its_steps_one_after_the_other(path: Path) -> None:
    _append(
        path,
        '{"event": "StepStarted", "name": "fetch", "subject": "shop"}',
        '{"event": "StepFinished", "name": "fetch", "seconds": 2.0, "failed": false}',
        '{"event": "StepStarted", "name": "assemble", "subject": ""}',
        '{"event": "StepFinished", "name": "assemble", "seconds": 3.0, "failed": true}',
    )
    assert journal.timeline(path) == (
        Span(name="fetch", subject="shop", began=0.0, seconds=2.0, finished=True),
        Span(name="assemble", began=2.0, seconds=3.0, finished=True, failed=True),
    )


@OFTEN
@given(steps=st.lists(STEPS, max_size=12))
def test_in_whatever_order_steps_come_each_has_its_place(path: Path, steps: list[Event]) -> None:
    path.unlink(missing_ok=True)
    _write(path, *((number / 2, event) for number, event in enumerate(steps)))
    spans = journal.timeline(path)
    assert sum(isinstance(event, StepStarted) for event in steps) <= len(spans) <= len(steps)
    assert all(span.began >= 0 and span.seconds >= 0 and span.depth >= 0 for span in spans)
    assert [span.finished for span in spans].count(True) == sum(isinstance(event, StepFinished) for event in steps)
