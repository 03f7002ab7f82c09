"""Images on this machine for the engine that has no daemon: pulled, loaded or built here, each layer unpacked once.

They lie in one OCI layout, beside it the trees of their layers, which can be made again from that at any time. Whoever
uses any of it holds the lock of all and shares it with others; only who has it alone takes something away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from s2ictl import oci
from s2ictl.events import Emit
from s2ictl.models import ImageFacts, Reference


class Unpacker(Protocol):
    """Who may make files for anybody: the engine's warden."""

    def unpack(self, tar: Iterator[bytes], *, on: tuple[str, ...], to: str) -> int:
        """Make a layer's tree `to` of its plain tar, whole or not at all; `on` are those below it, topmost first."""

    def discard(self, paths: tuple[str, ...]) -> None:
        """Remove these trees, named below the store's directory."""


class Store:
    """The images in one directory, which need not be there."""

    def __init__(self, directory: Path, *, unpacker: Callable[[], Unpacker]) -> None:
        self._directory = directory
        self._unpacker = unpacker

    # reading

    def held(self, image: str) -> ImageFacts | None:
        """What the image of this name or id says of itself."""
        raise NotImplementedError

    def find(self, label: str, value: str) -> ImageFacts | None:
        """The newest image of which its label says this."""
        raise NotImplementedError

    def names(self) -> tuple[str, ...]:
        """Every name that leads to an image here."""
        raise NotImplementedError

    def base(self, image: str) -> oci.Base:
        """An image that is held, as what another stands on: its layers can be read here, and mounted from home."""
        raise NotImplementedError

    def trees(self, image: str, emit: Emit) -> tuple[str, ...]:
        """The trees of its layers, the topmost first, by their names below `layers/`; made where they are missing."""
        raise NotImplementedError

    # taking in

    def pull(self, base: oci.Base, name: Reference, emit: Emit) -> ImageFacts:
        """Have an image that a registry or a layout has, under this name."""
        raise NotImplementedError

    def load(self, saved: Iterator[bytes], names: tuple[Reference, ...] = ()) -> ImageFacts:
        """Have an image as another engine saves it, under the same id."""
        raise NotImplementedError

    def write(self, blob: oci.Blob) -> oci.Descriptor:
        """Have these bytes here, for an image that is made of them next; it is an oci.Target."""
        raise NotImplementedError

    def keep(self, picture: oci.Picture, names: tuple[Reference, ...]) -> ImageFacts:
        """Make an image of blobs that are here, under all of these names or, without any, under its id alone."""
        raise NotImplementedError

    # changing

    def name(self, image: str, names: tuple[Reference, ...]) -> None:
        """Give an image all of these names, or none of them."""
        raise NotImplementedError

    def remove(self, image: str) -> None:
        """Forget the image of this id, when no name leads to it any more."""
        raise NotImplementedError

    def save(self, image: str) -> Iterator[bytes]:
        """An image with all its layers, as the tar that `load` of every engine takes."""
        raise NotImplementedError
