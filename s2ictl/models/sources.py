"""What is built: source at rest, or a finished artifact."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import field
from pathlib import Path
from typing import Literal

from s2ictl.models.access import Login
from s2ictl.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where the source is, without any login: that is bound to the host and kept apart.

    `location` is what was typed; `path` is where a directory or an archive lies on this machine, None for what is
    elsewhere. `checksum` is the sha256 that an archive must have, in hex.
    """

    kind: Literal["directory", "git", "archive", "stdin"]
    location: str
    path: Path | None = None
    ref: str = ""
    context_dir: str = ""
    copy: bool = False
    checksum: str = ""
    submodules: bool = True
    lfs: bool = False
    login: Login | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    id: str
    ref: str
    author: str
    date: str
    message: str
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One member of a tree. `size` counts only for files; `target` is where a link leads, as it is written in it, and
    for a hard link the path of the earlier member that it is."""

    path: str
    kind: Literal["file", "directory", "link", "hardlink"]
    mode: int
    size: int = 0
    target: str = ""
    mtime: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """Source at rest, wherever it came from: its files by name, one file's bytes, or all of it in order.

    `paths` are the regular files, relative, in name order; `links` says where each link leads. `members` yields each
    member once, with a reader of its bytes that is good until the next one is asked for. `cached` says that nothing had
    to be brought from elsewhere. `digest` is what is in it, in one word that no time and no place decides; "" when that
    cannot be said, or is no longer what was read. `epoch` is the time of the commit, or of the newest file.
    """

    location: str
    context_dir: str
    commit: Commit | None
    paths: tuple[str, ...]
    read: Callable[[str], bytes]
    members: Callable[[], Iterator[tuple[Member, Callable[[int], bytes]]]]
    links: Mapping[str, str] = field(default_factory=dict)
    size: int = 0
    cached: bool = False
    digest: Callable[[], str] = lambda: ""
    epoch: int = 0


Servlet = Literal["javax", "jakarta"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Java:
    """What a jar or a war is made for.

    `level` is the highest of its classes, 0 where it has none, and `servlet` the namespace of the servlets that counts
    where it has both (`mixed`); `needs` are those of which its own classes, or else its libraries, want one.
    `descriptor` is the version in its web.xml. `server` is the one that it brings along.
    Without a `main_class` it does not start by itself; where another class has to start that one, it is the `launcher`.
    `layers` are Spring Boot's, and `beside` the files that its manifest wants next to it.
    """

    level: int
    servlet: Servlet | None = None
    mixed: bool = False
    needs: tuple[Servlet, ...] = ()
    descriptor: str = ""
    server: str = ""
    spring_boot: str = ""
    main_class: str = ""
    launcher: str = ""
    layers: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Binary:
    """What a program for Linux asks for; `interpreter` is the loader of one that is linked dynamically."""

    machine: str
    linkage: Literal["static", "dynamic"]
    interpreter: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """Something finished, read before anything runs: what it is, and how it lies at `path`.

    `name` is fit for an image, a command line and a label. In a directory or a zip, `entry` is the file that is run,
    "" where all of it is the war or the jar.
    """

    path: Path
    name: str
    kind: Literal["war", "jar", "binary"]
    size: int
    form: Literal["file", "directory", "zip"] = "file"
    entry: str = ""
    java: Java | None = None
    binary: Binary | None = None
