"""What a machine can do without a daemon: what is read of it, what is tried, what is said to be missing."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from s2ictl.engines.embedded import runtimes
from s2ictl.engines.embedded.examining import Candidates, Trial, examined
from s2ictl.engines.embedded.machine import Lack, Machine, remembered
from s2ictl.engines.embedded.mending import DISTRIBUTIONS, advice, commands, distribution
from s2ictl.engines.embedded.surroundings import Surroundings, read

EVERYTHING = {
    "runc": "/usr/sbin/runc",
    "crun": "/usr/bin/crun",
    "newuidmap": "/usr/bin/newuidmap",
    "newgidmap": "/usr/bin/newgidmap",
    "fuse-overlayfs": "/usr/bin/fuse-overlayfs",
    "pasta": "/usr/bin/pasta",
    "slirp4netns": "/usr/bin/slirp4netns",
}
ALL = frozenset({"memory", "swap", "cpu", "pids"})
ROOT = Surroundings(
    rootless=False,
    may_mount=True,
    user="root",
    architecture="x86_64",
    programs=EVERYTHING,
    devices=frozenset({"net/tun", "fuse"}),
    settings={"user/max_user_namespaces": 9000},
    has_subordinates=False,
    free_subordinates="100000-165535",
    file_system="ext4",
    cgroups="/s2ictl",
    limits=ALL,
    changes=(),
)
USER = replace(ROOT, rootless=True, may_mount=False, user="ann", has_subordinates=True, cgroups="", limits=frozenset())
GOOD = Trial(overlay="overlay", runtime="/usr/bin/crun", helper="/usr/bin/pasta")
NO_LIMITS = Lack(
    what="limits", because="cpu, memory, pids cannot be limited: an ordinary user has no cgroup of version 2 here"
)


def without(*names: str) -> dict[str, str]:
    return {name: path for name, path in EVERYTHING.items() if name not in names}


def judged(here: Surroundings, trial: Trial, *, version: str = "") -> Machine:
    return examined(here, attempt=lambda _: trial, version=lambda _: version)


def never(_: Candidates) -> Trial:
    raise AssertionError("nothing is to be tried")


def lacks(here: Surroundings, trial: Trial | None = None) -> tuple[Lack, ...]:
    """Those of a machine; without a trial none is to be made."""
    attempt: Callable[[Candidates], Trial] = never if trial is None else lambda _: trial
    return examined(here, attempt=attempt, version=lambda _: "").lacks


# -------------------------------------------------------------------------------------------------- what is tried


def test_all_that_is_there_is_tried_in_order() -> None:
    tried: list[Candidates] = []

    def attempt(candidates: Candidates) -> Trial:
        tried.append(candidates)
        return GOOD

    machine = examined(ROOT, attempt=attempt, version=lambda _: "")
    assert tried == [
        Candidates(
            rootless=False,
            architecture="x86_64",
            overlays=("overlay", "/usr/bin/fuse-overlayfs"),
            runtimes=("/usr/sbin/runc", "/usr/bin/crun"),
            helpers=("/usr/bin/pasta", "/usr/bin/slirp4netns"),
            cgroups="/s2ictl",
            limits=ALL,
        )
    ]
    assert machine == Machine(
        rootless=False,
        architecture="x86_64",
        overlays=("overlay",),
        runtime="/usr/bin/crun",
        network_helper="/usr/bin/pasta",
        cgroups="/s2ictl",
        limits=ALL,
    )
    assert machine.is_able


def test_what_needs_a_device_that_is_closed_is_not_tried() -> None:
    tried: list[Candidates] = []

    def attempt(candidates: Candidates) -> Trial:
        tried.append(candidates)
        return replace(GOOD, helper="")

    machine = examined(replace(USER, devices=frozenset()), attempt=attempt, version=lambda _: "")
    assert [(each.overlays, each.helpers) for each in tried] == [(("overlay",), ())]
    because = "containers share this machine's: /dev/net/tun is missing, or not this user's to open"
    hint = "as root: modprobe tun; chmod 666 /dev/net/tun"
    assert machine.warnings == (Lack(what="an isolated network", because=because, hint=hint), NO_LIMITS)


# ------------------------------------------------------------------------------------------------- what is missing


def test_root_in_a_container_may_be_less_than_root() -> None:
    (lack,) = lacks(replace(ROOT, may_mount=False))
    assert (lack.what, lack.packages) == ("the right to mount", ())


@pytest.mark.parametrize(
    ("setting", "mend"),
    [
        ("user/max_user_namespaces", ("sysctl", "-w", "user.max_user_namespaces=15000")),
        ("kernel/unprivileged_userns_clone", ("sysctl", "-w", "kernel.unprivileged_userns_clone=1")),
    ],
)
def test_a_kernel_that_gives_users_no_namespaces_is_told_to(setting: str, mend: tuple[str, ...]) -> None:
    (lack,) = lacks(replace(USER, settings={setting: 0}))
    assert (lack.what, lack.mend) == ("user namespaces", mend)
    assert lacks(replace(USER, settings={setting: 1}), GOOD) == ()


def test_a_user_without_subordinate_ids_is_given_some() -> None:
    (lack,) = lacks(replace(USER, has_subordinates=False, free_subordinates="165536-231071"))
    assert lack.mend == ("usermod", "--add-subuids", "165536-231071", "--add-subgids", "165536-231071", "ann")


def test_root_needs_neither_ids_nor_the_programs_that_give_them() -> None:
    assert lacks(replace(ROOT, programs=without("newuidmap", "newgidmap"), settings={}), GOOD) == ()


def test_what_is_not_installed_is_all_named_at_once() -> None:
    machine = examined(replace(USER, programs={"newuidmap": "/usr/bin/newuidmap"}), attempt=never, version=str)
    assert [(lack.what, lack.packages) for lack in (*machine.lacks, *machine.warnings)] == [
        ("newuidmap", ("uidmap",)),
        ("an OCI runtime", ("runc",)),
        ("an isolated network", ("slirp4netns",)),
        ("limits", ()),
    ]


def test_a_runtime_that_does_not_start_leaves_the_other_to_be_installed() -> None:
    trial = Trial(overlay="overlay", refusals=(("/usr/bin/crun", "hybrid mode not supported"),))
    assert lacks(replace(ROOT, programs=without("runc")), trial) == (
        Lack(
            what="a runtime that starts here",
            because="no container starts: crun: hybrid mode not supported",
            packages=("runc",),
            hint="mend what they say, or name an engine elsewhere by DOCKER_HOST",
        ),
    )


@pytest.mark.parametrize(
    ("here", "lack"),
    [
        (
            replace(USER, programs=without("fuse-overlayfs")),
            Lack(
                what="overlay",
                because="layers cannot be mounted: overlay: not permitted",
                packages=("fuse-overlayfs",),
            ),
        ),
        (
            replace(ROOT, file_system="nfs4"),
            Lack(
                what="overlay",
                because="the store lies on nfs4: layers cannot be mounted: overlay: not permitted",
                hint="name a directory of a local disk in S2ICTL_STATE",
            ),
        ),
        (
            replace(USER, settings={"kernel/apparmor_restrict_unprivileged_userns": 1}),
            Lack(
                what="overlay",
                because="layers cannot be mounted: overlay: not permitted",
                hint="AppArmor keeps it from ordinary users: a profile allows it to one program,"
                " `sysctl -w kernel.apparmor_restrict_unprivileged_userns=0` to all",
            ),
        ),
        (
            USER,
            Lack(
                what="overlay",
                because="layers cannot be mounted: overlay: not permitted",
                hint="build as root, or with a kernel that has overlayfs",
            ),
        ),
    ],
)
def test_layers_that_cannot_be_mounted_are_told_with_what_keeps_them(here: Surroundings, lack: Lack) -> None:
    assert lacks(here, Trial(refusals=(("overlay", "not permitted"),))) == (lack,)


def test_a_network_helper_that_refuses_is_a_warning() -> None:
    refused = Trial(overlay="overlay", runtime="/usr/sbin/runc", refusals=(("/usr/bin/pasta", "no tap"),))
    assert judged(ROOT, refused).warnings == (
        Lack(what="an isolated network", because="containers share this machine's: pasta: no tap"),
    )


@pytest.mark.parametrize(
    ("runtime", "said", "is_old"),
    [
        ("/usr/sbin/runc", "runc version 1.1.11\ncommit: v1.1.11", True),
        ("/usr/sbin/runc", "runc version 1.1.5+ds1\nspec: 1.0.2-dev", True),
        ("/usr/sbin/runc", "runc version 1.1.12", False),
        ("/usr/sbin/runc", "runc version 1.2.0-rc.1", False),
        ("/usr/sbin/runc", "", False),
        ("/usr/bin/crun", "crun version 1.1.1", False),
    ],
)
def test_an_old_runc_is_named(runtime: str, said: str, is_old: bool) -> None:
    assert bool(runtimes.aged(runtime, said)) is is_old


def test_a_runtime_that_is_none_has_no_version() -> None:
    assert runtimes.version("/nowhere/runc") == ""


# --------------------------------------------------------------------------------------------------- what is read

MOUNTS = """\
22 1 254:0 / / rw - ext4 /dev/vda rw
30 22 0:31 / /srv rw - tmpfs tmpfs rw
31 30 0:40 / /srv/state rw - nfs4 nas:/state rw
40 22 0:32 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct
41 22 0:33 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
42 22 0:34 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
"""


def below(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return root


def seen(root: Path, *, uid: int = 0, user: str = "root", store: str = "/srv/state/images") -> Surroundings:
    return read(root, store=Path(store), path=str(root / "bin"), uid=uid, user=user)


def test_a_program_where_the_user_happens_to_be_is_not_taken_for_the_system_s(tmp_path: Path) -> None:
    fake = tmp_path / "runc"
    fake.write_text("#!/bin/sh\n")
    fake.chmod(0o755)
    with contextlib.chdir(tmp_path):
        for path in (".", "", ":.", str(tmp_path)):
            here = read(tmp_path, store=tmp_path, path=path, uid=0, user="root")
            assert (here.programs.get("runc") == str(fake)) is (path == str(tmp_path))


def test_on_version_1_the_limits_are_those_of_the_mounted_controllers(tmp_path: Path) -> None:
    root = below(tmp_path, {"proc/self/mountinfo": MOUNTS})
    assert (seen(root).cgroups, seen(root).limits) == ("/s2ictl", frozenset({"cpu", "memory"}))
    below(root, {"sys/fs/cgroup/memory/memory.memsw.limit_in_bytes": "1"})
    assert seen(root).limits == frozenset({"cpu", "memory", "swap"})
    assert (seen(root, uid=1000).cgroups, seen(root, uid=1000).limits) == ("", frozenset())


def test_on_version_2_they_are_those_of_the_root_group(tmp_path: Path) -> None:
    root = below(tmp_path, {"sys/fs/cgroup/cgroup.controllers": "cpuset cpu io memory pids\n"})
    assert (seen(root).cgroups, seen(root).limits) == ("/s2ictl", ALL)


def test_an_ordinary_user_has_those_of_the_group_that_was_handed_to_him(tmp_path: Path) -> None:
    slice_ = "user.slice/user-1000.slice/user@1000.service"
    own = f"sys/fs/cgroup/{slice_}"
    root = below(
        tmp_path,
        {
            "sys/fs/cgroup/cgroup.controllers": "cpu io memory pids",
            "proc/self/cgroup": f"0::/{slice_}/session.scope\n",
            f"{own}/cgroup.controllers": "memory pids",
            f"{own}/cgroup.procs": "",
            f"{own}/cgroup.subtree_control": "memory pids",
        },
    )
    here = seen(root, uid=1000, user="ann")
    assert (here.cgroups, here.limits) == (f"/{slice_}/s2ictl", frozenset({"memory", "swap", "pids"}))


@pytest.mark.parametrize("group", ["0::/session.scope", "0::/a/b/session.scope", "1:name=systemd:/user"])
def test_an_ordinary_user_whose_group_is_somebody_else_s_has_none(tmp_path: Path, group: str) -> None:
    root = below(tmp_path, {"sys/fs/cgroup/cgroup.controllers": "memory", "proc/self/cgroup": group})
    assert (seen(root, uid=1000).cgroups, seen(root, uid=1000).limits) == ("", frozenset())


def test_subordinate_ids_are_a_user_s_by_name_or_number_and_of_both_kinds(tmp_path: Path) -> None:
    root = below(tmp_path, {"etc/subuid": "ann:100000:65536\n1001:165536:65536\n", "etc/subgid": "ann:100000:65536\n"})
    ann, bob = seen(root, uid=1000, user="ann"), seen(root, uid=1001, user="bob")
    assert (ann.has_subordinates, bob.has_subordinates) == (True, False)
    assert bob.free_subordinates == "231072-296607"
    below(root, {"etc/subgid": "bob:1:1\n"})
    assert seen(root, uid=1001, user="bob").has_subordinates


@pytest.mark.parametrize(
    ("store", "kind"), [("/home/x", "ext4"), ("/srv/other", "tmpfs"), ("/srv/state/images", "nfs4"), ("/srvx", "ext4")]
)
def test_the_store_lies_on_what_is_mounted_nearest(tmp_path: Path, store: str, kind: str) -> None:
    root = below(tmp_path, {"proc/self/mountinfo": MOUNTS})
    assert seen(root, store=store).file_system == kind


@pytest.mark.parametrize(("told", "may"), [("000001ffffffffff", True), ("00000000a80425fb", False), ("", False)])
def test_root_may_mount_where_his_capabilities_say_so(tmp_path: Path, told: str, may: bool) -> None:
    root = below(tmp_path, {"proc/self/status": f"Name:\tx\nCapEff:\t{told}\n" if told else ""})
    assert seen(root).may_mount is may


# ------------------------------------------------------------------------------------------------- what is kept

FOUND = replace(judged(ROOT, GOOD, version="runc version 1.0.0"), warnings=(NO_LIMITS,))


def test_what_was_found_is_kept_until_something_is_another(tmp_path: Path) -> None:
    memory = tmp_path / "deep" / "machine.json"
    assert remembered(ROOT, memory, lambda: FOUND) == FOUND
    assert remembered(ROOT, memory, lambda: pytest.fail("it was looked for again")) == FOUND
    changed = replace(ROOT, changes=("another kernel",))
    other = replace(FOUND, network_helper="")
    assert remembered(changed, memory, lambda: other) == other


def test_what_cannot_build_is_looked_at_again(tmp_path: Path) -> None:
    unable = Machine(rootless=True, architecture="x86_64", lacks=(NO_LIMITS,))
    memory = tmp_path / "machine.json"
    assert remembered(USER, memory, lambda: unable) == unable
    assert remembered(USER, memory, lambda: FOUND) == FOUND


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"key": 1}', b"\xff", b"x" * 100_000])
def test_a_memory_that_says_nothing_is_as_good_as_none(tmp_path: Path, content: bytes) -> None:
    memory = tmp_path / "machine.json"
    memory.write_bytes(content)
    assert remembered(ROOT, memory, lambda: FOUND) == FOUND


def test_without_a_memory_it_is_always_looked_for(tmp_path: Path) -> None:
    assert remembered(ROOT, None, lambda: FOUND) == FOUND
    assert list(tmp_path.iterdir()) == []


def test_a_program_that_was_replaced_is_another(tmp_path: Path) -> None:
    root = below(tmp_path, {"bin/runc": "one"})
    (root / "bin/runc").chmod(0o755)
    first = seen(root)
    os.utime(root / "bin/runc", ns=(1, 1))
    assert first.programs["runc"] == str(root / "bin/runc")
    assert first.changes != seen(root).changes


# --------------------------------------------------------------------------------------------- what would mend it

MISSING = (
    Lack(what="newuidmap", because="", packages=("uidmap",)),
    Lack(what="an OCI runtime", because="", packages=("runc",)),
    Lack(what="ids", because="", mend=("usermod", "ann")),
    Lack(what="overlay", because="", hint="build as root"),
    Lack(what="an isolated network", because="", packages=("slirp4netns",)),
)
APT = ("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-o", "DPkg::Lock::Timeout=300")


@pytest.mark.parametrize(
    ("manager", "expected"),
    [
        (
            "apt-get",
            (
                (*APT, "update"),
                (*APT, "install", "--yes", "--no-install-recommends", "uidmap", "runc", "slirp4netns"),
            ),
        ),
        ("dnf", (("dnf", "install", "--assumeyes", "shadow-utils", "crun", "slirp4netns"),)),
        ("apk", (("apk", "add", "shadow-uidmap", "runc", "slirp4netns"),)),
        ("zypper", (("zypper", "--non-interactive", "install", "shadow", "runc", "slirp4netns"),)),
        ("pacman", (("pacman", "-S", "--needed", "--noconfirm", "shadow", "runc", "slirp4netns"),)),
    ],
)
def test_each_distribution_installs_by_its_own_words(manager: str, expected: tuple[tuple[str, ...], ...]) -> None:
    here = distribution(lambda name: f"/usr/bin/{name}" if name == manager else None)
    assert commands(MISSING, here) == (*expected, ("usermod", "ann"))


def test_on_a_distribution_that_nobody_knows_only_what_needs_no_package_is_run() -> None:
    here = distribution(lambda _: None)
    assert commands(MISSING, here) == (("usermod", "ann"),)
    assert [advice(lack, here) for lack in MISSING] == [
        "install uidmap",
        "install runc",
        "usermod ann",
        "build as root",
        "install slirp4netns",
    ]


def test_advice_names_the_package_as_the_distribution_does() -> None:
    assert [advice(MISSING[0], here) for here in DISTRIBUTIONS] == [
        "install uidmap (apt-get), or s2ictl doctor --fix",
        "install shadow-utils (dnf), or s2ictl doctor --fix",
        "install shadow-uidmap (apk), or s2ictl doctor --fix",
        "install shadow (zypper), or s2ictl doctor --fix",
        "install shadow (pacman), or s2ictl doctor --fix",
    ]
