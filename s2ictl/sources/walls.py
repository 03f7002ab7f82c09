"""Whether a host that only the source names lies behind our own walls: a server must not be sent there by a stranger.

An address is judged in every spelling, a name by what it stands for now. A name that changes its mind between this
question and git's own is not caught here: that takes a network policy.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

from s2ictl.addresses import is_private

Resolve = Callable[[str], tuple[str, ...]]


def resolved(host: str) -> tuple[str, ...]:
    """The addresses that a name stands for; none where nobody knows it."""
    try:
        return tuple(str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))
    except (OSError, UnicodeError):
        return ()


def is_behind_walls(host: str, resolve: Resolve) -> bool:
    """Whether this host, or anything that its name stands for, is private."""
    return is_private(host) or any(is_private(address) for address in resolve(host))
