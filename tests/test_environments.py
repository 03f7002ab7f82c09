"""The variables of a build: who wins, what is said of them, and how many they may be."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2ictl.environments import LARGEST_FILE, environment_of, handed_on, parse_environment
from s2ictl.errors import InvalidConfiguration, LimitReached
from s2ictl.events import Emit, Event
from s2ictl.models import BuildRequest, Secret, Source
from tests.logs import texts

PLACE = ".s2i/environment"


def request(*env: tuple[str, str], build_env: tuple[tuple[str, Secret], ...] = ()) -> BuildRequest:
    source = Source(kind="directory", location="/src")
    return BuildRequest(source=source, builder="b:1", names=(), env=env, build_env=build_env)


def test_the_user_s_word_beats_the_source_s(emit: Emit) -> None:
    assert environment_of(request(("A", "user")), b"A=source\nB=source", PLACE, emit) == {"A": "user", "B": "source"}


def test_a_bad_line_is_left_out_and_named(events: list[Event], emit: Emit) -> None:
    text = '\n# c\n// c\nA = "1" \nexport B=2\nC\nD=\n1E=1\n'
    assert list(parse_environment(text, "env", emit)) == [("A", '"1"'), ("D", "")]
    assert texts(events) == ["env: left out because not NAME=VALUE: line 5, 6, 8"]


def test_a_million_bad_lines_are_one_warning(events: list[Event], emit: Emit) -> None:
    assert list(parse_environment("x\n" * 1_000_000 + "A=1", "env", emit)) == [("A", "1")]
    assert texts(events) == ["env: left out because not NAME=VALUE: line 1, 2, 3, 4, 5 and 999995 more"]


def test_many_steering_variables_do_not_make_a_long_warning(events: list[Event], emit: Emit) -> None:
    content = "\n".join(f"LD_{'X' * 1000}{number}=1" for number in range(50)).encode()
    environment_of(request(), content, PLACE, emit)
    assert len(texts(events)[0]) < 600


def test_windows_line_ends_and_its_mark_at_the_beginning_are_no_part_of_anything(events: list[Event]) -> None:
    assert environment_of(request(), b"\xef\xbb\xbfA=1\r\nB=2\r\n", PLACE, events.append) == {"A": "1", "B": "2"}
    assert events == []


def test_only_line_ends_end_a_line(emit: Emit) -> None:
    assert dict(parse_environment("A=1\x0b2\u20283\x85", "env", emit)) == {"A": "1\x0b2\u20283"}


def test_what_decides_over_programs_is_honoured_and_said(events: list[Event], emit: Emit) -> None:
    assert environment_of(request(), b"PATH=/x\nLD_PRELOAD=/y\nPATHS=1", PLACE, emit)["LD_PRELOAD"] == "/y"
    assert texts(events) == [
        ".s2i/environment sets PATH, LD_PRELOAD, which decides what the builder's programs are",
    ]


def test_a_file_of_ten_megabytes_is_a_mistake(emit: Emit) -> None:
    with pytest.raises(InvalidConfiguration, match=r"\.s2i/environment has 10 MB or more"):
        environment_of(request(), b"#" * LARGEST_FILE, PLACE, emit)
    assert environment_of(request(), b"#" * (LARGEST_FILE - 1), PLACE, emit) == {}


@pytest.mark.parametrize("build_env", [(), (("B", Secret("x" * 70_000)),)])
def test_variables_have_a_limit_together(build_env: tuple[tuple[str, Secret], ...], emit: Emit) -> None:
    asked = request(("A", "x" * (70_000 if build_env else 140_000)), build_env=build_env)
    with pytest.raises(LimitReached, match="the limit is 131072"):
        environment_of(asked, b"", PLACE, emit)


def test_bytes_of_the_surroundings_that_are_no_text_are_handed_on(emit: Emit) -> None:
    proxy = Secret("http://\udcff")
    asked = replace(request(), surroundings=(("HTTP_PROXY", proxy),))
    assert environment_of(asked, b"", PLACE, emit) == {}
    assert handed_on(asked) == (("HTTP_PROXY", Secret("http://\udcff")),)


@given(st.binary(max_size=200))
def test_whatever_stands_in_the_file_only_variables_come_of_it(content: bytes) -> None:
    for name, value in environment_of(request(), content, PLACE, lambda _: None).items():
        assert name
        assert "=" not in name
        assert "\0" not in name + value
