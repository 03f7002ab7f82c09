"""What later steps of a forge's pipeline read of an image: GitHub Actions hands each step files to append to.

The values are names and digests, and still nothing rests on that: each stands between two lines of a mark that nobody
can know beforehand, so that no value ends its own output and begins another.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from s2ictl.cli.session import World
from s2ictl.events import Emit, Notice
from s2ictl.ui.forges import GITHUB, forge_of

_OUTPUTS = "GITHUB_OUTPUT"
_SUMMARY = "GITHUB_STEP_SUMMARY"


class Made(Protocol):
    """What is said of an image on stdout too."""

    @property
    def image(self) -> str: ...

    @property
    def tags(self) -> tuple[str, ...]: ...

    @property
    def digest(self) -> str: ...


def tell(made: Sequence[Made], world: World, emit: Emit) -> None:
    """Append what was made to the files that the forge has named, where it has."""
    if not made or forge_of(world.environ) is not GITHUB:
        return
    for variable, content in ((_OUTPUTS, outputs(made)), (_SUMMARY, summary(made))):
        if path := world.environ.get(variable, ""):
            _append(world.cwd / path, content, variable, emit)


def outputs(made: Sequence[Made]) -> str:
    """`image`, `digest` and `tags`, a line for each image or name."""
    values = {
        "image": [each.image for each in made],
        "digest": [each.digest for each in made],
        "tags": [tag for each in made for tag in each.tags],
    }
    return "".join(_output(name, "\n".join(lines)) for name, lines in values.items())


def _output(name: str, value: str) -> str:
    mark = f"s2ictl_{secrets.token_hex(16)}"
    return f"{name}<<{mark}\n{value}\n{mark}\n"


def summary(made: Sequence[Made]) -> str:
    """A table for people."""
    rows = [(name, each.digest) for each in made for name in each.tags or (each.image,)]
    return "".join(
        ["| image | digest |\n|---|---|\n", *(f"| {_code(name)} | {_code(digest)} |\n" for name, digest in rows)]
    )


def _code(text: str) -> str:
    """In code nothing is markup; what would end it, or the cell, is left out."""
    plain = "".join(letter for letter in text if letter.isprintable() and letter not in "`|")
    return f"`{plain}`" if plain else ""


def _append(path: Path, content: str, variable: str, emit: Emit) -> None:
    try:
        with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(content)
    except OSError as error:
        emit(Notice(text=f"could not append to {path}, which {variable} names: {error.strerror}", level="warning"))
