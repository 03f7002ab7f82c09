"""Expressions answer as compiled ones do, and every one that the program has can be compiled."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable

import pytest

import s2ictl
from s2ictl import expressions


@pytest.mark.parametrize(
    "ask",
    [
        lambda found: found.fullmatch("Ab12") is not None,
        lambda found: found.match("a1-").group("letters"),
        lambda found: found.search("..a1").span(),
        lambda found: found.sub("x", "a1 b2"),
        lambda found: found.findall("a1 b2"),
        lambda found: [each[0] for each in found.finditer("a1 b2")],
        lambda found: found.split("-a1-"),
        lambda found: (found.pattern, found.flags),
    ],
)
def test_an_expression_answers_as_a_compiled_one(ask: Callable[[re.Pattern[str]], object]) -> None:
    text, flags = "(?P<letters>[a-z]+)[0-9]+", re.IGNORECASE

    assert ask(expressions.expression(text, flags)) == ask(re.compile(text, flags))


def test_what_is_asked_twice_is_answered_twice() -> None:
    word = expressions.expression(rb"[a-z]+")

    assert [word.fullmatch(b"a") is None, word.fullmatch(b"1") is None] == [False, True]


def test_a_mistake_is_found_when_it_is_asked() -> None:
    with pytest.raises(re.error):
        expressions.expression("(").search("")


def test_every_expression_of_the_program_is_one() -> None:
    modules = [
        importlib.import_module(found.name)
        for found in pkgutil.walk_packages(s2ictl.__path__, "s2ictl.")
        if found.name != "s2ictl.__main__"
    ]
    found = [
        value for module in modules for value in vars(module).values() if isinstance(value, expressions._Expression)
    ]

    assert len(found) > 50
    assert all(isinstance(each.pattern, (str, bytes)) for each in found)
