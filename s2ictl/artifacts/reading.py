"""A finished artifact, found out from its content: its name never decides, since an HTML page called app.war is what
the download of an old link leaves behind.

It is read within limits and from one descriptor, and nothing of it is executed or unpacked here.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Literal

from s2ictl.archives import CHUNK, called
from s2ictl.artifacts import elf, zips
from s2ictl.artifacts.folders import read_folder
from s2ictl.artifacts.java import MANIFEST, WEB, holds_class, kind_of, read_java
from s2ictl.artifacts.packs import LIMITS, Entry, Pack
from s2ictl.errors import InvalidArtifact, LimitReached
from s2ictl.expressions import expression
from s2ictl.files import is_directory
from s2ictl.models import Artifact, Binary, Java
from s2ictl.values import dataclass

SUPPORTED = "supported are jars, wars and programs for Linux (ELF), and a directory or a zip of one"
LARGEST = (8 << 30) - 1  # what the size field of a ustar header can say
_HEAD = 512
_LONGEST_NAME = 80  # with the directory of the image before it, it still fits the name field of a ustar header
_NAMED = expression(r"\.(war|jar|ear)$", re.IGNORECASE)

Kind = Literal["war", "jar", "binary"]
Form = Literal["file", "directory", "zip"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Named:
    """An artifact's place, the name that it was given, and what it is called in a message."""

    path: Path
    name: str
    shown: str


def read(path: Path, *, name: str = "") -> Artifact:
    """Find out what an artifact is, or say why it is none; `name` is its own where the path does not tell it."""
    shown = called(name or str(path))
    if is_directory(path):
        return _read_folder(_Named(path=path, name=name or path.resolve().name, shown=shown))
    with opened(path, shown) as file:
        size = _size(file, shown)
        found = _read_file(file, size, _Named(path=path, name=name or path.name, shown=shown))
        if os.fstat(file.fileno()).st_size != size:
            raise InvalidArtifact(f"{shown} was changed while it was read", hint="wait until its writer is done")
        return found


def is_artifact(path: Path, *, name: str = "") -> bool:
    """Whether something is finished rather than source; what bears a name of Java's always means to be."""
    shown = called(name or str(path))
    if is_directory(path):
        return (path / WEB).is_dir() or (path / MANIFEST).is_file()
    if _NAMED.search(name or path.name):
        return True
    with opened(path, shown) as file:
        head = file.read(_HEAD)
        if not _is_zip(file, head, shown):
            return head.startswith(elf.MAGIC)
        pack = zips.read_zip(file, name=shown, limits=LIMITS)
        return any(entry.path == MANIFEST or entry.path.startswith(WEB) for entry in pack.entries)


def content_digest(artifact: Artifact) -> str:
    """What is in an artifact, in one word that no place and no time decides."""
    seen = hashlib.sha256()
    if artifact.form == "directory":
        folder = read_folder(artifact.path, name=artifact.name, limits=LIMITS)
        for entry in folder.entries:
            seen.update(os.fsencode(f"{entry.path}\0{entry.size}\0"))
            with folder.open(entry) as file:
                _take(file, seen.update)
    else:
        with opened(artifact.path, artifact.name) as file:
            _take(file, seen.update)
    return f"sha256:{seen.hexdigest()}"


def safe_name(name: str, *, kind: Kind = "binary") -> str:
    """A file's name as far as it is fit to stand in an image, a command line and a label.

    A war keeps its #, which stands for a step of its context path.
    """
    unsafe = r"[^A-Za-z0-9._#-]+" if kind == "war" else r"[^A-Za-z0-9._-]+"
    return re.sub(unsafe, "-", name).strip("-.")[:_LONGEST_NAME] or "app"


def _take(file: BinaryIO, see: Callable[[bytes], None]) -> None:
    while chunk := file.read(CHUNK):
        see(chunk)


# ---------------------------------------------------------------------------------------------------------- opening


@contextmanager
def opened(path: Path, shown: str) -> Iterator[BinaryIO]:
    """The file at a path, which is read and never waited for."""
    try:
        # Without waiting: a FIFO would have us wait for its writer for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise InvalidArtifact(f"there is no artifact {shown}") from None
    except OSError as error:
        raise InvalidArtifact(f"{shown} cannot be read", detail=error.strerror or "") from error
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise InvalidArtifact(f"{shown} is not a regular file", detail="an artifact is a file or a directory")
        yield file


def _size(file: BinaryIO, shown: str) -> int:
    size = os.fstat(file.fileno()).st_size
    if not size:
        raise InvalidArtifact(f"{shown} is empty", hint="fetch or build it again")
    if size > LARGEST:
        raise LimitReached(f"{shown} has {size} bytes; the limit is {LARGEST}")
    return size


