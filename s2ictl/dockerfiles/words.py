"""How a value is written so that docker, podman and buildah read that very value, and none of them a second word."""

from __future__ import annotations

import json
from collections.abc import Iterable

from s2ictl.errors import InvalidUsage
from s2ictl.expressions import expression

SIGNATURE = "# Written by s2ictl build --as-dockerfile"

_SPECIAL = expression(r'[\\"$]')
_PLAIN = expression(r"[A-Za-z0-9_@%+=:,./-]+")
_BREAK = expression(r"[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]+")


def quoted(text: str) -> str:
    """A value in double quotes, in which a variable is no variable."""
    return '"' + _SPECIAL.sub(r"\\\g<0>", text) + '"'


def word(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else quoted(text)


def exact(name: str, value: str) -> str:
    """A variable's value, which would be another one on several lines."""
    if "\n" in value or "\r" in value:
        raise InvalidUsage(
            f"{name} has a value of several lines, which a Dockerfile cannot say",
            hint="hand it on with --build-env, when assemble alone needs it, or build without --as-dockerfile",
        )
    return quoted(value)


def one_line(text: str) -> str:
    """A text for people, on one line whatever it was."""
    return _BREAK.sub(" ", text)


def comment(text: str) -> str:
    """A line that nothing in it can end."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in text)
    return f"# {shown}".rstrip()


def pairs(instruction: str, items: Iterable[tuple[str, str]]) -> list[str]:
    """ENV or LABEL with names and values, a line each; the values are written already."""
    written = [f"{name}={value}" for name, value in items]
    return [" \\\n    ".join([f"{instruction} {written[0]}", *written[1:]])] if written else []


def listed(instruction: str, words: Iterable[str]) -> str:
    """An instruction in the form that no shell reads."""
    return f"{instruction} {json.dumps(list(words), ensure_ascii=False)}"


def copied(source: str, target: str, *options: str) -> str:
    """COPY, in whose list a variable would be read."""
    literal = [_SPECIAL.sub(r"\\\g<0>", path) for path in (source, target)]
    return listed(" ".join(("COPY", *options)), literal)
