"""The programs that people pack with, where this machine has them: a skip with its reason where it has not."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests import testbed
from tests.parts import available

_BESIDE = {"-z": "gzip", "-j": "bzip2", "-J": "xz"}


def tar(source: Path, to: Path, *flags: str, names: tuple[str, ...] = (".",)) -> None:
    """Pack these names of a directory by GNU tar."""
    _have("tar", *(_BESIDE[flag] for flag in flags if flag in _BESIDE))
    subprocess.run(["tar", *flags, "-cf", to, "-C", source, *names], check=True)


def zipped(source: Path, to: Path, *flags: str) -> None:
    """Pack a directory by Info-ZIP, links as links."""
    _have("zip")
    subprocess.run(["zip", "-qry", *flags, to, "."], cwd=source, check=True)


def _have(*programs: str) -> None:
    with available():
        if missing := [program for program in programs if shutil.which(program) is None]:
            raise testbed.Unavailable(missing[0], "this machine has no such program")
