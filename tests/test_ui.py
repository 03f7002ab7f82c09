from __future__ import annotations

import io
import itertools
import json
import os
import re
import subprocess
import sys
import threading
from contextlib import closing, suppress
from typing import TextIO, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2ictl import errors, ui
from s2ictl.events import Event, Line, Notice, Progress, StepFinished, StepStarted, step
from s2ictl.ui.failures import error_json, error_text
from s2ictl.ui.live import Ticker
from s2ictl.ui.row import fitted, latest
from s2ictl.ui.terminal import UNICODE, Piece, cells
from s2ictl.ui.terminal import Terminal as TerminalItself
from tests.fakes.terminal import Terminal
from tests.recordings import pty
from tests.recordings.screen import Screen

STORY: tuple[Event, ...] = (
    StepStarted(name="fetch", subject="https://git.example.com/shop.git"),
    Line(text="Cloning"),
    Progress(subject="layer", done=5, total=10),
    StepFinished(name="fetch", seconds=1.25),
    Notice(text="the builder is old", level="warning"),
    StepStarted(name="assemble", subject="s2ictl/python:3.13"),
    StepFinished(name="assemble", seconds=75.2, failed=True),
    Notice(text="Build completed successfully"),
)

TERM = "xterm-256color"
GITHUB = {"GITHUB_ACTIONS": "true"}


def shown(appearance: ui.Appearance, stderr: io.StringIO, *events: Event, **environ: str) -> str:
    """What stands there when each event came half a second after the one before."""
    times = itertools.count()
    with ui.showing(appearance, stderr=stderr, environ=environ, clock=lambda: next(times) / 2) as emit:
        for event in events:
            emit(event)
    return stderr.getvalue()


def on_screen(text: str, columns: int = 80) -> str:
    screen = Screen(columns, 24)
    screen.feed(text.replace("\n", "\r\n"))
    return screen.everything()


# -------------------------------------------------------------------------------------------------------- which look


def test_nobody_looks_and_lines_are_plain() -> None:
    assert shown(ui.Appearance(), io.StringIO(), *STORY) == (
        "fetch  https://git.example.com/shop.git\n"
        "  | Cloning\n"
        "fetch: done in 1.2 s\n"
        "warning: the builder is old\n"
        "assemble  s2ictl/python:3.13\n"
        "assemble: failed after 1 m 15 s\n"
        "Build completed successfully\n"
    )


@pytest.mark.parametrize(
    ("appearance", "environ"),
    [
        (ui.Appearance(), {"TERM": TERM, "CI": "true"}),
        (ui.Appearance(), {"TERM": "dumb"}),
        (ui.Appearance(), {}),
        (ui.Appearance(progress="plain"), {"TERM": TERM}),
        (ui.Appearance(progress="live"), {"TERM": "dumb"}),
    ],
    ids=["in a CI", "no cursor", "no TERM", "lines were asked for", "live was asked for, but there is no cursor"],
)
def test_a_terminal_is_given_lines_where_nothing_can_move(appearance: ui.Appearance, environ: dict[str, str]) -> None:
    assert shown(appearance, Terminal(), *STORY, **environ).startswith("fetch  https://git.example.com/shop.git\n")


@pytest.mark.parametrize("environ", [{"TERM": TERM}, {"TERM": TERM, "CI": "false"}], ids=["at home", "CI is false"])
def test_a_terminal_is_live(environ: dict[str, str]) -> None:
    assert shown(ui.Appearance(), Terminal(), *STORY, **environ).startswith("\x1b[?25l\r")


def test_live_can_be_asked_for_in_a_ci_that_has_a_terminal() -> None:
    text = shown(ui.Appearance(progress="live"), Terminal(), *STORY, TERM=TERM, CI="true")
    assert text.startswith("\x1b[?25l\r")


def test_live_is_not_written_into_a_file() -> None:
    assert "\x1b" not in shown(ui.Appearance(progress="live"), io.StringIO(), *STORY, TERM=TERM)


def test_quiet_shows_nothing() -> None:
    assert shown(ui.Appearance(quiet=True), Terminal(), *STORY, TERM=TERM) == ""


# -------------------------------------------------------------------------------------------------------- JSON lines

KEYS: dict[type, tuple[str, ...]] = {
    StepStarted: ("event", "at", "name", "subject"),
    StepFinished: ("event", "at", "name", "seconds", "failed", "cached", "size"),
    Line: ("event", "at", "text", "stream"),
    Progress: ("event", "at", "subject", "done", "total", "unit"),
    Notice: ("event", "at", "text", "level"),
}


