"""The time of directories that a build only passed through, so that the same source makes the same layer.

Whatever is uploaded, carried or cleared away leaves its time on the directory around it. Nobody inside could help that:
what is root's the command may not touch, and the engine has its hands in it before and after. So such directories are
given their time through the archive API when the container has ended, each with the mode and the owner that it has.

A mount point that the image has not is beyond that: the engine makes it in the layer, with the time of the build, and
every way to it leads into what is mounted there. So it must be in the image that the container is made of, and where it
is not, an image is made that has it: one small layer more, and the same one always.
"""

from __future__ import annotations

import json
import posixpath
import stat
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import PurePosixPath

from s2ictl.archives import Reader, reader_of
from s2ictl.engines import dockerapi, images, kept, streams
from s2ictl.engines.anatomy import Anatomy
from s2ictl.engines.client import Api
from s2ictl.engines.connection import WORK, answer, door
from s2ictl.engines.containers import Container, created
from s2ictl.engines.injections import NOTHING, Known, Plan
from s2ictl.errors import CommitContainerFailed
from s2ictl.events import Emit
from s2ictl.leases import Host, name_for
from s2ictl.models import Assembly, ImageConfig, Reference, Runtime
from s2ictl.values import dataclass

_SCRATCH = "/tmp"  # noqa: S108  (in the container: everybody's to write to, and only root's to touch)
_NEW = stat.S_IFDIR | 0o755
_AS_IT_IS = ImageConfig(command=(), entrypoint=(), user="", workdir="", env=(), labels={})


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A directory, or a file to mount another over, as it stands or is to be; `changed` is in the engine's words."""

    path: str
    mode: int
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    changed: str = ""


# ------------------------------------------------------------------------------------------------------ when it is over


def settle(container: Container, places: Iterable[str], *, epoch: int) -> None:
    """Give those of these directories this time that were changed since the container was made."""
    began = kept.instant(container.facts()["Created"])
    looked = [_place(container, path) for path in places]
    newer = [replace(found, mtime=epoch) for found in looked if found and kept.instant(found.changed) >= began]
    if newer:
        container.put(tar_of(newer))


def places(assembly: Assembly, injected: Plan = NOTHING, filled: Runtime | None = None) -> tuple[str, ...]:
    """The directories that only the engine touches, or what the command is wrapped in, the outermost first."""
    carried = [posixpath.join(filled.root, artifact.target) for artifact in filled.artifacts] if filled else []
    passed = (
        assembly.workspace,
        *assembly.leftovers,
        *(thing.path for thing in injected.things),
        *((assembly.salvage.target,) if assembly.salvage else ()),
        *(posixpath.join(path, "x") for path in (*carried, _SCRATCH)),
    )
    above = {str(parent) for path in passed for parent in PurePosixPath(posixpath.normpath(path)).parents}
    return tuple(sorted(above - {"/"}))


def _changed(container: Container, paths: Iterable[str]) -> frozenset[str]:
    """Those of the paths that are in the container and not in its image, or otherwise than there.

    Of a directory the time alone is not told by every engine; a look into where something is mounted finds that.
    """
    asking = answer(container.api, "GET", f"containers/{container.id}/changes", {}, silence=WORK)
    with door("ask what has changed", CommitContainerFailed), asking as given:
        return told(given.iter_content(), paths)


def told(chunks: Iterable[bytes], paths: Iterable[str]) -> frozenset[str]:
    """Those of the paths that stand in a list of changes, however long that is: it is never held."""
    wanted = {path: _as_told(path) for path in paths}
    longest = max(map(len, wanted.values()), default=0)
    found: set[str] = set()
    rest = b""
    for chunk in chunks:
        text = rest + chunk
        found.update(path for path, words in wanted.items() if words in text)
        rest = text[-longest:]
    return frozenset(found)


def _as_told(path: str) -> bytes:
    text = json.dumps(path, ensure_ascii=False)
    for sign in "<>&":  # as Go writes them
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return b'"Path":' + text.encode(errors="surrogateescape")


def _place(container: Container, path: str) -> Place | None:
    """What stands at a path, by the first header of its archive: what else is in that is never read."""
    what = f"containers/{container.id}/archive"
    asking = answer(container.api, "GET", what, {"path": path}, silence=WORK, passing=(404,))
    with door(f"look at {path} in the container", CommitContainerFailed), asking as given:
        if given.status_code == 404:
            return None
        changed = dockerapi.mtime_of(given.headers)
        return first_directory(reader_of(given.iter_content()), path, changed=changed)


