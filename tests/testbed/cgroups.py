"""The one cgroup that all containers of a part live in: what is left in it is ours, whatever it calls itself."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator
from pathlib import Path

from tests.testbed import processes
from tests.testbed.mounts import unescape


def make(name: str) -> None:
    """Make the group in every hierarchy of cgroup v1, or in the one of v2."""
    for root in hierarchies():
        group = root / name
        group.mkdir(exist_ok=True)
        # A new cpuset has no processor and no memory, and takes no process until it has.
        for file in ("cpuset.cpus", "cpuset.mems"):
            if (group / file).exists() and not (group / file).read_text().strip():
                (group / file).write_text((root / file).read_text())


def remove(name: str) -> None:
    """End every process in the group and below it, then remove it."""
    end(name)
    for group in groups(name):
        processes.eventually(functools.partial(removed, group), patience=5)


def end(name: str) -> None:
    """End every process in the group and below it, until none is left that starts another."""
    processes.eventually(functools.partial(ended, name), patience=10)


def ended(name: str) -> bool:
    found = members(name)
    processes.end(found, patience=0)
    return not found


def members(name: str) -> list[processes.Process]:
    ids = {int(pid) for group in groups(name) for pid in read(group / "cgroup.procs").split()}
    return [process for pid in ids if (process := processes.parse(Path(f"/proc/{pid}/stat")))]


def groups(name: str) -> Iterator[Path]:
    """The group and all below it in every hierarchy, the innermost first."""
    for root in hierarchies():
        for directory, _, _ in os.walk(root / name, topdown=False):
            yield Path(directory)


def hierarchies() -> list[Path]:
    fields = [line.split(" ") for line in Path("/proc/self/mounts").read_text().splitlines()]
    return [Path(unescape(path)) for _, path, kind, *_ in fields if kind in {"cgroup", "cgroup2"}]


def removed(group: Path) -> bool:
    """Remove one empty group; the kernel calls it busy for a moment after its last process ended."""
    with contextlib.suppress(OSError):
        group.rmdir()
    return not group.exists()


def read(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text()
    return ""
