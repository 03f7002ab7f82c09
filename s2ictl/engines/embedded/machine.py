"""What this machine can do without a daemon, found by trying; what it lacks, and what would mend that."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from s2ictl.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Lack:
    """Something that is missing here: what, why it matters, the distribution's packages that bring it, or what else."""

    what: str
    because: str
    packages: tuple[str, ...] = ()
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What there is: `runtime` and the `network_helper` are absolute paths, "" for none. It is able without `lacks`;
    `limits` are the words of those that can be set here (memory, cpu, pids)."""

    rootless: bool
    runtime: str
    network_helper: str
    limits: frozenset[str]
    lacks: tuple[Lack, ...] = ()

    @property
    def is_able(self) -> bool:
        return not self.lacks


def explored(environ: Mapping[str, str], *, memory: Path | None = None) -> Machine:
    """Look and try; what was found is kept in the file `memory` until the machine is started anew or changed."""
    raise NotImplementedError
