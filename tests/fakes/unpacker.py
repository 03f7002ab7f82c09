"""Who unpacks layers in tests that have no warden: files alone, and no care at all."""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True)
class Unpacking:
    """An unpacker for this store; `made` are the trees that were asked of it, each with those below it."""

    store: Path
    made: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    discarded: list[str] = field(default_factory=list)

    def unpack(self, tar: Iterator[bytes], *, on: tuple[str, ...], to: str) -> int:
        tree = self.store / "layers" / to
        tree.mkdir()
        self.made.append((to.removesuffix(".partial"), on))
        size = 0
        with tarfile.open(fileobj=io.BytesIO(b"".join(tar)), mode="r:") as archive:
            for member in archive:
                file = archive.extractfile(member)
                if file is not None:
                    size += (tree / member.name.replace("/", "_")).write_bytes(file.read())
        return size

    def discard(self, paths: tuple[str, ...]) -> None:
        self.discarded += paths
        for path in paths:
            shutil.rmtree(self.store / path)
