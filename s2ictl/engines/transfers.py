"""What goes from one container into another: filtered and put in its place on the way, with no copy on this machine."""

from __future__ import annotations

import fnmatch
import posixpath
from collections.abc import Container, Iterable, Iterator
from dataclasses import replace

from s2ictl.archives import Entry, Limits, directory_entry, read_tar, reader_of, rerooted
from s2ictl.errors import AssembleFailed
from s2ictl.events import Emit, Moving
from s2ictl.models import Member, RuntimeArtifact
from s2ictl.values import dataclass

LIMITS = Limits(members=2_000_000, size=64 << 30)
_NOISE = 64 * 1024  # bytes around the archive that a script may print


def told(chunks: Iterable[bytes], subject: str, emit: Emit) -> Iterator[bytes]:
    """The same bytes; of what takes a while it is told now and then how many they were."""
    done, moving = 0, Moving(subject, emit)
    for chunk in chunks:
        yield chunk
        done += len(chunk)
        moving.tell(done)
    moving.end(done)


def with_parents(entries: Iterable[Entry], *, present: Container[str]) -> Iterator[Entry]:
    """Every member after the directories that lead to it: an engine makes those it misses for root, open to all."""
    seen: set[str] = set()
    for member, read in entries:
        parts = member.path.split("/")
        for parent in ("/".join(parts[:depth]) for depth in range(1, len(parts))):
            if parent not in seen and f"/{parent}" not in present:
                yield directory_entry(parent)
            seen.add(parent)
        seen.add(member.path)
        yield member, read


def printed(output: Iterator[bytes], what: str) -> Iterator[Entry]:
    """What a command of this name printed as an archive, whatever else it said around that."""
    return read_tar(reader_of(output), name=f"what {what} printed", limits=LIMITS, noise=_NOISE)


def saved(entries: Iterable[Entry], target: str) -> Iterator[Entry]:
    """What an earlier image saved, below the directory that is for it."""
    root = target.strip("/")
    yield directory_entry(root, mode=0o700)
    for member, read in entries:
        yield rerooted(member, root), read


# ---------------------------------------------------------------------------------------------------------- artifacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """An artifact as it is fetched: `parent` is what is read, `pattern` what is taken of it."""

    artifact: RuntimeArtifact
    parent: str
    pattern: tuple[str, ...]

    @property
    def read(self) -> str:
        """The path as the engine is asked for it: what lies at the root it would call absolute."""
        return "/." if self.parent == "/" else self.parent


def selection(artifact: RuntimeArtifact) -> Selection:
    """The longest part of the path that has no pattern in it is what has to be read."""
    path = posixpath.normpath(artifact.source)
    parts = path.strip("/").split("/")
    literal = next((n for n, part in enumerate(parts) if any(sign in part for sign in "*?[")), len(parts))
    return Selection(artifact=artifact, parent="/" + "/".join(parts[:literal]), pattern=tuple(parts[literal:]))


def chosen(selected: Selection, entries: Iterable[Entry], *, root: str) -> Iterator[Entry]:
    """The members that are asked for, where the runtime image is to have them; nothing at all is a failure."""
    place = posixpath.join(root, selected.artifact.target).strip("/")
    names: dict[str, str] = {}
    for member, read in entries:
        below = _placed(selected, member.path)
        if below is None:
            continue
        path = posixpath.normpath(posixpath.join(place, below))
        names[member.path] = path
        yield _plain(replace(member, path=path), names, selected), read
    if not names:
        raise nothing(selected.artifact)


def nothing(artifact: RuntimeArtifact) -> AssembleFailed:
    return AssembleFailed(
        f"assemble left nothing at {artifact.source} for the runtime image",
        hint="name what it makes: --runtime-artifact /ABSOLUTE/PATH:DIRECTORY",
    )


def _placed(selected: Selection, path: str) -> str | None:
    """Where a member lies below the artifact's target; None when it is not asked for."""
    # The engine calls everything by the last name of what was read.
    parts = tuple(path.split("/"))
    if not selected.pattern:
        return path
    inside = parts if selected.parent == "/" else parts[1:]
    for depth in range(1, len(inside) + 1):
        if _matches(selected.pattern, inside[:depth]):
            return "/".join(inside[depth - 1 :])
    return None


def _matches(pattern: tuple[str, ...], path: tuple[str, ...]) -> bool:
    if not pattern:
        return not path
    if pattern[0] == "**":
        return any(_matches(pattern[1:], path[start:]) for start in range(len(path) + 1))
    return bool(path) and fnmatch.fnmatchcase(path[0], pattern[0]) and _matches(pattern[1:], path[1:])


def _plain(member: Member, names: dict[str, str], selected: Selection) -> Member:
    """The member as a runtime image has it: readable by all, written by its owner, run where it could be run."""
    if member.kind == "hardlink":
        target = names.get(member.target)
        if target is None:
            raise AssembleFailed(
                f"{member.path} cannot go into the runtime image: it is a hard link to {member.target}",
                detail=f"and {selected.artifact.source} does not take that",
            )
        return replace(member, target=target)
    executable = member.kind != "file" or member.mode & 0o111
    return replace(member, mode=0o755 if executable else 0o644)
