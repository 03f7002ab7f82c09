"""`builds list|show|logs`, and `serve` before it listens: what the words say, and with which code they end."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from s2ictl import journal
from s2ictl.events import Event, Line, Notice, Progress, StepFinished, StepStarted
from s2ictl.ledger import log_file, open_ledger
from s2ictl.models import HookEvent, Outcome
from tests.cli import Ran, Shell, shell
from tests.fakes.deliveries import A, B

DIGEST = "sha256:" + "d" * 64
BEGAN, TOOK = 1_800_000_000.0, 83.0


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A ledger with one build that is done and one that waits behind it."""

    shell: Shell
    done: str
    waits: str

    def run(self, *arguments: str) -> Ran:
        return self.shell.run(*arguments)


@pytest.fixture
def world(tmp_path: Path) -> World:
    state = tmp_path / "state"
    ticks = iter([BEGAN, BEGAN, BEGAN + 1, BEGAN + 1 + TOOK, BEGAN + 100, BEGAN + 100])
    with open_ledger(state, lambda: next(ticks)) as ledger:
        for commit in (A, B):
            event = HookEvent(kind="push", delivery=commit, ref="refs/heads/main", commit=commit)
            (job,) = ledger.accept(event, hook="shop", provider="gitea", apps=("shop",)).jobs
            if commit == A:
                ledger.claim("me")
                ledger.succeed(job.id, Outcome(digest=DIGEST, address="http://10.0.0.1:30080/"))
        waits, done = ledger.entries(limit=2)
    with journal.writing(log_file(state, done.id)) as emit:
        emit(StepStarted(name="fetch", subject="shop"))
        emit(Line(text="\x1b[31mred\udcff"))
        emit(StepFinished(name="fetch", seconds=2.0))
        emit(Notice(text="careful", level="warning"))
    return World(shell=shell(tmp_path, S2ICTL_STATE=str(state)), done=done.id, waits=waits.id)


def test_the_newest_stand_first(world: World) -> None:
    assert world.run("builds", "list") == Ran(
        status=0,
        stdout=(
            "ID            APP   COMMIT        STATE      ATTEMPTS  ARRIVED               TOOK\n"
            f"{world.waits}  shop  bbbbbbbbbbbb  queued     0         2027-01-15T08:01:40Z\n"
            f"{world.done}  shop  aaaaaaaaaaaa  succeeded  1         2027-01-15T08:00:00Z  1 m 23 s\n"
        ),
        stderr="",
    )


def test_programs_read_objects(world: World) -> None:
    ran = world.run("builds", "list", "--all", "-o", "json")
    waiting, done = json.loads(ran.stdout)
    assert done == {
        "id": world.done,
        "app": "shop",
        "kind": "build",
        "commit": A,
        "state": "succeeded",
        "attempts": 1,
        "digest": DIGEST,
        "started": "2027-01-15T08:00:01Z",
        "finished": "2027-01-15T08:01:24Z",
    }
    assert (waiting["state"], waiting["started"], waiting["finished"]) == ("queued", None, None)


def test_names_stand_alone(world: World) -> None:
    assert world.run("-o", "name", "builds", "list").stdout == f"{world.waits}\n{world.done}\n"


def test_one_build_is_shown_whole(world: World) -> None:
    shown = json.loads(world.run("builds", "show", world.done, "-o", "json").stdout)
    assert (shown["ref"], shown["address"], shown["reason"]) == ("refs/heads/main", "http://10.0.0.1:30080/", "")
    assert f"digest:    {DIGEST}\n" in world.run("builds", "show", world.done).stdout


@pytest.mark.parametrize("follow", [(), ("--follow",), ("-f",)])
def test_what_was_said_is_said_again_and_moves_no_cursor(world: World, follow: tuple[str, ...]) -> None:
    assert world.run("builds", "logs", world.done, *follow) == Ran(
        status=0,
        stdout="fetch  shop\n  | \\x1b[31mred\\xdcff\nfetch: done in 2.0 s\nwarning: careful\n",
        stderr="",
    )


