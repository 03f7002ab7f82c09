"""Which numbers a user of an image has: files are uploaded with numbers, and only the image knows its names."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from s2ictl.errors import PullBuilderImageFailed
from s2ictl.values import dataclass

_LARGEST = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who a command runs as; `groups` are those that he has beside his own."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    home: str = "/"


def needs_files(user: str) -> bool:
    """Whether the image's own lists have to be read to know both numbers."""
    name, _, group = user.partition(":")
    return not (name.isdecimal() and group.isdecimal()) and name not in ("", "0", "root")


def ids_of(user: str, *, passwd: str, group: str) -> tuple[int, int]:
    """Answer the numeric user and group of `NAME|UID[:GROUP|GID]`, as the engine will understand it."""
    name, _, group_name = user.partition(":")
    found = _find(name or "0", passwd)
    account = (found[2], found[3]) if found else (("0", "0") if name in ("", "0", "root") else None)
    if account is None and not name.isdecimal():
        raise PullBuilderImageFailed(
            f"the builder image has no user {name[:60]!r}", hint="name a user by number: --assemble-user 1001"
        )
    uid, gid = account or (name, "0")
    if group_name:
        gid = group_name if group_name.isdecimal() else _group(group_name, group)
    return int(uid), int(gid)


def account_of(user: str, read: Callable[[str, int], bytes | None]) -> Account:
    """The whole account, for who starts the command himself; `read` gives the first bytes of an image's file."""
    passwd, group = ((read(path, _LARGEST) or b"").decode(errors="replace") for path in ("/etc/passwd", "/etc/group"))
    uid, gid = ids_of(user, passwd=passwd, group=group)
    name, _, group_name = user.partition(":")
    found = _find(name or "0", passwd) or []
    return Account(
        uid=uid,
        gid=gid,
        # Who names his group has that one alone.
        groups=() if group_name or not found else tuple(each for each in _groups_of(found[0], group) if each != gid),
        home=(found[5] if len(found) > 5 else "") or "/",
    )


def _find(name: str, passwd: str) -> list[str] | None:
    """The fields of the line that is this user's."""
    position = 2 if name.isdecimal() else 0
    for line in passwd.splitlines():
        fields = line.split(":")
        if len(fields) > 3 and fields[position] == name and fields[2].isdecimal() and fields[3].isdecimal():
            return fields
    return None


def _group(name: str, group: str) -> str:
    for line in group.splitlines():
        fields = line.split(":")
        if len(fields) > 2 and fields[0] == name and fields[2].isdecimal():
            return fields[2]
    raise PullBuilderImageFailed(f"the builder image has no group {name[:60]!r}")


def _groups_of(name: str, group: str) -> Iterator[int]:
    for line in group.splitlines():
        fields = line.split(":")
        if len(fields) > 3 and fields[2].isdecimal() and name in fields[3].split(","):
            yield int(fields[2])
