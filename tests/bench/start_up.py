"""How much longer than the bare interpreter the words take that do nothing else."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from tests.bench.goals import Goal, Measured
from tests.bench.timing import S2ICTL, alternate

TURNS = 20
BARE = (sys.executable, "-c", "pass")
LIMITS = {"--version": 40, "--help": 120, "build --help": None}


def measured() -> Iterator[Measured]:
    print(f"start-up, {TURNS} turns each")
    words = {f"s2ictl {word}": (*S2ICTL, *word.split()) for word in LIMITS}
    bare, *ours = alternate({"bare interpreter": BARE, **words}, TURNS)
    print(bare)
    for times, (word, limit) in zip(ours, LIMITS.items(), strict=True):
        above = (times.least - bare.least) * 1000
        print(f"{times}  above bare: {above:.0f} ms")
        goal = Goal(what=f"s2ictl {word}, above the bare interpreter", unit="ms", limit=limit)
        least, base = times.least * 1000, bare.least * 1000
        yield Measured(goal=goal, value=above, why=f"{least:.0f} ms, where the bare interpreter takes {base:.0f} ms")
