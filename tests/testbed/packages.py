"""System packages, installed when they are missing and only by somebody who may.

An installation says what it installs before it does, starts no service on the machine, and waits for another apt
instead of failing beside it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.testbed.bed import Say, say_on_stderr
from tests.testbed.errors import Unavailable

# What the engine without a daemon is made of, and what of it not every release of the distribution has.
DAEMONLESS = ("runc", "crun", "uidmap", "fuse-overlayfs", "slirp4netns")
DAEMONLESS_SOMEWHERE = ("passt",)
POLICY = Path("/usr/sbin/policy-rc.d")


def need(part: str, *names: str, say: Say = say_on_stderr) -> None:
    """Have these packages, or say why they cannot be had."""
    wanted = missing(names)
    if not wanted:
        return
    apt = [*privilege(part, wanted), "apt-get", "-o", "DPkg::Lock::Timeout=300", "--quiet"]
    say(f"installing {' '.join(wanted)}")
    with no_services_started():
        # A broken list of somebody's own repository fails the update, and need not concern us.
        apt_get([*apt, "update"])
        done = apt_get([*apt, "install", "--yes", "--no-install-recommends", *wanted])
    if done.returncode:
        last = " ".join(done.stderr.strip().splitlines()[-3:])
        raise Unavailable(part, f"needs the packages {' '.join(wanted)}, which do not install: {last}")


def missing(names: Sequence[str]) -> list[str]:
    """Those that are not installed, in the order given."""
    if not shutil.which("dpkg-query"):
        return list(names)
    command = ["dpkg-query", "--show", "--showformat", "${db:Status-Status} ${Package}\\n", *names]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line.split(" ", 1) for line in done.stdout.splitlines()]
    installed = {name for status, name in lines if status == "installed"}
    return [name for name in names if name not in installed]


def known(names: Sequence[str]) -> list[str]:
    """Those that this release of the distribution has."""
    if not shutil.which("apt-cache"):
        return []
    return [name for name in names if apt_get(["apt-cache", "show", name]).returncode == 0]


def compiler(part: str, say: Say = say_on_stderr) -> None:
    """Have a C compiler, whoever installed it."""
    if not shutil.which("gcc"):
        need(part, "gcc", "libc6-dev", say=say)


def privilege(part: str, wanted: Sequence[str]) -> list[str]:
    """The words that make a command root's, once the user agreed."""
    packages = " ".join(wanted)
    if not shutil.which("apt-get"):
        raise Unavailable(part, f"needs the packages {packages}, and there is no apt-get")
    if os.geteuid() == 0:
        return []
    if not (sys.stdin.isatty() and shutil.which("sudo")):
        raise Unavailable(part, f"needs the packages {packages}, which only root installs")
    if input(f"testbed: install {packages} with sudo? [y/N] ").strip().lower() not in {"y", "yes"}:
        raise Unavailable(part, f"needs the packages {packages}")
    return ["sudo", "env", "DEBIAN_FRONTEND=noninteractive"]


def apt_get(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    return subprocess.run(command, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)


@contextlib.contextmanager
def no_services_started() -> Iterator[None]:
    """Keep packages from starting their daemons: a second engine on the default socket is not ours to make.

    The policy ends with this process, even when it is killed and can take nothing back.
    """
    if os.geteuid() != 0 or POLICY.exists():
        yield
        return
    POLICY.write_text(
        f"#!/bin/sh\n# tests/testbed, while it installs packages\n[ ! -e /proc/{os.getpid()} ] || exit 101\n"
    )
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)
