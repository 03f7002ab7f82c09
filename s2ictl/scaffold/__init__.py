"""A new builder's folder, as a beginning that works: it is made of `example/`, which is a whole builder itself."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from s2ictl.errors import Conflict, InvalidUsage
from s2ictl.expressions import expression

_EXAMPLE = Path(__file__).parent / "example"
_NAME = expression(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_LONGEST = 63
_PROGRAMS = ("install", "s2i/bin/")


def check_name(name: str) -> None:
    """A builder's name is part of the name of its image."""
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        raise InvalidUsage(
            f"{name[:80]!r} cannot be the name of a builder",
            hint=f"small letters, digits and inner hyphens, at most {_LONGEST}",
        )


def files(name: str) -> Iterator[tuple[str, bytes, int]]:
    """The files of a builder of this name, each with its mode."""
    for path in sorted(_EXAMPLE.rglob("*")):
        if path.is_file():
            place = path.relative_to(_EXAMPLE).as_posix()
            content = path.read_bytes().replace(_EXAMPLE.name.encode(), name.encode())
            yield place, content, 0o755 if place.startswith(_PROGRAMS) else 0o644


def create(name: str, directory: Path) -> tuple[str, ...]:
    """Write a builder of this name, the whole of it or nothing, and answer what was written."""
    check_name(name)
    if directory.is_symlink() or (directory.exists() and not _is_empty(directory)):
        raise Conflict(f"{directory} is there already, and not empty", hint="name another directory")
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=directory.parent, prefix=f".{directory.name}-"))
        try:
            written = tuple(_fill(fresh, name))
            fresh.chmod(0o755)
            fresh.rename(directory)  # onto nothing, or onto an empty directory: anything else is refused once more
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    except OSError as error:
        raise InvalidUsage(f"could not write {directory}: {error.strerror or error}") from error
    return written


def _is_empty(directory: Path) -> bool:
    return directory.is_dir() and next(directory.iterdir(), None) is None


def _fill(directory: Path, name: str) -> Iterator[str]:
    for place, content, mode in files(name):
        path = directory / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(mode)
        yield place
