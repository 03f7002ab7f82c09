"""Which OCI runtimes are installed, in the order in which they are tried, and what is to be said of an old one."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from s2ictl.engines.embedded.machine import Lack
from s2ictl.expressions import expression

NAMES = ("runc", "crun")  # crun is quicker, and refuses machines where both versions of cgroups are mounted

_MENDED = (1, 1, 12)  # CVE-2024-21626: an image could name a working directory outside of the container
_VERSION = expression(r"\bversion (\d+)\.(\d+)\.(\d+)\S*")
_PATIENCE = 10.0


def installed(programs: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(programs[name] for name in NAMES if name in programs)


def version(runtime: str) -> str:
    """What a runtime says of itself, "" when it says nothing."""
    try:
        done = subprocess.run([runtime, "--version"], capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout


def aged(runtime: str, said: str) -> tuple[Lack, ...]:
    """That it is an old runc, if it is one; distributions mend theirs without another number."""
    found = _VERSION.search(said)
    if Path(runtime).name != "runc" or found is None or tuple(map(int, found.groups())) >= _MENDED:
        return ()
    return (
        Lack(
            what="runc",
            because=f"{found[0].removeprefix('version ')} is older than {'.'.join(map(str, _MENDED))}: CVE-2024-21626 "
            "is mended in it only where the distribution did that",
            hint="install the distribution's updates",
        ),
    )
