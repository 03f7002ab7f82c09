"""Real parts for the tests: an engine, two registries, a Kubernetes node, a forge and an ordinary user.

    from tests import testbed

    registry = testbed.up("registry")            # models.Registry; at once when it is up already
    testbed.need("openssh-server")               # a system package that a test stands on
    testbed.as_user(testbed.up("user"), "id")    # the command line that runs `id` as somebody without rights

The first two raise `Unavailable(part, reason)` where this machine cannot have it: a fixture skips with that text. All
stays up until `testbed.down()`, so a session brings a part up once, and the next session finds it.

The environment decides: S2ICTL_TESTBED (the directory), S2ICTL_TESTBED_SLOT (0 to 9: ports and subnets, for a second
testbed beside the first), XDG_CACHE_HOME (compiled servers), DOCKER_HOST (a user's own engine). Mirrors, proxies and
certificates are what apt, go and pip are configured with.

    models, errors                            what travels out
    engine, registry, cluster, forge, user    the parts: modules with the same three functions
    nodes                                     what the servers of a cluster are told
    compiled, packages                        what the parts are made of
    images, certificates                      made here, without an engine and without a library
    processes, network, kernel, cgroups,      what they leave on the machine, and how it is taken back
    mounts, containers
    bed                                       the directory, the locks, the slot
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar, overload

from tests.testbed import cluster, compiled, engine, forge, mounts, packages, registry, user
from tests.testbed.bed import Bed
from tests.testbed.errors import BedError, DidNotComeUp, Unavailable
from tests.testbed.models import Cluster, Engine, Facts, Forge, Name, Registry, User

__all__ = [
    "PARTS",
    "Bed",
    "BedError",
    "Cluster",
    "DidNotComeUp",
    "Engine",
    "Facts",
    "Forge",
    "Name",
    "Registry",
    "Status",
    "Unavailable",
    "User",
    "as_user",
    "compile_servers",
    "down",
    "facts",
    "need",
    "need_daemonless",
    "status",
    "up",
]

F = TypeVar("F", bound=Facts)


class Part(Protocol[F]):
    """What every part does."""

    def up(self, bed: Bed) -> F:
        """Bring the part up where nothing of it is, and return once it answers."""

    def ready(self, bed: Bed, facts: F) -> bool:
        """Ask the part itself whether it answers; in a blink."""

    def down(self, bed: Bed) -> None:
        """Take back whatever `up` may have made, also when it got half way; the directory is removed by the caller."""


# In the order of `up`; `down` goes the other way.
PARTS: Mapping[Name, Part[Any]] = {
    "engine": engine,
    "registry": registry,
    "cluster": cluster,
    "forge": forge,
    "user": user,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How one part stands; `broken` means that it was brought up and does not answer any more."""

    part: Name
    state: Literal["up", "down", "broken"]
    facts: Facts | None


@overload
def up(part: Literal["engine"], *, bed: Bed | None = None) -> Engine: ...
@overload
def up(part: Literal["registry"], *, bed: Bed | None = None) -> Registry: ...
@overload
def up(part: Literal["cluster"], *, bed: Bed | None = None) -> Cluster: ...
@overload
def up(part: Literal["forge"], *, bed: Bed | None = None) -> Forge: ...
@overload
def up(part: Literal["user"], *, bed: Bed | None = None) -> User: ...
@overload
def up(part: Name, *, bed: Bed | None = None) -> Facts: ...
def up(part: Name, *, bed: Bed | None = None) -> Facts:
    """Have a part that answers: the one that is up, else a new one. Safe from several processes at once."""
    bed = bed or Bed.of(os.environ)
    if found := answering(bed, part):
        return found
    with bed.locked(part):
        # Another process may have brought it up while this one waited.
        if found := answering(bed, part):
            return found
        remove(bed, part)
        try:
            brought_up: Facts = PARTS[part].up(bed)
            bed.remember(part, brought_up)
        except BaseException:
            remove(bed, part)
            raise
        return brought_up


def down(*parts: Name, bed: Bed | None = None) -> None:
    """Take these parts down (all of them when none is named) and leave nothing of them on the machine."""
    bed = bed or Bed.of(os.environ)
    if not bed.directory.exists():
        return
    for part in reversed(tuple(PARTS)):
        if part in (parts or PARTS):
            with bed.locked(part):
                remove(bed, part)


def status(*, bed: Bed | None = None) -> tuple[Status, ...]:
    """How every part stands, asked now."""
    bed = bed or Bed.of(os.environ)
    return tuple(status_of(bed, part) for part in PARTS)


@overload
def facts(part: Literal["engine"], *, bed: Bed | None = None) -> Engine | None: ...
@overload
def facts(part: Literal["registry"], *, bed: Bed | None = None) -> Registry | None: ...
@overload
def facts(part: Literal["cluster"], *, bed: Bed | None = None) -> Cluster | None: ...
@overload
def facts(part: Literal["forge"], *, bed: Bed | None = None) -> Forge | None: ...
@overload
def facts(part: Literal["user"], *, bed: Bed | None = None) -> User | None: ...
@overload
def facts(part: Name, *, bed: Bed | None = None) -> Facts | None: ...
def facts(part: Name, *, bed: Bed | None = None) -> Facts | None:
    """The facts of a part that answers now; None otherwise. Starts nothing."""
    return answering(bed or Bed.of(os.environ), part)


def need(*names: str) -> None:
    """Have these system packages; install what is missing where this user may, else raise Unavailable."""
    packages.need("tests", *names)


def need_daemonless() -> None:
    """Have the system packages on which the engine without a daemon stands."""
    packages.need("tests", *packages.DAEMONLESS)
    packages.need("tests", *packages.known(packages.DAEMONLESS_SOMEWHERE))


def as_user(who: User, *command: str | Path, bed: Bed | None = None) -> list[str]:
    """The command line that runs this as the testbed's ordinary user."""
    return user.words(bed or Bed.of(os.environ), who, *command)


def compile_servers(*, bed: Bed | None = None) -> None:
    """Compile what cluster and forge need, so that their `up` is quick later. Minutes the first time, then nothing."""
    bed = bed or Bed.of(os.environ)
    compiled.kubernetes(bed)
    compiled.gitea(bed)


def answering(bed: Bed, part: Name) -> Facts | None:
    known = bed.facts(part)
    return known if known and PARTS[part].ready(bed, known) else None


def status_of(bed: Bed, part: Name) -> Status:
    known = bed.facts(part)
    if not known:
        return Status(part=part, state="down", facts=None)
    return Status(part=part, state="up" if PARTS[part].ready(bed, known) else "broken", facts=known)


def remove(bed: Bed, part: Name) -> None:
    bed.forget(part)
    PARTS[part].down(bed)
    if mounts.below(bed.at(part)):
        raise BedError(f"something is still mounted below {bed.at(part)}; it would be removed with the directory")
    if bed.at(part).exists():
        shutil.rmtree(bed.at(part))