def test_a_torn_line_spoils_itself_alone(world: World, tmp_path: Path) -> None:
    path = log_file(tmp_path / "state", world.done)
    path.write_bytes(path.read_bytes()[:-5])
    with journal.writing(path) as emit:
        emit(Notice(text="again"))
    assert world.run("builds", "logs", world.done).stdout.splitlines()[-2:] == ["fetch: done in 2.0 s", "again"]


def test_a_build_that_has_said_nothing_has_an_empty_log(world: World) -> None:
    assert world.run("builds", "logs", world.waits) == Ran(status=0, stdout="", stderr="")


def test_a_log_is_kept_within_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with journal.writing(path, limit=500) as emit:
        for _ in range(20):
            emit(Line(text="x" * 80))
    assert list(journal.replay(path)) == [*[Line(text="x" * 80)] * 3, Notice(text="the log ends here: it is too long")]
    assert path.stat().st_size < 700


def test_a_follower_sees_what_comes_and_ends_with_the_build(tmp_path: Path) -> None:
    path = tmp_path / "log"
    over = iter([False, False, False, True])
    coming: list[Event] = [Progress(subject="nobody keeps this", done=1), Line(text="1"), Line(text="2")]
    with journal.writing(path) as emit:
        followed = journal.follow(path, is_over=lambda: next(over), pause=lambda: emit(coming.pop(0)))
        assert list(followed) == [Line(text="1"), Line(text="2")]


@pytest.mark.parametrize("command", ["show", "logs"])
def test_an_unknown_build_is_code_5(world: World, command: str) -> None:
    ran = world.run("builds", command, "nonsense")
    assert (ran.status, ran.stdout) == (5, "")
    assert ran.stderr.startswith("error: no build 'nonsense' (RecordNotFound)\n")


def test_looking_where_nothing_was_built_makes_nothing(tmp_path: Path) -> None:
    world = shell(tmp_path)
    assert world.run("builds", "list", "-o", "json").stdout == "[]\n"
    assert world.run("builds", "show", "x").status == 5
    assert list(world.home.iterdir()) == []


# ------------------------------------------------------------------------------------------------------------- serve

HEAD = "image: h.example/i\nsource: https://git.example.com/a.git\n"


@pytest.mark.parametrize(
    ("files", "flags", "status", "said"),
    [
        ({}, (), 3, "error: no app in {apps} can be triggered (InvalidConfiguration)"),
        ({"a.yaml": "name: A"}, (), 3, "warning: not loaded: {apps}/a.yaml:1:7: 'A' cannot be a name"),
        (
            {"a.yaml": f"name: a\n{HEAD}webhook: {{provider: gitea, secret-env: NONE}}"},
            *((), 4, "warning: not loaded: {apps}/a.yaml: the secret NONE of a is unset"),
        ),
        ({}, ("--listen", "0.0.0.0:0"), 12, "error: listening on 0.0.0.0:0 without TLS"),
        ({}, ("--listen", "example.com:80"), 12, "error: listening on example.com:80 without TLS"),
        ({}, ("--listen", "8088"), 2, "error: --listen '8088' is not HOST:PORT"),
        ({}, ("--listen", "[::1]:99999"), 2, "error: --listen '[::1]:99999' is not HOST:PORT"),
        ({}, ("--max-body", "26MiB"), 2, "error: --max-body 27262976 is not between 1k and 25m"),
        ({}, ("--max-body", "much"), 2, "error: 'much' is not a size"),
        ({}, ("--grace", "long"), 2, "error: 'long' is not a duration"),
        ({}, ("--workers", "0"), 2, "error: Invalid value for '--workers'"),
    ],
)
def test_a_server_that_cannot_serve_says_why(
    tmp_path: Path, files: dict[str, str], flags: tuple[str, ...], status: int, said: str
) -> None:
    apps = tmp_path / "apps"
    apps.mkdir()
    for name, text in files.items():
        (apps / name).write_text(text)
    ran = shell(tmp_path).run("serve", "--apps", str(apps), *flags)
    assert (ran.status, ran.stdout) == (status, "")
    assert ran.stderr.startswith(said.format(apps=apps))
    assert list((tmp_path / "home").iterdir()) == []