def test_json_is_one_object_a_line_with_the_same_keys_for_every_event_of_a_kind() -> None:
    lines = [json.loads(line) for line in shown(ui.Appearance(progress="json"), io.StringIO(), *STORY).splitlines()]
    assert [(line["event"], tuple(line)) for line in lines] == [(type(e).__name__, KEYS[type(e)]) for e in STORY]
    assert set(KEYS) == set(get_args(Event))
    assert [line["at"] for line in lines] == [0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0]


@given(st.text(st.characters(exclude_categories=[])))
def test_json_brings_any_text_over_in_one_line_of_ascii(text: str) -> None:
    line = shown(ui.Appearance(progress="json"), io.StringIO(), Line(text=text))
    assert line.isascii()
    assert len(line.splitlines()) == 1
    assert "##" not in line
    # A pair of surrogates is, to JSON, the character that it stands for.
    assert json.loads(line)["text"] == json.loads(json.dumps(text))


# ---------------------------------------------------------------------------------------------------------- CI groups


def obeyed_by_github(line: str) -> bool:
    """As its runner reads: `::` at the head of a trimmed line, or else `##[` anywhere; and Azure's and TeamCity's."""
    return line.strip().startswith("::") or re.search(r"##(vso|teamcity)?\[", line) is not None


FOREIGN = (
    st.text(st.sampled_from("::##[]vsoteamcity \t\r\n\x1b\u2028"))
    | st.text()
    | st.sampled_from(["::set-env name=A::b", ":::x", "  ::stop-commands::t", "###[error]y", "##vso[a]b", ":\x1b[m:x"])
)


@given(FOREIGN)
def test_foreign_text_gives_a_ci_no_command(text: str) -> None:
    error = errors.AssembleFailed(f"no{text}", detail=f"{text}\n{text}", hint=text)
    stderr = io.StringIO()
    events = (
        StepStarted(name="fetch", subject=text),
        Line(text=text),
        Notice(text=text),
        Notice(text=f"{text}\n{text}"),
    )
    told = shown(ui.Appearance(verbose=1), stderr, *events, Progress(subject=text, done=1), **GITHUB)
    ui.print_error(error, as_json=False, stderr=stderr, environ={})
    ui.print_error(error, as_json=True, stderr=stderr, environ={})
    ours, *lines = stderr.getvalue().splitlines()
    assert told.startswith("::group::fetch")
    assert [line for line in lines if obeyed_by_github(line)] == []
    assert obeyed_by_github(ours.removeprefix("::group::")) is False


@given(FOREIGN)
def test_nor_does_an_answer_that_shows_it(text: str) -> None:
    stdout = io.StringIO()
    answer = ui.Answer(text=ui.table(("NAME", "SAYS"), [("shop", text)]), names=(), data={"says": text})
    ui.print_answer(answer, "text", stdout)
    ui.print_answer(answer, "json", stdout)
    assert [line for line in stdout.getvalue().splitlines() if obeyed_by_github(line)] == []


@given(FOREIGN)
def test_an_annotation_is_one_line_and_one_command(text: str) -> None:
    stderr = io.StringIO()
    shown(ui.Appearance(), stderr, Notice(text=f"a{text}", level="warning"), **GITHUB)
    ui.print_error(errors.AssembleFailed(f"a{text}"), as_json=False, stderr=stderr, environ=GITHUB)
    lines = stderr.getvalue().splitlines()
    assert [line[: line.index("::", 2)] for line in lines] == ["::warning", "::error"]
    assert re.findall(r"%(?!25|0A|0D)", "".join(lines)) == []


def test_gitlab_tells_two_steps_of_one_name_apart() -> None:
    steps: list[Event] = [StepStarted(name="base"), StepStarted(name="base"), StepFinished(name="base", seconds=0)]
    text = shown(ui.Appearance(), io.StringIO(), *steps, StepFinished(name="base", seconds=0), GITLAB_CI="true")
    assert re.findall(r"section_\w+:\d+:\w+", text) == [
        "section_start:0:base",
        "section_start:0:base_2",
        "section_end:1:base_2",
        "section_end:1:base",
    ]


