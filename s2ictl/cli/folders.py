"""Builders as they are typed: the name of one of ours, or the directory of one."""

from __future__ import annotations

from pathlib import Path

from s2ictl.builders import Folder, load
from s2ictl.cli import workshop as works
from s2ictl.errors import InvalidUsage


def found(word: str, cwd: Path) -> Folder | None:
    """The builder that is called so, else the one that lies there."""
    ours = next((folder for folder in works.our_builders() if folder.name == word), None)
    return ours or (load((cwd / word).resolve()) if (cwd / word / "builder.yaml").is_file() else None)


def named(word: str, cwd: Path) -> Folder:
    folder = found(word, cwd)
    if folder is None:
        names = ", ".join(each.name for each in works.our_builders())
        raise InvalidUsage(f"there is no builder {word[:200]!r}", hint=f"there are: {names}; or the directory of one")
    return folder
