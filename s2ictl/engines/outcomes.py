"""How a command ended, and what is said of one that ended badly."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from s2ictl.errors import AssembleFailed, ConnectionLost, S2IError
from s2ictl.events import Emit, Event, Line, Notice
from s2ictl.values import dataclass

_TAIL = 20
_LOOKED_INTO = ("dependencies", "assemble", "assemble-runtime")  # a builder's own `install` is run without that flag
_LONGEST = 500
_MEANINGS = {
    126: "it, or a program in it, is not executable",
    127: "it, or a program in it, was not found",
    137: "it was killed from outside",
    139: "a segmentation fault",
    143: "it was told to terminate",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """`lost` means that the engine went away while the command ran, and with it whatever the status could say."""

    status: int
    out_of_memory: bool = False
    lost: bool = False


class Tail:
    """An emitter that passes everything on and remembers the last lines."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self.lines: deque[str] = deque(maxlen=_TAIL)

    def __call__(self, event: Event) -> None:
        if isinstance(event, Line):
            self.lines.append(event.text[:_LONGEST])
        self._emit(event)


def judge(ended: Ended, name: str, tail: Iterable[str], *, memory: int = 0, hint: str = "") -> None:
    """Raise what a command of this name deserves when it ended badly; `tail` is what it said last."""
    detail = "\n".join(tail)
    if ended.lost:
        raise ConnectionLost(
            f"the engine was lost during {name}",
            detail=detail,
            hint="it was restarted or killed, and its containers with it: build again",
        )
    if ended.status == 0:
        return
    if ended.out_of_memory:
        raise _out_of_memory(name, detail, memory)
    meaning = _MEANINGS.get(ended.status, "")
    message = f"{name} ended with {ended.status}" + (f": {meaning}" if meaning else "")
    raise AssembleFailed(message, detail=detail, hint=hint)


def look_into(name: str) -> str:
    """What to do next about a command of this name that failed."""
    return "build it by hand with --keep: its container stays, to be looked into" if name in _LOOKED_INTO else ""


def silent(what: str, *, for_seconds: float, until: float) -> Notice:
    """That nothing has been heard for so long, and when it will be stopped."""
    text = f"{what} has said nothing for {for_seconds / 60:.0f} minutes; it is stopped after "
    return Notice(text=f"{text}{until / 60:.0f} (--timeout)", level="warning")


def begun_anew(image: str, error: S2IError) -> Notice:
    """That nothing of an earlier image is used, and why."""
    because = error.message + (f" ({error.detail.splitlines()[-1]})" if error.detail else "")
    return Notice(text=f"nothing of {image} is used again, the build begins anew: {because}", level="warning")


def only_to_send() -> Notice:
    """That the work is not lost although it did not arrive."""
    return Notice(text="the image is in the engine: the same build once more only sends it")


def _out_of_memory(name: str, detail: str, memory: int) -> AssembleFailed:
    if not memory:
        return AssembleFailed(
            f"{name} ran out of memory", detail=detail, hint="give the engine more memory, or build less at once"
        )
    return AssembleFailed(
        f"{name} ran out of memory: the limit was {memory >> 20} MiB", detail=detail, hint="allow more with --memory"
    )
