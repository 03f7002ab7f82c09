"""Trees of files as values, all in which two of them can differ; and tars of them, by the standard library's writer."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from s2ictl.engines.embedded.warden import unpacking

LONG_AGO = 1_000_000_000
NAMES = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "link",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}


@dataclass(frozen=True)
class Leaf:
    """What lies at a path; `names` are all that it has, where those are several."""

    kind: str
    mode: int
    owner: tuple[int, int]
    mtime: int
    content: bytes | str | tuple[int, int] | None
    attributes: tuple[tuple[str, bytes], ...]
    names: tuple[str, ...] = ()


Tree = Mapping[str, Leaf]


def tree_of(root: Path) -> Tree:
    """All that lies below a directory."""
    paths = sorted(Path(above, name) for above, *names in os.walk(root) for each in names for name in each)
    alike = defaultdict[int, list[str]](list)
    for path in paths:
        alike[path.lstat().st_ino].append(str(path.relative_to(root)))
    return {str(path.relative_to(root)): _leaf(path, alike[path.lstat().st_ino]) for path in paths}


def _leaf(path: Path, names: list[str]) -> Leaf:
    facts = path.lstat()
    own = sorted(name for name in os.listxattr(path, follow_symlinks=False) if ".overlay." not in name)
    return Leaf(
        kind=NAMES[stat.S_IFMT(facts.st_mode)],
        mode=stat.S_IMODE(facts.st_mode),
        owner=(facts.st_uid, facts.st_gid),
        mtime=facts.st_mtime_ns,
        content=_content(path, facts),
        attributes=tuple((name, os.getxattr(path, name, follow_symlinks=False)) for name in own),
        names=tuple(names) if len(names) > 1 else (),
    )


def _content(path: Path, facts: os.stat_result) -> bytes | str | tuple[int, int] | None:
    if stat.S_ISREG(facts.st_mode):
        return path.read_bytes()
    if stat.S_ISLNK(facts.st_mode):
        return str(path.readlink())
    if stat.S_ISCHR(facts.st_mode) or stat.S_ISBLK(facts.st_mode):
        return os.major(facts.st_rdev), os.minor(facts.st_rdev)
    return None


# --------------------------------------------------------------------------------------------------------------- tars


@dataclass(frozen=True)
class Item:
    """A member of a tar, as it is written: a file unless it is said otherwise."""

    path: str
    content: bytes = b""
    kind: bytes = tarfile.REGTYPE
    target: str = ""
    mode: int = 0o644
    owner: tuple[int, int] = (0, 0)
    mtime: float = LONG_AGO
    device: tuple[int, int] = (0, 0)
    records: tuple[tuple[str, str], ...] = ()


def directory(path: str, *, mode: int = 0o755, owner: tuple[int, int] = (0, 0), mtime: float = LONG_AGO) -> Item:
    return Item(path, kind=tarfile.DIRTYPE, mode=mode, owner=owner, mtime=mtime)


def link(path: str, target: str) -> Item:
    return Item(path, kind=tarfile.SYMTYPE, target=target, mode=0o777)


def hard_link(path: str, target: str) -> Item:
    return Item(path, kind=tarfile.LNKTYPE, target=target)


def tar_of(*items: Item, form: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form, encoding="utf-8", errors="surrogateescape") as tar:
        for item in items:
            member = tarfile.TarInfo(item.path)
            member.type, member.linkname, member.size = item.kind, item.target, len(item.content)
            member.mode, (member.uid, member.gid), member.mtime = item.mode, item.owner, item.mtime
            member.devmajor, member.devminor = item.device
            member.pax_headers = dict(item.records)
            tar.addfile(member, io.BytesIO(item.content))
    return buffer.getvalue()


def unpack(
    tar: bytes,
    root: Path,
    *,
    layer: bool = True,
    rootless: bool = False,
    most_members: int = 1000,
    most_bytes: int = 1 << 30,
) -> tuple[int, int]:
    """Have a tar unpacked into a directory, as it comes out of a file."""
    source = os.memfd_create("tar")
    directory = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.write(source, tar)
        os.lseek(source, 0, os.SEEK_SET)
        return unpacking.unpack(
            source, directory, layer=layer, rootless=rootless, most_members=most_members, most_bytes=most_bytes
        )
    finally:
        os.close(source)
        os.close(directory)
