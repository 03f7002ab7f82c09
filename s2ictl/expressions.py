"""Regular expressions that are compiled when they are first asked something.

A command imports a hundred of them and asks a few; compiling them all took as long as half of what else is imported.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

_QUESTIONS = ("findall", "finditer", "flags", "fullmatch", "match", "pattern", "search", "split", "sub")


class _Expression:
    """Asked for what is in none of its slots yet, it fills them all, and is as quick as a compiled one from then on."""

    __slots__ = ("_flags", "_text", *_QUESTIONS)

    def __init__(self, text: str | bytes, flags: int) -> None:
        self._text, self._flags = text, flags

    def __getattr__(self, name: str) -> Any:
        compiled = re.compile(self._text, self._flags)
        for question in _QUESTIONS:
            setattr(self, question, getattr(compiled, question))
        return getattr(compiled, name)


if TYPE_CHECKING:
    expression = re.compile
else:

    def expression(text: str | bytes, flags: int = 0) -> _Expression:
        """The same as `re.compile`, later."""
        return _Expression(text, flags)
