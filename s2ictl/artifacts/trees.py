"""An artifact as the source of an ordinary build: what the container of an s2i builder finds where source would lie.

So every builder that takes finished things takes it, whoever made that builder. The files and their modes are those of
the layer that is appended without a container, and nothing of the place where they lay decides what is built.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import PurePosixPath

from s2ictl.archives import Entry, Part, called
from s2ictl.artifacts.parts import parts_of
from s2ictl.artifacts.reading import content_digest
from s2ictl.errors import LimitReached
from s2ictl.models import Artifact, Tree

_LARGEST_READ = 1 << 20


def tree_of(artifact: Artifact, place: PurePosixPath, *, beside: PurePosixPath) -> Tree:
    """The tree of an artifact that is to lie at `place` in its image, and what it brings along below `beside`."""
    (part,) = parts_of(artifact, place, beside=beside, emit=lambda _: None)
    roots = (f"{place.parent}/".lstrip("/"), f"{beside}/".lstrip("/"))
    files = [member for member, _ in _relative(part, roots) if member.kind == "file"]
    paths = tuple(sorted(file.path for file in files))
    return Tree(
        location=artifact.name,
        context_dir="",
        commit=None,
        paths=paths,
        read=partial(_read, part, roots),
        members=partial(_relative, part, roots),
        size=sum(file.size for file in files),
        digest=partial(_digest, artifact, paths),
    )


def _relative(part: Part, roots: tuple[str, ...]) -> Iterator[Entry]:
    """What the layer brings, by its path below the directory that all builders have for it."""
    for member, read in part.entries():
        root = next((root for root in roots if member.path.startswith(root)), "")
        if root:
            yield replace(member, path=member.path.removeprefix(root)), read


def _read(part: Part, roots: tuple[str, ...], path: str) -> bytes:
    for member, read in _relative(part, roots):
        if member.path == path:
            if member.size > _LARGEST_READ:
                raise LimitReached(f"{called(path)} is larger than {_LARGEST_READ} bytes")
            return read(member.size)
    raise KeyError(path)


def _digest(artifact: Artifact, paths: tuple[str, ...]) -> str:
    """What is in it, and by which names a builder finds that."""
    whole = hashlib.sha256(content_digest(artifact).encode())
    for path in paths:
        whole.update(f"\0{path}".encode(errors="surrogateescape"))
    return f"sha256:{whole.hexdigest()}"
