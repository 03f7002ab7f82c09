"""What a command may do in a container, whichever engine runs it."""

from __future__ import annotations

from collections.abc import Iterable

# What package managers need to install as root. A non-root command has none of them, since nothing may be gained.
_CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETFCAP", "SETGID", "SETUID", "SYS_CHROOT")

PROCESSES = 4096


def capabilities(dropped: Iterable[str]) -> tuple[str, ...]:
    """Those that root has, without what was asked to be taken away."""
    gone = {name.upper().removeprefix("CAP_") for name in dropped}
    return tuple(name for name in _CAPABILITIES if name not in gone and "ALL" not in gone)
