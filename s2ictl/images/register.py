"""Which images there are, under which names: the index of the layout, so that every tool can read it.

An entry stands there for each name of an image, and one for an image without any; what else is known of it is said in
each of them. The last made stands last. Names are kept as the Docker engine calls them, so those of Docker Hub short.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace

import msgspec

from s2ictl import layouts, oci
from s2ictl.addresses import DOCKER_HUB, DOCKER_HUB_NAMES
from s2ictl.errors import CommitContainerFailed, InvalidUsage, LimitReached
from s2ictl.expressions import expression
from s2ictl.models import Reference
from s2ictl.values import dataclass

_ID, _DIGESTS, _HOME, _MADE = (f"io.s2ictl.{word}" for word in ("id", "digests", "home", "made"))
_SHORT_ID = 12
_OURS = "s2ictl/"
_PART_OF_ID = expression(r"(?:sha256:)?([0-9a-f]{1,64})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One image. `digests` are the NAME@DIGEST under which registries have it, `home` is the repository that has its
    very layers, and `made` says that it was made here."""

    id: str
    manifest: oci.Descriptor
    names: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    home: str = ""
    made: bool = False

    @property
    def is_own(self) -> bool:
        """Whether it is somebody's work under a name that he chose; below `s2ictl/` are builders and dependencies."""
        return self.made and any(not name.startswith(_OURS) for name in self.names)


Records = tuple[Record, ...]


def called(name: Reference) -> str:
    """The name as the Docker engine shows it, with its tag."""
    return f"{repository_of(name)}:{name.tag or 'latest'}"


def repository_of(name: Reference) -> str:
    if name.registry not in (*DOCKER_HUB_NAMES, ""):
        return name.name
    return name.repository.removeprefix("library/")


def meant(records: Records, image: str) -> Record | None:
    """The image of this name, of this digest in a registry, or of this id or its beginning."""
    with suppress(InvalidUsage):
        name = Reference.parse(image)
        wanted = f"{repository_of(name)}@{name.digest}" if name.digest else called(name)
        found = (each for each in records if wanted in (each.digests if name.digest else each.names))
        if record := next(found, None):
            return record
    part = _PART_OF_ID.fullmatch(image)
    found_ids = [each for each in records if part and each.id.startswith(f"sha256:{part[1]}")]
    return found_ids[0] if len(found_ids) == 1 else None


def is_called(names: tuple[str, ...], image: str, word: str) -> bool:
    """Whether a word means this image: one of its names, or enough of its id that nobody else's begins so."""
    with suppress(InvalidUsage):
        if called(Reference.parse(word)) in names:
            return True
    part = _PART_OF_ID.fullmatch(word)
    return part is not None and len(part[1]) >= _SHORT_ID and image.startswith(f"sha256:{part[1]}")


def digest_in(record: Record, image: str) -> str:
    """The digest of the image in the repository of this name; in another one where that has none, as engines say it."""
    known = [digest.partition("@")[::2] for digest in record.digests]
    with suppress(InvalidUsage):
        wanted = repository_of(Reference.parse(image))
        known.sort(key=lambda one: one[0] != wanted)
    return known[0][1] if known else ""


# ------------------------------------------------------------------------------------------------------------- changes


def added(records: Records, new: Record) -> Records:
    """The image as the last one, and its names to it alone; what was said of it before is said still."""
    old = next((each for each in records if each.id == new.id), new)
    joined = replace(
        new,
        names=_joined(old.names, new.names),
        digests=_joined(new.digests, old.digests),
        made=old.made or new.made,
    )
    others = tuple(each for each in records if each.id != new.id)
    return (*_rid(others, new.names, but=new.id), joined)


def named(records: Records, image: str, names: Iterable[str]) -> Records:
    """The image with these names too, and nobody else with them."""
    new = tuple(names)
    if all(each.id != image for each in records):
        raise CommitContainerFailed(f"could not name {image}", detail="it is not here any more")
    return tuple(
        replace(each, names=_joined(each.names, new)) if each.id == image else each
        for each in _rid(records, new, but=image)
    )


def sent(records: Records, image: str, name: Reference, digest: str) -> Records:
    """The image as one that a registry has under this digest, and with it the very layers that are here."""
    known, home = f"{repository_of(name)}@{digest}", f"{name.registry or DOCKER_HUB}/{name.repository}"
    return tuple(
        replace(each, digests=_joined((known,), each.digests), home=home) if each.id == image else each
        for each in records
    )


def unnamed(records: Records, name: str) -> Records:
    """The image without this name; without its last one it is gone, as in an engine."""
    return tuple(
        replace(each, names=tuple(one for one in each.names if one != name))
        for each in records
        if each.names != (name,)
    )


def without(records: Records, images: Iterable[str]) -> Records:
    gone = set(images)
    return tuple(each for each in records if each.id not in gone)


def _rid(records: Records, names: tuple[str, ...], *, but: str) -> Records:
    """Nobody has these names but one."""
    return tuple(
        each if each.id == but else replace(each, names=tuple(one for one in each.names if one not in names))
        for each in records
    )


def _joined(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*first, *second)))


# --------------------------------------------------------------------------------------------------------------- bytes


def read(layout: layouts.Layout) -> Records:
    """All that the index says; whoever changed it from outside is believed as far as it can be understood."""
    found: dict[str, Record] = {}
    for entry in layouts.entries(layout):
        said = entry.annotations or {}
        image = said.get(_ID, "")
        if not oci.is_digest(image):
            continue
        names = tuple(filter(None, (said.get(oci.TAG, ""),)))
        known = found.get(image)
        found[image] = (
            replace(known, names=(*known.names, *names))
            if known
            else Record(
                id=image,
                manifest=msgspec.structs.replace(entry, annotations=None),
                names=names,
                digests=tuple(said.get(_DIGESTS, "").split()),
                home=said.get(_HOME, ""),
                made=_MADE in said,
            )
        )
    return tuple(found.values())


def change(layout: layouts.Layout, how: Callable[[Records], Records]) -> None:
    """Have it otherwise, at once and for everybody; nobody else changes it meanwhile."""
    with layouts.writable(layout.directory):
        before = read(layout)
        after = how(before)
        if after != before:
            layout.exchange(_index(after))


def _index(records: Records) -> bytes:
    """The document, which nobody would read again if it were too long: an archive may bring any number of names."""
    entries = tuple(entry for record in records for entry in _entries(record))
    index = oci.encode(oci.Index(schema_version=2, media_type=oci.INDEX, manifests=entries))
    if len(index) > oci.LARGEST_DOCUMENT:
        raise LimitReached(f"{len(entries)} names of images are too many", hint="s2ictl cache prune --image NAME")
    return index


def _entries(record: Record) -> Iterator[oci.Descriptor]:
    told = {
        _ID: record.id,
        _DIGESTS: " ".join(record.digests),
        _HOME: record.home,
        _MADE: "here" if record.made else "",
    }
    said = {word: text for word, text in told.items() if text}
    for name in record.names or ("",):
        tag = {oci.TAG: name} if name else {}
        yield msgspec.structs.replace(record.manifest, annotations={**tag, **said})