def test_a_notice_of_several_lines_forges_none_of_ours() -> None:
    assert shown(ui.Appearance(), io.StringIO(), Notice(text="odd\nBuild completed successfully")) == (
        "odd\n  Build completed successfully\n"
    )


def test_progress_is_told_once_a_second_and_only_on_request() -> None:
    moving: list[Event] = [Progress(subject="layer", done=1000 * n, total=9000) for n in range(5)]
    replicas = Progress(subject="replicas", done=1, total=3, unit="replicas")
    events: list[Event] = [StepStarted(name="deliver"), *moving, replicas]
    assert shown(ui.Appearance(), io.StringIO(), *events) == "deliver\n"
    assert shown(ui.Appearance(verbose=1), io.StringIO(), *events) == (
        "deliver\n"
        "  . layer  0 B of 9.0 kB\n"
        "  . layer  2.0 kB of 9.0 kB\n"
        "  . layer  4.0 kB of 9.0 kB\n"
        "  . replicas  1 of 3 replicas\n"
    )


def test_a_step_that_never_ended_ends_with_the_one_around_it() -> None:
    torn = (StepStarted(name="outer"), StepStarted(name="lost"), StepFinished(name="outer", seconds=1), Line(text="x"))
    assert shown(ui.Appearance(), io.StringIO(), *torn) == "outer\n  lost\nouter: done in 1.0 s\n  | x\n"


# ---------------------------------------------------------------------------------------------------- a live terminal


def test_a_terminal_keeps_each_step_with_its_time_and_drops_the_lines() -> None:
    assert on_screen(shown(ui.Appearance(), Terminal(), *STORY, TERM=TERM)) == (
        "✓ fetch  https://git.example.com/shop.git  1.2 s\n"
        "warning: the builder is old\n"
        "✗ assemble  s2ictl/python:3.13  1 m 15 s\n"
        "Build completed successfully\n"
    )


def test_on_request_a_terminal_keeps_the_lines() -> None:
    assert on_screen(shown(ui.Appearance(verbose=1), Terminal(), *STORY[:4], TERM=TERM)) == (
        "  | Cloning\n✓ fetch  https://git.example.com/shop.git  1.2 s\n"
    )


def test_what_is_said_outside_of_any_step_is_kept() -> None:
    assert on_screen(shown(ui.Appearance(), Terminal(), Line(text="the program runs"), TERM=TERM)) == (
        "  | the program runs\n"
    )


@pytest.mark.parametrize(
    ("appearance", "environ", "colored"),
    [
        (ui.Appearance(), {}, True),
        (ui.Appearance(color=False), {}, False),
        (ui.Appearance(), {"NO_COLOR": "1"}, False),
        (ui.Appearance(), {"NO_COLOR": ""}, True),
    ],
    ids=["usually", "--no-color", "NO_COLOR", "NO_COLOR is empty"],
)
def test_colors_can_be_refused(appearance: ui.Appearance, environ: dict[str, str], colored: bool) -> None:
    text = shown(appearance, Terminal(), *STORY, TERM=TERM, **environ)
    assert bool(re.search(r"\x1b\[[0-9;]*3[0-9]", text)) is colored


def test_a_terminal_without_unicode_is_given_what_it_has() -> None:
    events = (StepStarted(name="fetch", subject="x" * 100), StepFinished(name="fetch", seconds=1.0))
    text = on_screen(shown(ui.Appearance(), Terminal("ascii"), *events, TERM=TERM))
    assert text == f"+ fetch  {'x' * 31}~{'x' * 31}  1.0 s\n"


@given(st.text(), st.integers(1, 120), st.text(max_size=30), st.booleans())
def test_a_moving_row_is_never_wider_than_its_room(text: str, room: int, name: str, wide: bool) -> None:
    subject = "依赖\u0301📦" * 20 if wide else ui.printable(text)
    head = (Piece("⠋ ", "cyan"), Piece(ui.printable(name).replace("\t", " "), "bold"))
    row = fitted(head, subject, ("1.0 s", "1.2 MB"), latest(text, room), room, UNICODE, crop=True)
    assert cells("".join(piece.text for piece in row)) <= room
    assert not set("".join(piece.text for piece in row)) & set("\r\n\x1b")


