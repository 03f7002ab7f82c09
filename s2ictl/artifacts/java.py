"""A jar or a war, packed or unpacked: what it says of itself, and what its classes and libraries show.

Nothing is loaded, nothing is run, and of the content only the first bytes of classes and a few small texts are read.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from s2ictl.artifacts import manifest as texts
from s2ictl.artifacts.classes import HEAD, counts, level_of, nested_levels, servlets_in
from s2ictl.artifacts.libraries import SERVLET_CLASSES, server_of, servlets_of
from s2ictl.artifacts.packs import Entry, Pack
from s2ictl.errors import InvalidArtifact, LimitReached, Refused
from s2ictl.models import Java, Servlet
from s2ictl.values import dataclass

MANIFEST = "META-INF/MANIFEST.MF"
WEB = "WEB-INF/"
_DESCRIPTOR = "WEB-INF/web.xml"
_ENTERPRISE = "META-INF/application.xml"
_BOOT = "BOOT-INF/"
LAYERS = ("BOOT-INF/layers.idx", "WEB-INF/layers.idx")
LIBRARIES = ("WEB-INF/lib/", "WEB-INF/lib-provided/", "BOOT-INF/lib/")
_PAGES = (".jsp", ".jspx", ".html")

_NEWEST_FIRST: tuple[Servlet, ...] = ("jakarta", "javax")
_LARGEST_TEXT = 1 << 20
_MOST_CLASSES, _OF_EACH = 2000, 3  # of which the level is read; of more, a few of each package: what is one library
_LARGEST_CLASS, _ALL_CLASSES = 256 << 10, 32 << 20  # that are searched for servlets
_MOST_NESTED, _NESTED_CLASSES, _NESTED_BYTES = 512, 3, 512 << 10  # jars in it, and what is read of each


@dataclass(frozen=True, slots=True, kw_only=True)
class _Contents:
    """A pack with its files by name, where the same name stands once."""

    pack: Pack
    files: Mapping[str, Entry]

    def text(self, path: str) -> bytes:
        """A small file, whole; empty where there is none."""
        entry = self.files.get(path)
        if entry is None:
            return b""
        if entry.size > _LARGEST_TEXT:
            raise LimitReached(f"{path} in {self.pack.name} has {entry.size} bytes; the limit is {_LARGEST_TEXT}")
        with self.pack.open(entry) as file:
            return file.read()


def kind_of(paths: Iterable[str], *, name: str) -> Literal["war", "jar"] | None:
    """What a pack is by the files in it. Only where there is nothing but pages its name says that they are a war."""
    there = set(paths)
    if _ENTERPRISE in there:
        raise InvalidArtifact(
            f"{name} is an enterprise archive (ear), which needs an application server",
            hint="give the war in it",
        )
    if any(path.startswith(WEB) for path in there):
        return "war"
    if any(map(counts, there)):
        return "jar"
    if name.lower().endswith(".war") and any(path.lower().endswith(_PAGES) for path in there):
        return "war"
    return "jar" if MANIFEST in there else None


def read_java(pack: Pack) -> Java:
    """What a jar or a war is made for."""
    contents = _Contents(pack=pack, files=_by_name(pack))
    said = texts.parse_manifest(contents.text(MANIFEST))
    starts, started = texts.class_in(said, "main-class"), texts.class_in(said, "start-class")
    libraries = [path for path in contents.files if path.endswith(".jar")]
    names = [path.rpartition("/")[2] for path in libraries if path.startswith(LIBRARIES)]
    servlets = _Servlets(
        own=frozenset(_own_servlets(contents)),
        libraries=frozenset(servlets_of(names))
        | {servlet for path, servlet in SERVLET_CLASSES.items() if path in contents.files},
    )
    descriptor, version = texts.servlet_in(contents.text(_DESCRIPTOR)[:_LARGEST_CLASS])
    return Java(
        level=max((0, *_levels(contents), *_nested(contents, libraries))),
        servlet=next(iter(servlets.needed), descriptor),
        mixed=servlets.mixed,
        needs=servlets.needed,
        descriptor=version,
        server=server_of(names, contents.files),
        spring_boot=texts.version_in(said, "spring-boot-version"),
        main_class=(started or starts) if starts else "",
        launcher=starts if started else "",
        layers=next(filter(None, (texts.layers_in(contents.text(path)) for path in LAYERS)), ()),
        beside=tuple(path for path in texts.beside_in(said) if os.path.normpath(path) not in contents.files),
    )


def holds_class(pack: Pack, name: str) -> bool:
    """Whether a class is there to be started, at any of the places where Java or a launcher looks for it."""
    path = f"{name.replace('.', '/')}.class"
    places = {path, f"{_BOOT}classes/{path}", f"{WEB}classes/{path}"}
    return any(entry.path in places for entry in pack.entries)


def _by_name(pack: Pack) -> Mapping[str, Entry]:
    files: dict[str, Entry] = {}
    relied_on = {MANIFEST, _DESCRIPTOR, *LAYERS}
    for entry in pack.entries:
        if entry.path in files and entry.path in relied_on:
            raise Refused(f"{entry.path} stands twice in {pack.name}", detail="programs differ in which they believe")
        files[entry.path] = entry
    return files


# --------------------------------------------------------------------------------------------------------- servlets


@dataclass(frozen=True, slots=True, kw_only=True)
class _Servlets:
    """The namespaces that the application's own classes name, and those that its libraries are for."""

    own: frozenset[Servlet]
    libraries: frozenset[Servlet]

    @property
    def mixed(self) -> bool:
        return len(self.own | self.libraries) > 1

    @property
    def needed(self) -> tuple[Servlet, ...]:
        """Its own classes know best; where they name both, what was added last comes first: the newer one."""
        return tuple(servlet for servlet in _NEWEST_FIRST if servlet in (self.own or self.libraries))


def _own_servlets(contents: _Contents) -> Iterator[Servlet]:
    room = _ALL_CLASSES
    for path, entry in contents.files.items():
        if path.startswith(f"{WEB}classes/") and path.endswith(".class") and entry.size <= min(_LARGEST_CLASS, room):
            room -= entry.size
            yield from servlets_in(contents.pack.head(entry, entry.size))


# ----------------------------------------------------------------------------------------------------------- levels


def _levels(contents: _Contents) -> Iterator[int]:
    classes = [entry for path, entry in contents.files.items() if counts(path)]
    if len(classes) > _MOST_CLASSES:
        classes = list(_of_each_package(classes))
    return (level_of(contents.pack.head(entry, HEAD)) for entry in classes)


def _of_each_package(classes: Iterable[Entry]) -> Iterator[Entry]:
    taken: Counter[str] = Counter()
    for entry in classes:
        package = entry.path.rpartition("/")[0]
        taken[package] += 1
        if taken[package] <= _OF_EACH:
            yield entry


def _nested(contents: _Contents, libraries: Iterable[str]) -> Iterator[int]:
    for path in list(libraries)[:_MOST_NESTED]:
        with contents.pack.open(contents.files[path]) as file:
            yield from nested_levels(file.read, most=_NESTED_CLASSES, room=_NESTED_BYTES)
