"""`python -m tests.bench [start-up] [trees] [push] [languages] [artifacts]`; without a word all of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping

from tests.bench import artifacts, languages, push, start_up, trees
from tests.bench.goals import Measured, report

PARTS: Mapping[str, Callable[[], Iterable[Measured]]] = {
    "start-up": start_up.measured,
    "trees": trees.measured,
    "push": push.measured,
    "languages": languages.measured,
    "artifacts": artifacts.measured,
}


def main(words: list[str]) -> None:
    if unknown := [word for word in words if word not in PARTS]:
        raise SystemExit(f"there is no {unknown[0]!r} to measure: {', '.join(PARTS)}")
    found = [measured for word in words or PARTS for measured in PARTS[word]()]
    print(f"\n{report(found)}\n{surroundings(os.getloadavg()[0], os.cpu_count() or 1)}")


def surroundings(load: float, processors: int) -> str:
    """What else the machine had to do, the bench's own share in it; ratios bear that, milliseconds do not."""
    busy = "; others were at work, so the times above are theirs as well" if load > processors + 1 else ""
    return f"load {load:.1f} on {processors} processors{busy}"


if __name__ == "__main__":
    main(sys.argv[1:])
