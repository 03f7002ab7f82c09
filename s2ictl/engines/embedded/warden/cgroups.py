"""The control groups of a container, on either version: whether its memory ran out, and gone when it has ended."""

from __future__ import annotations

import os
import time

_TRIES, _PAUSE = 50, 0.02  # the kernel lets go of a process some time after its parent has heard of its end


def out_of_memory(group: str) -> bool:
    """Whether the kernel killed something in it for want of memory."""
    return any(
        line.startswith("oom_kill ") and line.split()[1] != "0"
        for directory in _directories(group)
        for name in ("memory.oom_control", "memory.events")
        for line in _lines(os.path.join(directory, name))
    )


def remove(group: str) -> None:
    """Remove it from every hierarchy, with those that were made in it."""
    for directory in _directories(group):
        for below, _, _ in os.walk(directory, topdown=False):
            _remove(below)


def _remove(directory: str) -> None:
    for left in reversed(range(_TRIES)):
        try:
            os.rmdir(directory)
        except FileNotFoundError:
            return
        except OSError:
            if not left:
                raise
            time.sleep(_PAUSE)


def _directories(group: str) -> list[str]:
    """Where it stands: on version 1 in each of the hierarchies."""
    named = [os.path.join(point, group.strip("/")) for point in _hierarchies()]
    return [directory for directory in named if os.path.isdir(directory)]


def _hierarchies() -> list[str]:
    mounts = (line.partition(" - ") for line in _lines("/proc/self/mountinfo"))
    return [left.split(" ")[4] for left, _, right in mounts if right.split(" ")[0] in ("cgroup", "cgroup2")]


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read().splitlines()
    except OSError:
        return []
