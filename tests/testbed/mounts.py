"""What is mounted below a directory, and taking it down before the directory is removed.

Removing a tree that still has a mount in it would remove what is mounted.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path


def below(directory: Path) -> list[Path]:
    """Mount points below a directory, the innermost and the latest first."""
    mounted = [unescape(line.split(" ")[1]) for line in Path("/proc/self/mounts").read_text().splitlines()]
    return [Path(path) for path in sorted(mounted, reverse=True) if path.startswith(f"{directory}/")]


def unmount(directory: Path) -> None:
    """Unmount everything below; what somebody still looks at is detached, and goes when they do."""
    for path in below(directory):
        if subprocess.run(["umount", path], capture_output=True, check=False).returncode:
            subprocess.run(["umount", "--lazy", path], capture_output=True, check=False)


def unescape(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal.group(1), 8)), field)
