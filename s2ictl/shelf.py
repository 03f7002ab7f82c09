"""Images on this machine for the roads that have no engine: each read once out of one, packed, and kept by its digest.

They lie in one OCI layout, so that what two of them share is there once. Whoever uses any of it holds the lock of all,
and shares it with others; only who has it alone takes something away: by age, by size, or because the user says so.
Blobs that no image there names are what a build has passed through it, or what a killed one left: they go with the next
that is alone.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

from s2ictl import layouts, oci
from s2ictl.errors import CommitContainerFailed, InvalidUsage, PullBuilderImageFailed, S2IError
from s2ictl.files import taken
from s2ictl.layouts import Layout
from s2ictl.models import ImageFacts
from s2ictl.values import dataclass

_NAME, _DIGEST = "io.s2ictl.name", "io.s2ictl.digest"
_UNUSED_FOR = 30 * 24 * 3600.0
_MOST = 8 << 30  # bytes of all that is kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One image: `size` is what goes with it, and `used` when it was last asked for, since 1970."""

    id: str
    name: str
    size: int
    used: float


class Shelf:
    """The images in one directory, which need not be there; the lock is beside it."""

    def __init__(self, directory: Path, *, most: int) -> None:
        self._directory = directory
        self._most = most
        self._layout = Layout(directory)
        self._lock: int | None = None
        self._grown = False

    def find(self, label: str, value: str, *, name: str) -> oci.Base | None:
        """The image of this name of which its label says this: what others make of it inherits the label."""
        for entry in self._entries():
            base = self._base(entry)
            if base is not None and base.name == name and base.facts.labels.get(label) == value:
                return self._used(entry, base)
        return None

    def held(self, image: str) -> oci.Base | None:
        """The image of this id."""
        entry = next((entry for entry in self._entries() if layouts.tag_of(entry) == image), None)
        base = self._base(entry) if entry else None
        return self._used(entry, base) if entry and base else None

    def keep(self, facts: ImageFacts, image: Iterator[bytes], *, name: str) -> oci.Base:
        """Take in an image as an engine saves it; `name` is what it says of itself as somebody's base."""
        from s2ictl.saved import manifest_of

        said = {_NAME: name, **({_DIGEST: facts.digest} if facts.digest else {})}
        self._begin()
        try:
            manifest = manifest_of(image, self._layout.write, annotations=said)
            with layouts.writable(self._directory) as layout:
                digest = layout.tag(manifest, (facts.id,))
        except CommitContainerFailed as error:
            raise PullBuilderImageFailed(
                f"could not keep {name} on this machine", detail=error.in_passing, hint=error.hint
            ) from error
        base = self._base(oci.Descriptor(media_type=oci.MANIFEST, digest=digest, size=len(manifest)))
        if base is None:
            raise PullBuilderImageFailed(f"could not keep {name}", detail=f"{self._directory} lost a part of it")
        return base

    @contextmanager
    def passing(self, image: Iterator[bytes]) -> Iterator[oci.Picture]:
        """An image as an engine saves it, packed and to be read while the context lasts; it is not kept."""
        from s2ictl.saved import manifest_of

        self._begin()
        manifest = self._layout.write(oci.blob_of(manifest_of(image, self._layout.write), oci.MANIFEST))
        yield layouts.picture_at(self._layout, manifest)

    def write(self, blob: oci.Blob) -> oci.Descriptor:
        """Have these bytes here while the shelf is open; they are not kept."""
        self._begin()
        return self._layout.write(blob)

    def read(self, descriptor: oci.Descriptor) -> Iterator[bytes]:
        """What was written."""
        return self._layout.read(descriptor)

    # ------------------------------------------------------------------------------------------------------- the lock

    def _begin(self) -> None:
        """Have the directory, and hold it."""
        try:
            self._directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._hold()
        except OSError as error:
            raise CommitContainerFailed(
                f"could not use {self._directory}", detail=error.strerror or "", hint="name another: S2ICTL_CACHE=DIR"
            ) from error
        with layouts.writable(self._directory):
            """A new one appears whole."""
        self._grown = True

    def _hold(self) -> None:
        if self._lock is None:
            self._lock = os.open(_lock_of(self._directory), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_SH)

    def close(self) -> None:
        """Let go of it; whoever has put something there clears up, if nobody else uses it."""
        if self._lock is None:
            return
        try:
            if self._grown and taken(self._lock):
                with suppress(OSError, S2IError):  # what cannot go now goes another time: it is no matter of this build
                    _trim(self._directory, most=self._most, now=time.time())
        finally:
            os.close(self._lock)
            self._lock = None

    # ------------------------------------------------------------------------------------------------------- reading

    def _entries(self) -> tuple[oci.Descriptor, ...]:
        if not (self._directory / layouts.MARK).is_file():
            return ()
        with suppress(OSError):  # where nobody can write, nobody takes anything away
            self._hold()
        return _entries(self._layout)

    def _used(self, entry: oci.Descriptor, base: oci.Base) -> oci.Base:
        """The same; what was used last goes last."""
        with suppress(OSError):
            os.utime(self._layout.path(entry.digest))
        return base

    def _base(self, entry: oci.Descriptor) -> oci.Base | None:
        """The image, if it is whole."""
        with suppress(S2IError):  # what cannot be read is as good as not there: it is taken in again
            found = oci.find_all(self._layout, entry)[0]
            if not all(map(self._layout.has, found.manifest.layers)):
                return None
            said = found.manifest.annotations or {}
            known = replace(found, digest=said.get(_DIGEST, ""))
            return oci.base_of(self._layout, known, name=said.get(_NAME, ""), home="")
        return None


