"""Where s2ictl is, and where it keeps things: the XDG directories of the user, or what the environment names."""

from __future__ import annotations

import platform
from pathlib import Path

from s2ictl.cli.session import World

_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


def own_platform() -> str:
    """This machine, as images call it."""
    return f"linux/{_MACHINES.get(platform.machine(), platform.machine())}"


def state_directory(world: World) -> Path:
    """Builds, deliveries, logs, reports: what is remembered."""
    if named := world.environ.get("S2ICTL_STATE"):
        return world.cwd / named
    return _xdg(world, "XDG_STATE_HOME", ".local/state")


def dependencies_directory(world: World) -> Path:
    """Where builds take turns at dependencies.

    A place of its own: the kernel takes all locks of a file from a process that closes it once, and the names of the
    result are locked meanwhile.
    """
    return state_directory(world) / "dependencies"


def cache_directory(world: World) -> Path:
    """What can be fetched again."""
    if named := world.environ.get("S2ICTL_CACHE"):
        return world.cwd / named
    return _xdg(world, "XDG_CACHE_HOME", ".cache")


def image_memory(world: World) -> Path:
    """What was once seen of images; who loses it looks again."""
    return cache_directory(world) / "images"


def image_shelf(world: World) -> Path:
    """Images that were taken out of an engine."""
    return cache_directory(world) / "bases"


def image_store(world: World) -> Path:
    """Images of the engine that has no daemon, and all that it makes of them."""
    return state_directory(world) / "images"


def machine_memory(world: World) -> Path:
    """What was found out of this machine, for the engine that has no daemon; who loses it looks again."""
    return cache_directory(world) / "machine.json"


def data_directory(world: World, variable: str, otherwise: str) -> Path:
    """A directory of the user that other programs read, such as a shell's completions."""
    named = world.environ.get(variable, "")
    return Path(named) if Path(named).is_absolute() else world.home / otherwise


def _xdg(world: World, variable: str, otherwise: str) -> Path:
    return data_directory(world, variable, otherwise) / "s2ictl"