def _is_zip(file: BinaryIO, head: bytes, shown: str) -> bool:
    return head.startswith(zips.MAGIC) or (head.startswith(zips.SCRIPT) and zips.has_directory(file, name=shown))


# ---------------------------------------------------------------------------------------------------------- reading


def _read_file(file: BinaryIO, size: int, named: _Named) -> Artifact:
    head = file.read(_HEAD)
    if head.startswith(elf.MAGIC):
        return _artifact(named, "binary", size, binary=elf.read_elf(file, size=size, name=named.shown))
    if not _is_zip(file, head, named.shown):
        raise InvalidArtifact(f"{named.shown} is no jar, war or program: {_guess(head)}", detail=SUPPORTED)
    return _read_pack(zips.read_zip(file, name=named.shown, limits=LIMITS), size, "zip", named)


def _read_folder(named: _Named) -> Artifact:
    folder = read_folder(named.path, name=named.shown, limits=LIMITS)
    return _read_pack(folder, sum(entry.size for entry in folder.entries), "directory", named)


def _read_pack(pack: Pack, size: int, form: Form, named: _Named) -> Artifact:
    """A jar or a war as it is, packed or not; else the one program or finished file that lies in it."""
    kind = kind_of((entry.path for entry in pack.entries), name=named.name)
    if kind is None:
        return _read_inside(pack, size, form, named)
    java = read_java(pack)
    if kind == "jar":
        _refuse_broken(pack, java, named.shown)
    # What is packed is one file, as everybody knows jars and wars; "zip" is what has the finished thing inside of it.
    return _artifact(named, kind, size, form="file" if form == "zip" else form, java=java)


def _read_inside(pack: Pack, size: int, form: Form, named: _Named) -> Artifact:
    found = [(entry, magic) for entry in pack.entries if "/" not in entry.path and (magic := _magic(pack, entry))]
    if len(found) != 1:
        names = ", ".join(called(entry.path) for entry, _ in found)
        raise InvalidArtifact(
            f"{named.shown} holds {'several finished things' if found else 'nothing finished'}",
            detail=names[:200] or SUPPORTED,
            hint="name one of them" if found else f"for source: s2ictl build {named.shown}",
        )
    entry, magic = found[0]
    if magic != elf.MAGIC and form == "zip":
        raise InvalidArtifact(
            f"{named.shown} is a zip around {called(entry.path)}", hint=f"unpack it, and give {called(entry.path)}"
        )
    if magic != elf.MAGIC:
        inner = read(named.path / entry.path)
        return replace(inner, path=named.path, size=size, form=form, entry=entry.path, java=_without(inner.java, pack))
    with pack.open(entry) as file:
        binary = elf.read_elf(file, size=entry.size, name=f"{called(entry.path)} in {named.shown}")
    return _artifact(replace(named, name=entry.path), "binary", size, form=form, entry=entry.path, binary=binary)


def _magic(pack: Pack, entry: Entry) -> bytes:
    """What a file begins with, if that is the beginning of something finished."""
    head = pack.head(entry, 4)
    return head if head in (elf.MAGIC, *zips.MAGIC) else b""


def _without(java: Java | None, pack: Pack) -> Java | None:
    """The same, where some of what a jar wants beside it is there."""
    there = {entry.path for entry in pack.entries}
    return java and replace(java, beside=tuple(path for path in java.beside if os.path.normpath(path) not in there))


def _refuse_broken(pack: Pack, java: Java, shown: str) -> None:
    if java.main_class and not java.beside and not holds_class(pack, java.main_class):
        raise InvalidArtifact(
            f"{shown} cannot start: the class that its manifest names is not in it", detail=java.main_class
        )


def _artifact(
    named: _Named,
    kind: Kind,
    size: int,
    *,
    form: Form = "file",
    entry: str = "",
    java: Java | None = None,
    binary: Binary | None = None,
) -> Artifact:
    name = safe_name(named.name, kind=kind)
    return Artifact(path=named.path, name=name, kind=kind, size=size, form=form, entry=entry, java=java, binary=binary)


# ------------------------------------------------------------------------------------------------ what it is instead


def _guess(head: bytes) -> str:
    for pattern, words in _FOREIGN:
        if re.match(pattern, head, re.IGNORECASE):
            return words
    return "its content is of no kind that is known here"


_FOREIGN = (
    (rb"\s*(?:\xef\xbb\xbf)?\s*<(?:!doctype|html|\?xml)", "it is an HTML or XML page, as a failed download leaves it"),
    (rb"#!", "it is a script"),
    (rb"MZ", "it is a program for Windows"),
    (rb"\xcf\xfa\xed\xfe|\xce\xfa\xed\xfe|\xca\xfe\xba\xbe", "it is a program for macOS, or a Java class"),
    (rb"\x1f\x8b|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd", "it is a compressed archive"),
)