# ----------------------------------------------------------------------------------------------------- before it begins


class NoMountPoint(Exception):
    """The image lacks directories over which something is mounted; the container is of no use any more."""

    def __init__(self, lacking: tuple[Place, ...]) -> None:
        super().__init__(lacking)
        self.lacking = lacking


def check_mount_points(anatomy: Anatomy) -> None:
    """Refuse a container into whose layer the engine had to put mount points."""
    container = anatomy.container
    mounted = sorted(mount["Destination"] for mount in container.facts()["Mounts"] or ())
    question = f"mount points {' '.join(mounted)}"
    if not mounted or anatomy.memory.answers.get(question) is True:
        return
    lacking = sorted(_changed(container, mounted))
    if not lacking:
        anatomy.memory.learn(question, True)
    else:
        raise NoMountPoint(tuple(Place(path=path, mode=_mount_point(container.mode(path))) for path in lacking))


def made(container: Container, mounted: Iterable[str]) -> tuple[str, ...]:
    """Those mount points that the engine had to make in the container."""
    there = tuple(mounted)
    return tuple(sorted(_changed(container, there))) if there else ()


def _mount_point(mounted: int | None) -> int:
    """As the engine makes it for what is mounted there: a directory, or an empty file."""
    return _NEW if mounted is None or stat.S_ISDIR(mounted) else stat.S_IFREG | 0o644


@contextmanager
def grounded(api: Api, host: Host, assembly: Assembly, lacking: Iterable[Place], emit: Emit) -> Iterator[Assembly]:
    """The same assembly on an image that has these mount points too; it goes again when nothing was made of it."""
    name = name_for(assembly.owner, host, seconds=WORK)
    document = dockerapi.container_document(dockerapi.bare(assembly), ())
    with created(api, name, document, image=assembly.image) as container:
        container.put(tar_of(tuple(_mount_points(container, lacking))))  # one request after the other
        lease = lambda: name_for(assembly.owner, host, seconds=WORK)  # noqa: E731
        # By this name whoever comes next knows it for the dead's.
        held = Reference(registry="", repository=images.UNFINISHED, tag=name_for(assembly.owner, host, seconds=WORK))
        image = images.commit(api, container.id, _AS_IT_IS, (held,), lease=lease, emit=emit)
    try:
        yield replace(assembly, image_id=image)
    finally:
        images.forget(api, str(held))


def _mount_points(container: Container, lacking: Iterable[Place]) -> Iterator[Place]:
    """What is missing, and above it what is there already, which keeps its time although something is put into it."""
    known = Known(container.mode)
    for wanted in lacking:
        if known.exists(wanted.path):
            continue
        parents = known.missing_above(wanted.path)
        known.make(wanted.path)
        above = posixpath.dirname((*parents, wanted.path)[0])
        if above != "/" and (found := _place(container, above)):
            yield found
        yield from (Place(path=path, mode=_NEW) for path in parents)
        yield wanted


# ----------------------------------------------------------------------------------------------------------- as a tar


def tar_of(found: Iterable[Place]) -> Iterator[bytes]:
    """The tar that makes these places, or changes nothing of them but their time."""
    yield _header(Place(path="/.", mode=_NEW))
    yield from map(_header, found)
    yield bytes(2 * tarfile.BLOCKSIZE)


def first_directory(read: Reader, path: str, *, changed: str) -> Place | None:
    """The place whose archive this is, when it is a directory."""
    with tarfile.open(mode="r|", fileobj=streams.File(read), bufsize=tarfile.BLOCKSIZE) as tar:
        member = tar.next()
    if member is None or not member.isdir():
        return None
    mode = stat.S_IFDIR | member.mode & 0o7777
    return Place(path=path, mode=mode, uid=member.uid, gid=member.gid, mtime=int(member.mtime), changed=changed)


def _header(place: Place) -> bytes:
    """With the whole mode, unlike what is uploaded for a command: a sticky bit has to stay."""
    entry = tarfile.TarInfo(place.path[1:])
    entry.type = tarfile.DIRTYPE if stat.S_ISDIR(place.mode) else tarfile.REGTYPE
    entry.mode, entry.mtime, entry.uid, entry.gid = stat.S_IMODE(place.mode), place.mtime, place.uid, place.gid
    return entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
