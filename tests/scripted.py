"""The scripts of our builders, run on this machine: what they would call in a container is written by the test."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a script ended; `calls` is what the stand-ins have written into the file `$CALLS`."""

    status: int
    stdout: str
    stderr: str
    calls: tuple[str, ...]

    @property
    def error(self) -> str:
        return self.stderr.partition("\n")[0]


def run(script: Path, *arguments: str, root: Path, cwd: Path, environ: Mapping[str, str]) -> Ended:
    """Run a script in the directory that stands for the container."""
    calls = root / "calls"
    calls.write_text("")
    ended = subprocess.run(
        [str(script), *arguments],
        cwd=cwd,
        env={"CALLS": str(calls), **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    said = tuple(plain(calls.read_text(), root).splitlines())
    return Ended(status=ended.returncode, stdout=ended.stdout, stderr=ended.stderr, calls=said)


def plain(text: str, root: Path) -> str:
    """Without what is called otherwise in each run."""
    return re.sub(r"/tmp/tmp\.\w+", "/scratch", text.replace(str(root), ""))


def provide(directory: Path, programs: Mapping[str, str]) -> None:
    """Programs, by what they do."""
    write(directory, programs)
    for name in programs:
        (directory / name).chmod(0o755)


def write(directory: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
