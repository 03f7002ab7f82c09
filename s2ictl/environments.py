"""The variables of a build: whose word counts, and how much of them a program can be started with."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from s2ictl.errors import InvalidConfiguration, LimitReached
from s2ictl.events import Emit, Notice
from s2ictl.expressions import expression
from s2ictl.models import BuildRequest, Secret

LARGEST_FILE = 10_000_000
_LARGEST = 128 * 1024  # bytes of all together; the kernel takes no single one that is longer
_VARIABLE = expression(r"[A-Za-z_][A-Za-z0-9_.-]*")
_NAMED, _LONGEST_SHOWN = 5, 80
_STEERING = expression(r"PATH|LD_.*")


def environment_of(request: BuildRequest, content: bytes, place: str, emit: Emit) -> dict[str, str]:
    """The variables that stay in the image: those of the source's file at `place`, over them the user's."""
    if len(content) >= LARGEST_FILE:
        raise too_large(place)
    own = dict(parse_environment(content.decode("utf-8-sig", errors="replace"), place, emit))
    if steering := [name[:_LONGEST_SHOWN] for name in own if _STEERING.fullmatch(name)]:
        text = f"{place} sets {_some(steering)}, which decides what the builder's programs are"
        emit(Notice(text=text, level="warning"))
    stays = {**own, **dict(request.env)}
    passing = {name: value.reveal() for name, value in handed_on(request)}
    every = (f"{name}={value}\0" for name, value in (*stays.items(), *passing.items()))
    size = sum(len(each.encode(errors="surrogateescape")) for each in every)
    if size > _LARGEST:
        raise LimitReached(
            f"the variables of the build have {size} bytes; the limit is {_LARGEST}",
            hint=f"put what is long into a file of the source, or hand it over by --secret; see -e, -E and {place}",
        )
    return stays


def handed_on(request: BuildRequest) -> tuple[tuple[str, Secret], ...]:
    """The variables for the build alone: the surroundings', over them the user's."""
    return tuple({**dict(request.surroundings), **dict(request.build_env)}.items())


def too_large(place: str) -> InvalidConfiguration:
    return InvalidConfiguration(
        f"{place} has 10 MB or more", detail="it is a file of NAME=VALUE lines", hint="check what was written there"
    )


def parse_environment(text: str, name: str, emit: Emit) -> Iterator[tuple[str, str]]:
    """`NAME=VALUE` lines; quotes are literal, as in every tool that reads such files; bad lines are told, in one word
    for all of them, since a stranger may have written millions."""
    bad = []
    for number, line in enumerate(re.split(r"\r?\n", text), start=1):
        variable, separator, value = (part.strip() for part in line.partition("="))
        if not line.strip() or line.lstrip().startswith(("#", "//")):
            continue
        if separator and _VARIABLE.fullmatch(variable) and "\0" not in value:
            yield variable, value
        else:
            bad.append(str(number))
    if bad:
        text = f"{name}: left out because not NAME=VALUE: line {_some(bad)}"
        emit(Notice(text=text, level="warning"))


def _some(names: Sequence[str]) -> str:
    """The first few of them, and how many more there are."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"
