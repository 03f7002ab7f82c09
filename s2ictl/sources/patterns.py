"""One line of an ignore file against one path, in a time that no line can stretch.

A stranger writes the lines and the names. Translated as a whole to a regular expression, as libraries do it, a line of
a dozen `*` takes hours for one long name. Here `**` is found step by step, and between two `*` the first place that
fits is the right one: what stands there always has the same length, so nothing is ever tried again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from s2ictl.expressions import expression
from s2ictl.values import dataclass

_LONGEST = 4096
_SIGN = expression(r"\\.|\[[!^]?\]?(?:\\.|[^\]\\])*\]|\*+|[^\\\[]", re.DOTALL)
_IN_CLASS = expression(r"\\?(.)(?:-(?!$)\\?(.))?", re.DOTALL)
_ANYTHING = expression(r".*", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """A line as git reads it: one step for each part of a path, None for any number of directories."""

    steps: tuple[re.Pattern[str] | None, ...]
    leaves_out: bool
    directories_only: bool

    def means(self, parts: Sequence[str], *, directory: bool) -> bool:
        """Whether the path of these parts is meant; what lies below it is not asked for here."""
        return (directory or not self.directories_only) and _fits(self.steps, parts)


def parse_pattern(line: str) -> Pattern | None:
    """Read a line; None where it says nothing. A ValueError says why it is no pattern."""
    text = _without_trailing_spaces(line)
    if not text or text.startswith("#"):
        return None
    if len(text) > _LONGEST:
        raise ValueError(f"is longer than {_LONGEST} characters")
    leaves_out = not text.startswith("!")
    body = text.removeprefix("!")
    path = body.removesuffix("/")
    if not path or "//" in body:
        raise ValueError("is not a pattern")
    steps = tuple(_steps(path))
    return Pattern(steps=steps, leaves_out=leaves_out, directories_only=path != body)


def _without_trailing_spaces(line: str) -> str:
    bare = line.rstrip(" ")
    escaped = (len(bare) - len(bare.rstrip("\\"))) % 2 and len(bare) < len(line)
    return f"{bare} " if escaped else bare


def _steps(path: str) -> Iterator[re.Pattern[str] | None]:
    parts = path.removeprefix("/").split("/")
    if "/" not in path:
        yield None  # a lone name is meant wherever it stands
    for number, part in enumerate(parts, start=1):
        if part == "..":
            raise ValueError("leads out of the source")
        if "***" in part or (part.endswith("**") and part != "**" and number < len(parts)):
            raise ValueError("is not a pattern")  # git itself has two minds about x**/, and nobody means it
        if part != "**" or "/" not in path:
            yield _name(part)
            continue
        yield None
        if number == len(parts):
            yield _ANYTHING  # a/** is everything in a, not a itself


def _name(part: str) -> re.Pattern[str]:
    """One part between slashes, whose `*` never need to be tried again."""
    chunks = [""]
    end = 0
    for sign in _SIGN.finditer(part):
        if sign.start() != end:
            break
        end = sign.end()
        if sign[0].startswith("*"):
            chunks.append("")
        else:
            chunks[-1] += _one(sign[0])
    if end != len(part):
        raise ValueError("is not a pattern")
    first, *rest = chunks
    between = "".join(f"(?>.*?{chunk})" for chunk in rest[:-1])
    return re.compile(first + between + (f".*{rest[-1]}" if rest else ""), re.DOTALL)


def _one(sign: str) -> str:
    """What stands for exactly one character."""
    if sign == "?":
        return "."
    if not sign.startswith("["):
        return re.escape(sign.removeprefix("\\"))
    inner = sign[1:-1]
    negated = inner.startswith(("!", "^"))
    body = inner[1:] if negated else inner
    if set(body) & set("[/") or not body:
        raise ValueError("has [ or / in a class of characters")
    # Of a range that runs backwards its beginning is left, as git sees it.
    ranges = ((first, max(first, last)) for first, last in _IN_CLASS.findall(body))
    inside = "".join(f"{re.escape(first)}-{re.escape(last)}" for first, last in ranges)
    return f"[{'^' if negated else ''}{inside}]"


def _fits(steps: Sequence[re.Pattern[str] | None], parts: Sequence[str]) -> bool:
    step = at = 0
    again: tuple[int, int] | None = None  # the last `**`, and what the step behind it was tried at
    while at < len(parts):
        wanted = steps[step] if step < len(steps) else None
        if step < len(steps) and wanted is None:
            again, step = (step, at), step + 1
        elif wanted is not None and wanted.fullmatch(parts[at]):
            step, at = step + 1, at + 1
        elif again is not None:
            again = (again[0], again[1] + 1)
            step, at = again[0] + 1, again[1]
        else:
            return False
    return all(rest is None for rest in steps[step:])
