"""Records: every build leaves one, however it ends, and none is kept from its work by it.

What is recorded here builds nothing (tests/fakes/recorder.py); the words, the ledger and the processes are real.
"""

from __future__ import annotations

import json
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from s2ictl.build import DONE
from s2ictl.events import Line, Notice
from s2ictl.ledger import log_file
from tests.cli import Ran, Shell, shell
from tests.fakes.images import program
from tests.fakes.recorder import ADDRESS, IMAGE, WORDS
from tests.logs import said

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    shell: Shell
    state: Path

    def run(self, *arguments: str, stdin: str = "") -> Ran:
        return self.shell.run(*arguments, stdin=stdin, words=WORDS)

    def listed(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.run("builds", "list", "--all", "-o", "json").stdout)
        return found

    def shown(self, identity: str = "last") -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("builds", "show", identity, "-o", "json").stdout)
        return found

    @contextmanager
    def building(self) -> Iterator[Building]:
        """A process that records a build and does as it is told."""
        command = [sys.executable, "-W", "error", "-m", "tests.fakes.recorder", "make", "orders", "-o", "name"]
        with subprocess.Popen(
            command,
            cwd=ROOT,
            env=dict(self.shell.environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield Building(process=process, id=_first_notice(process))
            finally:
                process.kill()


@dataclass(frozen=True, slots=True, kw_only=True)
class Building:
    process: subprocess.Popen[str]
    id: str

    def order(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{text}\n")
        self.process.stdin.flush()

    def end(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(20)


def _first_notice(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    for line in process.stderr:
        if len(line.split()[-1]) == 12:
            return line.split()[-1]
    raise AssertionError(f"it ended with {process.wait()}")


@pytest.fixture
def world(tmp_path: Path) -> World:
    state = tmp_path / "state"
    return World(shell=shell(tmp_path, S2ICTL_STATE=str(state)), state=state)


# ------------------------------------------------------------------------------------------------------ how it ends


def test_a_good_build_is_recorded_with_all_that_came_of_it(world: World) -> None:
    answer = world.run("make", "good", "-o", "name").stdout.strip()
    shown = world.shown()
    assert {key: shown[key] for key in shown if key not in ("started", "finished", "arrived", "took", "steps")} == {
        "id": answer,
        "app": "shop",
        "kind": "build",
        "commit": IMAGE.commit,
        "state": "succeeded",
        "attempts": 1,
        "digest": IMAGE.digest,
        "source": "/src/shop",
        "builder": "s2ictl/python:1",
        "tags": ["shop:1", "shop:latest"],
        "image": IMAGE.id,
        "ref": "",
        "delivery": "",
        "address": ADDRESS,
        "reason": "",
        "exit": 0,
        "owner": "",
    }
    assert [(s["name"], s["cached"], s["size"], s["failed"]) for s in shown["steps"]] == [
        ("fetch", True, 1_234_567, False),
        ("assemble", False, 0, False),
    ]


def test_the_log_of_a_good_build_ends_with_its_success(world: World) -> None:
    world.run("make", "good")
    assert world.run("builds", "logs", "last").stdout.splitlines()[-1] == DONE == "Build completed successfully"


@pytest.mark.parametrize(
    ("how", "status", "state", "reason"),
    [
        ("fail", 7, "failed", "AssembleFailed: assemble ended with 3"),
        ("fault", 1, "failed", "a fault in s2ictl: ZeroDivisionError"),
        ("interrupt", 130, "cancelled", "interrupted"),
        ("terminate", 143, "cancelled", "terminated"),
        ("leave", 141, "cancelled", "its output was closed"),
    ],
)
def test_what_went_wrong_is_recorded_with_its_reason_and_code(
    world: World, how: str, status: int, state: str, reason: str
) -> None:
    assert world.run("make", how).status == status
    shown = world.shown()
    assert (shown["state"], shown["reason"], shown["exit"]) == (state, reason, status)
    assert [step["failed"] for step in shown["steps"]] == [False, True]


def test_the_log_of_a_failed_build_explains_it_alone(world: World) -> None:
    world.run("make", "fail")
    assert said(log_file(world.state, world.shown()["id"]))[-4:] == [
        Notice(text="assemble ended with 3 (AssembleFailed)", level="warning"),
        Notice(text="the last line"),
        Notice(text="of it"),
        Notice(text="look there"),
    ]


def test_an_image_whose_rollout_failed_is_known_all_the_same(world: World) -> None:
    assert world.run("make", "lose").status == 9
    shown = world.shown()
    assert (shown["state"], shown["digest"], shown["address"]) == ("failed", IMAGE.digest, "")


def test_what_is_made_of_an_artifact_is_recorded_as_well(world: World) -> None:
    (world.shell.cwd / "shop").write_bytes(program())
    assert world.run("b2i", "shop", "--to", "oci:out", "--tag", "shop:1").status == 0
    (entry,) = world.listed()
    assert (entry["app"], entry["kind"], entry["state"], entry["tags"]) == ("shop", "b2i", "succeeded", ["shop:1"])
    assert (entry["source"], entry["builder"]) == (str(world.shell.cwd / "shop"), "scratch")
    assert world.run("builds", "logs", entry["id"]).stdout.splitlines()[-1] == DONE


def test_nobody_else_may_read_it(world: World) -> None:
    world.run("make", "good")
    files = [path for path in (world.state / "ledger").rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


# ------------------------------------------------------------------------------------------------ while it runs


def _following(world: World, identity: str) -> subprocess.Popen[str]:
    """Another terminal, which nobody waits for for ever."""
    command = ["timeout", "20", sys.executable, "-m", "s2ictl", "builds", "logs", identity, "--follow"]
    return subprocess.Popen(command, cwd=ROOT, env=dict(world.shell.environ), stdout=subprocess.PIPE, text=True)


def test_a_build_in_progress_is_in_the_list_and_its_log_is_followed_to_its_end(world: World) -> None:
    with world.building() as building:
        assert [(e["id"], e["state"], e["finished"]) for e in world.listed()] == [(building.id, "running", None)]
        with _following(world, "last") as follower:
            building.order("compiling")
            assert follower.stdout is not None
            seen = [follower.stdout.readline() for _ in range(4)]
            assert seen[-1] == "  | compiling\n"
            assert building.end() == 0
            assert follower.stdout.read().splitlines()[-1] == DONE
            assert follower.wait(20) == 0
    assert [e["state"] for e in world.listed()] == ["succeeded"]


def test_a_step_at_work_lasts_until_now(world: World) -> None:
    with world.building():
        (fetch, assemble) = world.shown()["steps"]
        assert (fetch["failed"], assemble["name"], assemble["failed"]) == (False, "assemble", False)
        assert "assemble" in world.run("builds", "show", "last").stdout
        assert "not finished" in world.run("builds", "show", "last").stdout


def test_two_builds_of_one_app_are_recorded_side_by_side(world: World) -> None:
    with world.building() as one, world.building() as other:
        assert [(e["id"], e["state"]) for e in world.listed()] == [(other.id, "running"), (one.id, "running")]
        other.order("mine")
        assert (other.end(), one.end()) == (0, 0)
        assert Line(text="mine") not in said(log_file(world.state, one.id))
    assert [e["state"] for e in world.listed()] == ["succeeded", "succeeded"]


def test_a_build_that_was_killed_is_dead_to_the_next_who_looks(world: World) -> None:
    with world.building() as building:
        building.order("compiling")
        building.process.kill()
        building.process.wait()
    shown = world.shown()
    assert (shown["id"], shown["state"], shown["reason"], shown["exit"], shown["finished"]) == (
        *(building.id, "dead", "its process ended without a word", None, None),
    )
    assert [(step["name"], step["failed"]) for step in shown["steps"]] == [("fetch", False), ("assemble", True)]


def test_who_follows_a_build_that_is_killed_is_not_left_waiting(world: World) -> None:
    with world.building() as building, _following(world, building.id) as follower:
        assert follower.stdout is not None
        follower.stdout.readline()
        building.process.kill()
        building.process.wait()
        assert follower.wait(20) == 0


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_build_that_is_told_to_end_is_cancelled(world: World, number: int, status: int) -> None:
    with world.building() as building:
        building.process.send_signal(number)
        assert building.process.wait(20) == status
    assert [(e["state"], world.shown()["exit"]) for e in world.listed()] == [("cancelled", status)]


# --------------------------------------------------------------------------------- when nothing can be recorded


def _is_built_all_the_same(ran: Ran, why: str) -> None:
    assert (ran.status, ran.stdout) == (0, "\n" if ran.stdout else "")
    warnings = [line for line in ran.stderr.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 1
    assert warnings[0].startswith("warning: this build is not recorded: ")
    assert why in warnings[0]
    assert DONE in ran.stderr


def test_where_no_ledger_can_be_made_the_build_goes_on(world: World) -> None:
    world.state.write_text("a file lies where the directory should be")
    _is_built_all_the_same(world.run("make", "good"), "cannot be used: Not a directory")


def test_with_a_damaged_ledger_the_build_goes_on(world: World) -> None:
    (world.state / "ledger").mkdir(parents=True)
    (world.state / "ledger" / "ledger.sqlite").write_bytes(b"this was something else" * 100)
    _is_built_all_the_same(world.run("make", "good"), "is damaged")


def test_with_a_newer_ledger_the_build_goes_on_and_leaves_no_log(world: World) -> None:
    world.run("make", "good")
    with closing(sqlite3.connect(world.state / "ledger" / "ledger.sqlite")) as connection:
        connection.execute("PRAGMA user_version = 99")
    _is_built_all_the_same(world.run("make", "good"), "newer s2ictl")
    assert len(list((world.state / "ledger" / "logs").iterdir())) == 1


def test_with_a_locked_ledger_the_build_waits_a_moment_and_goes_on(world: World) -> None:
    world.run("make", "good")
    with closing(sqlite3.connect(world.state / "ledger" / "ledger.sqlite", isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        _is_built_all_the_same(world.run("make", "good"), "database is locked")
    assert len(world.listed()) == len(list((world.state / "ledger" / "logs").iterdir())) == 1


def test_a_ledger_that_is_gone_at_the_end_is_missed_and_no_more(world: World) -> None:
    with world.building() as building:
        world.state.rename(world.state.with_name("elsewhere"))
        assert building.end() == 0
        assert building.process.stderr is not None
        said = building.process.stderr.read()
    assert f"warning: this build is not recorded: no build '{building.id}'" in said


def test_a_recorded_build_begins_without_delay(world: World) -> None:
    script = "import sys, s2ictl.cli.records; print(sorted({'sqlite3', 'asyncio', 'docker'} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"
