"""The mark by which a command says that it has ended well, and what is said of one that did not."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from s2ictl.engines import outcomes
from s2ictl.engines.following import Marked, follow, unmarked
from s2ictl.errors import AssembleFailed, ConnectionLost, S2IError, Unreachable
from s2ictl.events import Emit, Event, Line, Notice

EMPTY = Line(text="")


def heard(*lines: Line) -> tuple[list[Line], int]:
    reached: list[int] = []
    return list(unmarked(lines, "mark", lambda: reached.append(1))), len(reached)


def test_the_mark_is_not_told_nor_the_empty_line_that_begins_it() -> None:
    assert heard(Line(text="done"), EMPTY, Line(text="mark")) == ([Line(text="done")], 1)


def test_empty_lines_of_the_command_s_own_are_kept() -> None:
    own = [EMPTY, EMPTY, Line(text="a"), EMPTY]
    assert heard(*own, EMPTY, Line(text="mark")) == (own, 1)
    assert heard(*own) == (own, 0)


def test_a_mark_on_the_other_stream_is_only_a_line() -> None:
    other = Line(text="mark", stream="stderr")
    assert heard(other) == ([other], 0)


@pytest.mark.parametrize(
    ("ended", "kind", "message"),
    [
        (outcomes.Ended(status=3), AssembleFailed, "assemble ended with 3"),
        (outcomes.Ended(status=137), AssembleFailed, "assemble ended with 137: it was killed from outside"),
        (
            outcomes.Ended(status=137, out_of_memory=True),
            AssembleFailed,
            "assemble ran out of memory: the limit was 64 MiB",
        ),
        (outcomes.Ended(status=137, lost=True), ConnectionLost, "the engine was lost during assemble"),
        (outcomes.Ended(status=0, lost=True), ConnectionLost, "the engine was lost during assemble"),
    ],
)
def test_how_a_command_ended_is_told_apart(ended: outcomes.Ended, kind: type[S2IError], message: str) -> None:
    with pytest.raises(kind) as failure:
        outcomes.judge(ended, "assemble", ["last"], memory=64 << 20)
    assert (type(failure.value), failure.value.message, failure.value.detail) == (kind, message, "last")


def test_a_failed_command_comes_with_the_hint_that_it_was_given() -> None:
    with pytest.raises(AssembleFailed) as failure:
        outcomes.judge(outcomes.Ended(status=3), "assemble", [], hint="look there")
    assert failure.value.hint == "look there"


# ------------------------------------------------------------------------------------------------- from start to end

RUNS: Mapping[str, Any] = {"Running": True, "ExitCode": 0, "OOMKilled": False}
GONE = Unreachable("could not reach the container engine")


def exited(status: int) -> Mapping[str, Any]:
    return {"Running": False, "ExitCode": status, "OOMKilled": False}


@dataclass(slots=True, kw_only=True)
class Played:
    """A container whose output and states are told beforehand; the first wire is the one it is started on."""

    wires: list[bytes]
    states: list[Mapping[str, Any] | Unreachable]
    unseen: bool = False
    started: list[str] = field(default_factory=list)

    @contextmanager
    def attached(self) -> Iterator[socket.socket]:
        here, there = socket.socketpair()
        text = self.wires.pop(0)
        there.sendall(b"\1\0\0\0" + len(text).to_bytes(4, "big") + text)
        there.close()
        with here:
            yield here

    def start(self) -> None:
        self.started.append("now")

    def state(self) -> Mapping[str, Any]:
        state = self.states.pop(0)
        if isinstance(state, Unreachable):
            raise state
        return state

    def died_unseen(self, state: Mapping[str, Any]) -> bool:
        return self.unseen


def played(container: Played, emit: Emit) -> tuple[outcomes.Ended, int]:
    """How it ended, and how often its mark was heeded."""
    reached: list[int] = []
    mark = Marked(text="mark", reached=lambda: reached.append(1))
    whole: Any = container
    return follow(whole, "assemble", emit, seconds=60, mark=mark), len(reached)


def test_a_command_that_was_heard_to_its_end_has_ended_well(emit: Emit, events: list[Event]) -> None:
    ended = played(Played(wires=[b"done\n\nmark\n\nmark\n"], states=[RUNS, exited(0)]), emit)
    assert (ended, events) == ((outcomes.Ended(status=0), 1), [Line(text="done")])


def test_a_log_without_the_mark_is_incomplete_and_said_to_be(emit: Emit, events: list[Event]) -> None:
    ended = played(Played(wires=[b"half"], states=[exited(0)]), emit)
    assert ended == (outcomes.Ended(status=0), 0)
    assert events[-1] == Notice(text="the log of assemble is incomplete: its end was not heard", level="warning")


def test_a_container_that_outlives_its_engine_is_listened_to_again(emit: Emit, events: list[Event]) -> None:
    states: list[Mapping[str, Any] | Unreachable] = [GONE, *[RUNS] * 41, exited(0)]
    assert played(Played(wires=[b"one\n", b"two\n\nmark\n"], states=states), emit) == (outcomes.Ended(status=0), 1)
    missing = "the wire to assemble broke off for a while: some of its output was not heard"
    assert events == [Line(text="one"), Notice(text=missing, level="warning"), Line(text="two")]


@pytest.mark.parametrize("status", [0, 137])
def test_one_that_did_not_outlive_it_is_lost_whatever_its_status_says(emit: Emit, status: int) -> None:
    ended = played(Played(wires=[b"one\n"], states=[GONE, exited(status)]), emit)
    assert ended == (outcomes.Ended(status=status, lost=True), 0)


def test_one_that_had_ended_well_before_is_not_lost(emit: Emit) -> None:
    ended = played(Played(wires=[b"\nmark\n"], states=[GONE, exited(0)]), emit)
    assert ended == (outcomes.Ended(status=0), 1)


def test_a_death_that_this_engine_has_not_seen_was_the_engine_s_own(emit: Emit) -> None:
    ended = played(Played(wires=[b"one\n"], states=[exited(137)], unseen=True), emit)
    assert ended == (outcomes.Ended(status=137, lost=True), 0)
