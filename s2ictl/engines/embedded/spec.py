"""The document by which an OCI runtime makes a container, as data: what it sees, what it may, and what it may use."""

from __future__ import annotations

import json
from collections.abc import Iterator

from s2ictl.engines import privileges
from s2ictl.engines.embedded import seccomp
from s2ictl.models import Confinement
from s2ictl.values import dataclass

_UMASK = 0o022
_TERMINALS = 5  # the group tty, in every distribution
_PERIOD = 100_000  # microseconds, of which a quota is a part

# Where the kernel tells of the machine, and would let root change it: neither is held in by a namespace.
_MASKED = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
_READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A path of this machine, as the warden sees it, at a place in the container."""

    source: str
    target: str
    read_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """What is to run, and how it is held in.

    `groups` are those that its user has beside `gid`. `network` is the path of its network namespace, "" for the
    machine's own. `cgroup` is where its limits stand, "" where none can be set, and `limits` are the words of those
    that can (machine.Machine has both, and `architecture`).
    """

    root: str
    hostname: str
    command: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    workdir: str
    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    mounts: tuple[Mount, ...]
    confinement: Confinement
    network: str
    cgroup: str
    limits: frozenset[str]
    architecture: str
    rootless: bool


def document(container: Container) -> bytes:
    """The runtime's config.json."""
    return json.dumps(
        {
            "ociVersion": "1.0.2",
            "process": _process(container),
            "root": {"path": container.root},
            "hostname": container.hostname,
            "mounts": [*_system_mounts(container), *_own_mounts(container)],
            "linux": {
                "namespaces": list(_namespaces(container)),
                **_held(container),
                "seccomp": seccomp.profile(container.architecture),
                "maskedPaths": list(_masked(container)),
                "readonlyPaths": list(_READ_ONLY),
            },
        }
    ).encode()


def _process(container: Container) -> dict[str, object]:
    """The command; who is not root has no capability, and nobody gains one."""
    given = privileges.capabilities(container.confinement.cap_drop) if container.uid == 0 else ()
    names = [f"CAP_{name}" for name in given]
    return {
        "user": {
            "uid": container.uid,
            "gid": container.gid,
            "umask": _UMASK,
            "additionalGids": list(container.groups),
        },
        "args": list(container.command),
        "env": [f"{name}={value}" for name, value in container.env],
        "cwd": container.workdir,
        "capabilities": {"bounding": names, "effective": names, "permitted": names},
        "noNewPrivileges": True,
        # What a process had in its memory when it crashed would lie in the layer, the secrets of a build among it.
        "rlimits": [{"type": "RLIMIT_CORE", "hard": 0, "soft": 0}],
    }


def _namespaces(container: Container) -> Iterator[dict[str, str]]:
    yield from ({"type": kind} for kind in ("pid", "mount", "ipc", "uts"))
    if container.cgroup:
        yield {"type": "cgroup"}
    if container.network:
        yield {"type": "network", "path": container.network}


# ------------------------------------------------------------------------------------------------- what it sees


def _system_mounts(container: Container) -> Iterator[dict[str, object]]:
    yield _fresh("proc", "/proc", "nosuid", "noexec", "nodev")
    yield _fresh("tmpfs", "/dev", "nosuid", "noexec", "strictatime", "mode=755", "size=65536k")
    yield _fresh(
        "devpts", "/dev/pts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", f"gid={_TERMINALS}"
    )
    yield _fresh("tmpfs", "/dev/shm", "nosuid", "noexec", "nodev", "mode=1777", "size=65536k")  # noqa: S108
    yield _fresh("mqueue", "/dev/mqueue", "nosuid", "noexec", "nodev")
    if _shares_sys(container):
        yield _bound(Mount(source="/sys", target="/sys", read_only=True), "noexec")
    else:
        yield _fresh("sysfs", "/sys", "nosuid", "noexec", "nodev", "ro")
    if container.cgroup:
        yield _fresh("cgroup", "/sys/fs/cgroup", "nosuid", "noexec", "nodev", "relatime", "ro")


def _shares_sys(container: Container) -> bool:
    """A new one is of a network namespace, and whoever is root in a user namespace alone has not this machine's."""
    return container.rootless and not container.network


def _own_mounts(container: Container) -> Iterator[dict[str, object]]:
    """Those that lie in others after them, or they would be hidden."""
    return (_bound(mount) for mount in sorted(container.mounts, key=lambda mount: mount.target.count("/")))


def _fresh(kind: str, target: str, *options: str) -> dict[str, object]:
    return {"destination": target, "type": kind, "source": kind, "options": list(options)}


def _bound(mount: Mount, *options: str) -> dict[str, object]:
    access = "ro" if mount.read_only else "rw"
    told = ["rbind", "rprivate", "nosuid", "nodev", *options, access]
    return {"destination": mount.target, "type": "bind", "source": mount.source, "options": told}


# -------------------------------------------------------------------------------------------- what it may use up


def _masked(container: Container) -> Iterator[str]:
    """Where /sys is this machine's own, what is mounted in it stays writable to whom it belongs: the cgroups of the
    user's session, and the mounts of his other programs."""
    yield from _MASKED
    if _shares_sys(container):
        yield from ("/sys/fs/fuse", *(() if container.cgroup else ("/sys/fs/cgroup",)))


def _held(container: Container) -> dict[str, object]:
    """Its cgroup, with those of the limits that can be set; without one nothing is said of either."""
    if not container.cgroup:
        return {}
    given, limits = container.confinement, container.limits
    resources: dict[str, object] = {"devices": [{"allow": False, "access": "rwm"}]}
    if given.memory and "memory" in limits:
        # Both together: no swap, or the limit would only make it slow.
        swap = {"swap": given.memory} if "swap" in limits else {}
        resources["memory"] = {"limit": given.memory, **swap}
    if given.cpus and "cpu" in limits:
        resources["cpu"] = {"quota": round(given.cpus * _PERIOD), "period": _PERIOD}
    if "pids" in limits:
        resources["pids"] = {"limit": privileges.PROCESSES}
    return {"cgroupsPath": container.cgroup, "resources": resources}
