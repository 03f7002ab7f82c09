"""What a commit holds, by its names: listed and counted before anything of it is read.

A few objects can stand for billions of names, so all that one fetch lists is counted together while it is listed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from s2ictl.archives import CHUNK, Budget, Reader
from s2ictl.errors import InvalidContextDirectory, LimitReached
from s2ictl.sources.options import LARGEST_READ
from s2ictl.sources.program import Git
from s2ictl.values import dataclass

LINK, MODULE = 0o120000, 0o160000


@dataclass(frozen=True, slots=True, kw_only=True)
class Object:
    """All that is not a directory: a file, a link, or another repository's commit."""

    path: str
    mode: int
    id: str
    size: int

    @property
    def is_file(self) -> bool:
        return self.mode not in (LINK, MODULE)


def root_of(git: Git, commit: str, context_dir: str) -> str:
    """The directory of the commit that stands for the whole."""
    answer = git.answer("cat-file", "--batch-check", given=os.fsencode(f"{commit}:{context_dir}\n")).decode()
    name, _, kind = answer.partition(" ")
    if not kind.startswith("tree "):
        what = "is a file or a link" if kind.startswith("blob ") else "is not there"
        raise InvalidContextDirectory(f"the context directory {context_dir} {what} in {commit[:12]}")
    return name


def listed(git: Git, root: str, budget: Budget) -> Iterator[Object]:
    """All that is below a directory, in the order of names."""
    with git.stream("ls-tree", "-r", "-z", "--long", "--full-tree", root) as read:
        for line in _lines(read, budget.limits.name):
            entry = _object(line, git)
            budget.spend(entry.path, entry.size)
            yield entry


def found(git: Git, commit: str, path: str) -> Object | None:
    """What the commit has at exactly this path, unless that is a directory."""
    answer = git.answer("ls-tree", "-z", "--long", "--full-tree", commit, "--", path)
    entries = [_object(line, git) for line in answer.split(b"\0") if line and b" tree " not in line.partition(b"\t")[0]]
    return next((entry for entry in entries if entry.path == path), None)


def _lines(read: Reader, longest: int) -> Iterator[bytes]:
    rest = b""
    while data := read(CHUNK):
        *lines, rest = (rest + data).split(b"\0")
        yield from lines
        if len(rest) > longest + 100:
            raise LimitReached(f"the source has a name of more than {longest} bytes")


def _object(line: bytes, git: Git) -> Object:
    facts, _, path = line.partition(b"\t")
    mode, _, name, size = facts.decode().split()
    if size == "BAD":
        raise git.explain(f"the object {name} is missing")
    return Object(path=os.fsdecode(path), mode=int(mode, 8), id=name, size=0 if size == "-" else int(size))


def content(git: Git, entry: Object) -> bytes:
    """The bytes of one file, as the commit has them."""
    refuse_large(entry.path, entry.size)
    return git.answer("cat-file", "blob", entry.id)


def refuse_large(path: str, size: int) -> None:
    if size > LARGEST_READ:
        raise LimitReached(f"{path} is larger than {LARGEST_READ} bytes")


def contents(git: Git, objects: Iterable[Object]) -> Iterator[bytes]:
    """The bytes of many small objects, by one git."""
    wanted = list(objects)
    if not wanted:
        return
    names = "".join(f"{entry.id}\n" for entry in wanted).encode()
    with git.stream("cat-file", "--batch", given=names) as read:
        for entry in wanted:
            read(len(f"{entry.id} blob {entry.size}\n"))
            yield read(entry.size)
            read(1)
