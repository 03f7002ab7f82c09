"""The output of a command, from the two descriptors that it comes on, and how the command ended."""

from __future__ import annotations

import os
import selectors
from collections.abc import Iterator

from s2ictl.engines.embedded.wardens import Process
from s2ictl.engines.outcomes import Ended
from s2ictl.engines.streams import Limit, Silence, Stream

_AT_ONCE = 64 * 1024
_LOOK = 1.0


def heard(process: Process, limit: Limit, silence: Silence) -> Iterator[tuple[Stream, bytes]]:
    """What it says, piece by piece, until both are closed or the time is up."""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ, "stdout")
        selector.register(process.stderr, selectors.EVENT_READ, "stderr")
        while selector.get_map():
            limit.check()
            patience = min(limit.left(), silence.seconds)
            ready = selector.select(patience)
            if not ready and patience == silence.seconds:
                silence.heard()
            for key, _ in ready:
                if data := os.read(key.fd, _AT_ONCE):
                    yield key.data, data
                else:
                    selector.unregister(key.fd)


def ended(process: Process, limit: Limit) -> Ended:
    """How it ended, once it has: it may have closed its output long before."""
    while (end := process.ended(min(limit.left(), _LOOK))) is None:
        limit.check()
    return end
