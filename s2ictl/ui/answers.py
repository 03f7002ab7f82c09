"""What a command says on stdout: one answer, in the form that was asked for."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Literal, TextIO

from s2ictl.expressions import expression
from s2ictl.ui.text import harmless_json, printable
from s2ictl.values import dataclass

_NO_TEXT = expression("[\ud800-\udfff]")

Output = Literal["text", "json", "yaml", "name"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a command says on stdout, once, in each of the four forms."""

    text: str
    names: tuple[str, ...]
    data: object


def print_answer(answer: Answer, output: Output, stdout: TextIO) -> None:
    """Print the answer in the form that was asked for."""
    rendered = _RENDER[output](answer)
    if rendered:
        stdout.write(rendered + "\n")
        stdout.flush()


def _json(answer: Answer) -> str:
    import msgspec

    # Not msgspec's JSON: a name of a file may hold bytes that are no text, and letters that a terminal obeys.
    return harmless_json(json.dumps(msgspec.to_builtins(answer.data), indent=2))


def _yaml(answer: Answer) -> str:
    import msgspec

    from s2ictl import documents

    return documents.dump(_whole(msgspec.to_builtins(answer.data))).rstrip("\n")


def _whole(value: Any) -> Any:
    """The value with a mark in the place of each byte that is no text, for which YAML has no word."""
    match value:
        case str():
            return _NO_TEXT.sub("\N{REPLACEMENT CHARACTER}", value)
        case dict():
            return {key: _whole(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_whole(inner) for inner in value]
    return value


_RENDER: Mapping[Output, Callable[[Answer], str]] = {
    "text": lambda answer: answer.text,
    "name": lambda answer: "\n".join(answer.names),
    "json": _json,
    "yaml": _yaml,
}


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Columns as wide as their widest cell, two blanks between them, no lines: made for reading and for `awk`."""
    cells = [head, *[tuple(printable(cell) for cell in row) for row in rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )
