"""What a machine lacks, judged by what was read of it and by what was tried."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from s2ictl.engines.embedded import runtimes
from s2ictl.engines.embedded.machine import Lack, Machine
from s2ictl.engines.embedded.surroundings import APPARMOR, CLONE, FUSE, TUN, USERS, Surroundings
from s2ictl.values import dataclass

_KERNEL = "overlay"
_HELPERS = ("pasta", "slirp4netns")
_FOREIGN = ("9p", "cifs", "fuse", "nfs", "overlay", "smb", "virtiofs")  # on these the kernel lays no upper directory


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """What is to be tried; of overlays, runtimes and helpers the first that works is taken."""

    rootless: bool
    architecture: str
    overlays: tuple[str, ...]
    runtimes: tuple[str, ...]
    helpers: tuple[str, ...]
    cgroups: str
    limits: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What worked, "" for nothing, and what the others said, by their paths."""

    overlay: str = ""
    runtime: str = ""
    helper: str = ""
    refusals: tuple[tuple[str, str], ...] = ()

    def said(self, *tried: str) -> str:
        return "; ".join(f"{Path(path).name}: {why}" for path, why in self.refusals if path in tried)


def examined(here: Surroundings, *, attempt: Callable[[Candidates], Trial], version: Callable[[str], str]) -> Machine:
    """What this place can do: where what was read already says that it cannot, nothing is tried."""
    machine = Machine(rootless=here.rootless, architecture=here.architecture)
    candidates = _candidates(here)
    if missing := (*_refused(here), *_absent(here)):
        return replace(machine, lacks=missing, warnings=tuple(_narrowed(here, candidates, Trial())))
    trial = attempt(candidates)
    return replace(
        machine,
        overlays=tuple(filter(None, (trial.overlay,))),
        runtime=trial.runtime,
        network_helper=trial.helper,
        cgroups=here.cgroups,
        limits=here.limits,
        lacks=tuple(_failed(here, candidates, trial)),
        warnings=(*_narrowed(here, candidates, trial), *_aged(trial.runtime, version)),
    )


def _candidates(here: Surroundings) -> Candidates:
    fuse = here.programs.get("fuse-overlayfs", "") if FUSE in here.devices else ""
    helpers = [here.programs[name] for name in _HELPERS if name in here.programs] if TUN in here.devices else []
    return Candidates(
        rootless=here.rootless,
        architecture=here.architecture,
        overlays=tuple(filter(None, (_KERNEL, fuse))),
        runtimes=runtimes.installed(here.programs),
        helpers=tuple(helpers),
        cgroups=here.cgroups,
        limits=here.limits,
    )


# ------------------------------------------------------------------------------------------------ before it is tried


def _refused(here: Surroundings) -> Iterator[Lack]:
    """What the kernel or the administrator does not allow."""
    if not here.rootless:
        if not here.may_mount:
            yield Lack(
                what="the right to mount",
                because="root has no CAP_SYS_ADMIN here, as in a container that is not privileged",
                hint="give the container that capability, or name an engine outside of it by DOCKER_HOST",
            )
        return
    for setting in (USERS, CLONE):
        if here.settings.get(setting) == 0:
            yield Lack(
                what="user namespaces",
                because=f"the kernel allows an ordinary user none: {setting.replace('/', '.')} is 0",
                mend=("sysctl", "-w", f"{setting.replace('/', '.')}={15_000 if setting == USERS else 1}"),
            )
    if not here.has_subordinates:
        given = here.free_subordinates
        yield Lack(
            what="subordinate ids",
            because=f"/etc/subuid and /etc/subgid give {here.user} none, and the users of an image need a place",
            mend=("usermod", "--add-subuids", given, "--add-subgids", given, here.user),
        )


def _absent(here: Surroundings) -> Iterator[Lack]:
    """What is not installed."""
    if here.rootless and not {"newuidmap", "newgidmap"} <= set(here.programs):
        because = "newuidmap and newgidmap are not installed, and they alone may give away subordinate ids"
        yield Lack(what="newuidmap", because=because, packages=("uidmap",))
    if not runtimes.installed(here.programs):
        because = f"neither {' nor '.join(runtimes.NAMES)} is installed"
        yield Lack(what="an OCI runtime", because=because, packages=(runtimes.NAMES[0],))


# ------------------------------------------------------------------------------------------------- after it was tried


def _failed(here: Surroundings, tried: Candidates, trial: Trial) -> Iterator[Lack]:
    if not trial.overlay:
        yield _no_overlay(here, tried, trial)
    elif not trial.runtime:
        others = tuple(name for name in runtimes.NAMES if name not in here.programs)
        because = f"no container starts: {trial.said(*tried.runtimes)}"
        hint = "mend what they say, or name an engine elsewhere by DOCKER_HOST"
        yield Lack(what="a runtime that starts here", because=because, packages=others, hint=hint)


def _no_overlay(here: Surroundings, tried: Candidates, trial: Trial) -> Lack:
    because = f"layers cannot be mounted: {trial.said(*tried.overlays)}"
    if here.settings.get(APPARMOR) == 1 and here.rootless:
        name = APPARMOR.replace("/", ".")
        hint = f"AppArmor keeps it from ordinary users: a profile allows it to one program, `sysctl -w {name}=0` to all"
        return Lack(what="overlay", because=because, hint=hint)
    if here.file_system.startswith(_FOREIGN):
        where = f"the store lies on {here.file_system}: "
        return Lack(what="overlay", because=where + because, hint="name a directory of a local disk in S2ICTL_STATE")
    if here.rootless and "fuse-overlayfs" not in here.programs:
        return Lack(what="overlay", because=because, packages=("fuse-overlayfs",))
    return Lack(what="overlay", because=because, hint="build as root, or with a kernel that has overlayfs")


def _narrowed(here: Surroundings, tried: Candidates, trial: Trial) -> Iterator[Lack]:
    """What works in another way than it should."""
    if not trial.helper and (trial.runtime or not tried.helpers):
        yield _shared_network(here, tried, trial)
    if missing := sorted({"memory", "cpu", "pids"} - here.limits):
        why = "an ordinary user has no cgroup of version 2 here" if here.rootless else "the kernel has no such cgroup"
        yield Lack(what="limits", because=f"{', '.join(missing)} cannot be limited: {why}")


def _shared_network(here: Surroundings, tried: Candidates, trial: Trial) -> Lack:
    what, shared = "an isolated network", "containers share this machine's"
    if not set(_HELPERS) & set(here.programs):
        because = f"{shared}: neither {' nor '.join(_HELPERS)} is installed"
        return Lack(what=what, because=because, packages=("slirp4netns",))
    if not tried.helpers:
        because = f"{shared}: /dev/{TUN} is missing, or not this user's to open"
        return Lack(what=what, because=because, hint=f"as root: modprobe tun; chmod 666 /dev/{TUN}")
    return Lack(what=what, because=f"{shared}: {trial.said(*tried.helpers)}")


def _aged(runtime: str, version: Callable[[str], str]) -> tuple[Lack, ...]:
    return runtimes.aged(runtime, version(runtime)) if runtime else ()
