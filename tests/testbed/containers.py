"""What container runtimes leave on a machine when they are ended rather than asked to stop every container."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from tests.testbed import cgroups, mounts, processes
from tests.testbed.errors import Unavailable

# Shims listen here, and daemons make their directories for plugins there, whatever they are told.
SHIM_SOCKETS = Path("/run/containerd/s")
PLUGINS = (
    *(Path("/opt/containerd/bin"), Path("/opt/containerd/lib"), Path("/opt/containerd")),
    *(Path("/run/docker/plugins"), Path("/run/docker")),
)


def root_only(part: str) -> None:
    if os.geteuid() != 0:
        raise Unavailable(part, "bridges, mounts and cgroups are root's to make")


def sweep(directory: Path, *, cgroup: str) -> None:
    """End the containers of a runtime that lives in this directory, and what held them."""
    processes.end(processes.left_behind(directory, "containerd", "containerd-shim-runc-v2", "docker-proxy"), patience=0)
    cgroups.remove(cgroup)
    for address in directory.rglob("io.containerd.runtime.v2.task/*/*/address"):
        Path(address.read_text().removeprefix("unix://")).unlink(missing_ok=True)
    mounts.unmount(directory)
    remove_empty(SHIM_SOCKETS, SHIM_SOCKETS.parent, *PLUGINS)


def remove_empty(*directories: Path) -> None:
    """Remove directories outside of ours that nobody uses any more."""
    for directory in directories:
        with contextlib.suppress(OSError):
            directory.rmdir()
