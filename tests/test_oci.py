"""Documents of images: what is read out of them, and what is not believed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2ictl import oci
from s2ictl.errors import LimitReached, PullBuilderImageFailed, WrongPlatform
from tests.fakes.images import SmallImage, small_image

_ATTESTED = {"vnd.docker.reference.type": "attestation-manifest"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stock:
    """Documents by their digests."""

    documents: Mapping[str, bytes] = field(default_factory=dict)

    def manifest(self, descriptor: oci.Descriptor) -> bytes:
        return self.documents[descriptor.digest]

    def document(self, descriptor: oci.Descriptor) -> bytes:
        return self.documents[descriptor.digest]

    def read(self, descriptor: oci.Descriptor) -> Iterator[bytes]:
        raise AssertionError(f"{descriptor.digest} is read, although nobody needs it yet")

    def __str__(self) -> str:
        return "the base"


def stock(first: bytes, *images: SmallImage) -> tuple[Stock, oci.Descriptor]:
    """A source of these images, and the way to the first document."""
    parts = [(image.manifest, image.config) for image in images]
    documents = {oci.digest_of(each): each for pair in parts for each in pair} | {oci.digest_of(first): first}
    return Stock(documents=documents), oci.Descriptor(media_type="", digest=oci.digest_of(first), size=len(first))


def entry(image: SmallImage | bytes, platform: str = "", **more: object) -> dict[str, Any]:
    content = image if isinstance(image, bytes) else image.manifest
    found = {"mediaType": oci.MANIFEST, "digest": oci.digest_of(content), "size": len(content), **more}
    if platform:
        system, architecture, *variant = platform.split("/")
        found["platform"] = {"os": system, "architecture": architecture, **({"variant": variant[0]} if variant else {})}
    return found


def index(*entries: dict[str, Any]) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": entries}).encode()


AMD, ARM = small_image(), small_image(architecture="arm64")
BOTH = index(entry(AMD, "linux/amd64"), entry(ARM, "linux/arm64"))


def platforms(first: bytes, *images: SmallImage, wanted: tuple[str, ...] = ()) -> list[str]:
    source, descriptor = stock(first, *images)
    return [str(found.config.platform) for found in oci.find_all(source, descriptor, wanted)]


# -------------------------------------------------------------------------------------------------------- platforms


def test_an_index_gives_all_its_images_in_its_order() -> None:
    assert platforms(index(entry(ARM, "linux/arm64"), entry(AMD, "linux/amd64")), AMD, ARM) == [
        "linux/arm64",
        "linux/amd64",
    ]


def test_an_index_gives_those_that_are_wanted_in_that_order() -> None:
    assert platforms(BOTH, AMD, ARM, wanted=("linux/arm64", "linux/amd64")) == ["linux/arm64", "linux/amd64"]
    assert platforms(BOTH, AMD, ARM, wanted=("linux/arm64",)) == ["linux/arm64"]
    assert platforms(BOTH, AMD, ARM, wanted=("linux/arm64", "linux/arm64/v8")) == ["linux/arm64"]


def test_attestations_and_other_systems_are_no_platforms_of_the_image() -> None:
    mixed = index(
        entry(AMD, "linux/amd64"),
        entry(b"provenance", "unknown/unknown", annotations=_ATTESTED),
        entry(b"of no platform"),
        entry(b"for windows", "windows/amd64"),
        entry(small_image(layer=b"again"), "linux/amd64"),
    )
    assert platforms(mixed, AMD) == ["linux/amd64"]


def test_an_image_that_is_no_index_is_for_its_own_platform() -> None:
    assert platforms(ARM.manifest, ARM) == ["linux/arm64"]
    assert platforms(ARM.manifest, ARM, wanted=("linux/arm64",)) == ["linux/arm64"]
    with pytest.raises(WrongPlatform, match="is not for linux/amd64"):
        platforms(ARM.manifest, ARM, wanted=("linux/arm64", "linux/amd64"))


def test_a_platform_that_an_index_lacks_is_said_with_those_it_has() -> None:
    with pytest.raises(WrongPlatform, match="the base is not for linux/s390x") as caught:
        platforms(BOTH, AMD, ARM, wanted=("linux/amd64", "linux/s390x"))
    assert caught.value.detail == "it is for linux/amd64, linux/arm64"


def test_an_index_with_nothing_for_linux_is_refused() -> None:
    with pytest.raises(WrongPlatform, match="the base is not for linux"):
        platforms(index(entry(b"for windows", "windows/amd64")))


def test_an_image_that_is_for_another_platform_than_its_index_says_is_refused() -> None:
    with pytest.raises(WrongPlatform, match="is not for linux/amd64"):
        platforms(index(entry(ARM, "linux/amd64")), ARM)


@pytest.mark.parametrize("name", ["a" * 65, "amd64\nx", "\x1b[2J", "ämd64"])
def test_what_is_no_name_of_a_machine_is_not_repeated(name: str) -> None:
    with pytest.raises(PullBuilderImageFailed, match="is not described by a valid document") as caught:
        platforms(index(entry(AMD, f"linux/{name}")), AMD)
    assert name not in caught.value.detail


def test_an_index_of_more_platforms_than_there_are_is_refused_unless_one_is_named() -> None:
    many = index(entry(AMD, "linux/amd64"), *(entry(b"x", f"linux/{number}") for number in range(40)))
    with pytest.raises(LimitReached, match="is for 41 platforms; the limit is 32") as caught:
        platforms(many, AMD)
    assert "--platform" in caught.value.hint
    assert platforms(many, AMD, wanted=("linux/amd64",)) == ["linux/amd64"]


# ------------------------------------------------------------------------------------------------ what is not believed


def test_an_index_of_indexes_is_refused() -> None:
    source, first = stock(index(entry(BOTH, "linux/amd64")), AMD, ARM)
    nested = Stock(documents={**source.documents, oci.digest_of(BOTH): BOTH})
    for wanted in ((), ("linux/amd64",)):
        with pytest.raises(PullBuilderImageFailed, match="is an index of indexes"):
            oci.find_all(nested, first, wanted)


def test_a_document_that_could_be_taken_for_both_is_refused() -> None:
    both = json.dumps({**json.loads(AMD.manifest), "manifests": []}).encode()
    with pytest.raises(PullBuilderImageFailed, match="a form that is not supported"):
        platforms(both, AMD)


@pytest.mark.parametrize(
    "kind",
    [
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    ],
)
def test_a_layer_that_only_its_maker_may_hand_out_is_refused(kind: str) -> None:
    document = json.loads(AMD.manifest)
    document["layers"][0]["mediaType"] = kind
    source, first = stock(json.dumps(document).encode(), AMD)
    with pytest.raises(PullBuilderImageFailed, match="has a layer that cannot be carried on") as caught:
        oci.base_of(source, oci.find(source, first, "linux/amd64"), name="", home="")
    assert caught.value.detail == f"its type is {kind!r}: only its maker may hand it out"


@given(st.binary(max_size=300) | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(msgspec.json.encode))
def test_no_bytes_make_reading_fail_otherwise_than_with_a_reason(content: bytes) -> None:
    with pytest.raises((PullBuilderImageFailed, LimitReached)):
        platforms(content, AMD)


# --------------------------------------------------------------------------------------------------------- documents


def test_what_an_image_says_of_itself_is_known_of_a_base() -> None:
    source, first = stock(AMD.manifest, AMD)
    found = oci.find(source, first, "linux/amd64")
    facts = oci.base_of(source, found, name="registry.example.com/base:1", home="").facts
    assert (facts.digest, facts.labels, facts.user, facts.variables, facts.command, facts.platform) == (
        AMD.digest,
        {"of": "the base"},
        "1001",
        {"PATH": "/bin"},
        ("sh",),
        "linux/amd64",
    )
    assert oci.facts_of(found).id == oci.digest_of(AMD.config)


def test_a_manifest_can_say_of_which_image_it_speaks() -> None:
    subject = oci.Descriptor(media_type=oci.MANIFEST, digest=AMD.digest, size=len(AMD.manifest))
    empty = oci.Descriptor(media_type="application/vnd.oci.empty.v1+json", digest=oci.digest_of(b"{}"), size=2)
    manifest = oci.Manifest(
        schema_version=2,
        media_type=oci.MANIFEST,
        artifact_type="application/spdx+json",
        config=empty,
        layers=(),
        subject=subject,
        annotations={"b": "2", "a": "1"},
    )
    content = oci.encode(manifest)
    assert json.loads(content) == {
        "schemaVersion": 2,
        "mediaType": oci.MANIFEST,
        "artifactType": "application/spdx+json",
        "config": {"mediaType": empty.media_type, "digest": empty.digest, "size": 2},
        "layers": [],
        "subject": {"mediaType": oci.MANIFEST, "digest": AMD.digest, "size": len(AMD.manifest)},
        "annotations": {"a": "1", "b": "2"},
    }
    assert oci.encode(msgspec.json.decode(content, type=oci.Manifest)) == content
