"""Whether an event concerns an application: its repository, its branch, and what the author asked for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from urllib.parse import unquote, urlsplit

from s2ictl.expressions import expression
from s2ictl.models import AppConfig, HookEvent

_SCP = expression(r"(?:[^/@:]+@)?(?P<host>\[[^]]+\]|[^/:@]+):(?P<path>[^/].*|/[^/].*)")
_PORTS = {"https": 443, "http": 80, "ssh": 22, "git": 9418}
_SKIP = expression(
    r"\[(?:skip ci|ci skip|no ci|skip actions|actions skip|skip s2i)\]|^skip-checks: *true *$",
    re.IGNORECASE | re.MULTILINE,
)


def why_not(event: HookEvent, app: AppConfig) -> str:
    """The reason why a push does not concern the app; empty when it does."""
    aliases = app.forge.aliases if app.forge else ()
    if not any(same_repository(app.source, url, aliases=aliases) for url in event.repositories):
        return "another repository"
    branch = event.ref.removeprefix("refs/heads/")
    wanted = app.webhook.branches if app.webhook and app.webhook.branches else (app.ref or event.default_branch,)
    if not any(branch_matches(pattern, branch) for pattern in wanted):
        return f"another branch: {branch[:255]}"
    return "the commit message asks to be skipped" if _SKIP.search(event.message) else ""


def same_repository(configured: str, announced: str, *, aliases: Sequence[str] = ()) -> bool:
    """Compare by host and path, without user, case, the scheme's own port and `.git`."""
    own, other = _identity(configured), _identity(announced)
    if own is None or other is None or own[1] != other[1]:
        return False
    names = {own[0], *(alias.lower() for alias in aliases)}
    return other[0] in names or other[0].rpartition(":")[0] in names - {own[0]}


def _identity(url: str) -> tuple[str, str] | None:
    """Host (with the port where it is not the scheme's own) and path; None when it names no repository."""
    try:
        if "://" not in url:
            match = _SCP.fullmatch(url)
            host, path = (match["host"], match["path"]) if match else ("", "")
        else:
            parts = urlsplit(url)
            port = parts.port if parts.port != _PORTS.get(parts.scheme) else None
            host, path = (parts.hostname or "") + (f":{port}" if port else ""), unquote(parts.path)
    except ValueError:
        return None
    path = path.strip("/").lower().removesuffix(".git")
    return (host.lower(), path) if host and path else None


def branch_matches(pattern: str, branch: str) -> bool:
    """Globs as git writes them: `*` stays within one part of the name, `**` spans several."""
    return bool(pattern) and _parts_match(pattern.split("/"), branch.split("/"))


def _parts_match(patterns: list[str], parts: list[str]) -> bool:
    """Row by row, so that no pattern, however many stars it has, costs more than patterns times parts."""
    reached = [True] + [False] * len(parts)
    for pattern in patterns:
        if pattern == "**":
            reached = [any(reached[: end + 1]) for end in range(len(reached))]
        else:
            matched = [before and fnmatchcase(part, pattern) for before, part in zip(reached, parts, strict=False)]
            reached = [False, *matched]
    return reached[-1]
