"""Writing to stderr so that it is read at once, and what it means that nobody reads there any more."""

from __future__ import annotations

import errno
from typing import TextIO


def tell(stream: TextIO, text: str) -> None:
    """Write and flush; a terminal that was closed says EIO, and is a reader that went away, as of a pipe."""
    try:
        stream.write(text)
        stream.flush()
    except OSError as gone:
        if gone.errno != errno.EIO:
            raise
        raise BrokenPipeError(errno.EPIPE, "the terminal is gone") from gone
