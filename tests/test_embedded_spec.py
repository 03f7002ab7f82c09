"""The runtime's document: all of it, and what becomes of it where less can be had."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from s2ictl.engines.embedded import seccomp
from s2ictl.engines.embedded.spec import Container, Mount, document
from s2ictl.models import Confinement

CONTAINER = Container(
    root="/state/chambers/one/root",
    hostname="s2ictl",
    command=("/usr/libexec/s2i/assemble",),
    env=(("PATH", "/usr/bin:/bin"), ("HOME", "/opt/app")),
    workdir="/opt/app",
    uid=0,
    gid=0,
    groups=(10, 27),
    mounts=(
        Mount(source="/handed/deep", target="/srv/cache/deep"),
        Mount(source="/srv/cache", target="/srv/cache"),
        Mount(source="/handed/resolv.conf", target="/etc/resolv.conf", read_only=True),
    ),
    confinement=Confinement(memory=512 << 20, cpus=1.5, cap_drop=("chown", "CAP_KILL")),
    network="/handed/network",
    cgroup="/s2ictl/one",
    limits=frozenset({"memory", "swap", "cpu", "pids"}),
    architecture="x86_64",
    rootless=False,
)
SYSTEM_MOUNTS = [
    {
        "destination": "/proc",
        "type": "proc",
        "source": "proc",
        "options": ["nosuid", "noexec", "nodev"],
    },
    {
        "destination": "/dev",
        "type": "tmpfs",
        "source": "tmpfs",
        "options": ["nosuid", "noexec", "strictatime", "mode=755", "size=65536k"],
    },
    {
        "destination": "/dev/pts",
        "type": "devpts",
        "source": "devpts",
        "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
    },
    {
        "destination": "/dev/shm",
        "type": "tmpfs",
        "source": "tmpfs",
        "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
    },
    {
        "destination": "/dev/mqueue",
        "type": "mqueue",
        "source": "mqueue",
        "options": ["nosuid", "noexec", "nodev"],
    },
]
FRESH_SYS = {
    "destination": "/sys",
    "type": "sysfs",
    "source": "sysfs",
    "options": ["nosuid", "noexec", "nodev", "ro"],
}
CGROUPS = {
    "destination": "/sys/fs/cgroup",
    "type": "cgroup",
    "source": "cgroup",
    "options": ["nosuid", "noexec", "nodev", "relatime", "ro"],
}


def told(container: Container) -> Any:
    return json.loads(document(container))


def test_the_whole_document() -> None:
    capabilities = [
        f"CAP_{name}" for name in ("DAC_OVERRIDE", "FOWNER", "FSETID", "SETFCAP", "SETGID", "SETUID", "SYS_CHROOT")
    ]
    assert told(CONTAINER) == {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0, "umask": 0o022, "additionalGids": [10, 27]},
            "args": ["/usr/libexec/s2i/assemble"],
            "env": ["PATH=/usr/bin:/bin", "HOME=/opt/app"],
            "cwd": "/opt/app",
            "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
            "noNewPrivileges": True,
            "rlimits": [{"type": "RLIMIT_CORE", "hard": 0, "soft": 0}],
        },
        "root": {"path": "/state/chambers/one/root"},
        "hostname": "s2ictl",
        "mounts": [
            *SYSTEM_MOUNTS,
            FRESH_SYS,
            CGROUPS,
            {
                "destination": "/srv/cache",
                "type": "bind",
                "source": "/srv/cache",
                "options": ["rbind", "rprivate", "nosuid", "nodev", "rw"],
            },
            {
                "destination": "/etc/resolv.conf",
                "type": "bind",
                "source": "/handed/resolv.conf",
                "options": ["rbind", "rprivate", "nosuid", "nodev", "ro"],
            },
            {
                "destination": "/srv/cache/deep",
                "type": "bind",
                "source": "/handed/deep",
                "options": ["rbind", "rprivate", "nosuid", "nodev", "rw"],
            },
        ],
        "linux": {
            "namespaces": [
                {"type": "pid"},
                {"type": "mount"},
                {"type": "ipc"},
                {"type": "uts"},
                {"type": "cgroup"},
                {"type": "network", "path": "/handed/network"},
            ],
            "cgroupsPath": "/s2ictl/one",
            "resources": {
                "devices": [{"allow": False, "access": "rwm"}],
                "memory": {"limit": 512 << 20, "swap": 512 << 20},
                "cpu": {"quota": 150_000, "period": 100_000},
                "pids": {"limit": 4096},
            },
            "seccomp": seccomp.profile("x86_64"),
            "maskedPaths": [
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
            ],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    }


def test_who_is_not_root_has_no_capability_at_all() -> None:
    process = told(replace(CONTAINER, uid=1001))["process"]
    assert process["capabilities"] == {"bounding": [], "effective": [], "permitted": []}


def test_without_a_cgroup_nothing_is_limited_and_none_is_shown() -> None:
    linux, mounts = (told(replace(CONTAINER, cgroup=""))[part] for part in ("linux", "mounts"))
    assert "cgroupsPath" not in linux
    assert "resources" not in linux
    assert {"type": "cgroup"} not in linux["namespaces"]
    assert CGROUPS not in mounts


@pytest.mark.parametrize(
    ("limits", "resources"),
    [
        ({"memory"}, {"memory": {"limit": 512 << 20}}),
        ({"cpu", "pids"}, {"cpu": {"quota": 150_000, "period": 100_000}, "pids": {"limit": 4096}}),
        (set(), {}),
    ],
)
def test_what_the_kernel_cannot_limit_is_not_asked_of_it(limits: set[str], resources: dict[str, object]) -> None:
    linux = told(replace(CONTAINER, limits=frozenset(limits)))["linux"]
    assert linux["resources"] == {"devices": [{"allow": False, "access": "rwm"}], **resources}


def test_the_machine_s_own_network_needs_no_namespace() -> None:
    namespaces = told(replace(CONTAINER, network=""))["linux"]["namespaces"]
    assert [each["type"] for each in namespaces] == ["pid", "mount", "ipc", "uts", "cgroup"]


def test_an_ordinary_user_on_the_machine_s_network_sees_the_machine_s_own_sys() -> None:
    shared = {
        "destination": "/sys",
        "type": "bind",
        "source": "/sys",
        "options": ["rbind", "rprivate", "nosuid", "nodev", "noexec", "ro"],
    }
    mounts = told(replace(CONTAINER, rootless=True, network="", cgroup="", mounts=()))["mounts"]
    assert mounts == [*SYSTEM_MOUNTS, shared]
    own = told(replace(CONTAINER, rootless=True, cgroup="", mounts=()))["mounts"]
    assert own == [*SYSTEM_MOUNTS, FRESH_SYS]


@pytest.mark.parametrize(
    ("changes", "masked"),
    [
        ({"network": "", "cgroup": ""}, ["/sys/fs/fuse", "/sys/fs/cgroup"]),
        ({"network": ""}, ["/sys/fs/fuse"]),
        ({"cgroup": ""}, []),
    ],
    ids=["shared, without a cgroup", "shared", "its own"],
)
def test_what_is_mounted_in_a_shared_sys_is_hidden_since_it_stays_writable(
    changes: dict[str, Any], masked: list[str]
) -> None:
    always = told(CONTAINER)["linux"]["maskedPaths"]
    assert told(replace(CONTAINER, rootless=True, **changes))["linux"]["maskedPaths"] == [*always, *masked]


# ---------------------------------------------------------------------------------------------------- the calls


def rules(name: str) -> list[dict[str, object]]:
    """What is said of one call."""
    syscalls: Any = seccomp.profile("x86_64")["syscalls"]
    return [{**rule, "names": [name]} for rule in syscalls if name in rule["names"]]


REACHING_OUT = """
    add_key bpf delete_module finit_module fsopen init_module io_uring_setup kexec_load keyctl lookup_dcookie mount
    move_mount open_by_handle_at open_tree perf_event_open pidfd_getfd pivot_root process_madvise reboot request_key
    setns settimeofday swapon syslog umount2 unshare userfaultfd
