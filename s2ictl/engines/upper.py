"""A container's own directory below the daemon's, read where it lies: what its command left behind is in that alone.

It needs a daemon on this machine that keeps its files as root and by an overlay, and the right to read them. Whatever
is not certain of that is asked of the daemon instead, which takes longer and gives the same bytes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from s2ictl.engines.embedded.warden import beneath
from s2ictl.engines.embedded.warden.failures import Damaged, TooMuch
from s2ictl.engines.embedded.warden.layering import layer
from s2ictl.engines.leavings import Left
from s2ictl.errors import AssembleFailed, CommitContainerFailed, LimitReached
from s2ictl.values import dataclass

_DRIVERS = ("overlay2", "overlay")
_OF_THE_DAEMON = "-init/diff"  # a tree of its own between the image and the container, with mount points in it
_MODULE = Path("/sys/module/overlay/parameters")
_SPLITTING = ("metacopy", "redirect_dir")  # by which a file's or directory's content may lie somewhere else
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True, kw_only=True)
class Trees:
    """The container's own directory, and those of its image, the topmost first."""

    upper: str
    lowers: tuple[str, ...]


Find = Callable[[Mapping[str, Any]], Trees | None]


def trees(facts: Mapping[str, Any]) -> Trees | None:
    """Where they are, by what the engine says of a container; None where they are not to be read here."""
    driver = facts.get("GraphDriver") or {}
    places = driver.get("Data") or {}
    upper, lower = str(places.get("UpperDir") or ""), str(places.get("LowerDir") or "")
    if driver.get("Name") not in _DRIVERS or not upper or not lower or _may_split():
        return None
    lowers = tuple(place for place in lower.split(":") if not place.endswith(_OF_THE_DAEMON))
    with suppress(OSError):
        # Of an engine whose root is another user all owners are shifted, and that directory as well.
        if os.geteuid() == 0 and Path(upper).stat().st_uid == 0 and all(Path(place).is_dir() for place in lowers):
            return Trees(upper=upper, lowers=lowers)
    return None


def _may_split() -> bool:
    with suppress(OSError):
        return any((_MODULE / name).read_text().strip() not in ("N", "0") for name in _SPLITTING)
    return True


def made(there: Trees, mounted: Iterable[str]) -> tuple[str, ...]:
    """Those mount points that the engine had to make in the container: its image has them not."""
    with ExitStack() as opened:
        lowers = tuple(_opened(place, opened) for place in there.lowers)
        return tuple(path for path in mounted if not _has(lowers, beneath.resolved(lowers, os.fsencode(path))))


def _has(lowers: beneath.Trees, path: bytes) -> bool:
    """Whether an image has something at a path without links."""
    there, way = lowers, path.split(b"/")
    for length in range(1, len(way) + 1):
        found = beneath.found(there, b"/".join(way[:length]))
        if found is None:
            return False
        there = found.trees if found.is_directory else ()
    return True


def chunks(there: Trees, left: Left) -> Iterator[bytes]:
    """The layer, as often as it is asked for while the container is there."""
    try:
        with ExitStack() as opened:
            upper, *lowers = (_opened(place, opened) for place in (there.upper, *there.lowers))
            yield from layer(upper, tuple(lowers), skip=left.skip, since=left.since, epoch=left.epoch)
    except Damaged as error:
        raise AssembleFailed("what assemble left behind cannot become a layer", detail=str(error)) from error
    except TooMuch as error:
        raise LimitReached("what assemble left behind is too much for a layer", detail=str(error)) from error
    except OSError as error:
        raise CommitContainerFailed(
            "could not read what assemble left behind", detail=f"{there.upper}: {error.strerror}"
        ) from error


def _opened(place: str, opened: ExitStack) -> int:
    descriptor = os.open(place, _DIRECTORY)
    opened.callback(os.close, descriptor)
    return descriptor
