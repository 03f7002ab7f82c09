"""`.s2iignore`: the rules of `.gitignore`, for a file that a stranger may have written. Nothing is ever deleted.

pathspec translates a line; what the lines together mean is decided here, from the root downwards as git does it. Left
to itself it asks each rule about a whole path at once, and differs from git where one rule takes back another.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from s2ictl.errors import InvalidConfiguration

NAME = ".s2iignore"
LARGEST = 1 << 20
_MOST_LINES = 10_000
_CLASS = re.compile(r"(?<!\\)\[[!^]?\]?([^\]]*)\]")
_NO_PATTERN = re.compile(r"//|\*{3}|[^/!\s]\*\*/|^!?/?\s*$")  # git and pathspec differ here, and nobody means it
_BELOW = re.compile(r"/\*\*/\s*$")  # the directories below one, which pathspec takes for that one itself

Excludes = Callable[[str, bool], bool]
"""Whether a path is left out; the second word says that it is a directory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    pattern: re.Pattern[str]
    leaves_out: bool


def belongs_to_git(path: str) -> bool:
    """Whether any part of the path is git's own, in whatever case: that is never source."""
    return any(part.lower() == ".git" for part in path.split("/"))


def excludes(content: bytes) -> Excludes:
    """The rules of an ignore file; without a file (b"") only git's own directory is left out."""
    rules = tuple(_rules(content))[::-1]

    @lru_cache(maxsize=4096)
    def directory_is_out(path: str) -> bool:
        return is_out(path, True)

    def is_out(path: str, directory: bool) -> bool:
        # What lies in a directory that is left out cannot be brought back.
        parent = path.rpartition("/")[0]
        if belongs_to_git(path) or (parent and directory_is_out(parent)):
            return True
        name = f"{path}/" if directory else path
        return next((rule.leaves_out for rule in rules if rule.pattern.search(name)), False)

    return is_out


def _rules(content: bytes) -> Iterator[_Rule]:
    if not content:
        return
    from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

    for number, line in _lines(content):
        try:
            regex, leaves_out = GitIgnoreSpecPattern.pattern_to_regex(_BELOW.sub("/**/*/", line))
        except ValueError as error:
            raise _bad(number, f"{line[:80]} is not a pattern") from error
        if regex is not None and leaves_out is not None:
            yield _Rule(pattern=re.compile(_exact(regex), re.DOTALL), leaves_out=leaves_out)


def _exact(regex: str) -> str:
    """The translated rule, for one name and not for what lies below it."""
    at_end = regex.replace("(?P<ps_d>/)", r"/\Z").replace("|$)", r"|\Z)")
    inside = f"{at_end}." if at_end.endswith("/") else at_end  # a/** is everything in a, not a itself
    return re.sub(r"(?<!\\)\[(?!\^/\])", "(?!/)[", inside)  # a class of the user's never stands for the slash


def _lines(content: bytes) -> Iterator[tuple[int, str]]:
    if len(content) > LARGEST:
        raise InvalidConfiguration(f"{NAME} is larger than {LARGEST} bytes")
    lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    if len(lines) > _MOST_LINES:
        raise _bad(_MOST_LINES + 1, f"more than {_MOST_LINES} lines")
    for number, line in enumerate(lines, start=1):
        pattern = line.removesuffix(b"\r").decode(errors="surrogateescape")
        if "\0" in pattern:
            raise _bad(number, "not a text")
        if ".." in pattern.removeprefix("!").split("/"):
            raise _bad(number, f"{pattern[:80]} leads out of the source")
        if pattern.strip() and not pattern.startswith("#") and _NO_PATTERN.search(pattern):
            raise _bad(number, f"{pattern[:80]} is not a pattern")
        if any(set(characters) & set("[/") for characters in _CLASS.findall(pattern)):
            raise _bad(number, f"{pattern[:80]} has [ or / in a class of characters")
        yield number, pattern


def _bad(number: int, what: str) -> InvalidConfiguration:
    return InvalidConfiguration(f"{NAME}:{number}: {what}", hint="one pattern on each line, as in .gitignore")
