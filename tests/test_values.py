"""Values are what the standard library makes of the same class, and only come about in another way."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import pkgutil
from dataclasses import field
from pathlib import Path
from typing import Any

import msgspec
import pytest

import s2ictl
from s2ictl import values


def point(dataclass: Any, *, kw_only: bool = True) -> Any:
    @dataclass(frozen=True, slots=True, kw_only=kw_only)
    class Point:
        """Where something is."""

        x: int
        y: int = 2
        words: tuple[str, ...] = ()
        more: dict[str, int] = field(default_factory=dict)

        @property
        def sum(self) -> int:
            return self.x + self.y

    return Point


def line(dataclass: Any, *, kw_only: bool = True) -> Any:
    @dataclass(frozen=True, slots=True, kw_only=kw_only)
    class Line(point(dataclass, kw_only=kw_only)):  # type: ignore[misc]
        end: int = 5

    return Line


def hidden(dataclass: Any, *, kw_only: bool = True) -> Any:
    @dataclass(frozen=True, slots=True, kw_only=kw_only)
    class Hidden(point(dataclass, kw_only=kw_only)):  # type: ignore[misc]
        """Shows itself in its own way."""

        def __repr__(self) -> str:
            return "hidden"

    return Hidden


def pair(dataclass: Any) -> Any:
    @dataclass(frozen=True, slots=True)
    class Pair:
        left: int
        right: str = ""

    return Pair


def pen(dataclass: Any) -> Any:
    @dataclass(slots=True)
    class Pen:
        room: int
        lines: list[str] = field(default_factory=list)

        def write(self, line: str) -> None:
            self.room -= len(line)
            self.lines.append(line)

    return Pen


def watch(dataclass: Any) -> Any:
    @dataclass(slots=True)
    class Watch:
        began: int
        now: int = field(init=False)

        def __post_init__(self) -> None:
            self.now = self.began

    return Watch


def told_of(cls: Any) -> tuple[object, ...]:
    """All that can be seen of a class and its values."""
    first, second = cls(x=1), cls(x=1, y=2)
    compared = (first == second, first != cls(x=2), first == 1, first.sum, first.more)
    read = (repr(first), dataclasses.asdict(first), repr(dataclasses.replace(first, y=3)))
    names = [each.name for each in dataclasses.fields(cls)]
    return (*compared, *read, cls.__doc__, cls.__slots__, names, cls.__match_args__, cls.__qualname__)


@pytest.mark.parametrize("kw_only", [True, False])
@pytest.mark.parametrize("shape", [point, hidden])
def test_a_value_is_made_shown_and_compared_as_the_standard_library_does_it(shape: Any, kw_only: bool) -> None:
    theirs, ours = (shape(dataclass, kw_only=kw_only) for dataclass in (dataclasses.dataclass, values.dataclass))

    assert told_of(ours) == told_of(theirs)


def test_a_value_may_have_what_another_has_and_more() -> None:
    theirs, ours = (line(dataclass)(x=1, end=7) for dataclass in (dataclasses.dataclass, values.dataclass))

    assert (repr(ours), ours.sum, hasattr(ours, "__dict__")) == (repr(theirs), theirs.sum, False)


def test_equal_values_have_one_hash() -> None:
    made = pair(values.dataclass)

    assert {made(1), made(1), made(1, "b")} == {made(1), made(1, "b")}


def test_each_value_has_a_default_of_its_own_where_one_is_made() -> None:
    made = point(values.dataclass)

    assert made(x=1).more is not made(x=1).more


def test_what_comes_by_position_comes_in_the_order_of_the_fields() -> None:
    made = point(values.dataclass, kw_only=False)

    assert made(1, 5, ("a",)) == made(x=1, y=5, words=("a",))


@pytest.mark.parametrize("arguments", [{}, {"x": 1, "z": 2}])
def test_a_value_that_is_not_whole_or_too_much_is_refused(arguments: dict[str, int]) -> None:
    with pytest.raises(TypeError):
        point(values.dataclass)(**arguments)


def test_a_value_does_not_change() -> None:
    made = pair(values.dataclass)
    value = made(1)

    with pytest.raises(dataclasses.FrozenInstanceError):
        value.left = 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        del value.left
    with pytest.raises(dataclasses.FrozenInstanceError):
        value.other = 2
    assert value == made(1)


def test_what_is_not_frozen_changes_and_is_compared_and_has_no_hash() -> None:
    written = []
    for dataclass in (dataclasses.dataclass, values.dataclass):
        made = pen(dataclass)
        first, second = made(10), made(room=10)
        first.write("abc")
        written.append(
            (repr(first), first == second, first == made(7, ["abc"]), made.__hash__, hasattr(first, "__dict__"))
        )

    assert written[0] == written[1]


def test_what_is_made_whole_after_its_fields_is_so() -> None:
    theirs, ours = (watch(dataclass)(3) for dataclass in (dataclasses.dataclass, values.dataclass))

    assert (repr(ours), ours.now) == (repr(theirs), 3)


def test_the_borders_read_documents_into_values() -> None:
    made = pair(values.dataclass)

    assert msgspec.json.decode(b'{"left": 1}', type=made) == made(1)


def many(cls: Any) -> list[Any]:
    return [cls(x=number, y=1) for number in range(50)]


@pytest.mark.parametrize("shape", [point, line, hidden])
def test_the_first_values_are_as_the_later_ones(shape: Any) -> None:
    theirs, ours = (many(shape(dataclass)) for dataclass in (dataclasses.dataclass, values.dataclass))

    assert list(map(dataclasses.astuple, ours)) == list(map(dataclasses.astuple, theirs))
    assert list(map(repr, ours)) == list(map(repr, theirs))
    assert len({id(each.more) for each in ours}) == len(ours)


@pytest.mark.parametrize("arguments", [{}, {"x": 1, "z": 2}])
def test_a_value_is_refused_as_the_standard_library_does_it(arguments: dict[str, int]) -> None:
    said = []
    for dataclass in (dataclasses.dataclass, values.dataclass):
        with pytest.raises(TypeError) as caught:
            point(dataclass)(**arguments)
        said.append(str(caught.value).rpartition("__init__")[2])

    assert said[0] == said[1]


def test_every_value_of_the_program_has_the_fields_that_the_standard_library_finds() -> None:
    modules = [
        importlib.import_module(found.name)
        for found in pkgutil.walk_packages(s2ictl.__path__, "s2ictl.")
        if found.name != "s2ictl.__main__"
    ]
    found = (each for module in modules for each in vars(module).values())
    made: set[Any] = {each for each in found if isinstance(each, type) and hasattr(each, "__shape__")}

    assert len(made) > 150
    for each in made:
        fields = dataclasses.fields(each)
        defaults = {field.name for field in fields if field.default is not dataclasses.MISSING}
        factories = {field.name for field in fields if field.default_factory is not dataclasses.MISSING}
        shape = each.__shape__
        assert [field.name for field in fields] == list(shape.names), each
        assert (defaults, factories) == (set(shape.defaults), set(shape.factories)), each
        assert [field.name for field in fields if not field.kw_only] == list(each.__match_args__), each


def test_every_value_of_the_program_is_made_so() -> None:
    package = Path(s2ictl.__file__).parent
    theirs = [
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom)
        and node.module == "dataclasses"
        and any(name.name == "dataclass" for name in node.names)
        and path.name != "values.py"
    ]

    assert theirs == []
