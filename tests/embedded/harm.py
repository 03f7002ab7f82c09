"""Run inside of a container by test_confinement: tries what must fail, and says in JSON what became of it."""

import ctypes
import errno
import json
import os
import platform
import socket
import stat
import sys
from collections.abc import Callable
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)
_NUMBERS = {
    "x86_64": {
        "clone": 56,
        "ptrace": 101,
        "syslog": 103,
        "pivot_root": 155,
        "settimeofday": 164,
        "mount": 165,
        "umount2": 166,
        "swapon": 167,
        "reboot": 169,
        "sethostname": 170,
        "init_module": 175,
        "kexec_load": 246,
        "add_key": 248,
        "keyctl": 250,
        "unshare": 272,
        "perf_event_open": 298,
        "open_by_handle_at": 304,
        "setns": 308,
        "bpf": 321,
        "userfaultfd": 323,
        "io_uring_setup": 425,
        "clone3": 435,
    },
    "aarch64": {
        "clone": 220,
        "ptrace": 117,
        "syslog": 116,
        "pivot_root": 41,
        "settimeofday": 170,
        "mount": 40,
        "umount2": 39,
        "swapon": 224,
        "reboot": 142,
        "sethostname": 161,
        "init_module": 105,
        "kexec_load": 104,
        "add_key": 217,
        "keyctl": 219,
        "unshare": 97,
        "perf_event_open": 241,
        "open_by_handle_at": 265,
        "setns": 268,
        "bpf": 280,
        "userfaultfd": 282,
        "io_uring_setup": 425,
        "clone3": 435,
    },
}[platform.machine()]
_NEW_USER, _NEW_MOUNTS, _CHILD_ENDED = 0x10000000, 0x20000, 17
_ATTACH = 16
_VSOCK = 40


def call(name: str, *arguments: int) -> str:
    _LIBC.syscall.restype = ctypes.c_long
    done = _LIBC.syscall(_NUMBERS[name], *map(ctypes.c_long, arguments))
    return errno.errorcode[ctypes.get_errno()] if done < 0 else f"allowed: {done}"


def attempt(what: Callable[[], object]) -> str:
    try:
        return f"allowed: {what()}"
    except OSError as error:
        return errno.errorcode[error.errno or 0]


def calls() -> dict[str, str]:
    return {
        "mount": call("mount", 0, 0, 0, 0, 0),
        "umount": call("umount2", 0, 0),
        "unshare a user namespace": call("unshare", _NEW_USER),
        "unshare a mount namespace": call("unshare", _NEW_MOUNTS),
        "clone into a user namespace": call("clone", _NEW_USER | _CHILD_ENDED, 0, 0, 0, 0),
        "clone3": call("clone3", 0, 0),
        "setns": call("setns", os.open("/proc/self/ns/uts", os.O_RDONLY), 0),
        "pivot_root": call("pivot_root", 0, 0),
        **{name: call(name, 0, 0, 0, 0, 0) for name in ("keyctl", "add_key", "bpf", "perf_event_open", "userfaultfd")},
        **{name: call(name, 0, 0, 0, 0, 0) for name in ("io_uring_setup", "open_by_handle_at", "reboot", "kexec_load")},
        **{name: call(name, 0, 0, 0, 0, 0) for name in ("init_module", "settimeofday", "swapon")},
        "syslog": call("syslog", 3, 0, 0),
        "a socket out of a virtual machine": attempt(lambda: socket.socket(_VSOCK, socket.SOCK_STREAM)),
        "a raw socket": attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)),
        "a block device": attempt(lambda: os.mknod("/disk", stat.S_IFBLK | 0o666, os.makedev(254, 0))),
        "a character device": attempt(lambda: os.mknod("/memory", stat.S_IFCHR | 0o666, os.makedev(1, 1))),
        "sethostname": call("sethostname", 0, 0),
    }


def writing() -> dict[str, str]:
    """Some that is known to do harm, and some of all that could be."""
    known = ["/proc/sys/kernel/core_pattern", "/proc/sys/vm/drop_caches", "/proc/sysrq-trigger", "/sys/power/state"]
    groups = Path("/sys/fs/cgroup").glob("*/release_agent")
    found = [path for path in Path("/sys/kernel").rglob("*") if path.is_file() and path.stat().st_mode & 0o200]
    return {str(path): _opened(path) for path in (*map(Path, known), *groups, *found[:50]) if path.exists()}


def _opened(path: Path) -> str:
    return attempt(lambda: os.open(path, os.O_WRONLY))


def reading() -> dict[str, str]:
    files = map(Path, ("/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sched_debug", "/proc/interrupts"))
    directories = map(
        Path, ("/proc/acpi", "/proc/scsi", "/proc/asound", "/sys/firmware", "/sys/devices/virtual/powercap")
    )
    told = {str(path): path.read_bytes()[:20].decode(errors="replace") for path in files if path.exists()}
    return told | {str(path): " ".join(map(str, path.iterdir())) for path in directories if path.exists()}


def processes() -> dict[str, object]:
    """Its own, and the first of its namespace: that is the engine's, stands outside, and waits for orphans."""
    first = Path("/proc/1")
    others = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]
    return {
        "others": [number for number in others if number not in (1, os.getpid())],
        "traced": call("ptrace", _ATTACH, 1, 0, 0),
        "root": attempt(lambda: list((first / "root").iterdir())),
        "cwd": attempt(lambda: list((first / "cwd").iterdir())),
        "fd": attempt(lambda: os.open(first / "fd/0", os.O_RDONLY)),
        "environ": attempt((first / "environ").read_bytes),
        "mem": attempt((first / "mem").read_bytes),
        "ns": attempt(lambda: os.open(first / "ns/mnt", os.O_RDONLY)),
        "beyond": call("ptrace", _ATTACH, (1 << 22) - 1, 0, 0),
    }


def rights() -> dict[str, str]:
    lines = Path("/proc/self/status").read_text().splitlines()
    pairs = (line.split(":", 1) for line in lines)
    return {name: told.strip() for name, told in pairs if name.startswith("Cap") or name in ("NoNewPrivs", "Seccomp")}


def limits() -> dict[str, int]:
    groups = Path("/sys/fs/cgroup")
    if (groups / "memory.max").exists():
        names = {"memory": "memory.max", "cpu": "cpu.max", "pids": "pids.max"}
    else:
        names = {"memory": "memory/memory.limit_in_bytes", "cpu": "cpu/cpu.cfs_quota_us", "pids": "pids/pids.max"}
    return {name: int((groups / file).read_text().split()[0]) for name, file in names.items()}


def reaching(port: str, *addresses: str) -> dict[str, str]:
    return {address: _greeting(address, int(port)) for address in addresses}


def _greeting(address: str, port: int) -> str:
    try:
        with socket.create_connection((address, port), timeout=5) as connection:
            return connection.recv(100).decode()
    except TimeoutError:
        return "nothing"
    except OSError as error:
        return errno.errorcode[error.errno or 0]


TRIED = (calls, writing, reading, processes, rights, limits, reaching)

if __name__ == "__main__":
    (chosen,) = [each for each in TRIED if each.__name__ == sys.argv[1]]
    print(json.dumps(chosen(*sys.argv[2:])))
