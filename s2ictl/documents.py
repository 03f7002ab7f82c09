"""YAML in and out; the only importer of yaml.

Configuration is written by people and read by several programs, so what their readers disagree about (`no`, `0o17`,
`12:30`, a key twice) is refused with its place instead of being guessed, and what only attacks use (tags, alias bombs,
bottomless nesting) is refused too. Each key and value keeps its line and column, so that whatever is wrong with a
value later is said where it stands. A document becomes a frozen dataclass here, and no dictionary travels further.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
import stat
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import field
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from s2ictl.errors import InvalidConfiguration, InvalidUsage
from s2ictl.expressions import expression
from s2ictl.values import dataclass

MAX_BYTES = 1 << 20
MAX_DEPTH = 64
MAX_NODES = 20_000  # counted after aliases are followed: ten lines of them can stand for a billion values

T = TypeVar("T")
Step = str | int
Place = tuple[Step, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    line: int = 1
    column: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One YAML document as plain values, with the mark of every key and of every value."""

    name: str
    value: Any
    keys: Mapping[Place, Mark]
    values: Mapping[Place, Mark]

    def wrong(self, place: Place, what: str, *, hint: str = "", key: bool = False) -> InvalidConfiguration:
        """The error that says what is wrong at a place."""
        marks = self.keys if key and place in self.keys else self.values
        return _wrong(self.name, marks.get(place, Mark()), what, hint)


