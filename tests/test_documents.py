"""YAML in and out: what is refused, where it says so, and that what goes out comes in again."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2ictl import documents
from s2ictl.errors import InvalidConfiguration, InvalidUsage


def _refused(text: str) -> tuple[str, str]:
    with pytest.raises(InvalidConfiguration) as caught:
        documents.load(text, "f.yaml")
    return caught.value.message, caught.value.hint


BOMB = "\n".join(
    ["a: &a [x,x,x,x,x,x,x,x,x]"]
    + [f"{name}: &{name} [{','.join(['*' + before] * 9)}]" for before, name in zip("abcdefgh", "bcdefghi", strict=True)]
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1,\n2", "f.yaml:3:1: not YAML: did not find expected ',' or ']'"),
        ("a: b: c", "f.yaml:1:5: not YAML: mapping values are not allowed in this context"),
        ("\ta: 1", "f.yaml:1:1: not YAML: found character that cannot start any token"),
        ("a: 1\nb:\n  c: 1\n  c: 2", "f.yaml:4:3: the key 'c' stands here a second time"),
        ("a: 1\n---\nb: 2", "f.yaml:2:1: a second document begins"),
        ("a: !!python/object:x y", "f.yaml:1:4: the tag 'tag:yaml.org,2002:python/object:x' is not understood"),
        ("a: &a [*a]", "f.yaml:1:8: the alias *a names nothing that is complete before it"),
        ("a: *b", "f.yaml:1:4: the alias *b names nothing that is complete before it"),
        ("a: 1\nb: \x01", "f.yaml:2:4: a control character (U+0001)"),
        ("[" * 10_000, "f.yaml:1:66: nested deeper than 64 levels"),
        (BOMB, "f.yaml:5:11: more than 20000 values, aliases followed"),
    ],
)
def test_what_is_no_honest_document_is_refused_with_its_place(text: str, message: str) -> None:
    began = time.monotonic()
    assert _refused(text)[0] == message
    assert time.monotonic() - began < 1


@pytest.mark.parametrize(
    "value", ["no", "On", "y", "0o17", "017", "0x1f", "1_000", "12:30", "2024-01-01", ".inf", "9" * 19]
)
def test_what_readers_of_yaml_disagree_about_is_to_be_quoted(value: str) -> None:
    assert _refused(f"a: {value}") == (f"f.yaml:1:4: readers of YAML disagree about {value}", "quote this value")
    assert documents.load(f"a: '{value}'", "f.yaml").value == {"a": value}


def test_plain_values_are_what_everybody_reads() -> None:
    text = "a: 1\nb: -2.5\nc: true\nd: null\ne: some text\nf: 1.2.3\ng: [x, 0]\nh: {}\n"
    expected: dict[str, Any] = {
        "a": 1,
        "b": -2.5,
        "c": True,
        "d": None,
        "e": "some text",
        "f": "1.2.3",
        "g": ["x", 0],
        "h": {},
    }
    assert documents.load(text, "f.yaml").value == expected


@pytest.mark.parametrize("key", ["1", "true", "null", "no", "[a]"])
def test_a_key_must_be_a_text(key: str) -> None:
    assert _refused(f"{key}: x")[0].startswith("f.yaml:1:1: ")


def test_keys_and_values_keep_their_marks() -> None:
    document = documents.load("a:\n  - b: 1\n    c: 2\n", "f.yaml")
    assert document.keys[("a", 0, "c")] == documents.Mark(line=3, column=5)
    assert document.values[("a", 0, "c")] == documents.Mark(line=3, column=8)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: 1".encode("utf-16"), "f:1:1: this is UTF-16"),
        (b"\xef\xbb\xbfa: 1", "f:1:1: the file begins with a byte order mark"),
        (b"a: 1\nb: \xff", "f:2:4: byte 0xff is not UTF-8"),
        (b"\x7fELF\x00", "f:1:1: a control character (U+007F)"),
        (b"x" * (documents.MAX_BYTES + 1), "f:1:1: larger than 1 MiB"),
    ],
)
def test_bytes_that_are_no_text_are_refused(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidConfiguration) as caught:
        documents.decode(content, "f")
    assert caught.value.message == message


def test_only_regular_files_are_read_and_a_fifo_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for name, what in (("fifo", "not a regular file"), ("", "Is a directory"), ("absent", "No such file or directory")):
        with pytest.raises(InvalidConfiguration, match=what):
            documents.read(tmp_path / name)


def test_windows_line_ends_are_line_ends(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_bytes(b"a: 1\r\nb: x\r\n")
    assert documents.load(documents.read(tmp_path / "f.yaml"), "f.yaml").value == {"a": 1, "b": "x"}


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**17), 10**17) | st.text(st.characters(codec="utf-8"), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc-0no", min_size=1), inner, max_size=4),
    max_leaves=12,
)


@given(PLAIN)
def test_what_is_written_is_read_the_same(value: Any) -> None:
    text = documents.dump(value)
    assert documents.load(text, "f.yaml").value == value


def test_several_documents_are_written_in_order_with_their_keys_as_given() -> None:
    assert documents.dump({"b": 1, "a": "no"}, {"t": "x\ny\n"}) == 'b: 1\na: "no"\n---\nt: |\n  x\n  y\n'


@given(st.text(max_size=60))
def test_no_text_makes_anything_but_a_document_or_a_refusal(text: str) -> None:
    try:
        documents.load(text, "f.yaml")
    except InvalidConfiguration as error:
        said = error.message
    else:
        said = "f.yaml:"
    assert said.startswith("f.yaml:")


# ------------------------------------------------------------------------------------------------------- converting


def _even(text: str) -> int:
    if int(text) % 2:
        raise InvalidUsage(f"{text} is odd")
    return int(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    size: int
    kind: Literal["war", "jar"] = "war"


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    name: str
    main_part: Part | None = None
    parts: tuple[Part, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    one_or_more: str | tuple[str, ...] = ()
    even: Annotated[int, _even] = 0


def test_a_document_becomes_a_value() -> None:
    text = "name: a\nmain-part: {size: 1}\nparts: [{size: 2, kind: jar}]\nenv: {A: b}\none-or-more: [x]\neven: '4'\n"
    assert documents.convert(documents.load(text, "f.yaml"), Whole) == Whole(
        name="a",
        main_part=Part(size=1),
        parts=(Part(size=2, kind="jar"),),
        env={"A": "b"},
        one_or_more=("x",),
        even=4,
    )


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("nam: a", "f.yaml:1:1: unknown key 'nam'", "did you mean 'name'?"),
        ("name: a\nmain-part: {sizze: 1}", "f.yaml:2:13: unknown key 'sizze'", "did you mean 'size'?"),
        ("name: a\nmain-part: {zzz: 1}", "f.yaml:2:13: unknown key 'zzz'", "known here: kind, size"),
        ("env: {}", "f.yaml:1:1: the key 'name' is missing in the document", ""),
        ("name: 1.10", "f.yaml:1:7: name must be a text, not a number", "quote this value"),
        ("name: a\nenv: {A: true}", "f.yaml:2:10: env.A must be a text, not a boolean", "quote this value"),
        ("name: a\nparts: [{size: x}]", "f.yaml:2:16: parts.0.size must be a whole number, not a text", ""),
        ("name: a\nparts: {size: x}", "f.yaml:2:8: parts must be a list, not a mapping", ""),
        ("name: a\nmain-part: [1]", "f.yaml:2:12: main-part must be a mapping, not a list", ""),
        (
            "name: a\nmain-part: {size: 1, kind: jaw}",
            "f.yaml:2:28: main-part.kind cannot be 'jaw'",
            "did you mean 'jar'?",
        ),
        ("name: a\neven: '3'", "f.yaml:2:7: 3 is odd", ""),
        ("name:", "f.yaml:1:6: name must be a text, not empty", ""),
        ("", "f.yaml:1:1: the document must be a mapping, not empty", ""),
    ],
)
def test_a_wrong_value_is_said_where_it_stands(text: str, message: str, hint: str) -> None:
    with pytest.raises(InvalidConfiguration) as caught:
        documents.convert(documents.load(text, "f.yaml"), Whole)
    assert (caught.value.message, caught.value.hint) == (message, hint)
