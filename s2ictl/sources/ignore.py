"""`.s2iignore`: the rules of `.gitignore`, for a file that a stranger may have written. Nothing is ever deleted.

What one line means is said in `patterns`; what the lines together mean is decided here, from the root downwards as git
does it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from s2ictl.errors import InvalidConfiguration
from s2ictl.sources.patterns import Pattern, parse_pattern

NAME = ".s2iignore"
LARGEST = 1 << 20
_MOST_LINES = 10_000
_MOST_RULES = 1000
_REMEMBERED = 4096

Excludes = Callable[[str, bool], bool]
"""Whether a path is left out; the second word says that it is a directory."""


def belongs_to_git(path: str) -> bool:
    """Whether any part of the path is git's own, in whatever case: that is never source."""
    lower = path.lower()
    return ".git" in lower and ".git" in lower.split("/")


def excludes(content: bytes) -> Excludes:
    """The rules of an ignore file; without a file (b"") only git's own directory is left out."""
    rules = tuple(_rules(content))[::-1]
    if not rules:
        return lambda path, _: belongs_to_git(path)
    known: dict[str, bool] = {}

    def meant(path: str, directory: bool) -> bool:
        parts = path.split("/")
        if parts[-1].lower() == ".git":
            return True
        return next((rule.leaves_out for rule in rules if rule.means(parts, directory=directory)), False)

    def directory_is_out(path: str) -> bool:
        # What lies in a directory that is left out cannot be brought back. A path can be deeper than calls may nest.
        unknown = []
        while path and path not in known:
            unknown.append(path)
            path = path.rpartition("/")[0]
        out = known.get(path, False)
        if len(known) > _REMEMBERED:
            known.clear()
        for below in reversed(unknown):
            out = known[below] = out or meant(below, True)
        return out

    return lambda path, directory: directory_is_out(path.rpartition("/")[0]) or meant(path, directory)


def _rules(content: bytes) -> Iterator[Pattern]:
    count = 0
    for number, line in _lines(content):
        try:
            pattern = parse_pattern(line)
        except ValueError as error:
            raise _bad(number, f"{line[:80]} {error}") from error
        if pattern is not None:
            count += 1
            yield pattern
        if count > _MOST_RULES:
            raise _bad(number, f"more than {_MOST_RULES} patterns")


def _lines(content: bytes) -> Iterator[tuple[int, str]]:
    if len(content) > LARGEST:
        raise InvalidConfiguration(f"{NAME} is larger than {LARGEST} bytes")
    lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    if len(lines) > _MOST_LINES:
        raise _bad(_MOST_LINES + 1, f"more than {_MOST_LINES} lines")
    for number, line in enumerate(lines, start=1):
        if b"\0" in line:
            raise _bad(number, "not a text")
        yield number, line.removesuffix(b"\r").decode(errors="surrogateescape")


def _bad(number: int, what: str) -> InvalidConfiguration:
    return InvalidConfiguration(f"{NAME}:{number}: {what}", hint="one pattern on each line, as in .gitignore")
