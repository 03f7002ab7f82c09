"""What s2ictl rests on in a registry: one test file for the double and for the real ones.

A module that imports this defines the fixture `place`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from s2ictl import oci
from s2ictl.artifacts import read
from s2ictl.engines.append import Recipe, append, deliver, nothing
from s2ictl.errors import PullBuilderImageFailed, PushImageToRegistryFailed, WrongPlatform
from s2ictl.events import Emit
from s2ictl.models import ImageFacts, Logins, Reference
from s2ictl.registry import Repository
from s2ictl.transport import Transport
from tests.fakes.images import LAYER, blob, index_of, program, small_image


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A registry, and the login for it."""

    host: str
    logins: Logins
    run: str
    transport: Transport

    def repository(self, name: str, tag: str = "", digest: str = "") -> Repository:
        reference = Reference(registry=self.host, repository=f"contract/{self.run}/{name}", tag=tag, digest=digest)
        return Repository(reference, transport=self.transport, logins=self.logins)


def never() -> Iterator[bytes]:
    raise AssertionError("these bytes were read, although they are there already")


def put(place: Place, name: str, tag: str, *, architecture: str = "amd64") -> str:
    image = small_image(architecture=architecture)
    repository = place.repository(name)
    repository.write(blob(image.layer))
    repository.write(blob(image.config, oci.CONFIG))
    return repository.tag(image.manifest, (tag,))


def test_an_image_that_was_put_there_is_found_by_its_tag_and_by_its_digest(place: Place) -> None:
    digest = put(place, "whole", "1")
    assert digest == small_image().digest
    assert place.repository("whole", "1").resolve() == digest
    assert place.repository("whole", digest=digest).resolve() == digest


def test_it_says_of_itself_what_was_put_there(place: Place) -> None:
    digest = put(place, "facts", "1")
    assert place.repository("facts", "1").facts("linux/amd64") == ImageFacts(
        id=oci.digest_of(small_image().config),
        digest=digest,
        labels={"of": "the base"},
        env=("PATH=/bin",),
        user="1001",
        command=("sh",),
        platform="linux/amd64",
    )


def test_its_layers_are_read_back_as_they_were(place: Place) -> None:
    put(place, "layers", "1")
    base = place.repository("layers", "1").base("linux/amd64")
    assert [b"".join(layer.chunks()) for layer in base.layers] == [LAYER]


def test_what_is_not_there_resolves_to_nothing(place: Place) -> None:
    assert place.repository("absent", "1").resolve() == ""
    assert place.repository("absent", "1").facts("linux/amd64") is None


def test_a_base_that_is_not_there_is_said_so(place: Place) -> None:
    with pytest.raises(PullBuilderImageFailed, match=r"absent:1 is not in its registry"):
        place.repository("absent", "1").base("linux/amd64")


def test_a_blob_that_is_there_is_not_sent_again(place: Place) -> None:
    repository = place.repository("twice")
    first = repository.write(blob(LAYER))
    assert repository.write(replace(blob(LAYER), chunks=never)) == first


def test_a_layer_of_another_repository_is_mounted_and_not_sent(place: Place) -> None:
    put(place, "below", "1")
    base = place.repository("below", "1").base("linux/amd64")
    above = place.repository("above")
    assert above.write(replace(base.layers[0], chunks=never)).digest == oci.digest_of(LAYER)


def test_a_layer_that_cannot_be_mounted_is_sent(place: Place) -> None:
    foreign = replace(blob(LAYER), home=f"{place.host}/contract/{place.run}/nobody")
    assert place.repository("sent").write(foreign).digest == oci.digest_of(LAYER)


def test_bytes_that_nobody_has_hashed_yet_are_hashed_while_they_are_sent(place: Place) -> None:
    content = b"streamed" * 1000
    unknown = oci.Blob(media_type=oci.LAYER, digest="", size=-1, chunks=lambda: iter((content[:7], content[7:])))
    assert place.repository("streamed").write(unknown) == oci.Descriptor(
        media_type=oci.LAYER, digest=oci.digest_of(content), size=len(content)
    )


def test_bytes_that_are_not_what_their_digest_says_are_refused(place: Place) -> None:
    wrong = replace(blob(LAYER), chunks=lambda: iter((bytes(len(LAYER)),)))
    with pytest.raises(PushImageToRegistryFailed, match="could not push"):
        place.repository("wrong").write(wrong)


def test_several_tags_name_one_image(place: Place) -> None:
    image = small_image()
    repository = place.repository("tags")
    repository.write(blob(image.layer))
    repository.write(blob(image.config, oci.CONFIG))
    repository.tag(image.manifest, ("1.4", "latest"))
    assert place.repository("tags", "1.4").resolve() == place.repository("tags", "latest").resolve() == image.digest


def test_an_index_leads_to_the_image_of_the_platform(place: Place) -> None:
    digests = {one: put(place, "index", one, architecture=one) for one in ("amd64", "arm64")}
    index = index_of(amd64=small_image(), arm64=small_image(architecture="arm64"))
    place.repository("index").tag(index, ("all",), kind=oci.INDEX)
    assert place.repository("index", "all").base("linux/arm64").digest == digests["arm64"]
    with pytest.raises(WrongPlatform, match="is not for linux/s390x") as caught:
        place.repository("index", "all").base("linux/s390x")
    assert caught.value.detail == "it is for linux/amd64, linux/arm64"


def test_an_artifact_has_the_same_digest_wherever_it_goes(place: Place, tmp_path: Path, emit: Emit) -> None:
    path = tmp_path / "app"
    path.write_bytes(program())
    picture = append(Recipe(artifact=read(path)), nothing("linux/amd64"))
    digest = deliver(picture, place.repository("app"), ("1",), emit=emit)
    assert place.repository("app", "1").resolve() == digest == oci.digest_of(picture.manifest)
