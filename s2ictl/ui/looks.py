"""Which look stderr has: what the flags ask for, and what the other end can show."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Literal, Protocol, TextIO

from s2ictl.events import Emit, Event
from s2ictl.ui.forges import forge_of
from s2ictl.values import dataclass

Looks = Literal["auto", "live", "plain", "json"]


class Look(Protocol):
    """One way to show events as they come."""

    def show(self, event: Event) -> None: ...


class Quiet:
    def show(self, event: Event) -> None:
        """Nobody looks: the answer and errors go another way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Appearance:
    """How stderr shall look, as the flags say it; a live line at which nothing happens is drawn anew each `tick`."""

    progress: Looks = "auto"
    quiet: bool = False
    verbose: int = 0
    color: bool = True
    tick: float = 0.1


@contextmanager
def showing(
    appearance: Appearance, *, stderr: TextIO, environ: Mapping[str, str], clock: Callable[[], float]
) -> Iterator[Emit]:
    """Choose the look and hold it open: a terminal is given back as it was found, whatever happens."""
    with _open(appearance, stderr, environ, clock) as look:
        yield look.show


def _open(
    appearance: Appearance, stderr: TextIO, environ: Mapping[str, str], clock: Callable[[], float]
) -> AbstractContextManager[Look]:
    if appearance.quiet:
        return nullcontext(Quiet())
    if appearance.progress == "json":
        from s2ictl.ui.jsonlines import JsonLines

        return nullcontext(JsonLines(stderr, clock))
    if _is_live(appearance, stderr, environ):
        from s2ictl.ui.live import held

        color = appearance.color and not environ.get("NO_COLOR")
        verbose, tick = appearance.verbose, appearance.tick
        return held(stderr, environ=environ, clock=clock, verbose=verbose, color=color, tick=tick)
    from s2ictl.ui.plain import Plain

    return nullcontext(Plain(stderr, forge_of(environ), appearance.verbose, clock))


def _is_live(appearance: Appearance, stderr: TextIO, environ: Mapping[str, str]) -> bool:
    """A cursor is moved only where there is one, also when that is asked for."""
    if appearance.progress == "plain" or not stderr.isatty() or environ.get("TERM", "dumb") in ("dumb", "unknown", ""):
        return False
    return appearance.progress == "live" or environ.get("CI", "") in ("", "false", "0")
