"""What the user should know of a tree before it is built, and that stops nothing."""

from __future__ import annotations

from collections.abc import Iterable
from posixpath import dirname, normpath

from s2ictl.archives import called
from s2ictl.events import Emit, Notice
from s2ictl.models import Member

_NAMED = 5


def tell_about(members: Iterable[Member], emit: Emit) -> None:
    """Links that lead out of the tree, and rights that no image is given."""
    leading_out, privileged = [], []
    for member in members:
        if member.kind == "link" and leads_out(member.path, member.target):
            leading_out.append(f"{called(member.path)} -> {member.target}")
        elif member.kind == "file" and member.mode & 0o6000:
            privileged.append(member.path)
    warn(emit, "kept as a link, but it leads out of the source", leading_out)
    warn(emit, "the setuid and setgid bits are dropped", privileged)


def warn(emit: Emit, what: str, paths: list[str]) -> None:
    """One warning for all of them, however many they are."""
    if paths:
        more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
        emit(Notice(text=f"{what}: {', '.join(map(called, paths[:_NAMED]))}{more}", level="warning"))


def leads_out(path: str, target: str) -> bool:
    """Whether a link at this path of the tree points outside of it, by its words alone."""
    resolved = normpath(f"{dirname(path)}/{target}") if dirname(path) else normpath(target)
    return target.startswith("/") or resolved == ".." or resolved.startswith("../")
