"""A commit in a bare repository, as a tree: streamed out of git, never laid down on disk."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from s2ictl.archives import CHUNK, Entry, Limits, Reader, read_tar
from s2ictl.errors import FetchSourceFailed, InvalidConfiguration, InvalidContextDirectory, LimitReached
from s2ictl.events import Emit
from s2ictl.models import Commit, Member, Tree
from s2ictl.sources.ignore import NAME, Excludes, excludes
from s2ictl.sources.mirror import Snapshot
from s2ictl.sources.notices import tell_about, warn
from s2ictl.sources.options import LARGEST_READ, Surroundings
from s2ictl.sources.program import Git

_LONGEST_LINK = 4096
_LONGEST_SUBJECT = 80
_LARGEST_POINTER = 1024
_POINTER = b"version https://git-lfs.github.com/"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Object:
    path: str
    mode: int
    id: str
    size: int


_LINK, _MODULE = 0o120000, 0o160000


def tree_of(snapshot: Snapshot, *, location: str, context_dir: str, surroundings: Surroundings) -> Tree:
    """The tree of the commit below its context directory."""
    git, emit, limits = snapshot.git, surroundings.emit, surroundings.options.limits
    root = _root(git, snapshot.commit, context_dir)
    objects = list(_objects(git, root, limits))
    out = excludes(_ignore_file(git, objects))
    kept = [entry for entry in objects if not out(entry.path, False)]
    files = {entry.path: entry for entry in kept if entry.mode not in (_LINK, _MODULE)}
    _tell(git, kept, files, emit)
    commit = _facts(git, snapshot)
    return Tree(
        location=location,
        context_dir=context_dir,
        commit=commit,
        paths=tuple(files),
        read=lambda path: _read(git, files, path),
        members=lambda: _members(git, commit, context_dir, out, limits),
    )


def _root(git: Git, commit: str, context_dir: str) -> str:
    answer = git.answer("cat-file", "--batch-check", given=os.fsencode(f"{commit}:{context_dir}\n")).decode()
    name, _, kind = answer.partition(" ")
    if not kind.startswith("tree "):
        what = "is a file or a link" if kind.startswith("blob ") else "is not there"
        raise InvalidContextDirectory(f"the context directory {context_dir} {what} in {commit[:12]}")
    return name


def _objects(git: Git, root: str, limits: Limits) -> Iterator[_Object]:
    """All that is not a directory; counted while it is read, since a few objects can stand for billions of names."""
    count = total = 0
    with git.stream("ls-tree", "-r", "-z", "--long", "--full-tree", root) as read:
        for line in _lines(read, limits.name):
            entry = _object(line, git)
            count, total = count + 1, total + entry.size
            if count > limits.members:
                raise LimitReached(f"the source has more than {limits.members} files")
            if total > limits.size:
                raise LimitReached(f"the files of the source have more than {limits.size} bytes")
            yield entry


def _lines(read: Reader, longest: int) -> Iterator[bytes]:
    rest = b""
    while data := read(CHUNK):
        *lines, rest = (rest + data).split(b"\0")
        yield from lines
        if len(rest) > longest + 100:
            raise LimitReached(f"the source has a name of more than {longest} bytes")


def _object(line: bytes, git: Git) -> _Object:
    facts, _, path = line.partition(b"\t")
    mode, _, name, size = facts.decode().split()
    if size == "BAD":
        raise git.explain(f"the object {name} is missing")
    return _Object(path=os.fsdecode(path), mode=int(mode, 8), id=name, size=0 if size == "-" else int(size))


def _ignore_file(git: Git, objects: list[_Object]) -> bytes:
    found = next((entry for entry in objects if entry.path == NAME), None)
    if found is None:
        return b""
    if found.mode in (_LINK, _MODULE):
        raise InvalidConfiguration(f"{NAME} is a link", hint="its rules have to stand in the file itself")
    return _read(git, {NAME: found}, NAME)


def _read(git: Git, files: Mapping[str, _Object], path: str) -> bytes:
    if path not in files:
        raise FetchSourceFailed(f"there is no file {path} in the source")
    if files[path].size > LARGEST_READ:
        raise LimitReached(f"{path} is larger than {LARGEST_READ} bytes")
    return git.answer("cat-file", "blob", files[path].id)


# --------------------------------------------------------------------------------------------------------- members


def _members(git: Git, commit: Commit, context_dir: str, out: Excludes, limits: Limits) -> Iterator[Entry]:
    """What a checkout would hold, line ends and all: git's attributes count from the root, so all of it is asked for
    by its path from there."""
    prefix = f"{context_dir}/" if context_dir else ""
    command = ("archive", "--format=tar", commit.id, *(("--", context_dir) if context_dir else ()))
    with git.stream(*command) as read:
        for member, content in read_tar(read, name="the source", limits=_roomy(limits)):
            path = member.path.removeprefix(prefix)
            if member.path.startswith(prefix) and path and not out(path, member.kind == "directory"):
                yield replace(member, path=path, mtime=commit.epoch), content
        while read(CHUNK):
            pass


def _roomy(limits: Limits) -> Limits:
    # What was counted before were git's objects: here directories are members too, and line ends may have grown.
    return replace(limits, members=2 * limits.members + 1000, size=2 * limits.size)


# ------------------------------------------------------------------------------------------------ what is said of it


def _facts(git: Git, snapshot: Snapshot) -> Commit:
    form = "--format=%H%x00%an <%ae>%x00%ad%x00%ct%x00%s"
    answer = git.answer("log", "-1", "--no-show-signature", "--no-color", form, snapshot.commit, "--")
    name, author, date, epoch, subject = answer.decode(errors="replace").rstrip("\n").split("\0", 4)
    return Commit(id=name, ref=snapshot.ref, author=author, date=date, message=_short(subject), epoch=int(epoch))


def _short(subject: str) -> str:
    return subject if len(subject) <= _LONGEST_SUBJECT else f"{subject[: _LONGEST_SUBJECT - 2]}.."


def _tell(git: Git, kept: list[_Object], files: Mapping[str, _Object], emit: Emit) -> None:
    links = [entry for entry in kept if entry.mode == _LINK]
    if too_long := next((link for link in links if link.size > _LONGEST_LINK), None):
        raise LimitReached(f"the link {too_long.path} leads to a name of more than {_LONGEST_LINK} bytes")
    targets = zip(links, _contents(git, links), strict=True)
    tell_about(
        (Member(path=link.path, kind="link", mode=0o777, target=os.fsdecode(target)) for link, target in targets), emit
    )
    warn(
        emit,
        "submodules are not fetched, their directories stay empty",
        [entry.path for entry in kept if entry.mode == _MODULE],
    )
    warn(emit, "kept as the pointer that git-lfs left there", list(_pointers(git, files)))


def _pointers(git: Git, files: Mapping[str, _Object]) -> Iterator[str]:
    attributes = [entry for path, entry in files.items() if path.rpartition("/")[2] == ".gitattributes"]
    small = [entry for entry in attributes if entry.size <= LARGEST_READ]
    if not any(b"filter=lfs" in content for content in _contents(git, small)):
        return
    candidates = [entry for entry in files.values() if len(_POINTER) < entry.size < _LARGEST_POINTER]
    for entry, content in zip(candidates, _contents(git, candidates), strict=True):
        if content.startswith(_POINTER):
            yield entry.path


def _contents(git: Git, objects: list[_Object]) -> Iterator[bytes]:
    """The bytes of many small objects, by one git."""
    if not objects:
        return
    names = "".join(f"{entry.id}\n" for entry in objects).encode()
    with git.stream("cat-file", "--batch", given=names) as read:
        for entry in objects:
            read(len(f"{entry.id} blob {entry.size}\n"))
            yield read(entry.size)
            read(1)
