"""A commit with all that belongs to it, as one tree: streamed out of git, never laid down on disk."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain

from s2ictl.archives import CHUNK, Budget, Entry, Reader, read_tar
from s2ictl.errors import FetchSourceFailed, InvalidConfiguration, LimitReached
from s2ictl.events import Emit
from s2ictl.models import Commit, Member, Source, Tree
from s2ictl.sources.ignore import NAME, Excludes, excludes
from s2ictl.sources.largefiles import Brought, LargeFile, bring_large, pointers
from s2ictl.sources.mirror import Snapshot
from s2ictl.sources.notices import tell_about, warn
from s2ictl.sources.objects import LINK, MODULE, Object, content, contents, refuse_large
from s2ictl.sources.options import Surroundings
from s2ictl.sources.signatures import verify
from s2ictl.sources.submodules import Part, entered, filled, nobody, with_submodules
from s2ictl.values import dataclass

_LONGEST_LINK = 4096
_LONGEST_SUBJECT = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class _Whole:
    """Every part of a tree, the first of them the one that the rest stands in, and its large files by their path."""

    parts: tuple[Part, ...]
    out: Excludes
    large: Mapping[str, LargeFile]
    epoch: int

    @property
    def entries(self) -> Iterator[tuple[str, Part, Object]]:
        return ((part.placed(entry.path), part, entry) for part in self.parts for entry in part.kept)


def tree_of(snapshot: Snapshot, source: Source, *, location: str, surroundings: Surroundings) -> Tree:
    """The tree of the commit below its context directory; `location` is where the repository was cloned from."""
    options = surroundings.options
    if options.allowed_signers:
        verify(snapshot.git, snapshot.commit, options.allowed_signers)
    commit = _facts(snapshot)
    parts, out = _parts(snapshot, replace(source, location=location), surroundings)
    brought = _large(parts, source, surroundings)
    large = {path: file for one in brought for path, file in one.files.items()}
    whole = _Whole(parts=parts, out=out, large=large, epoch=commit.epoch)
    files = {path: (part, entry) for path, part, entry in whole.entries if entry.is_file}
    links = _links(whole)
    tell_about((Member(path=path, kind="link", mode=0o777, target=links[path]) for path in links), surroundings.emit)
    _tell_unfetched(whole, surroundings.emit)
    return Tree(
        location=location,
        context_dir=source.context_dir,
        commit=commit,
        paths=tuple(sorted(files, key=os.fsencode)),
        links=links,
        read=lambda path: _read(whole, files, path),
        members=lambda: _members(whole, parts[0]),
        size=sum(large[path].size if path in large else entry.size for path, (_, entry) in files.items()),
        cached=all(part.snapshot.cached for part in parts) and not any(one.moved for one in brought),
        digest=lambda: _digest(whole),
        epoch=max(commit.epoch, 0),
    )


def _digest(whole: _Whole) -> str:
    """What a tree of these commits, and of these large files of theirs, holds wherever it is fetched."""
    parts = [f"{part.at}\0{part.snapshot.commit}\0{part.inside}" for part in whole.parts]
    large = [f"{path}\0{file.content.name}" for path, file in sorted(whole.large.items())]
    word = "\0\0".join(("s2ictl commit 1", *parts, "large", *large))
    return hashlib.sha256(os.fsencode(word)).hexdigest()


def _parts(snapshot: Snapshot, source: Source, surroundings: Surroundings) -> tuple[tuple[Part, ...], Excludes]:
    """The commit and its submodules, without what the rules of its ignore file leave out."""
    # The login that was found is for the host that the user typed; a repository on this machine names its own.
    asked = replace(surroundings, find_login=nobody) if source.path else surroundings
    first = entered(Part(source=source, surroundings=asked, snapshot=snapshot, inside=source.context_dir))
    budget = Budget("the source", surroundings.options.limits, hint="--context-dir DIR takes a part of it")
    everything = filled(first, budget)
    out = excludes(_ignore_file(everything))
    return with_submodules(everything.without(out), out, budget), out


def _ignore_file(part: Part) -> bytes:
    found = next((entry for entry in part.kept if entry.path == NAME), None)
    if found is None:
        return b""
    if not found.is_file:
        raise InvalidConfiguration(f"{NAME} is a link", hint="its rules have to stand in the file itself")
    return content(part.snapshot.git, found)


def _read(whole: _Whole, files: Mapping[str, tuple[Part, Object]], path: str) -> bytes:
    if path not in files:
        raise FetchSourceFailed(f"there is no file {path} in the source")
    part, entry = files[path]
    if path not in whole.large:
        return content(part.snapshot.git, entry)
    refuse_large(path, whole.large[path].size)
    return whole.large[path].content.read_bytes()


# --------------------------------------------------------------------------------------------------------- members


def _members(whole: _Whole, part: Part) -> Iterator[Entry]:
    """What a checkout would hold; where a submodule stands, all of it follows its directory."""
    modules = {module.at: module for module in whole.parts[1:]}
    for own, member, read in _archived(part):
        path = part.placed(own)
        if whole.out(path, member.kind == "directory"):
            continue
        if path in whole.large:
            yield from _large_member(replace(member, path=path, mtime=whole.epoch), whole.large[path])
            continue
        yield replace(member, path=path, mtime=whole.epoch), read
        if member.kind == "directory" and path in modules:
            yield from _members(whole, modules[path])


def _large_member(member: Member, large: LargeFile) -> Iterator[Entry]:
    with large.content.open("rb") as file:
        yield replace(member, size=large.size), file.read


def _archived(part: Part) -> Iterator[tuple[str, Member, Reader]]:
    """What git archives of one repository, line ends and all, each with its path below what is taken of it: attributes
    count from the root, so everything is asked for by its path from there."""
    prefix = f"{part.inside}/" if part.inside else ""
    command = ("archive", "--format=tar", part.snapshot.commit, *(("--", part.inside) if part.inside else ()))
    # What was counted before were git's objects: here directories are members too, and line ends may have grown.
    limits = part.surroundings.options.limits
    roomy = replace(limits, members=2 * limits.members + 1000, size=2 * limits.size)
    with part.snapshot.git.stream(*command) as read:
        for member, reader in read_tar(read, name="the source", limits=roomy):
            path = member.path.removeprefix(prefix)
            if member.path.startswith(prefix) and path:
                yield path, member, reader
        while read(CHUNK):
            pass


# ----------------------------------------------------------------------------------------------------- large files


def _large(parts: Sequence[Part], source: Source, surroundings: Surroundings) -> list[Brought]:
    """The files that git-lfs keeps elsewhere, where they are asked for; else they are told of."""
    found = [(part, pointers(part)) for part in parts]
    if not source.lfs:
        paths = [one.path for _, some in found for one in some]
        warn(surroundings.emit, "kept as the pointer that git-lfs left there (--lfs brings the file)", paths)
        return []
    # Each counts as often as it stands there: so often it is sent to the engine.
    if sum(one.size for _, some in found for one in some) > surroundings.options.largest:
        raise LimitReached(f"the large files of the source have more than {surroundings.options.largest} bytes")
    return [bring_large(part, some) for part, some in found if some]


# ------------------------------------------------------------------------------------------------ what is said of it


def _facts(snapshot: Snapshot) -> Commit:
    form = "--format=%H%x00%an <%ae>%x00%ad%x00%ct%x00%s"
    answer = snapshot.git.answer("log", "-1", "--no-show-signature", "--no-color", form, snapshot.commit, "--")
    name, author, date, epoch, subject = answer.decode(errors="replace").rstrip("\n").split("\0", 4)
    return Commit(id=name, ref=snapshot.ref, author=author, date=date, message=_short(subject), epoch=int(epoch))


def _short(subject: str) -> str:
    return subject if len(subject) <= _LONGEST_SUBJECT else f"{subject[: _LONGEST_SUBJECT - 2]}.."


def _links(whole: _Whole) -> dict[str, str]:
    """Where each link leads."""
    return dict(chain.from_iterable(_links_of(part) for part in whole.parts))


def _links_of(part: Part) -> Iterator[tuple[str, str]]:
    links = [entry for entry in part.kept if entry.mode == LINK]
    if too_long := next((link for link in links if link.size > _LONGEST_LINK), None):
        raise LimitReached(f"the link {too_long.path} leads to a name of more than {_LONGEST_LINK} bytes")
    for link, target in zip(links, contents(part.snapshot.git, links), strict=True):
        yield part.placed(link.path), os.fsdecode(target)


def _tell_unfetched(whole: _Whole, emit: Emit) -> None:
    there = {part.at for part in whole.parts}
    missing = [path for path, _, entry in whole.entries if entry.mode == MODULE and path not in there]
    warn(emit, "submodules are not fetched, their directories stay empty", missing)