@pytest.mark.parametrize(
    ("columns", "row"),
    [
        (20, "⠋ fetch  0.5 s"),
        (40, "⠋ fetch  https….git  0.5 s  Receiving …"),
        (60, "⠋ fetch  https://gi…/shop.git  0.5 s  Receiving objects:  …"),
        (100, "⠋ fetch  https://git.example.com/shop.git  0.5 s  Receiving objects:  50%"),
    ],
)
def test_what_is_too_wide_gives_way_in_order(columns: int, row: str) -> None:
    head, subject = (Piece("⠋ "), Piece("fetch")), "https://git.example.com/shop.git"
    tail = latest("Receiving objects:  10%\rReceiving objects:  50%\r", columns)
    pieces = fitted(head, subject, ("0.5 s",), tail, columns - 1, UNICODE, crop=True)
    assert "".join(piece.text for piece in pieces) == row


@given(st.text(), st.text())
def test_foreign_text_moves_no_cursor(text: str, subject: str) -> None:
    # The screen refuses every sequence that is not ours.
    events = (StepStarted(name="assemble", subject=f"[/evil]{subject}"), Line(text=f"[/evil]{text}"), Notice(text=text))
    ended = StepFinished(name="assemble", seconds=1.0)
    text = shown(ui.Appearance(verbose=1), Terminal(), *events, ended, TERM=TERM)
    assert "[/evil]" in on_screen(text)


@given(st.text())
def test_printable_text_has_no_controls(text: str) -> None:
    escaped = ui.printable(text)
    assert not any(ord(c) < 32 and c != "\t" for c in escaped)
    assert not any(0x7F <= ord(c) <= 0x9F or 0xD800 <= ord(c) <= 0xDFFF for c in escaped)


@pytest.mark.parametrize("how", ["fold", "clip"])
def test_a_window_made_narrower_keeps_no_piece_of_the_old_row(how: str) -> None:
    def show(stream: TextIO) -> None:
        with ui.showing(ui.Appearance(), stderr=stream, environ={"TERM": TERM}, clock=lambda: 0.0) as emit:
            emit(StepStarted(name="read", subject="app"))
            emit(StepFinished(name="read", seconds=0.1))
            emit(StepStarted(name="fetch", subject="https://git.example.com/a/rather/long/address/of/a/shop.git"))
            pty.resize(stream.fileno(), columns=30, rows=24)
            pty.mark(stream, f"{how} 30")
            emit(StepFinished(name="fetch", seconds=0.4, cached=True))

    screen = Screen(80, 24)
    screen.feed(pty.printed(show, columns=80, rows=24))
    assert screen.everything() == "✓ read  app  0.1 s\n✓ fetch  0.4 s  cached\n"


def test_a_silent_step_is_seen_to_be_at_work() -> None:
    drawn = threading.Semaphore(0)
    with closing(Ticker(drawn.release, every=0.001)) as ticker:
        ticker.start()
        assert drawn.acquire(timeout=10)
        assert drawn.acquire(timeout=10)


def test_a_ticker_whose_terminal_is_gone_leaves_the_word_to_the_story() -> None:
    tried = threading.Semaphore(0)

    def draw() -> None:
        tried.release()
        raise BrokenPipeError

    with closing(Ticker(draw, every=0.001)) as ticker:
        ticker.start()
        assert tried.acquire(timeout=10)


def test_a_terminal_that_was_closed_is_a_closed_pipe() -> None:
    with pty.opened(columns=80, rows=24) as (master, slave):
        stream = os.fdopen(os.dup(slave), "w", encoding="utf-8")
        terminal = TerminalItself(stream, {"TERM": TERM}, color=True)
        terminal.write("still there")
        os.close(master)
        with pytest.raises(BrokenPipeError, match="the terminal is gone"):
            terminal.write("any more?")
        with suppress(OSError):
            stream.close()


def ended_by(stop: BaseException, *lines: str) -> str:
    """What stands on a terminal whose build ended so in the middle of a step."""
    stderr = Terminal()
    with (
        suppress(KeyboardInterrupt, errors.S2IError),
        ui.showing(ui.Appearance(), stderr=stderr, environ={"TERM": TERM}, clock=lambda: 0.0) as emit,
        step("assemble", "app", emit),
    ):
        for line in lines:
            emit(Line(text=line))
        raise stop
    screen = Screen(80, 24)
    screen.feed(stderr.getvalue().replace("\n", "\r\n"))
    assert screen.cursor_shown
    return screen.everything()


def test_an_interrupted_step_gives_the_terminal_back() -> None:
    assert re.fullmatch(r"✗ assemble  app  \d+\.\d s\n", ended_by(KeyboardInterrupt(), "working"))