def read(path: Path) -> str:
    """The text of a regular file, within limits; a fifo is refused instead of waited for."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise InvalidConfiguration(f"{path}:1:1: not a regular file")
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InvalidConfiguration(f"{path}:1:1: {error.strerror or error}") from error
    return decode(content, str(path))


def decode(content: bytes, name: str) -> str:
    """Bytes as the text that YAML is made of: UTF-8, no byte order mark, no control characters."""
    if len(content) > MAX_BYTES:
        raise _wrong(name, Mark(), f"larger than {MAX_BYTES >> 20} MiB")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _wrong(name, Mark(), "this is UTF-16", "save it as UTF-8")
    if content.startswith(b"\xef\xbb\xbf"):
        raise _wrong(name, Mark(), "the file begins with a byte order mark", "save it as UTF-8 without BOM")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        mark = _mark_at(content[: error.start].decode("utf-8", "replace"))
        raise _wrong(name, mark, f"byte 0x{content[error.start]:02x} is not UTF-8") from error
    if found := re.search(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", text):
        raise _wrong(name, _mark_at(text[: found.start()]), f"a control character (U+{ord(found[0]):04X})")
    return text


def load(text: str, name: str) -> Document:
    """Parse one document; `name` is what messages call the file."""
    import yaml

    decode(text.encode("utf-8", "surrogatepass"), name)
    try:
        return _Reader(name, yaml.parse(text, Loader=yaml.CSafeLoader), yaml).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = Mark(line=mark.line + 1, column=mark.column + 1) if mark else Mark()
        raise _wrong(name, where, f"not YAML: {error.problem or error.context or 'cannot be parsed'}") from error
    except yaml.YAMLError as error:
        raise _wrong(name, Mark(), f"not YAML: {error}") from error


def dump(*values: object) -> str:
    """Plain values as YAML documents, keys in the order given, every text quoted that some reader would misread."""
    import yaml

    class Dumper(yaml.CSafeDumper):
        def ignore_aliases(self, _data: object) -> bool:
            return True

    def text(dumper: Any, value: str) -> Any:
        style = "|" if "\n" in value.strip("\n") else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style if _is_text(value) else '"')

    Dumper.add_representer(str, text)
    rendered: str = yaml.dump_all(
        values, Dumper=Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False, width=4096
    )
    return rendered


# ---------------------------------------------------------------------------------------------------------- reading

_NULL = expression(r"|~|null|Null|NULL")
_BOOL = expression(r"true|True|TRUE|false|False|FALSE")
_INT = expression(r"[-+]?(?:0|[1-9][0-9]{0,17})")
_FLOAT = expression(r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?")
_DISPUTED = expression(
    r"y|Y|n|N|(?i:yes|no|on|off)"  # booleans in YAML 1.1 alone
    r"|[-+]?0[0-9_]+|[-+]?0[oxb][0-9a-fA-F_]+|[-+]?[0-9][0-9_]*_[0-9_]*"  # octal, hexadecimal, binary, grouped
    r"|[-+]?[0-9]{19,}"
    r"|[-+]?[0-9]+(?::[0-5]?[0-9])+(?:\.[0-9]*)?"  # 12:30 is 750 to some
    r"|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt ].*)?"  # a date
    r"|[-+]?\.(?i:inf|nan)"
    r"|="
)


def _is_text(plain: str) -> bool:
    return not any(kind.fullmatch(plain) for kind in (_NULL, _BOOL, _INT, _FLOAT, _DISPUTED))


@dataclass(slots=True)
class _Reader:
    """Composes values from the parser's events: the place where every limit holds while the document is still read."""

    name: str
    events: Iterator[Any]
    yaml: Any
    keys: dict[Place, Mark] = field(default_factory=dict)
    values: dict[Place, Mark] = field(default_factory=dict)
    anchors: dict[str, tuple[Any, int]] = field(default_factory=dict)
    nodes: int = 0

    def document(self) -> Document:
        value = None
        documents = 0
        for event in self.events:
            if isinstance(event, self.yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self._wrong(event, "a second document begins", "one file holds one document")
            elif isinstance(event, self.yaml.NodeEvent):
                value = self._node(event, ())
        return Document(name=self.name, value=value, keys=self.keys, values=self.values)

    def _node(self, event: Any, place: Place) -> Any:
        self.values[place] = _mark(event)
        before = self.nodes
        self._count(event, 1)
        if len(place) > MAX_DEPTH:
            raise self._wrong(event, f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, self.yaml.AliasEvent):
            return self._alias(event)
        if event.tag is not None:
            raise self._wrong(event, f"the tag {event.tag!r} is not understood", "leave the tag out")
        value = self._content(event, place)
        if event.anchor:
            self.anchors[event.anchor] = (value, self.nodes - before)
        return value

    def _content(self, event: Any, place: Place) -> Any:
        if isinstance(event, self.yaml.MappingStartEvent):
            return self._mapping(place)
        if isinstance(event, self.yaml.SequenceStartEvent):
            return self._sequence(place)
        return self._scalar(event)

    def _mapping(self, place: Place) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        while not isinstance(event := next(self.events), self.yaml.MappingEndEvent):
            key = self._key(event)
            if key in mapping:
                raise self._wrong(event, f"the key {key!r} stands here a second time")
            self.keys[(*place, key)] = _mark(event)
            mapping[key] = self._node(next(self.events), (*place, key))
        return mapping

    def _key(self, event: Any) -> str:
        key = self._scalar(event) if isinstance(event, self.yaml.ScalarEvent) and event.tag is None else None
        if not isinstance(key, str):
            raise self._wrong(event, "a key must be a text", "quote this key")
        self._count(event, 1)
        return key

    def _sequence(self, place: Place) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self.events), self.yaml.SequenceEndEvent):
            items.append(self._node(event, (*place, len(items))))
        return items

    def _alias(self, event: Any) -> Any:
        if event.anchor not in self.anchors:
            raise self._wrong(event, f"the alias *{event.anchor} names nothing that is complete before it")
        value, size = self.anchors[event.anchor]
        self._count(event, size)
        return value

    def _scalar(self, event: Any) -> str | int | float | bool | None:
        text: str = event.value
        if event.style or _is_text(text):
            return text
        if _DISPUTED.fullmatch(text):
            raise self._wrong(event, f"readers of YAML disagree about {text[:40]}", "quote this value")
        if _NULL.fullmatch(text):
            return None
        if _BOOL.fullmatch(text):
            return text.lower() == "true"
        return int(text) if _INT.fullmatch(text) else float(text)

    def _count(self, event: Any, nodes: int) -> None:
        self.nodes += nodes
        if self.nodes > MAX_NODES:
            raise self._wrong(event, f"more than {MAX_NODES} values, aliases followed")

    def _wrong(self, event: Any, what: str, hint: str = "") -> InvalidConfiguration:
        return _wrong(self.name, _mark(event), what, hint)


def _mark(event: Any) -> Mark:
    return Mark(line=event.start_mark.line + 1, column=event.start_mark.column + 1)


def _mark_at(text_before: str) -> Mark:
    return Mark(line=text_before.count("\n") + 1, column=len(text_before) - text_before.rfind("\n"))


