"""Whose container this is, and until when: said by its name, so that what the dead left can be told from the living.

It stands in the name and not in labels, because a commit copies a container's labels into the image, and every
container that somebody starts from that image would then look like ours.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import time
from collections.abc import Callable
from pathlib import Path

from s2ictl.expressions import expression
from s2ictl.values import dataclass

_NAME = expression(
    r"s2ictl-(?P<owner>[a-z0-9]{1,40})-(?P<place>[0-9a-f]{12})-(?P<pid>\d{1,10})-(?P<expires>\d{1,12})-[0-9a-f]{6}"
)
_GRACE = 24 * 3600  # the clocks of two machines that share an engine


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """Where this process runs: `place` is the same for exactly those processes whose ids can be compared."""

    place: str
    pid: int
    is_alive: Callable[[int], bool]
    now: Callable[[], float]


def this_host() -> Host:
    return Host(place=_place(Path("/proc")), pid=os.getpid(), is_alive=_is_alive, now=time.time)


def name_for(owner: str, host: Host, *, seconds: float) -> str:
    """Name a container that `owner` needs for at most so many seconds."""
    short = re.sub(r"[^a-z0-9]", "", owner.lower())[:40] or "anonymous"
    return f"s2ictl-{short}-{host.place}-{host.pid}-{int(host.now() + seconds)}-{secrets.token_hex(3)}"


def is_abandoned(name: str, host: Host) -> bool:
    """Whether the name is one of ours and nobody can be working with it any more."""
    match = _NAME.fullmatch(name)
    if match is None:
        return False
    if match["place"] == host.place:
        return not host.is_alive(int(match["pid"]))
    return host.now() > int(match["expires"]) + _GRACE


def _place(proc: Path) -> str:
    # Containers share the boot id of their machine, but not its process ids: without the namespace, a build that runs
    # in one would look dead from the next.
    try:
        boot = (proc / "sys/kernel/random/boot_id").read_text()
        namespace = os.readlink(proc / "self/ns/pid")  # noqa: PTH115  (it is no path)
    except OSError:
        return secrets.token_hex(6)
    return hashlib.sha256(f"{boot}{namespace}".encode()).hexdigest()[:12]


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
