"""What can be read of this machine without trying: who asks, what is installed, what the kernel says of itself."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from s2ictl.values import dataclass

_PROGRAMS = ("runc", "crun", "newuidmap", "newgidmap", "fuse-overlayfs", "pasta", "slirp4netns")
_MAY_MOUNT = 1 << 21  # CAP_SYS_ADMIN
_CONTROLS = frozenset({"memory", "cpu", "pids"})
_GROUP = "s2ictl"  # below which our containers have their own
_FIRST_SUBORDINATE, _SUBORDINATES = 100_000, 65_536

# What programs of the system are found by: an ordinary user's own PATH may lack half of it.
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TUN, FUSE = "net/tun", "fuse"
USERS = "user/max_user_namespaces"
CLONE = "kernel/unprivileged_userns_clone"
APPARMOR = "kernel/apparmor_restrict_unprivileged_userns"


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """This machine, seen from the directory where layers are to lie.

    `may_mount` says whether root is all that the word says, which in a container he may not be. `programs` are those
    that are installed, by their absolute paths, `devices` those below /dev that may be used, `settings` the kernel's,
    where it has them. `has_subordinates` says whether there are ids for the user's containers, `free_subordinates` is a
    range that nobody has yet. `file_system` is the kind of the one that the store lies on; `cgroups` and `limits` are
    as in machine.Machine. `changes` says what else an answer rests on: which start of the machine this is, of what age
    the programs are.
    """

    rootless: bool
    may_mount: bool
    user: str
    architecture: str
    programs: Mapping[str, str]
    devices: frozenset[str]
    settings: Mapping[str, int]
    has_subordinates: bool
    free_subordinates: str
    file_system: str
    cgroups: str
    limits: frozenset[str]
    changes: tuple[str, ...]


def surroundings(environ: Mapping[str, str], store: Path) -> Surroundings:
    """Those of this process."""
    uid = os.geteuid()
    return read(Path("/"), store=store, path=environ.get("PATH", ""), uid=uid, user=name_of(uid))


def name_of(uid: int) -> str:
    """What this user is called; who has no name goes by his number."""
    import pwd

    with suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return str(uid)


def read(root: Path, *, store: Path, path: str, uid: int, user: str) -> Surroundings:
    """Those of a machine whose /proc, /sys and /etc lie below `root`."""
    programs = _programs(path)
    settings = {name: int(told) for name in (USERS, CLONE, APPARMOR) if (told := _text(root, f"proc/sys/{name}"))}
    cgroups, limits = _of_root(root) if uid == 0 else _delegated(root)
    return Surroundings(
        rootless=uid != 0,
        may_mount=_may_mount(root),
        user=user,
        architecture=platform.machine(),
        programs=programs,
        devices=frozenset(name for name in (TUN, FUSE) if os.access(root / "dev" / name, os.R_OK | os.W_OK)),
        settings=settings,
        has_subordinates=all(_has_subordinates(root, kind, uid, user) for kind in ("uid", "gid")),
        free_subordinates=_free_subordinates(root),
        file_system=_file_system(root, store),
        cgroups=cgroups,
        limits=limits,
        changes=_changes(root, store, programs.values()),
    )


def _programs(path: str) -> Mapping[str, str]:
    """By the names under which they are called: what a link leads to may do something else. What lies where the user
    just happens to be is the source's, and not among them."""
    places = [place for place in (*path.split(":"), *SYSTEM_PATH.split(":")) if place.startswith("/")]
    found = {name: shutil.which(name, path=":".join(places)) for name in _PROGRAMS}
    return {name: place for name, place in found.items() if place}


def _may_mount(root: Path) -> bool:
    told = [line.split()[1] for line in _lines(root, "proc/self/status") if line.startswith("CapEff:")]
    return bool(told) and bool(int(told[0], 16) & _MAY_MOUNT)


def _has_subordinates(root: Path, kind: str, uid: int, user: str) -> bool:
    return any(line.split(":")[0] in (user, str(uid)) for line in _lines(root, f"etc/sub{kind}"))


def _free_subordinates(root: Path) -> str:
    given = (line.split(":") for kind in ("uid", "gid") for line in _lines(root, f"etc/sub{kind}"))
    ends = [int(each[1]) + int(each[2]) for each in given if len(each) == 3 and (each[1] + each[2]).isdecimal()]
    first = max((_FIRST_SUBORDINATE, *ends))
    return f"{first}-{first + _SUBORDINATES - 1}"


def _file_system(root: Path, store: Path) -> str:
    """That of the mount which leads to it by the longest name; of two at one place the later hides the earlier."""
    place, longest, kind = f"{store.resolve()}/", "", ""
    for line in _lines(root, "proc/self/mountinfo"):
        left, _, right = line.partition(" - ")
        point = left.split(" ")[4]
        if len(point) >= len(longest) and place.startswith(point.rstrip("/") + "/"):
            longest, kind = point, right.split(" ")[0]
    return kind


# --------------------------------------------------------------------------------------------------- the cgroups


def _of_root(root: Path) -> tuple[str, frozenset[str]]:
    """Root's containers have their cgroups at the top, on version 1 below each of the controllers."""
    if _is_unified(root):
        return f"/{_GROUP}", _known(_text(root, "sys/fs/cgroup/cgroup.controllers"))
    mounted = (line for line in _lines(root, "proc/self/mountinfo") if " - cgroup " in line)
    given = _CONTROLS & {control for line in mounted for control in line.rpartition(" ")[2].split(",")}
    swap = (root / "sys/fs/cgroup/memory/memory.memsw.limit_in_bytes").exists()
    return f"/{_GROUP}", given | ({"swap"} if swap else set())


def _delegated(root: Path) -> tuple[str, frozenset[str]]:
    """An ordinary user's stand beside the cgroup that he is in, on version 2 and where that place is his.

    A cgroup with processes in it cannot hand its limits on, so it cannot be below his own.
    """
    own = next((line[3:] for line in _lines(root, "proc/self/cgroup") if line.startswith("0::")), "")
    above = own.rpartition("/")[0]
    place = root / "sys/fs/cgroup" / above.lstrip("/")
    needed = (place, place / "cgroup.procs", place / "cgroup.subtree_control")
    if not above or not _is_unified(root) or not all(os.access(each, os.W_OK) for each in needed):
        return "", frozenset()
    return f"{above}/{_GROUP}", _known(_text(place, "cgroup.controllers"))


def _is_unified(root: Path) -> bool:
    return (root / "sys/fs/cgroup/cgroup.controllers").exists()


def _known(controllers: str) -> frozenset[str]:
    """Of what version 2 has; swap goes with memory there."""
    given = _CONTROLS & frozenset(controllers.split())
    return given | ({"swap"} if "memory" in given else set())


# ---------------------------------------------------------------------------------------------------------- files


def _changes(root: Path, store: Path, programs: Iterable[str]) -> tuple[str, ...]:
    kernel = (_text(root, f"proc/sys/kernel/{name}").strip() for name in ("random/boot_id", "osrelease"))
    files = (*map(Path, programs), root / "etc/subuid", root / "etc/subgid")
    return (*kernel, str(store), *(f"{file} {_changed(file)}" for file in files))


def _changed(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_mtime_ns
    return 0


def _lines(root: Path, path: str) -> list[str]:
    return _text(root, path).splitlines()


def _text(root: Path, path: str) -> str:
    with suppress(OSError):
        return (root / path).read_text(encoding="utf-8", errors="replace")
    return ""
