"""One build of a name at a time, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from s2ictl.errors import LimitReached
from s2ictl.events import Emit, Event, Notice
from s2ictl.turns import in_time, turn

ROOT = Path(__file__).parent.parent
HOLDS = """
import sys
from pathlib import Path
from s2ictl.turns import in_time, turn
with turn(Path(sys.argv[1]), sys.argv[2:], seconds=5, emit=print):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held_elsewhere(state: Path, *names: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLDS, str(state), *names]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.stdin.close()


def test_whoever_comes_second_says_so_and_waits(tmp_path: Path, emit: Emit, events: list[Event]) -> None:
    with held_elsewhere(tmp_path, "shop:1", "shop:2") as first:

        def wait(_seconds: float) -> None:
            assert first.stdin is not None
            first.stdin.close()
            first.wait()

        with turn(tmp_path, ("shop:2", "shop:3"), seconds=60, emit=emit, wait=wait):
            assert events == [Notice(text="another build makes shop:2; it is waited for")]


def test_other_names_are_nobody_s_business(tmp_path: Path, emit: Emit, events: list[Event]) -> None:
    with held_elsewhere(tmp_path, "shop:1"), turn(tmp_path, ("shop:2", "other:1"), seconds=0, emit=emit):
        assert events == []


def test_nobody_is_waited_for_without_end(tmp_path: Path, emit: Emit) -> None:
    with (
        held_elsewhere(tmp_path, "shop:1"),
        pytest.raises(LimitReached, match="another build has been making shop:1"),
        turn(tmp_path, ("shop:1",), seconds=-1, emit=emit),
    ):
        pytest.fail("the name is somebody else's")


def test_the_dead_hold_nothing(tmp_path: Path, emit: Emit, events: list[Event]) -> None:
    with held_elsewhere(tmp_path, "shop:1") as first:
        first.kill()
        first.wait()
        with turn(tmp_path, ("shop:1",), seconds=0, emit=emit):
            assert events == []


def test_where_no_file_can_be_nobody_is_waited_for(tmp_path: Path, emit: Emit, events: list[Event]) -> None:
    (tmp_path / "file").touch()
    with turn(tmp_path / "file", ("shop:1",), seconds=0, emit=emit):
        assert events == []


def test_whoever_answers_in_time_is_heard_and_his_failure_too() -> None:
    assert in_time(lambda: "answer", seconds=60, what="the question") == "answer"
    with pytest.raises(ZeroDivisionError):
        in_time(lambda: 1 // 0, seconds=60, what="the question")
    with pytest.raises(TimeoutError, match="his own"):
        in_time(_late, seconds=60, what="the question")


def test_whoever_does_not_is_left_to_himself() -> None:
    forever = threading.Event()
    with pytest.raises(LimitReached) as given_up:
        in_time(forever.wait, seconds=0.01, what="the question")
    assert given_up.value.message == "the question took longer than 0.01 s"
    forever.set()


def _late() -> str:
    raise TimeoutError("his own")
