"""What assemble left behind on its way into an image: read once, and the same image wherever it goes."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass, field

from s2ictl import oci
from s2ictl.engines import Layered
from s2ictl.engines.stacking import packed, stacked
from s2ictl.models import ImageConfig

TAR = [b"one" * 400_000, b"two"]
CONFIG = ImageConfig(command=("run",), entrypoint=(), user="1001", workdir="/", env=(), labels={"a": "b"})


@dataclass(slots=True, kw_only=True)
class Left:
    """Counts how often its layer is read."""

    reads: int = 0

    def chunks(self) -> Iterator[bytes]:
        self.reads += 1
        yield from TAR


@dataclass(slots=True, kw_only=True)
class Place:
    """A target that asks for the bytes again after it has `lost` them that often, in the middle."""

    lost: int = 0
    content: bytes = b""
    written: list[str] = field(default_factory=list)

    def write(self, blob: oci.Blob) -> oci.Descriptor:
        for _ in range(self.lost):
            next(blob.chunks())
        self.content = b"".join(blob.chunks())
        self.written.append(blob.digest)
        return oci.Descriptor(media_type=blob.media_type, digest=oci.digest_of(self.content), size=len(self.content))


def layered(left: Left) -> Layered:
    return Layered(config=CONFIG, chunks=left.chunks, epoch=7)


def test_a_layer_is_read_once_and_known_by_both_of_its_digests() -> None:
    left, place = Left(), Place()
    added = packed(layered(left), place.write)
    plain = b"".join(TAR)
    assert (left.reads, place.written) == (1, [""])
    assert (added.diff_id, added.size) == (oci.digest_of(plain), len(plain))
    assert (added.blob.digest, gzip.decompress(place.content)) == (oci.digest_of(place.content), plain)


def test_who_loses_it_on_the_way_is_given_it_again_from_the_beginning() -> None:
    left = Left()
    added = packed(layered(left), Place(lost=2).write)
    assert (left.reads, added.diff_id) == (3, oci.digest_of(b"".join(TAR)))
    assert b"".join(added.blob.chunks()) == b"".join(packed(layered(Left()), Place().write).blob.chunks())


def test_the_image_is_the_same_whatever_its_base_is_called_here() -> None:
    below = oci.Config(architecture="amd64", os="linux", rootfs=oci.Layers())
    added = packed(layered(Left()), Place().write)
    first, second = (
        stacked(oci.Base(name=name, digest="", config=below, layers=()), (added,), CONFIG, epoch=7)
        for name in ("one", "other")
    )
    assert first.digest == second.digest
    assert oci.read_config(b"".join(first.blobs[-1].chunks()), "it").created == "1970-01-01T00:00:07Z"
