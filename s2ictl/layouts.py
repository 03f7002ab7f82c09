"""An OCI image layout: a directory that holds images by their digests, to be read from and to be put into.

A new layout is made under a temporary name and renamed; into one that exists only whole files are added, and its index
is exchanged at the end. So whoever reads it meanwhile, or after a crash, finds what was there before.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shutil
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO, Literal, Protocol

import msgspec

from s2ictl import files, oci
from s2ictl.errors import CommitContainerFailed, InvalidUsage, LimitReached, PullBuilderImageFailed, S2IError
from s2ictl.expressions import expression
from s2ictl.models import ImageFacts
from s2ictl.values import dataclass

MARK = "oci-layout"
INDEX = "index.json"
FULL_NAME = "io.containerd.image.name"  # what containerd calls an image that it reads from an index
BLOBS = Path("blobs/sha256")
_TAG = expression(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_EMPTY = msgspec.json.encode({"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": []})
_PARTIAL = ".partial"
VERSION = b'{"imageLayoutVersion":"1.0.0"}'
_ANOTHER = "name another directory, or a new one"
MAKE_ROOM = "make room there; s2ictl cache prune removes what later builds can do without"
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Laid:
    """An image that lies in a layout, or in a file that holds one, as somebody names it."""

    kind: Literal["oci", "tar"]
    path: Path
    tag: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.path}" + (f":{self.tag}" if self.tag else "")


def parse_laid(text: str, *, cwd: Path) -> Laid | None:
    """oci:DIR[:TAG] or tar:FILE; None for what is no such place."""
    kind, _, place = text.partition(":")
    match kind:
        case "oci":
            directory, colon, tag = place.rpartition(":")
            is_tagged = colon and _TAG.fullmatch(tag)
            return Laid(kind="oci", path=cwd / (directory if is_tagged else place), tag=tag if is_tagged else "")
        case "tar":
            return Laid(kind="tar", path=cwd / place)
    return None


def blob_path(digest: str) -> str:
    """Where the bytes of this digest lie in every layout."""
    return f"{BLOBS}/{digest.removeprefix('sha256:')}"


class Stored(oci.Source, Protocol):
    """Where images lie by their digests, with an index of them."""

    def index(self) -> bytes: ...


def entries(stored: Stored) -> tuple[oci.Descriptor, ...]:
    """What the index names: images, or indexes of several."""
    try:
        return msgspec.json.decode(stored.index(), type=oci.Index).manifests
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise PullBuilderImageFailed(f"{stored} is broken", detail=f"{INDEX}: {error}"[:300]) from error


def first(stored: Stored, tag: str) -> oci.Descriptor:
    """What a tag leads to: an image, or an index of several; without a tag, the only one there is."""
    there = entries(stored)
    found = {entry.digest: entry for entry in there if not tag or tag_of(entry) == tag}
    if len(found) == 1:
        return next(iter(found.values()))
    raise PullBuilderImageFailed(
        f"{stored} has no image {tag}" if tag else f"{stored} has {len(found)} images",
        detail=f"it has {', '.join(sorted({tag_of(entry) or entry.digest for entry in there})[:20]) or 'none'}"[:500],
        hint=f"name the one that is meant: {stored}:TAG",
    )


def tag_of(entry: oci.Descriptor) -> str:
    return (entry.annotations or {}).get(oci.TAG, "")


def picture(stored: Stored, tag: str) -> oci.Picture:
    """The image of this tag as it lies there, byte for byte, and so under the same digest wherever it is brought."""
    return picture_at(stored, first(stored, tag))


def picture_at(stored: Stored, entry: oci.Descriptor) -> oci.Picture:
    """The same of an image, or of an index of several, by its digest."""
    content = stored.manifest(entry)
    document = oci.read_manifest(content, str(stored))
    if isinstance(document, oci.Manifest):
        kind = document.media_type or entry.media_type or oci.MANIFEST
        return oci.Picture(
            blobs=tuple(_blobs(stored, document)), manifest=content, id=document.config.digest, kind=kind
        )
    if len(document.manifests) > 2 * oci.MOST_PLATFORMS:  # beside each image its builder's attestation
        raise LimitReached(f"{stored} has an index of {len(document.manifests)} images")
    children = tuple(stored.manifest(each) for each in document.manifests)
    manifests = [oci.read_manifest(child, str(stored)) for child in children]
    return oci.Picture(
        blobs=tuple(blob for each in manifests for blob in _blobs(stored, each)),
        manifest=content,
        id=next((each.config.digest for each in manifests if isinstance(each, oci.Manifest)), ""),
        kind=document.media_type or entry.media_type or oci.INDEX,
        children=children,
    )


def _blobs(stored: Stored, manifest: oci.Manifest | oci.Index) -> Iterator[oci.Blob]:
    if isinstance(manifest, oci.Index):
        raise PullBuilderImageFailed(f"{stored} is an index of indexes", hint="name the image itself")
    for each in (*manifest.layers, manifest.config):
        yield oci.Blob(
            media_type=each.media_type, digest=each.digest, size=each.size, chunks=partial(stored.read, each)
        )


def facts(directory: Path, tag: str, platform: str) -> ImageFacts | None:
    """What the image of this tag says of itself; None where there is none, or it is not whole."""
    layout = Layout(directory)
    if not files.is_file(directory / MARK) or tag not in map(tag_of, entries(layout)):
        return None
    found = oci.find(layout, first(layout, tag), platform)
    return oci.facts_of(found) if all(map(layout.has, found.manifest.layers)) else None


class Layout:
    """The images in one directory; `shown` is what the user calls it while it has a temporary name."""

    def __init__(self, directory: Path, *, shown: Path | None = None) -> None:
        self.directory = directory
        self._shown = shown or directory

    def __str__(self) -> str:
        return f"oci:{self._shown}"

    # ---------------------------------------------------------------------------------------------------- reading

    def bases(self, tag: str, platforms: tuple[str, ...] = ()) -> tuple[oci.Base, ...]:
        """Read the image of this tag, to build on, for each of these platforms; where none is named, for all of Linux
        that it is there for. Without a tag it is the only image."""
        images = oci.find_all(self, first(self, tag), platforms)
        return tuple(oci.base_of(self, found, name="", home="") for found in images)

    def index(self) -> bytes:
        """What images there are."""
        try:
            return files.read_small(self.directory / INDEX, most=oci.LARGEST_DOCUMENT)
        except OSError as error:
            raise PullBuilderImageFailed(f"{self} is not an OCI layout", detail=error.strerror or "") from error

    def manifest(self, descriptor: oci.Descriptor) -> bytes:
        return self.document(descriptor)

    def document(self, descriptor: oci.Descriptor) -> bytes:
        return oci.document(self.read(descriptor), descriptor, error=self._broken)

    def read(self, descriptor: oci.Descriptor) -> Iterator[bytes]:
        """Stream a blob, checked against its digest."""
        return oci.verified(self._pieces(descriptor.digest), descriptor, error=self._broken)

    def _pieces(self, digest: str) -> Iterator[bytes]:
        try:
            with files.open_regular(self.path(digest)) as file:
                while chunk := file.read(_CHUNK):
                    yield chunk
        except OSError as error:
            raise self._broken(f"{digest}: {error.strerror}") from error

    def _broken(self, detail: str) -> S2IError:
        return PullBuilderImageFailed(f"{self} is broken", detail=detail)

    # ---------------------------------------------------------------------------------------------------- writing

    def write(self, blob: oci.Blob) -> oci.Descriptor:
        """Have a blob here: it is already, or it is copied and hashed on the way."""
        if blob.digest and self.has(blob):
            return oci.descriptor_of(blob)
        seen, size = hashlib.sha256(), 0
        with self._new_file() as (path, file):
            for chunk in blob.chunks():
                seen.update(chunk)
                size += file.write(chunk)
            digest = f"sha256:{seen.hexdigest()}"
            if blob.digest not in ("", digest):
                raise CommitContainerFailed(f"could not write {self}", detail=f"{blob.digest} came as other bytes")
            file.close()
            path.replace(self.path(digest))
        return oci.Descriptor(media_type=blob.media_type, digest=digest, size=size)

    def keeping(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Pass these bytes on, and have them here by their digest once all of them have passed."""
        seen = hashlib.sha256()
        with self._new_file() as (path, file):
            for chunk in chunks:
                seen.update(chunk)
                file.write(chunk)
                yield chunk
            file.close()
            path.replace(self.path(f"sha256:{seen.hexdigest()}"))

    def tag(
        self, manifest: bytes, tags: tuple[str, ...], *, kind: str = oci.MANIFEST, children: tuple[bytes, ...] = ()
    ) -> str:
        """Make the blobs an image under these tags, and answer its digest; the children of an index have no tags."""
        for child in children:
            self.write(oci.blob_of(child, oci.MANIFEST))
        named = self.write(oci.blob_of(manifest, kind))
        self._name(
            msgspec.structs.replace(named, annotations={oci.TAG: tag} if tag else None)
            for tag in dict.fromkeys(tags or ("",))
        )
        return named.digest

    def take(self, other: Layout) -> None:
        """Name what the index of another one names; the blobs are here."""
        self._name(entries(other))

    def untag(self, tags: Collection[str]) -> None:
        """Take these tags out of the index; the blobs stay."""
        self.exchange(_merged(self._present(), tags, ()))

    def _name(self, entries: Iterable[oci.Descriptor]) -> None:
        """Put these into the index, in the place of what has their tags."""
        named = tuple(entries)
        self.exchange(_merged(self._present(), {tag_of(entry) or entry.digest for entry in named}, named))

    def exchange(self, index: bytes) -> None:
        """Have another index in the place of the one that is there."""
        with self._new_file() as (path, file):
            file.write(index)
            file.close()
            path.replace(self.directory / INDEX)

    def _present(self) -> bytes:
        try:
            return files.read_small(self.directory / INDEX, most=oci.LARGEST_DOCUMENT)
        except FileNotFoundError:
            return _EMPTY
        except OSError as error:
            raise CommitContainerFailed(f"could not write {self}", detail=f"{INDEX}: {error.strerror}") from error

    def has(self, blob: oci.Blob | oci.Descriptor) -> bool:
        path = self.path(blob.digest)
        return files.is_file(path) and path.stat().st_size == blob.size

    def path(self, digest: str) -> Path:
        return self.directory / blob_path(digest)

    @contextmanager
    def _new_file(self) -> Iterator[tuple[Path, BinaryIO]]:
        """A file under a temporary name, gone at the end unless it was given another."""
        path = self.directory / BLOBS / f".{secrets.token_hex(8)}{_PARTIAL}"
        try:
            with path.open("xb") as file:
                yield path, file
        except OSError as error:
            raise _unwritten(str(self), error) from error
        finally:
            path.unlink(missing_ok=True)


