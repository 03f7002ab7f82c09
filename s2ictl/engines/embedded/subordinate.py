"""The ids that a user may give away in a namespace of his own: as /etc/subuid and /etc/subgid say, and no others."""

from __future__ import annotations

from collections.abc import Callable

from s2ictl.errors import Unreachable

_FILES = {"newuidmap": "/etc/subuid", "newgidmap": "/etc/subgid"}
_PACKAGE = "`s2ictl doctor --fix` installs it (uidmap, or shadow-utils)"


def mapping(
    user: str, uid: int, gid: int, *, read: Callable[[str], str], find: Callable[[str], str | None]
) -> tuple[tuple[str, ...], ...]:
    """The commands that give a namespace this user as its root and his subordinate ids after him, but for the process.

    `read` answers what a file says, "" where there is none, and `find` where a program is.
    """
    return tuple(
        (_program(name, find), *_ids(own, _ranges(read(file), user, uid), file, user))
        for (name, file), own in zip(_FILES.items(), (uid, gid), strict=True)
    )


def _program(name: str, find: Callable[[str], str | None]) -> str:
    if path := find(name):
        return path
    raise Unreachable(f"{name} is not installed: without it an ordinary user can start no container", hint=_PACKAGE)


def _ranges(text: str, user: str, uid: int) -> list[tuple[int, int]]:
    lines = (line.strip().split(":") for line in text.splitlines())
    mine = (line for line in lines if len(line) == 3 and line[0] in (user, str(uid)))
    return [(int(first), int(count)) for _, first, count in mine if first.isdecimal() and count.isdecimal()]


def _ids(own: int, ranges: list[tuple[int, int]], file: str, user: str) -> list[str]:
    if not ranges:
        raise Unreachable(
            f"{user} has no subordinate ids in {file}: the users of an image have no place on this machine",
            hint=f"as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}",
        )
    ids, inside = [0, own, 1], 1
    for first, count in ranges:
        ids += [inside, first, count]
        inside += count
    return [str(number) for number in ids]