def _wrong(name: str, mark: Mark, what: str, hint: str = "") -> InvalidConfiguration:
    return InvalidConfiguration(f"{name}:{mark.line}:{mark.column}: {what}", hint=hint)


# ------------------------------------------------------------------------------------------------------- converting


def convert(document: Document, into: type[T]) -> T:
    """The document as a frozen dataclass: fields are keys in kebab-case, an unknown key is an error.

    A field annotated `Annotated[X, parse]` is written as a text, and `parse` makes the X of it.
    """
    converted: T = _value(document, (), document.value, into)
    return converted


def _value(document: Document, place: Place, value: Any, wanted: Any) -> Any:
    wanted = _branch(wanted, value)
    origin = typing.get_origin(wanted)
    if dataclasses.is_dataclass(wanted):
        return _record(document, place, value, wanted)
    if origin is typing.Annotated:
        return _parsed(document, place, value, wanted)
    if origin is tuple and isinstance(value, list):
        item = typing.get_args(wanted)[0]
        return tuple(_value(document, (*place, number), each, item) for number, each in enumerate(value))
    if origin is Mapping and isinstance(value, dict):
        item = typing.get_args(wanted)[1]
        return {key: _value(document, (*place, key), each, item) for key, each in value.items()}
    return _leaf(document, place, value, wanted)


def _branch(wanted: Any, value: Any) -> Any:
    """Of `X | None` and `str | tuple[str, ...]` the side that fits the form of the value."""
    if typing.get_origin(wanted) not in (typing.Union, types.UnionType):
        return wanted
    sides = [side for side in typing.get_args(wanted) if side is not type(None)]
    lists = [side for side in sides if typing.get_origin(side) is tuple]
    if isinstance(value, list) and lists:
        return lists[0]
    others = [side for side in sides if side not in lists]
    return others[0] if len(others) == 1 else wanted


def _record(document: Document, place: Place, value: Any, wanted: Any) -> Any:
    if not isinstance(value, dict):
        raise document.wrong(place, f"{_said(place)} must be a mapping, not {_kind(value)}")
    hints = typing.get_type_hints(wanted, include_extras=True)
    fields = {each.name.replace("_", "-"): each for each in dataclasses.fields(wanted)}
    for key in value:
        if key not in fields:
            raise document.wrong((*place, key), f"unknown key {key!r}", hint=_meant(key, list(fields)), key=True)
    for key, each in fields.items():
        absent = dataclasses.MISSING
        if key not in value and each.default is absent and each.default_factory is absent:
            raise document.wrong(place, f"the key {key!r} is missing in {_said(place)}")
    return wanted(
        **{
            fields[key].name: _value(document, (*place, key), each, hints[fields[key].name])
            for key, each in value.items()
        }
    )


def _parsed(document: Document, place: Place, value: Any, wanted: Any) -> Any:
    text = _leaf(document, place, value, str)
    try:
        return wanted.__metadata__[0](text)
    except InvalidUsage as error:
        raise document.wrong(place, error.message, hint=error.hint) from error


def _leaf(document: Document, place: Place, value: Any, wanted: Any) -> Any:
    try:
        return msgspec.convert(value, wanted)
    except msgspec.ValidationError as error:
        quotable = wanted is str and isinstance(value, bool | int | float)
        choices = typing.get_args(wanted) if typing.get_origin(wanted) is typing.Literal else ()
        hint = "quote this value" if quotable else _meant(str(value), [str(choice) for choice in choices])
        rule = f"must be {_wanted(wanted)}, not {_kind(value)}" if not choices else f"cannot be {value!r}"
        raise document.wrong(place, f"{_said(place)} {rule}", hint=hint) from error


def _meant(key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known here: {', '.join(sorted(known))}" if known else ""


def _said(place: Place) -> str:
    return ".".join(str(step) for step in place) or "the document"


_KINDS: tuple[tuple[type, str], ...] = (
    (bool, "a boolean"),
    (int, "a whole number"),
    (float, "a number"),
    (str, "a text"),
    (list, "a list"),
    (tuple, "a list"),
    (dict, "a mapping"),
)


def _kind(value: Any) -> str:
    return next((name for kind, name in _KINDS if isinstance(value, kind)), "empty")


def _wanted(wanted: Any) -> str:
    plain = typing.get_origin(wanted) or wanted
    return next((name for kind, name in _KINDS if plain is kind), "a mapping" if plain is Mapping else "another value")
