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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec

from s2ictl import oci
from s2ictl.errors import CommitContainerFailed, InvalidUsage, PullBuilderImageFailed, S2IError

_MARK = "oci-layout"
_INDEX = "index.json"
_BLOBS = Path("blobs/sha256")
_EMPTY = msgspec.json.encode({"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": []})
_VERSION = b'{"imageLayoutVersion":"1.0.0"}'
_CHUNK = 1 << 20


class Layout:
    """The images in one directory; `shown` is what the user calls it while it has a temporary name."""

    def __init__(self, directory: Path, *, shown: Path | None = None) -> None:
        self._directory = directory
        self._shown = shown or directory

    def __str__(self) -> str:
        return f"oci:{self._shown}"

    # ---------------------------------------------------------------------------------------------------- reading

    def base(self, tag: str, platform: str) -> oci.Base:
        """Read the image of this tag, to build on; without a tag, the only one."""
        return oci.base_of(self, oci.find(self, self._entry(tag), platform), name="", home="")

    def manifest(self, descriptor: oci.Descriptor) -> bytes:
        return self.document(descriptor)

    def document(self, descriptor: oci.Descriptor) -> bytes:
        return oci.document(self.read(descriptor), descriptor, error=self._broken)

    def read(self, descriptor: oci.Descriptor) -> Iterator[bytes]:
        """Stream a blob, checked against its digest."""
        return oci.verified(self._pieces(descriptor.digest), descriptor, error=self._broken)

    def _entry(self, tag: str) -> oci.Descriptor:
        try:
            content = (self._directory / _INDEX).read_bytes()
            entries = msgspec.json.decode(content, type=oci.Index).manifests
        except OSError as error:
            raise PullBuilderImageFailed(f"{self} is not an OCI layout", detail=error.strerror or "") from error
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise self._broken(f"{_INDEX}: {error}") from error
        found = [entry for entry in entries if not tag or _tag_of(entry) == tag]
        if len(found) == 1:
            return found[0]
        raise PullBuilderImageFailed(
            f"{self} has no image {tag}" if tag else f"{self} has {len(found)} images",
            detail=f"it has {', '.join(sorted({_tag_of(entry) or entry.digest for entry in entries})) or 'none'}",
            hint=f"name the one that is meant: {self}:TAG",
        )

    def _pieces(self, digest: str) -> Iterator[bytes]:
        try:
            with self._path(digest).open("rb") as file:
                while chunk := file.read(_CHUNK):
                    yield chunk
        except OSError as error:
            raise self._broken(f"{digest}: {error.strerror}") from error

    def _broken(self, detail: str) -> S2IError:
        return PullBuilderImageFailed(f"{self} is broken", detail=detail)

    # ---------------------------------------------------------------------------------------------------- writing

    def write(self, blob: oci.Blob) -> oci.Descriptor:
        """Have a blob here: it is already, or it is copied and hashed on the way."""
        if blob.digest and self._has(blob):
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
            path.replace(self._path(digest))
        return oci.Descriptor(media_type=blob.media_type, digest=digest, size=size)

    def tag(self, manifest: bytes, tags: tuple[str, ...]) -> str:
        """Make the blobs an image under these tags, and answer its digest."""
        digest, size = oci.digest_of(manifest), len(manifest)
        self.write(oci.Blob(media_type=oci.MANIFEST, digest=digest, size=size, chunks=lambda: iter((manifest,))))
        entries = [
            oci.Descriptor(
                media_type=oci.MANIFEST, digest=digest, size=size, annotations={oci.TAG: tag} if tag else None
            )
            for tag in tags or ("",)
        ]
        with self._new_file() as (path, file):
            file.write(_merged(self._index(), entries))
            file.close()
            path.replace(self._directory / _INDEX)
        return digest

    def _index(self) -> bytes:
        path = self._directory / _INDEX
        return path.read_bytes() if path.exists() else _EMPTY

    def _has(self, blob: oci.Blob) -> bool:
        try:
            return self._path(blob.digest).stat().st_size == blob.size
        except FileNotFoundError:
            return False

    def _path(self, digest: str) -> Path:
        return self._directory / _BLOBS / digest.removeprefix("sha256:")

    @contextmanager
    def _new_file(self) -> Iterator[tuple[Path, BinaryIO]]:
        """A file under a temporary name, gone at the end unless it was given another."""
        path = self._directory / _BLOBS / f".{secrets.token_hex(8)}.partial"
        try:
            with path.open("xb") as file:
                yield path, file
        except OSError as error:
            raise CommitContainerFailed(f"could not write {self}", detail=error.strerror or "") from error
        finally:
            path.unlink(missing_ok=True)


@contextmanager
def writable(directory: Path) -> Iterator[Layout]:
    """A layout to put images into: a new one appears whole at the end, or not at all."""
    if (directory / _MARK).is_file():
        with _locked(directory):
            yield Layout(directory)
        return
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise InvalidUsage(f"{directory} exists and is not an OCI layout", hint="name another directory, or a new one")
    partial = directory.with_name(f".{directory.name}.{secrets.token_hex(8)}.partial")
    try:
        (partial / _BLOBS).mkdir(parents=True)
        (partial / _MARK).write_bytes(_VERSION)
        yield Layout(partial, shown=directory)
        partial.replace(directory)
    except OSError as error:
        raise CommitContainerFailed(f"could not write oci:{directory}", detail=error.strerror or "") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Wait until nobody else changes this layout: two that exchange its index at once would lose one image."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _tag_of(entry: oci.Descriptor) -> str:
    return (entry.annotations or {}).get(oci.TAG, "")


def _merged(index: bytes, entries: list[oci.Descriptor]) -> bytes:
    """The index with these entries; what others wrote into it stays as it is, byte for byte."""
    try:
        document = msgspec.json.decode(index, type=dict[str, msgspec.Raw])
        kept = msgspec.json.decode(document["manifests"], type=list[msgspec.Raw])
        described = msgspec.json.decode(document["manifests"], type=list[oci.Descriptor])
    except (msgspec.MsgspecError, UnicodeDecodeError, KeyError) as error:
        raise CommitContainerFailed(f"the {_INDEX} of the layout is not readable", detail=str(error)) from error
    taken = {_tag_of(entry) or entry.digest for entry in entries}
    stays = [raw for raw, one in zip(kept, described, strict=True) if (_tag_of(one) or one.digest) not in taken]
    document["manifests"] = msgspec.Raw(msgspec.json.encode([*stays, *entries]))
    return msgspec.json.encode(document)