def test_the_last_lines_of_a_failed_step_are_shown_where_the_error_does_not_say_them() -> None:
    lines = [f"line {number}" for number in range(25)]
    late = errors.LimitReached("assemble did not end within 60 s", detail="")
    said = errors.AssembleFailed("assemble ended with 3", detail="\n".join(lines[-20:]))
    assert ended_by(late, *lines).splitlines()[1:] == [f"  | {line}" for line in lines[-20:]]
    assert ended_by(said, *lines).splitlines()[1:] == []
    assert ended_by(late, "working", "").splitlines()[1:] == ["  | working", "  |"]


def test_a_command_that_fails_before_any_step_leaves_the_terminal_alone() -> None:
    stderr = Terminal()
    with (
        pytest.raises(errors.InvalidUsage),
        ui.showing(ui.Appearance(), stderr=stderr, environ={"TERM": TERM}, clock=lambda: 0.0),
    ):
        raise errors.InvalidUsage("no such thing")
    assert stderr.getvalue() == ""


def test_a_terminal_without_any_event_loads_no_rich() -> None:
    code = """
import io, sys
from s2ictl import ui
class Terminal(io.StringIO):
    def isatty(self): return True
with ui.showing(ui.Appearance(), stderr=Terminal(), environ={"TERM": "xterm"}, clock=float):
    pass
print([name for name in ("rich", "msgspec") if name in sys.modules])
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


# ------------------------------------------------------------------------------------------------ errors and answers


def test_an_error_says_what_why_and_what_next() -> None:
    error = errors.PushUnauthorized(
        "could not push registry.example.com/shop", detail="the registry answered 401\nas ci", hint="s2ictl login"
    )
    assert error_text(error) == (
        "error: could not push registry.example.com/shop (PushUnauthorized)\n"
        "  why:  the registry answered 401\n"
        "        as ci\n"
        "  try:  s2ictl login"
    )
    assert json.loads(error_json(error)) == {
        "error": "could not push registry.example.com/shop",
        "reason": "PushUnauthorized",
        "exit": 4,
        "why": "the registry answered 401\nas ci",
        "try": "s2ictl login",
    }


def test_an_error_about_a_name_that_is_no_text_is_json_too() -> None:
    assert json.loads(error_json(errors.S2IError("no file a\udcff")))["error"] == "no file a\udcff"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (12_345_678_901, "12.3 GB"),
    ],
)
def test_sizes_are_read_at_a_glance(count: int, text: str) -> None:
    assert ui.size(count) == text


ANSWER = ui.Answer(text="a:1", names=("a:1", "b:1"), data={"image": "a:1", "tags": ["a:1", "b:1"]})


@pytest.mark.parametrize(
    ("output", "printed"),
    [
        ("text", "a:1\n"),
        ("name", "a:1\nb:1\n"),
        ("json", '{\n  "image": "a:1",\n  "tags": [\n    "a:1",\n    "b:1"\n  ]\n}\n'),
        ("yaml", "image: a:1\ntags:\n- a:1\n- b:1\n"),
    ],
)
def test_an_answer_has_four_forms(output: ui.Output, printed: str) -> None:
    stdout = io.StringIO()
    ui.print_answer(ANSWER, output, stdout)
    assert stdout.getvalue() == printed


def test_an_answer_about_a_name_that_is_no_text_is_an_answer() -> None:
    answer = ui.Answer(text="", names=(), data={"because": ["a\udcff\n\x9b"]})
    as_json, as_yaml = io.StringIO(), io.StringIO()
    ui.print_answer(answer, "json", as_json)
    ui.print_answer(answer, "yaml", as_yaml)
    assert (json.loads(as_json.getvalue()), as_json.getvalue().isascii()) == (answer.data, True)
    assert "a\ufffd" in as_yaml.getvalue().encode().decode()


def test_a_table_is_as_wide_as_its_cells() -> None:
    assert ui.table(("NAME", "STATE"), [("shop", "ok"), ("a-longer-one", "")]) == (
        "NAME          STATE\nshop          ok\na-longer-one"
    )


def test_every_error_is_in_the_drawn_tree() -> None:
    classes = {c.__name__ for c in vars(errors).values() if isinstance(c, type) and issubclass(c, errors.S2IError)}
    drawn = {word for word in (errors.__doc__ or "").replace("─", " ").split() if word in classes}
    assert drawn == classes
