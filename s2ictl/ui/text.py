"""Foreign text made harmless, and figures as people read them."""

from __future__ import annotations

from s2ictl.events import Progress, StepFinished
from s2ictl.expressions import expression

_CONTROL = expression(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_COLORS = expression(r"\x1b\[[0-9;:]*[mK]")

# GitHub obeys `::` at the head of a line and `##[` anywhere in it, Azure `##vso[`, TeamCity `##teamcity[`.
_HEAD = expression(r"^(\s*:)(?=:)")
_ANYWHERE = expression(r"#(?=#\w*\[)")


def printable(text: str) -> str:
    """Escape what a terminal would obey: C0, C1, line separators, bidirectional overrides, lone surrogates.

    What a CI obeys wherever it stands is parted.
    """
    return _ANYWHERE.sub("# ", _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text))


def harmless(text: str) -> str:
    """A line of a foreign program: colors are left out, the rest is escaped, and it is no command to any CI."""
    return _HEAD.sub(r"\1 ", printable(_COLORS.sub("", text)))


def harmless_json(text: str) -> str:
    """The same JSON, in which no CI finds a command."""
    return text.replace("##", "#\\u0023")


def seconds(value: float) -> str:
    if value < 60:
        return f"{value:.1f} s"
    return f"{int(value // 60)} m {int(value % 60):02d} s"


def size(count: float) -> str:
    """Bytes, in the units in which networks and disks are sold."""
    if count < 1000:
        return f"{count:.0f} B"
    for unit in ("kB", "MB"):
        count /= 1000
        if count < 999.95:
            return f"{count:.1f} {unit}"
    return f"{count / 1000:.1f} GB"


def moved(event: Progress) -> str:
    """How far it is: `1.2 MB of 4.0 MB`, `2 of 3 replicas`."""
    if event.unit != "bytes":
        return f"{event.done} of {event.total} {event.unit}"
    return f"{size(event.done)} of {size(event.total)}" if event.total else size(event.done)


def facts(event: StepFinished) -> tuple[str, ...]:
    """What is worth saying of a step that is over."""
    known = (seconds(event.seconds), size(event.size) if event.size else "", "cached" if event.cached else "")
    return tuple(filter(None, known))
