"""`weigh.py ANSWER COMMAND…`: run a command, and write into a file how much memory it took, in kilobytes.

A program of its own, of the standard library alone: the kernel lets a process begin with the peak of the one that
forked it, so what forks must be smaller than what is weighed.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

_EVERY = 0.02


def main() -> int:
    answer, *command = sys.argv[1:]
    child = os.posix_spawnp(command[0], command, os.environ)
    together = 0
    while True:
        done, status, usage = os.wait4(child, os.WNOHANG)
        if done:
            break
        together = max(together, sum(map(_share, _family(child))))
        time.sleep(_EVERY)
    # Of the processes that the command has waited for, the kernel keeps the largest, not their sum.
    Path(answer).write_text(json.dumps({"largest": usage.ru_maxrss, "together": max(together, usage.ru_maxrss)}))
    return os.waitstatus_to_exitcode(status)


def _family(process: int) -> list[int]:
    """A process and all that it started, as far as they are there."""
    try:
        threads = list(Path(f"/proc/{process}/task").iterdir())
        children = [int(child) for thread in threads for child in (thread / "children").read_text().split()]
    except OSError:
        return [process]
    return [process, *(each for child in children for each in _family(child))]


def _share(process: int) -> int:
    """What is the process's own, and its part of what it shares with others."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


if __name__ == "__main__":
    sys.exit(main())
