"""What goes: what nobody names any more, what nobody has used for long, what is too much, and what somebody says.

An image that was made here under a name is its user's, and goes only when he says so. What was pulled, what has lost
its name and every tree can be had again: of these go the ones that were used longest ago.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from typing import Literal

from s2ictl import layouts, oci
from s2ictl.errors import S2IError
from s2ictl.images import register, trees
from s2ictl.images.ground import Ground, door
from s2ictl.images.register import Record, Records
from s2ictl.images.trees import Unpacker
from s2ictl.values import dataclass

_UNUSED_FOR = 30 * 24 * 3600.0
_FRESH = 24 * 3600.0  # what was used within a day stays, however much it is: the next build wants it

Open = Callable[[], Unpacker]


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """How many bytes may stay of each kind without being anybody's own."""

    images: int = 8 << 30
    trees: int = 24 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An image, by its id, or a tree, by its chain id; `size` is what goes with it, and `used` when it was last asked
    for, since 1970. `is_own` says of an image that it is its user's."""

    kind: Literal["image", "tree"]
    name: str
    names: tuple[str, ...] = ()
    size: int
    used: float
    is_own: bool = False

    def is_called(self, word: str) -> bool:
        """Whether it is the image of this name or id."""
        return self.kind == "image" and register.is_called(self.names, self.name, word)


def kept(directory: Path) -> tuple[Kept, ...]:
    """What is there, of each kind what was used last first; what several images share is counted with the first."""
    ground = Ground(directory)
    tops = {chain[-1]: record for record in _records(ground) if (chain := _chain(ground, record))}
    there = (
        Kept(
            kind="tree",
            name=tree.name,
            names=tops[tree.name].names if tree.name in tops else (),
            size=tree.size,
            used=tree.used,
        )
        for tree in trees.listed(ground)
    )
    return (*_images(ground, _records(ground)), *sorted(there, key=_used, reverse=True))


def forget(directory: Path, thing: Kept, unpacker: Open) -> bool:
    """Let go of an image, or of a tree; False when somebody uses any of them right now."""
    ground = Ground(directory)
    with door(f"remove {thing.name} from {directory}"), ground.alone() as is_alone:
        if is_alone and thing.kind == "image":
            register.change(ground.layout, lambda records: register.without(records, (thing.name,)))
            ground.swept(lambda: _clear(ground, unpacker, spared=frozenset()))
        elif is_alone and trees.is_there(ground, thing.name):
            unpacker().discard((f"{ground.trees.name}/{thing.name}",))
    return is_alone


def sweep(ground: Ground, unpacker: Open, *, room: Room, now: float) -> None:
    """Clear up; for who has all of it alone. What is out of use or too much goes, and then what nobody names."""
    images = _images(ground, register.read(ground.layout))
    out = _out([image for image in images if not image.is_own], most=room.images, now=now)
    if out:
        register.change(ground.layout, lambda records: register.without(records, out))
    there = [Kept(kind="tree", name=tree.name, size=tree.size, used=tree.used) for tree in trees.listed(ground)]
    _clear(ground, unpacker, spared=_out(sorted(there, key=_used, reverse=True), most=room.trees, now=now))


def _out(there: list[Kept], *, most: int, now: float) -> frozenset[str]:
    """Those of them that go, where the first was used last."""
    totals = accumulate(each.size for each in there)
    ages = ((each, total, now - each.used) for each, total in zip(there, totals, strict=True))
    return frozenset(each.name for each, total, age in ages if age > _UNUSED_FOR or (total > most and age > _FRESH))


def _clear(ground: Ground, unpacker: Open, *, spared: frozenset[str]) -> None:
    """Take away every blob that no image here names, every tree that none is made of, and what can be `spared`."""
    records = register.read(ground.layout)  # one that cannot be read names nothing: then all stays
    named = {digest for record in records for digest in _names(ground, record)}
    for blob in (ground.layout.directory / layouts.BLOBS).iterdir():
        if f"sha256:{blob.name}" not in named:
            blob.unlink(missing_ok=True)
    wanted = {name for record in records for name in _chain(ground, record)} - spared
    gone = tuple(tree.name for tree in trees.listed(ground) if tree.name not in wanted)
    if gone:
        unpacker().discard(tuple(f"{ground.trees.name}/{name}" for name in gone))
    for note in ground.turns.iterdir():
        if not trees.is_there(ground, note.name):
            note.unlink(missing_ok=True)
    for partial in layouts.unfinished(ground.layout.directory):
        shutil.rmtree(partial, ignore_errors=True)


# ------------------------------------------------------------------------------------------------------------- reading


def _used(thing: Kept) -> float:
    return thing.used


def _records(ground: Ground) -> Records:
    with suppress(S2IError):
        return register.read(ground.layout)
    return ()


def _images(ground: Ground, records: Records) -> list[Kept]:
    """Those that were used last first."""
    at = {record.id: _used_at(ground, record) for record in records}
    counted: set[str] = set()
    return [
        Kept(
            kind="image",
            name=record.id,
            names=record.names,
            size=_size(_blobs(ground, record), counted),
            used=at[record.id],
            is_own=record.is_own,
        )
        for record in sorted(records, key=lambda record: at[record.id], reverse=True)
    ]


def _used_at(ground: Ground, record: Record) -> float:
    with suppress(OSError):
        return ground.layout.path(record.manifest.digest).stat().st_mtime
    return time.time()


def _size(blobs: Iterable[oci.Descriptor], counted: set[str]) -> int:
    """What of these is not counted yet."""
    new = {blob.digest: blob.size for blob in blobs if blob.digest not in counted}
    counted.update(new)
    return sum(new.values())


def _names(ground: Ground, record: Record) -> Iterator[str]:
    return (blob.digest for blob in _blobs(ground, record))


def _blobs(ground: Ground, record: Record) -> tuple[oci.Descriptor, ...]:
    with suppress(S2IError):
        manifest = oci.read_manifest(ground.layout.manifest(record.manifest), str(ground.layout))
        if isinstance(manifest, oci.Manifest):
            return (record.manifest, manifest.config, *manifest.layers)
    return (record.manifest,)


def _chain(ground: Ground, record: Record) -> tuple[str, ...]:
    """The trees of an image, the lowest first; none where it cannot be read."""
    with suppress(S2IError):
        return trees.chain_ids(oci.find_all(ground.layout, record.manifest)[0].config.rootfs.diff_ids)
    return ()
