"""`builds list|show|logs`, and `serve` before it listens: what the words say, and with which code they end."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from s2ictl import journal
from s2ictl.cli import session
from s2ictl.cli.main import main
from s2ictl.events import Line, Notice, StepFinished, StepStarted
from s2ictl.ledger import log_file, open_ledger
from s2ictl.models import HookEvent, Outcome
from tests.cli import Ran, Shell, shell
from tests.fakes.deliveries import A, B
from tests.fakes.terminal import Terminal

DIGEST = "sha256:" + "d" * 64
BEGAN, TOOK = 1_800_000_000.0, 83.0


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A ledger with a build that is done, one that waits behind it, and the newest, which was typed by hand."""

    shell: Shell
    done: str
    waits: str
    typed: str

    def run(self, *arguments: str) -> Ran:
        return self.shell.run(*arguments)


@pytest.fixture
def world(tmp_path: Path) -> World:
    state = tmp_path / "state"
    later = (BEGAN + 100, BEGAN + 100, BEGAN + 200, BEGAN + 202)
    ticks = iter([BEGAN, BEGAN, BEGAN + 1, BEGAN + 1 + TOOK, *later])
    with open_ledger(state, lambda: next(ticks)) as ledger:
        for commit in (A, B):
            event = HookEvent(kind="push", delivery=commit, ref="refs/heads/main", commit=commit)
            (job,) = ledger.accept(event, hook="shop", provider="gitea", apps=("shop",)).jobs
            if commit == A:
                ledger.claim("me")
                ledger.succeed(job.id, Outcome(digest=DIGEST, address="http://10.0.0.1:30080/"))
        waits, done = ledger.entries(limit=2)
        typed = f"{int(done.id[0], 16) ^ 1:x}00000000000"  # begins as no other
        ledger.begin(typed, kind="b2i", app="cart", source="/src/cart", builder="", tags=("cart:1",), owner="me/1")
        ledger.end(typed, "failed", Outcome(), reason="PushUnauthorized: no", exit_code=4)
    clock = iter([0.0, 0.5, 1.25, 2.5, 2.5])
    with journal.writing(log_file(state, done.id), clock=lambda: next(clock)) as emit:
        emit(StepStarted(name="fetch", subject="shop"))
        emit(Line(text="\x1b[31mred\x07\udcff"))
        emit(StepFinished(name="fetch", seconds=2.0, size=4_200_000, cached=True))
        emit(Notice(text="careful", level="warning"))
    return World(shell=shell(tmp_path, S2ICTL_STATE=str(state)), done=done.id, waits=waits.id, typed=typed)


def test_the_newest_stand_first(world: World) -> None:
    assert world.run("builds", "list") == Ran(
        status=0,
        stdout=(
            "ID            APP   COMMIT        STATE      WHEN                  TOOK      FROM       INTO\n"
            f"{world.typed}  cart                failed     2027-01-15T08:03:20Z  2.0 s     /src/cart  cart:1\n"
            f"{world.waits}  shop  bbbbbbbbbbbb  queued     2027-01-15T08:01:40Z            main\n"
            f"{world.done}  shop  aaaaaaaaaaaa  succeeded  2027-01-15T08:00:00Z  1 m 23 s  main       {DIGEST}\n"
        ),
        stderr="",
    )


def test_programs_read_objects(world: World) -> None:
    ran = world.run("builds", "list", "--all", "-o", "json")
    typed, waiting, done = json.loads(ran.stdout)
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
        "source": "",
        "builder": "",
        "tags": [],
    }
    assert (typed["kind"], typed["source"], typed["tags"]) == ("b2i", "/src/cart", ["cart:1"])
    assert (waiting["state"], waiting["started"], waiting["finished"]) == ("queued", None, None)


def _on_a_terminal(world: World, *arguments: str, columns: str, encoding: str = "utf-8") -> list[str]:
    here, stdout = world.shell, Terminal(encoding)
    process = session.World(
        arguments=arguments,
        environ={**here.environ, "COLUMNS": columns},
        cwd=here.cwd,
        home=here.home,
        stdin=io.StringIO(),
        stdout=stdout,
        stderr=io.StringIO(),
    )
    assert main(process) == 0
    return stdout.getvalue().splitlines()


def test_on_a_terminal_a_line_is_a_line(world: World) -> None:
    head, typed, _, done = _on_a_terminal(world, "builds", "list", columns="110")
    assert head.split() == ["ID", "APP", "COMMIT", "STATE", "WHEN", "TOOK", "FROM", "INTO"]
    assert typed.endswith("2.0 s     /src/cart  cart:1")
    assert done.endswith("1 m 23 s  main       …dddddddddddddddd")
    assert len(done) <= 110


def test_on_a_narrow_terminal_what_was_built_is_left_out(world: World) -> None:
    head, *_ = _on_a_terminal(world, "builds", "list", columns="80")
    assert head.split() == ["ID", "APP", "COMMIT", "STATE", "WHEN", "TOOK"]


@pytest.mark.parametrize(("columns", "widest"), [("60", 60), ("200", 200)])
def test_a_waterfall_is_as_wide_as_the_terminal(world: World, columns: str, widest: int) -> None:
    assert len(_on_a_terminal(world, "builds", "show", world.done, columns=columns)[-1]) == widest


