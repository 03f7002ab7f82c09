"""Which numbers a user of an image has: files are uploaded with numbers, and only the image knows its names."""

from __future__ import annotations

from s2ictl.errors import PullBuilderImageFailed


def needs_files(user: str) -> bool:
    """Whether the image's own lists have to be read to know both numbers."""
    name, _, group = user.partition(":")
    return not (name.isdecimal() and group.isdecimal()) and name not in ("", "0", "root")


def ids_of(user: str, *, passwd: str, group: str) -> tuple[int, int]:
    """Answer the numeric user and group of `NAME|UID[:GROUP|GID]`, as the engine will understand it."""
    name, _, group_name = user.partition(":")
    account = _find(name or "0", passwd) or (("0", "0") if name in ("", "0", "root") else None)
    if account is None and not name.isdecimal():
        raise PullBuilderImageFailed(
            f"the builder image has no user {name[:60]!r}", hint="name a user by number: --assemble-user 1001"
        )
    uid, gid = account or (name, "0")
    if group_name:
        gid = group_name if group_name.isdecimal() else _group(group_name, group)
    return int(uid), int(gid)


def _find(name: str, passwd: str) -> tuple[str, str] | None:
    position = 2 if name.isdecimal() else 0
    for line in passwd.splitlines():
        fields = line.split(":")
        if len(fields) > 3 and fields[position] == name and fields[2].isdecimal() and fields[3].isdecimal():
            return fields[2], fields[3]
    return None


def _group(name: str, group: str) -> str:
    for line in group.splitlines():
        fields = line.split(":")
        if len(fields) > 2 and fields[0] == name and fields[2].isdecimal():
            return fields[2]
    raise PullBuilderImageFailed(f"the builder image has no group {name[:60]!r}")
