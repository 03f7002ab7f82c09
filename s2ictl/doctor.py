"""STORY: everything s2ictl leans on is asked once, and each answer comes with what to do about it.

A part that is not there is no failure: who only builds needs no cluster, and a binary needs no engine. A part that is
there and does not work is one.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from typing import Literal

from s2ictl.errors import S2IError, Unreachable
from s2ictl.events import Emit, step
from s2ictl.values import dataclass

Probe = Callable[[], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What one part answered, in a line or several: what it is when it is well, else what is wrong and what to do."""

    name: str
    state: Literal["ok", "absent", "broken"]
    says: str
    advice: str = ""


class Absent(Unreachable):
    """Nothing of this part is configured or running here."""


def examine(probes: Mapping[str, Probe], *, emit: Emit) -> tuple[Check, ...]:
    """Ask every part, one after the other; none of them stops the others."""
    return tuple(_ask(name, probe, emit) for name, probe in probes.items())


def _ask(name: str, probe: Probe, emit: Emit) -> Check:
    try:
        with step("ask", name, emit):
            return _answer(name, probe)
    except S2IError as broken:
        says = f"{broken.message}: {broken.detail}" if broken.detail else broken.message
        return Check(name=name, state="broken", says=says, advice=broken.hint)


def _answer(name: str, probe: Probe) -> Check:
    """That a part is not there is an answer too, and no step of this failed."""
    try:
        return Check(name=name, state="ok", says=probe())
    except Absent as absent:
        return Check(name=name, state="absent", says=absent.message, advice=absent.hint)


# ------------------------------------------------------------------------------------------------- what is missing

Run = Callable[[tuple[str, ...]], int]


def mend(
    lacking: Callable[[], tuple[tuple[str, ...], ...]],
    *,
    agree: Callable[[tuple[tuple[str, ...], ...]], None],
    run: Run,
    emit: Emit,
) -> int:
    """Run what would mend this machine, once whoever asked for it agrees; answers how many commands that were.

    What is there at last may show what else is missing, so it is looked again until nothing new is found.
    """
    done: list[tuple[str, ...]] = []
    while wanted := tuple(words for words in lacking() if words not in done):
        agree(wanted)
        for words in wanted:
            with step("run", shlex.join(words), emit):
                _run(words, run)
            done.append(words)
    return len(done)


def _run(words: tuple[str, ...], run: Run) -> None:
    if status := run(words):
        raise Unreachable(
            f"{shlex.join(words)} ended with {status}", hint="its own words say why; run it by hand, then s2ictl doctor"
        )
