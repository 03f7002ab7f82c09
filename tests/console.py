"""The console blocks of a document, run as they stand and compared with what stands below each command.

A block says which layer it needs: ```console engine. `...` in expected output stands for any text within a line, and
for any lines where it stands alone. Names that only an example can bear are exchanged for the testbed's on the way in
and back on the way out.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One command and all that it prints."""

    layer: str
    line: int
    command: str
    expected: str


def examples(document: Path) -> list[Example]:
    """The commands of all console blocks, in order."""
    text = document.read_text(encoding="utf-8")
    found: list[Example] = []
    for block in re.finditer(r"^```console ?(?P<layer>\w*)\n(?P<body>.*?)^```$", text, re.MULTILINE | re.DOTALL):
        first = text.count("\n", 0, block.start("body")) + 1
        found.extend(_commands(block["body"], block["layer"] or "first", first))
    return found


def _commands(body: str, layer: str, first: int) -> list[Example]:
    found: list[Example] = []
    for command in re.finditer(r"^\$ (?P<command>.*)\n(?P<output>(?:(?!\$ ).*\n)*)", body, re.MULTILINE):
        line = first + body.count("\n", 0, command.start())
        found.append(Example(layer=layer, line=line, command=command["command"], expected=command["output"]))
    return found


def run(example: Example, *, cwd: Path, environ: Mapping[str, str], names: Mapping[str, str]) -> str:
    """What the command prints on both streams, with the example's names in place of the testbed's."""
    command = example.command
    for shown, real in names.items():
        command = command.replace(shown, real)
    path = f"{Path(sys.executable).parent}:{environ['PATH']}"
    said = subprocess.run(
        ["bash", "-c", command],
        cwd=cwd,
        env={**environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    output = said.stdout
    for shown, real in names.items():
        output = output.replace(real, shown)
    return output


def matches(expected: str, printed: str) -> bool:
    """Whether the printed text is the expected one, `...` allowed."""
    lines = [r"(?:.*\n)*?" if line == "..." else _line(line) for line in expected.splitlines()]
    return re.fullmatch("".join(lines), printed) is not None


def _line(expected: str) -> str:
    return "[^\n]*?".join(re.escape(part) for part in expected.split("...")) + "\n"
