"""What the log viewers of forges obey: how a step is folded there, and how a warning or an error is marked."""

from __future__ import annotations

from collections.abc import Mapping

from s2ictl.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Forge:
    """The lines before and after a step, and the words with which a warning and an error begin.

    A viewer that cannot fold within a fold is told of the outer steps alone. One that `annotates` reads a whole text
    from one line, in which `%` escapes.
    """

    opens: str = "{title}"
    closes: str = ""
    nests: bool = True
    warning: str = "warning: "
    error: str = "error: "
    annotates: bool = False


NONE = Forge()
GITHUB = Forge(
    opens="::group::{title}",
    closes="::endgroup::",
    nests=False,
    warning="::warning::",
    error="::error::",
    annotates=True,
)
GITLAB = Forge(
    opens="\x1b[0Ksection_start:{now}:{slug}\r\x1b[0K{title}",
    closes="\x1b[0Ksection_end:{now}:{slug}\r\x1b[0K",
)

_SIGNS = (("GITHUB_ACTIONS", GITHUB), ("GITLAB_CI", GITLAB))


def forge_of(environ: Mapping[str, str]) -> Forge:
    """Whose log viewer reads what is printed."""
    return next((forge for name, forge in _SIGNS if environ.get(name) == "true"), NONE)


def annotation(text: str, forge: Forge) -> str:
    """A text as it stands behind the word for a warning or an error."""
    if not forge.annotates:
        return text
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
