"""Who may assemble: a policy of numbers, since only a number says beforehand which user a container really has.

A name means what the image's own list of users makes of it, and that list is written by whoever made the image. So
under a policy a name is refused like root itself.
"""

from __future__ import annotations

from s2ictl.errors import InvalidUsage, Refused
from s2ictl.expressions import expression
from s2ictl.models import UidRange

_RANGE = expression(r"(?P<first>[0-9]{0,10})(?P<dash>-?)(?P<last>[0-9]{0,10})")
_LARGEST = 2**32 - 2  # the kernel's; the number above means "no user"
_FORMS = "write 1001, 1000-1999, 1000- or -1999, several with commas between"


def parse(text: str) -> tuple[UidRange, ...]:
    """The policy that `--allowed-uids` says; "" is none at all."""
    return tuple(_range(part.strip(), text) for part in text.split(",")) if text.strip() else ()


def _range(part: str, text: str) -> UidRange:
    match = _RANGE.fullmatch(part) if part.isascii() else None
    if match is None or not (match["first"] or match["last"]):
        raise InvalidUsage(f"{text[:200]!r} is not a list of numbers of users", hint=_FORMS)
    first = int(match["first"] or 0)
    last = int(match["last"]) if match["last"] else None if match["dash"] else first
    if max(first, last or 0) > _LARGEST or (last is not None and last < first):
        raise InvalidUsage(f"{part} in the numbers of users holds none", hint=_FORMS)
    return UidRange(first=first, last=last)


def shown(policy: tuple[UidRange, ...]) -> str:
    """The policy as it is typed."""
    return ",".join(_shown(each) for each in policy)


def _shown(each: UidRange) -> str:
    return str(each.first) if each.last == each.first else f"{each.first}-{'' if each.last is None else each.last}"


def judge(user: str, policy: tuple[UidRange, ...], *, whose: str, instead: str) -> None:
    """Refuse a user `UID[:GID]` whom the policy does not name; without a policy everybody may.

    `instead` is what the user can say to have another one.
    """
    if policy and not _allowed(user, policy):
        raise Refused(
            f"the user {user[:60] or 'root'!r} of {whose} is not among the allowed ones: {shown(policy)[:100]}",
            detail="--allowed-uids takes a user by number alone: a name, and none at all, could be root",
            hint=f"{instead}, or allow this one by --allowed-uids",
        )


def _allowed(user: str, policy: tuple[UidRange, ...]) -> bool:
    name = user.partition(":")[0]
    if not (name.isascii() and name.isdecimal() and len(name) <= 10):
        return False
    return any(each.first <= int(name) and (each.last is None or int(name) <= each.last) for each in policy)


def is_root(user: str) -> bool:
    """Whether an engine would take this user for root."""
    name = user.partition(":")[0]
    return name in ("", "root") or (name.lstrip("+").isdecimal() and int(name.lstrip("+")) == 0)
