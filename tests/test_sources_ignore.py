"""What a line of `.s2iignore` means, and that no line and no name can hold it up."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2ictl.errors import InvalidConfiguration
from s2ictl.sources.ignore import excludes


@pytest.mark.parametrize(
    ("rule", "out", "kept"),
    [
        ("*.log", ["a.log", "d/a.log", ".log"], ["a.logs", "log"]),
        ("/a", ["a"], ["d/a"]),
        ("d/a", ["d/a", "d/a/b"], ["e/d/a"]),
        ("d/**", ["d/a", "d/e/f"], ["e/d/a"]),
        ("**/a", ["a", "d/a", "d/e/a"], ["ab"]),
        ("d/**/a", ["d/a", "d/e/a", "d/e/f/a"], ["a", "e/a"]),
        ("d/**/e/**/a", ["d/e/a", "d/x/e/y/a", "d/e/x/e/a"], ["d/a", "d/x/a"]),
        ("a*b*c", ["abc", "axxbyyc", "abbcc"], ["ac", "abcd", "acb"]),
        ("*a*", ["a", "xax"], ["b"]),
        ("a?c", ["abc", "aéc"], ["ac", "abbc"]),
        ("[a-c]x", ["ax", "cx"], ["dx", "x"]),
        ("[!a-c]x", ["dx"], ["ax"]),
        ("[]-]x", ["]x", "-x"], ["ax"]),
        ("[c-a]x", ["cx"], ["ax", "bx"]),
        ("[^.]x", ["ax", "^x"], [".x"]),
        (r"\*", ["*"], ["a"]),
        (r"\#a", ["#a"], ["a"]),
        (r"\!a", ["!a"], ["a"]),
        ("a\\ ", ["a "], ["a"]),
        ("a  ", ["a"], ["a  "]),
        ("a.b", ["a.b"], ["axb"]),
    ],
)
def test_a_rule_leaves_out_what_git_would(rule: str, out: list[str], kept: list[str]) -> None:
    is_out = excludes(rule.encode())
    assert {path: is_out(path, False) for path in (*out, *kept)} == {
        **dict.fromkeys(out, True),
        **dict.fromkeys(kept, False),
    }


@pytest.mark.parametrize("name", [".git", ".GIT", "a/.git/config", ".git/x", "a/.Git"])
def test_what_is_git_s_own_is_left_out_without_a_rule(name: str) -> None:
    assert excludes(b"!.git\n")(name, False)


@pytest.mark.parametrize(
    ("rules", "path"),
    [
        ("*a" * 40 + "b", "a" * 255),
        ("[ab]*" * 40 + "c", "ab" * 120),
        ("**/a/" * 12 + "b", "a/" * 250 + "c"),
        ("x/" + "**/*/" * 12 + "b", "x/" + "a/" * 250 + "c"),
        ("?*" * 100 + "b", "a" * 255),
    ],
)
def test_no_rule_takes_longer_than_its_length_allows(rules: str, path: str) -> None:
    before = time.process_time()
    assert not excludes(rules.encode())(path, False)
    assert time.process_time() - before < 2


def test_a_path_may_be_deeper_than_calls_may_nest() -> None:
    is_out = excludes(b"d/e\nleaf\n")
    assert (is_out("d/" * 5000 + "f", False), is_out("d/" * 5000 + "leaf", False)) == (False, True)
    assert is_out("d/e/" + "f/" * 5000, False)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[a", "[a is not a pattern"),
        (b"[", "[ is not a pattern"),
        (b"a\\", "a\\ is not a pattern"),
        (b"a//b", "a//b is not a pattern"),
        (b"a***", "a*** is not a pattern"),
        (b"x**/y", "x**/y is not a pattern"),
        (b"[[:alpha:]]", "[[:alpha:]] has [ or / in a class of characters"),
        (b"x" * 5000, f"{'x' * 80} is longer than 4096 characters"),
        (b"a\n" * 1001, "more than 1000 patterns"),
    ],
)
def test_what_is_no_pattern_is_told(content: bytes, said: str) -> None:
    with pytest.raises(InvalidConfiguration) as caught:
        excludes(content)
    assert caught.value.message.partition(": ")[2] == said


@given(
    content=st.binary(max_size=60) | st.text("[]!^*?\\/-ab# \n.").map(str.encode),
    path=st.text("ab/.[]*!-é", min_size=1),
)
def test_whatever_stands_in_the_file_it_is_rules_or_a_failure_of_ours(content: bytes, path: str) -> None:
    with suppress(InvalidConfiguration):
        assert excludes(content)(path, False) in (True, False)
