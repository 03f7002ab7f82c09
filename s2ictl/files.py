"""A file that somebody may read as soon as it is there: the whole of it appears at once, or nothing does."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_whole(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Put a file in place, also of an older one; where that fails nothing of it stays."""
    descriptor, partial = tempfile.mkstemp(dir=path.parent, prefix=".s2ictl-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            os.fchmod(descriptor, mode)
        Path(partial).replace(path)
    finally:
        Path(partial).unlink(missing_ok=True)