def test_a_terminal_that_has_no_blocks_gets_ascii(world: World) -> None:
    lines = _on_a_terminal(world, "builds", "show", world.done, columns="60", encoding="ascii")
    lines += _on_a_terminal(world, "builds", "list", columns="110", encoding="ascii")
    assert all(line.isascii() for line in lines)


def test_names_stand_alone(world: World) -> None:
    assert world.run("-o", "name", "builds", "list").stdout == f"{world.typed}\n{world.waits}\n{world.done}\n"


def test_one_build_is_shown_whole_and_where_its_time_went(world: World) -> None:
    assert world.run("builds", "show", world.done) == Ran(
        status=0,
        stdout=(
            f"id:        {world.done}\n"
            "app:       shop\n"
            "kind:      build\n"
            f"commit:    {A}\n"
            "state:     succeeded\n"
            "attempts:  1\n"
            f"digest:    {DIGEST}\n"
            "started:   2027-01-15T08:00:01Z\n"
            "finished:  2027-01-15T08:01:24Z\n"
            "took:      1 m 23 s\n"
            "ref:       refs/heads/main\n"
            f"delivery:  {json.loads(world.run('builds', 'show', world.done, '-o', 'json').stdout)['delivery']}\n"
            "arrived:   2027-01-15T08:00:00Z\n"
            "address:   http://10.0.0.1:30080/\n"
            "\n"
            f"fetch  2.0 s  {' ' * 10}{'▇' * 40}  4.2 MB  cached\n"
        ),
        stderr="",
    )


def test_programs_read_the_steps_as_well(world: World) -> None:
    shown = json.loads(world.run("builds", "show", world.done, "-o", "json").stdout)
    assert shown["steps"] == [
        {"name": "fetch", "began": 0.5, "seconds": 2.0, "cached": True, "size": 4_200_000, "failed": False}
    ]


@pytest.mark.parametrize("named", ["last", "beginning"])
def test_the_newest_and_the_beginning_of_an_id_are_names_too(world: World, named: str) -> None:
    shown = json.loads(world.run("builds", "show", named.replace("beginning", world.typed[:6]), "-o", "json").stdout)
    assert (shown["id"], shown["state"], shown["reason"], shown["exit"], shown["steps"]) == (
        *(world.typed, "failed", "PushUnauthorized: no", 4, []),
    )


@pytest.mark.parametrize("follow", [(), ("--follow",), ("-f",)])
def test_what_was_said_is_said_again_and_moves_no_cursor(world: World, follow: tuple[str, ...]) -> None:
    assert world.run("builds", "logs", world.done, *follow) == Ran(
        status=0,
        stdout="fetch  shop\n  | red\\x07\\xdcff\nfetch: done in 2.0 s, 4.2 MB, cached\nwarning: careful\n",
        stderr="",
    )


def test_asked_for_more_it_says_when_each_line_came(world: World) -> None:
    assert world.run("builds", "logs", world.done, "-v").stdout == (
        "    0.500  fetch  shop\n"
        "    1.250    | red\\x07\\xdcff\n"
        "    2.500  fetch: done in 2.0 s, 4.2 MB, cached\n"
        "    2.500  warning: careful\n"
    )


def test_programs_read_a_log_line_by_line(world: World) -> None:
    lines = world.run("builds", "logs", world.done, "-o", "json").stdout.splitlines()
    said = [(line["event"], line["at"]) for line in map(json.loads, lines)]
    assert said == [("StepStarted", 0.5), ("Line", 1.25), ("StepFinished", 2.5), ("Notice", 2.5)]


def test_a_torn_line_spoils_itself_alone(world: World, tmp_path: Path) -> None:
    path = log_file(tmp_path / "state", world.done)
    path.write_bytes(path.read_bytes()[:-5])
    with journal.writing(path) as emit:
        emit(Notice(text="again"))
    said = world.run("builds", "logs", world.done).stdout.splitlines()
    assert said[-3:] == ["fetch: done in 2.0 s, 4.2 MB, cached", "the job begins again", "again"]


def test_a_build_that_has_said_nothing_has_an_empty_log(world: World) -> None:
    assert world.run("builds", "logs", world.waits) == Ran(status=0, stdout="", stderr="")


@pytest.mark.parametrize("command", ["show", "logs"])
def test_an_unknown_build_is_code_5(world: World, command: str) -> None:
    ran = world.run("builds", command, "nonsense")
    assert (ran.status, ran.stdout) == (5, "")
    assert ran.stderr == "error: no build 'nonsense' (RecordNotFound)\n  try:  s2ictl builds list --all\n"


def test_a_beginning_that_several_have_names_them(world: World, tmp_path: Path) -> None:
    with open_ledger(tmp_path / "state", lambda: BEGAN) as ledger:
        for identity in ("f0f0f0f0f0f1", "f0f0f0f0f0f2"):
            ledger.begin(identity, kind="build", app="a", source="", builder="", tags=(), owner="")
    ran = world.run("builds", "logs", "f0f0f0")
    assert (ran.status, ran.stdout) == (2, "")
    assert "try:  f0f0f0f0f0f2 or f0f0f0f0f0f1\n" in ran.stderr


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
