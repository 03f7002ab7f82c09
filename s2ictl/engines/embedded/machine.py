"""What this machine can do without a daemon, what it lacks, and what would mend that.

It is found by trying, which takes a part of a second. So the answer is kept until something is another on which it
rests.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from s2ictl.engines.embedded.surroundings import Surroundings, surroundings
from s2ictl.files import read_small, write_whole
from s2ictl.values import dataclass

_LARGEST = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Lack:
    """Something that is missing here, and why that matters.

    `packages` bring it, by the names that Debian has for them; or the command `mend` does, which is root's; or else the
    user does what `hint` says.
    """

    what: str
    because: str
    packages: tuple[str, ...] = ()
    mend: tuple[str, ...] = ()
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What there is.

    `overlays` are what can mount layers here ("overlay" is the kernel, anything else a program), `runtime` and
    `network_helper` are absolute paths, "" for none. Containers have their cgroups below `cgroups`, "" where none can
    be made, and `limits` are the words of those that can be set: memory, swap, cpu, pids. It is able without `lacks`;
    `warnings` leave it so.
    """

    rootless: bool
    architecture: str
    overlays: tuple[str, ...] = ()
    runtime: str = ""
    network_helper: str = ""
    cgroups: str = ""
    limits: frozenset[str] = frozenset()
    lacks: tuple[Lack, ...] = ()
    warnings: tuple[Lack, ...] = ()

    @property
    def is_able(self) -> bool:
        return not self.lacks

    @property
    def lacking(self) -> str:
        """All that keeps it from being able, in a line."""
        return "; ".join(f"{lack.what}: {lack.because}" for lack in self.lacks)


def explored(environ: Mapping[str, str], *, store: Path, memory: Path | None = None) -> Machine:
    """Look and try; what was found is kept in the file `memory`, without one it is looked for anew."""
    here = surroundings(environ, store)
    return remembered(here, memory, lambda: _examined(here, store))


def _examined(here: Surroundings, store: Path) -> Machine:
    from s2ictl.engines.embedded import runtimes, trials
    from s2ictl.engines.embedded.examining import examined

    return examined(here, attempt=lambda candidates: trials.tried(candidates, store), version=runtimes.version)


# ---------------------------------------------------------------------------------------------------- the memory


@dataclass(frozen=True, slots=True, kw_only=True)
class _Memory:
    """What was found, and a digest of all that it rested on."""

    key: str
    machine: Machine


def remembered(here: Surroundings, memory: Path | None, look: Callable[[], Machine]) -> Machine:
    """What was found when all was as it is now; a file that says anything else is as good as none."""
    key = hashlib.sha256(msgspec.json.encode(here, order="deterministic")).hexdigest()
    kept = _read(memory)
    if kept is not None and kept.key == key:
        return kept.machine
    machine = look()
    if memory is not None and machine.is_able:  # what is mended afterwards is not to be missed
        _write(memory, _Memory(key=key, machine=machine))
    return machine


def _read(memory: Path | None) -> _Memory | None:
    with suppress(OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return msgspec.json.decode(read_small(memory, most=_LARGEST), type=_Memory) if memory else None
    return None


def _write(memory: Path, kept: _Memory) -> None:
    with suppress(OSError):  # it is only looked for again
        memory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(memory, msgspec.json.encode(kept), mode=0o600)