def check(directory: Path) -> None:
    """Refuse a directory that is something else, before there is anything to write."""
    if files.is_file(directory / MARK):
        return
    try:
        free = not directory.exists() or (directory.is_dir() and not any(directory.iterdir()))
    except OSError as error:
        raise InvalidUsage(f"{directory} cannot become an OCI layout: {error.strerror}", hint=_ANOTHER) from error
    if not free:
        raise InvalidUsage(f"{directory} exists and is not an OCI layout", hint=_ANOTHER)


@contextmanager
def writable(directory: Path) -> Iterator[Layout]:
    """A layout to put images into: a new one appears whole at the end, or not at all.

    Where somebody else has made it meanwhile, what is new is added to his.
    """
    if files.is_file(directory / MARK):
        with _locked(directory):
            yield Layout(directory)
        return
    check(directory)
    partial = directory.with_name(f"{_beginning(directory)}{secrets.token_hex(8)}{_PARTIAL}")
    try:
        (partial / BLOBS).mkdir(parents=True)
        (partial / INDEX).write_bytes(_EMPTY)
        (partial / MARK).write_bytes(VERSION)
        yield Layout(partial, shown=directory)
        _appear(partial, directory)
    except OSError as error:
        raise _unwritten(f"oci:{directory}", error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def unfinished(directory: Path) -> Iterator[Path]:
    """What somebody left beside it who was killed when it was new."""
    begins = _beginning(directory)
    for path in directory.parent.iterdir():
        if path.name.startswith(begins) and path.name.endswith(_PARTIAL):
            yield path


def _beginning(directory: Path) -> str:
    return f".{directory.name[:200]}."


def _unwritten(what: str, error: OSError) -> S2IError:
    if files.is_full(error):
        return LimitReached(f"no space is left to write {what}", detail=error.strerror or "", hint=MAKE_ROOM)
    return CommitContainerFailed(f"could not write {what}", detail=error.strerror or "")


def _appear(partial: Path, directory: Path) -> None:
    try:
        partial.replace(directory)
    except OSError:
        if not (directory / MARK).is_file():
            raise
        with _locked(directory):
            for blob in (partial / BLOBS).iterdir():
                blob.replace(directory / BLOBS / blob.name)
            Layout(directory).take(Layout(partial))


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Wait until nobody else changes this layout: two that exchange its index at once would lose one image."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _merged(index: bytes, taken: Collection[str], entries: Sequence[oci.Descriptor]) -> bytes:
    """The index with these entries and without the `taken` tags; what others wrote stays as it is, byte for byte."""
    try:
        document = msgspec.json.decode(index, type=dict[str, msgspec.Raw])
        kept = msgspec.json.decode(document["manifests"], type=list[msgspec.Raw])
        described = msgspec.json.decode(document["manifests"], type=list[oci.Descriptor])
    except (msgspec.MsgspecError, UnicodeDecodeError, KeyError) as error:
        raise CommitContainerFailed(
            f"the {INDEX} of the layout is not readable", detail=str(error), hint="remove the layout, or name another"
        ) from error
    stays = [raw for raw, one in zip(kept, described, strict=True) if (tag_of(one) or one.digest) not in taken]
    document["manifests"] = msgspec.Raw(msgspec.json.encode([*stays, *entries]))
    return msgspec.json.encode(document)
