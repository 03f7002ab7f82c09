"""A base image out of the distribution's packages, for machines that reach no registry that has it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from s2ictl.errors import PullBuilderImageFailed
from s2ictl.events import Emit, Line, Notice

_PROGRAM = "mmdebstrap"
_CHUNK = 1 << 20
_PATIENCE = 20.0
_NEEDS = "an ordinary user makes it with subordinate ids and user namespaces: s2ictl doctor says whether they are there"


@contextmanager
def root_filesystem(suite: str, environ: Mapping[str, str], emit: Emit) -> Iterator[Iterator[bytes]]:
    """The tar of a minimal root file system of a Debian suite, while it is being made."""
    program = shutil.which(_PROGRAM, path=environ.get("PATH"))
    _check(suite, program)
    emit(Notice(text=f"no registry has the base: it is made of the packages of Debian {suite}"))
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command(suite), executable=program, stdout=subprocess.PIPE, stderr=said, env=environ)
        try:
            yield _output(process, suite)
        finally:
            _end(process)
            said.seek(0)
            for line in said.read().decode(errors="replace").splitlines():
                emit(Line(text=line, stream="stderr"))


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()  # not killed at once: it has mounts of its own to take down
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def command(suite: str) -> list[str]:
    return [_PROGRAM, "--variant=minbase", "--include=ca-certificates", "--quiet", suite, "-"]


def _check(suite: str, program: str | None) -> None:
    if program is None:
        raise PullBuilderImageFailed(
            f"no registry has the base image, and {_PROGRAM} is not here to make it of the packages of {suite}",
            hint=f"apt-get install {_PROGRAM}",
        )


def _output(process: subprocess.Popen[bytes], suite: str) -> Iterator[bytes]:
    """Its bytes; failing at their end, so that whoever reads them does not take a half for the whole."""
    assert process.stdout is not None  # noqa: S101  (asked for above)
    with process.stdout as pipe:
        while chunk := os.read(pipe.fileno(), _CHUNK):
            yield chunk
    if process.wait() != 0:
        raise PullBuilderImageFailed(
            f"{_PROGRAM} could not make Debian {suite}",
            detail=f"it ended with {process.returncode}; its words are above",
            hint=_NEEDS if os.geteuid() != 0 else "",
        )
