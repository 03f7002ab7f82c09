"""What of an artifact goes into which layer of an image, under which path and with which mode.

The same files make the same parts, whatever their owners, times, modes and places on this machine: what begins like a
program is one, and what belongs to Java never is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import PurePosixPath

from s2ictl.archives import Entry, Part, called, directory_entry
from s2ictl.artifacts import packs
from s2ictl.artifacts.contents import Contents, contents_of, directories_of, packed_in
from s2ictl.artifacts.elf import MAGIC
from s2ictl.artifacts.java import LAYERS
from s2ictl.artifacts.manifest import layered_by
from s2ictl.artifacts.zips import SCRIPT
from s2ictl.errors import Refused
from s2ictl.events import Emit, Notice
from s2ictl.models import Artifact, Member

_HOMES = ("/deployments", "/opt/app-root/bin", "/opt/app-root/src")  # as our builders have them
_HOME, _DIRECTORY, _PROGRAM, _FILE = 0o775, 0o755, 0o755, 0o644
_LOADER = "org/springframework/boot/loader/"
_DEPENDENCIES, _STARTER, _SNAPSHOTS = "dependencies", "spring-boot-loader", "snapshot-dependencies"
_APPLICATION = "application"  # and all that nothing else claims
_USUAL = (_DEPENDENCIES, _STARTER, _SNAPSHOTS, _APPLICATION)  # as Spring Boot has it: what changes least lies lowest
_LARGEST_INDEX = 1 << 20


def parts_of(
    artifact: Artifact, place: PurePosixPath, *, beside: PurePosixPath, layered: bool = False, emit: Emit
) -> tuple[Part, ...]:
    """The layers that bring an artifact to its place in the image, and what it has besides to where that belongs.

    The place is the file's, or the directory's where it lies unpacked: as it came, or because it is `layered`. Then the
    libraries of a jar or a war have layers of their own, which stay when the rest changes.
    """
    apart = layered and comes_apart(artifact)
    contents = packed_in(artifact) if apart else contents_of(artifact)
    groups = _grouped(contents, artifact) if layered else {artifact.kind: contents.files}
    _notice(artifact, contents, emit, lacking=layered and len(groups) == 1)
    if apart or (artifact.form == "directory" and not artifact.entry):
        where = partial(_below, place)
    else:
        where = partial(_where, artifact, place, beside)
    members = _members(contents, artifact, where)
    homes = (str(place.parent), str(beside))
    return tuple(_part(name, contents, [members[file.path] for file in files], homes) for name, files in groups.items())


def _notice(artifact: Artifact, contents: Contents, emit: Emit, *, lacking: bool) -> None:
    if lacking:
        emit(Notice(text=f"{artifact.name} has no libraries to put into a layer of their own"))
    if links := contents.links:
        names = ", ".join(called(link.path) for link in links[:3]) + (", ..." if len(links) > 3 else "")
        text = f"{artifact.name} has links, which are left out (put the files there instead): {names}"
        emit(Notice(text=text, level="warning"))


def comes_apart(artifact: Artifact) -> bool:
    """Whether an artifact that is one file runs as well when it lies unpacked, its libraries apart from its classes."""
    java = artifact.java
    if artifact.form != "file" or java is None:
        return False
    return bool(java.launcher) or (artifact.kind == "war" and not java.main_class)


# ------------------------------------------------------------------------------------------------------------ places

_Placed = tuple[Member, packs.Entry]


def _below(root: PurePosixPath, file: packs.Entry) -> str:
    return f"{root}/{file.path}"


def _where(artifact: Artifact, place: PurePosixPath, beside: PurePosixPath, file: packs.Entry) -> str:
    return str(place) if file.path == (artifact.entry or artifact.name) else _below(beside, file)


def _members(contents: Contents, artifact: Artifact, where: Callable[[packs.Entry], str]) -> Mapping[str, _Placed]:
    """What each file is in the image, by its own path."""
    programs = _programs(contents, artifact)
    taken: dict[str, packs.Entry] = {}
    found: dict[str, _Placed] = {}
    for file in contents.files:
        path = where(file).lstrip("/")
        if taken.setdefault(path, file) is not file:
            raise Refused(f"{called(file.path)} and {called(taken[path].path)} would be one file in the image")
        mode = _PROGRAM if file.path in programs else _FILE
        found[file.path] = Member(path=path, kind="file", mode=mode, size=file.size), file
    return found


def _programs(contents: Contents, artifact: Artifact) -> frozenset[str]:
    """The files that begin like programs, where the artifact is one; no other sign is the same everywhere."""
    if artifact.kind != "binary":
        return frozenset()
    found = {artifact.entry or artifact.name}
    with contents.opened() as opened:
        for file in contents.files if artifact.entry else ():
            with opened(file) as content:
                if content.read(len(MAGIC)).startswith((MAGIC, SCRIPT)):
                    found.add(file.path)
    return frozenset(found)


# ------------------------------------------------------------------------------------------------------------- parts


def _part(name: str, contents: Contents, placed: list[_Placed], homes: tuple[str, str]) -> Part:
    files = {member.path: (member, file) for member, file in placed}
    above = set(directories_of(files))
    own = {path for path in above if _is_own(path, homes)}
    # A place that is none of ours is in the base already, with an owner and a mode that serve whoever runs there.
    to_ours = above - own if homes[0] in _HOMES else ()
    way = (Member(path=path, kind="directory", mode=_DIRECTORY) for path in sorted(to_ours))
    ordered = sorted(own | files.keys(), key=os.fsencode)
    return Part(name=name, way=tuple(way), entries=partial(_entries, contents, ordered, files))


def _is_own(path: str, homes: tuple[str, str]) -> bool:
    """Whether a directory came with the artifact, or is the home of such in all our images."""
    return f"/{path}" in _HOMES or any(f"/{path}".startswith(f"{home}/") for home in homes)


def _entries(contents: Contents, paths: list[str], files: Mapping[str, _Placed]) -> Iterator[Entry]:
    with contents.opened() as opened:
        for path in paths:
            if path not in files:
                yield directory_entry(path, mode=_HOME if f"/{path}" in _HOMES else _DIRECTORY)
                continue
            member, file = files[path]
            with opened(file) as content:
                yield member, content.read


# ------------------------------------------------------------------------------------------------------------ layers


def _grouped(contents: Contents, artifact: Artifact) -> Mapping[str, list[packs.Entry]]:
    """The files by the layer that they belong to, in the order of the layers; one that would be empty is none."""
    index = _index(contents, artifact)
    claim = _by_index(index) if index else partial(_as_usual, artifact.entry)
    names = dict.fromkeys((*(name for name, _ in index), *((_APPLICATION,) if index else _USUAL)))
    groups: dict[str, list[packs.Entry]] = {name: [] for name in names}
    for file in contents.files:
        groups[claim(file.path)].append(file)
    return {name: files for name, files in groups.items() if files}


def _index(contents: Contents, artifact: Artifact) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Spring Boot's own word on its layers."""
    if artifact.java is None or artifact.entry:
        return ()
    indexes = [file for file in contents.files if file.path in LAYERS]
    with contents.opened() as opened:
        for file in indexes:
            with opened(file) as content:
                if index := layered_by(content.read(_LARGEST_INDEX)):
                    return index
    return ()


def _by_index(index: tuple[tuple[str, tuple[str, ...]], ...]) -> Callable[[str], str]:
    """As Spring Boot reads it: the first layer that names the file, or a directory that it lies in."""
    ranks: dict[str, int] = {}
    for rank, (_, items) in enumerate(index):
        for item in items:
            ranks.setdefault(item, rank)

    def claim(path: str) -> str:
        named = (path, *(path[: at + 1] for at, sign in enumerate(path) if sign == "/"))
        found = min((ranks[each] for each in named if each in ranks), default=None)
        return _APPLICATION if found is None else index[found][0]

    return claim


def _as_usual(entry: str, path: str) -> str:
    if path.endswith(".jar") and path != entry:
        return _SNAPSHOTS if "SNAPSHOT" in path else _DEPENDENCIES
    return _STARTER if path.startswith(_LOADER) else _APPLICATION