"""
EVERYDAY = "read write openat execve chown chroot ptrace setuid futex statx faccessat2"


@pytest.mark.parametrize("name", REACHING_OUT.split())
def test_what_would_reach_the_machine_is_not_allowed(name: str) -> None:
    assert rules(name) == []


@pytest.mark.parametrize("name", EVERYDAY.split())
def test_what_programs_need_is_allowed(name: str) -> None:
    assert rules(name) == [{"names": [name], "action": "SCMP_ACT_ALLOW"}]


def test_clone_makes_no_namespace_and_clone3_seems_unknown() -> None:
    first = {"index": 0, "value": 0x7E020000, "op": "SCMP_CMP_MASKED_EQ"}
    assert rules("clone") == [{"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [first]}]
    assert rules("clone3") == [{"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}]


@pytest.mark.parametrize(
    ("architecture", "names", "own"),
    [
        ("x86_64", ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"], {"arch_prctl", "modify_ldt"}),
        ("aarch64", ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"], {"cacheflush", "set_tls", "breakpoint"}),
        ("riscv64", [], set()),
    ],
)
def test_each_architecture_has_its_own_calls(architecture: str, names: list[str], own: set[str]) -> None:
    profile: Any = seccomp.profile(architecture)
    everybodys: Any = seccomp.profile("riscv64")
    assert profile["architectures"] == names
    assert own <= set(profile["syscalls"][0]["names"]) - set(everybodys["syscalls"][0]["names"])
    assert (profile["defaultAction"], profile["defaultErrnoRet"]) == ("SCMP_ACT_ERRNO", 1)


def test_no_call_is_named_twice() -> None:
    profile: Any = seccomp.profile("aarch64")
    names = profile["syscalls"][0]["names"]
    assert names == sorted(set(names))
