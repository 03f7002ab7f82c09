"""One command line, run inside this process in a world of its own."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from s2ictl.cli.main import main
from s2ictl.cli.session import World
from s2ictl.cli.words import WORDS, Word


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    status: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell:
    """Where commands are typed: a directory, a home, an environment; never those of the process."""

    cwd: Path
    home: Path
    environ: Mapping[str, str]

    def run(self, *arguments: str, stdin: str | bytes = "", words: Sequence[Word] = WORDS) -> Ran:
        stdout, stderr = io.StringIO(), io.StringIO()
        status = main(
            World(
                arguments=arguments,
                environ=self.environ,
                cwd=self.cwd,
                home=self.home,
                stdin=io.TextIOWrapper(io.BytesIO(stdin.encode() if isinstance(stdin, str) else stdin)),
                stdout=stdout,
                stderr=stderr,
            ),
            words=words,
        )
        return Ran(status=status, stdout=stdout.getvalue(), stderr=stderr.getvalue())


def shell(directory: Path, **environ: str) -> Shell:
    """A shell with an empty home and an empty working directory below `directory`. Whoever does not say otherwise means
    Docker: no test finds out by chance whether this machine can do without."""
    home, cwd = directory / "home", directory / "work"
    home.mkdir(exist_ok=True)
    cwd.mkdir(exist_ok=True)
    usual = {"PATH": os.environ["PATH"], "HOME": str(home), "S2ICTL_ENGINE": "docker"}
    return Shell(cwd=cwd, home=home, environ={**usual, **environ})
