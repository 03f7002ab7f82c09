from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2ictl import errors, ui
from s2ictl.events import Event, Line, Notice, Progress, StepFinished, StepStarted

STORY: list[Event] = [
    StepStarted(name="fetch", subject="https://git.example.com/shop.git"),
    Line(text="Cloning"),
    Progress(subject="layer", done=5, total=10),
    StepFinished(name="fetch", seconds=1.25),
    Notice(text="the builder is old", level="warning"),
    StepStarted(name="assemble", subject="s2ictl/python:3.13"),
    StepFinished(name="assemble", seconds=75.2, failed=True),
    Notice(text="Build completed successfully"),
]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(appearance: ui.Appearance, stderr: io.StringIO, **environ: str) -> str:
    with ui.showing(appearance, stderr=stderr, environ=environ, now=1700000000) as emit:
        for event in STORY:
            emit(event)
    return stderr.getvalue()


def test_nobody_looks_and_lines_are_plain() -> None:
    assert shown(ui.Appearance(), io.StringIO()) == (
        "fetch  https://git.example.com/shop.git\n"
        "  | Cloning\n"
        "fetch: done in 1.2 s\n"
        "warning: the builder is old\n"
        "assemble  s2ictl/python:3.13\n"
        "assemble: failed after 1 m 15 s\n"
        "Build completed successfully\n"
    )


def test_quiet_shows_nothing() -> None:
    assert shown(ui.Appearance(quiet=True), Terminal()) == ""


def test_json_is_one_object_a_line_for_every_event() -> None:
    lines = [json.loads(line) for line in shown(ui.Appearance(progress="json"), io.StringIO()).splitlines()]
    assert [line["event"] for line in lines] == [type(event).__name__ for event in STORY]
    assert lines[3] == {
        "event": "StepFinished",
        "name": "fetch",
        "seconds": 1.25,
        "failed": False,
        "cached": False,
        "size": 0,
    }


def test_github_folds_each_step() -> None:
    text = shown(ui.Appearance(), io.StringIO(), CI="true", GITHUB_ACTIONS="true")
    assert text.startswith("::group::fetch  https://git.example.com/shop.git\n  | Cloning\n::endgroup::\n")


def test_gitlab_folds_each_step() -> None:
    text = shown(ui.Appearance(), io.StringIO(), CI="true", GITLAB_CI="true")
    assert text.startswith("\x1b[0Ksection_start:1700000000:fetch\r\x1b[0Kfetch  https://git.example.com/shop.git\n")
    assert "\x1b[0Ksection_end:1700000000:fetch\r\x1b[0K\n" in text


@pytest.mark.parametrize("command", ["::set-env name=A::b", "x ##[error]y", "  ::stop-commands::t"])
def test_foreign_lines_give_github_no_command(command: str) -> None:
    stderr = io.StringIO()
    with ui.showing(ui.Appearance(), stderr=stderr, environ={"GITHUB_ACTIONS": "true"}, now=0) as emit:
        emit(Line(text=command))
    assert "::" not in stderr.getvalue()
    assert "##[" not in stderr.getvalue()


def test_a_terminal_keeps_each_step_with_its_time_and_drops_the_lines() -> None:
    text = shown(ui.Appearance(color=False), Terminal(), TERM="xterm")
    assert "✓ fetch  https://git.example.com/shop.git  1.2 s" in text
    assert "✗ assemble  s2ictl/python:3.13  1 m 15 s" in text
    assert text.rstrip().endswith("Build completed successfully")
    assert "| Cloning" not in text


def test_a_terminal_in_ci_is_not_looked_at() -> None:
    assert shown(ui.Appearance(), Terminal(), TERM="xterm", CI="true").startswith("fetch  https://")


@given(st.text())
def test_foreign_text_moves_no_cursor(text: str) -> None:
    escaped = ui.printable(text)
    assert not any(ord(c) < 32 and c != "\t" for c in escaped)
    assert not any(0x7F <= ord(c) <= 0x9F or 0xD800 <= ord(c) <= 0xDFFF for c in escaped)


@given(st.text())
def test_rich_takes_foreign_text_literally(text: str) -> None:
    stderr = Terminal()
    with ui.showing(ui.Appearance(verbose=1), stderr=stderr, environ={"TERM": "xterm"}, now=0) as emit:
        emit(StepStarted(name="assemble", subject=f"[/evil]{text}"))
        emit(Line(text=f"[/evil]{text}"))
    assert "[/evil]" in stderr.getvalue()


def test_an_error_says_what_why_and_what_next() -> None:
    error = errors.PushUnauthorized(
        "could not push registry.example.com/shop", detail="the registry answered 401\nas ci", hint="s2ictl login"
    )
    assert ui.error_text(error) == (
        "error: could not push registry.example.com/shop (PushUnauthorized)\n"
        "  why:  the registry answered 401\n"
        "        as ci\n"
        "  try:  s2ictl login"
    )
    assert json.loads(ui.error_json(error)) == {
        "error": "could not push registry.example.com/shop",
        "reason": "PushUnauthorized",
        "exit": 4,
        "why": "the registry answered 401\nas ci",
        "try": "s2ictl login",
    }


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


def test_a_table_is_as_wide_as_its_cells() -> None:
    assert ui.table(("NAME", "STATE"), [("shop", "ok"), ("a-longer-one", "")]) == (
        "NAME          STATE\nshop          ok\na-longer-one"
    )


def test_every_error_is_in_the_drawn_tree() -> None:
    classes = {c.__name__ for c in vars(errors).values() if isinstance(c, type) and issubclass(c, errors.S2IError)}
    drawn = {word for word in (errors.__doc__ or "").replace("─", " ").split() if word in classes}
    assert drawn == classes
