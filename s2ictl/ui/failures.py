"""An error as it is read: what happened, why, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TextIO

from s2ictl.errors import S2IError
from s2ictl.ui.forges import NONE, Forge, annotation, forge_of
from s2ictl.ui.streams import tell
from s2ictl.ui.text import harmless

_LONGEST_MESSAGE = 250


def print_error(error: S2IError, *, as_json: bool, stderr: TextIO, environ: Mapping[str, str]) -> None:
    """Say what happened, why, and what to do next; a forge's viewer marks the first line as an error."""
    tell(stderr, (error_json(error) if as_json else error_text(error, forge_of(environ))) + "\n")


def error_text(error: S2IError, forge: Forge = NONE) -> str:
    said = f"{_shortened(harmless(error.message))} ({error.reason})"
    first = f"{forge.error}{annotation(said, forge)}"
    return "\n".join([first, *_paragraph("why:", error.detail), *_paragraph("try:", error.hint)])


def _shortened(message: str) -> str:
    """What was typed may be long; with the reason behind it a first line stays below 300 characters."""
    return message if len(message) <= _LONGEST_MESSAGE else f"{message[: _LONGEST_MESSAGE - 1]}…"


def _paragraph(head: str, text: str) -> list[str]:
    lines = text.splitlines()
    return [f"  {head if number == 0 else '    '}  {harmless(line)}" for number, line in enumerate(lines)]


def error_json(error: S2IError) -> str:
    from s2ictl.ui.jsonlines import one_line

    return one_line(
        {
            "error": error.message,
            "reason": error.reason,
            "exit": error.exit_code,
            "why": error.detail,
            "try": error.hint,
        }
    )
