"""How an artifact sits on its base: where it lies there, and what starts it.

A base of ours has a script for that, which heeds memory, debuggers and variables, so both roads end in its words. Any
other base is told the whole command, and nothing is expected of it but what the command itself needs.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from s2ictl.artifacts import Meaning
from s2ictl.builders import MADE_OF, promised
from s2ictl.errors import InvalidUsage, PullBuilderImageFailed
from s2ictl.models import ImageFacts, parse_place
from s2ictl.values import dataclass

_NOBODY = "1001"
_TOMCAT = ("CATALINA_BASE", "CATALINA_HOME")  # where the images of Tomcat's makers say that it is


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitting:
    """Where the artifact lies, what starts it, as whom, and the variables by which that is told more."""

    place: PurePosixPath
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    user: str
    env: tuple[tuple[str, str], ...] = ()


def fitted(meaning: Meaning, base: str, facts: ImageFacts, *, arguments: int = 0) -> Fitting:
    """The same artifact on this base; so many of the last words of its command are arguments of the user's."""
    user = facts.user or _NOBODY
    if facts.labels.get(MADE_OF):
        run = f"{promised(base, facts).scripts}/run"
        return Fitting(place=meaning.place, entrypoint=facts.entrypoint, command=(run,), user=user, env=meaning.env)
    if meaning.builder == "tomcat":
        place = _webapps(meaning, base, facts) / meaning.place.name
        command = facts.command or meaning.run
        return Fitting(place=place, entrypoint=facts.entrypoint, command=command, user=user, env=meaning.env)
    own = len(meaning.run) - arguments
    return Fitting(place=meaning.place, entrypoint=meaning.run[:own], command=meaning.run[own:], user=user)


def _webapps(meaning: Meaning, base: str, facts: ImageFacts) -> PurePosixPath:
    home = next((facts.variables[name] for name in _TOMCAT if facts.variables.get(name)), "")
    if not home:
        raise PullBuilderImageFailed(
            f"{base} has no Tomcat that could serve {meaning.place.name}",
            detail=f"it sets neither {' nor '.join(_TOMCAT)}, as the images of Tomcat's makers do",
            hint="leave out --base, or name an image of Tomcat",
        )
    try:
        return PurePosixPath(parse_place(home)) / "webapps"
    except InvalidUsage as error:
        raise PullBuilderImageFailed(f"{base} says no place of its Tomcat: {home[:80]!r}", hint=error.hint) from error