@contextmanager
def opened(directory: Path, *, most: int = _MOST) -> Iterator[Shelf]:
    """The shelf in this directory; nothing is taken away from it while the context lasts, and `most` bytes stay."""
    shelf = Shelf(directory, most=most)
    try:
        yield shelf
    finally:
        shelf.close()


# ------------------------------------------------------------------------------------------------- what is there, goes


def kept(directory: Path) -> tuple[Kept, ...]:
    """What is there, what was used last first; what several share is counted with the first of them."""
    layout, counted = Layout(directory), set[str]()
    images = [_kept(layout, entry, counted) for entry in _entries(layout)]
    return tuple(sorted(images, key=lambda image: image.used, reverse=True))


def forget(directory: Path, image: str) -> bool:
    """Let go of an image; False when somebody uses the shelf right now."""
    try:
        with _alone(directory) as is_alone:
            if is_alone:
                _drop(directory, (image,))
    except OSError as error:
        raise InvalidUsage(f"could not remove {image} from {directory}: {error.strerror}") from error
    return is_alone


def _entries(layout: Layout) -> tuple[oci.Descriptor, ...]:
    with suppress(S2IError):
        return layouts.entries(layout)
    return ()


def renewed(directory: Path, name: str) -> None:
    """An engine has made the image of this name anew: what was taken in before would hide that."""
    for image in kept(directory):
        if image.name == name:
            forget(directory, image.id)


def _kept(layout: Layout, entry: oci.Descriptor, counted: set[str]) -> Kept:
    name, size, used = "", 0, 0.0
    with suppress(S2IError, OSError):
        used = layout.path(entry.digest).stat().st_mtime
        manifest = oci.read_manifest(layout.manifest(entry), str(layout))
        if isinstance(manifest, oci.Manifest):
            name = (manifest.annotations or {}).get(_NAME, "")
            own = {each.digest: each.size for each in (entry, manifest.config, *manifest.layers)}
            size = sum(size for digest, size in own.items() if digest not in counted)
            counted.update(own)
    return Kept(id=layouts.tag_of(entry), name=name, size=size, used=used)


def _lock_of(directory: Path) -> Path:
    return directory.with_name(f"{directory.name}.lock")


@contextmanager
def _alone(directory: Path) -> Iterator[bool]:
    lock = os.open(_lock_of(directory), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield taken(lock)
    finally:
        os.close(lock)


def _trim(directory: Path, *, most: int, now: float) -> None:
    """Let go of what is out of use, and of what was used longest ago where all of it is too much; never of the last."""
    there = kept(directory)
    totals = accumulate(image.size for image in there)
    out = [image.id for image, total in zip(there, totals, strict=True) if total > most or _is_old(image, now)]
    _drop(directory, tuple(each for each in out if each != there[0].id))


def _is_old(image: Kept, now: float) -> bool:
    return now - image.used > _UNUSED_FOR


def _drop(directory: Path, images: tuple[str, ...]) -> None:
    """Take these images out of the index, and then every blob that none of the others names."""
    layout = Layout(directory)
    if images:
        layout.untag(images)
    named = {digest for entry in _entries(layout) for digest in _names(layout, entry)}
    for blob in (directory / layouts.BLOBS).iterdir():
        if f"sha256:{blob.name}" not in named:
            blob.unlink(missing_ok=True)


def _names(layout: Layout, entry: oci.Descriptor) -> Iterator[str]:
    yield entry.digest
    with suppress(S2IError):
        yield from (blob.digest for blob in layouts.picture_at(layout, entry).blobs)
