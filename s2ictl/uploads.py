"""What a container is sent before it starts, entry by entry: source, scripts, a builder's own folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from s2ictl.archives import Entry, directory_entry, file_entry, rerooted, tar_stream
from s2ictl.builders import Folder
from s2ictl.models import SECRETS, Tree
from s2ictl.scripts import Script


def upload(entries: Callable[[], Iterator[Entry]], uid: int, gid: int) -> Iterator[bytes]:
    return tar_stream(entries(), uid=uid, gid=gid)


def source_entries(
    tree: Tree, carried: tuple[Script, ...], destination: str, excluded: Callable[[str], bool], *, place: bool
) -> Iterator[Entry]:
    """The whole source, with the scripts that are carried in a place of their own.

    Where none are, such a `place` is made all the same for those who count on it.
    """
    root = destination.strip("/")
    if carried or place:
        yield directory_entry(f"{root}/scripts")
    yield from _programs(carried, root)
    gone = {script.moved for script in carried if script.moved}
    yield directory_entry(f"{root}/src")
    for member, read in tree.members():
        if member.path in gone or member.path.rpartition("/")[0] in gone or excluded(member.path):
            gone.add(member.path)
        elif member.kind == "hardlink" and member.target in gone:
            # The name that it shares its bytes with is not sent, so it brings them itself.
            content = tree.read(member.path)
            yield file_entry(f"{root}/src/{member.path}", content, mode=member.mode, mtime=member.mtime)
        else:
            yield rerooted(member, f"{root}/src"), read


def file_entries(files: Mapping[str, bytes], carried: tuple[Script, ...], destination: str) -> Iterator[Entry]:
    """A few files of the source alone."""
    root = destination.strip("/")
    yield from script_entries(destination, carried)
    yield directory_entry(f"{root}/src")
    for path, content in sorted(files.items()):
        # What is only read from the tree has no mode; what begins like a program is one.
        yield file_entry(f"{root}/src/{path}", content, mode=0o755 if content.startswith(b"#!") else 0o644)


def script_entries(destination: str, carried: tuple[Script, ...]) -> Iterator[Entry]:
    root = destination.strip("/")
    if carried:
        yield directory_entry(f"{root}/scripts")
    yield from _programs(carried, root)


def folder_entries(folder: Folder, workshop: str) -> Iterator[Entry]:
    """What a builder is made of: `install` below the workshop, its scripts where the image keeps them.

    And a place for secrets: mounted over nothing, they would cost each image that is built with one a layer more.
    """
    root, scripts_root = workshop.strip("/"), folder.blueprint.scripts.strip("/")
    yield directory_entry(SECRETS)
    yield directory_entry(f"{root}/src")
    yield _program(f"{root}/src/install", (folder.path / "install").read_bytes())
    parents = scripts_root.split("/")
    yield from (directory_entry("/".join(parents[: depth + 1])) for depth in range(1, len(parents)))
    for script in sorted((folder.path / "s2i" / "bin").iterdir()):
        yield _program(f"{scripts_root}/{script.name}", script.read_bytes())


def _programs(carried: Iterable[Script], root: str) -> Iterator[Entry]:
    yield from (_program(f"{root}/scripts/{script.name}", script.content) for script in carried)


def _program(path: str, content: bytes) -> Entry:
    return file_entry(path, content, mode=0o755)
