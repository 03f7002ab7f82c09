"""What s2ictl rests on in a registry: one test file for the double and for the real ones.

A module that imports this defines the fixture `place`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from s2ictl import oci
from s2ictl.engines.append import append, nothing
from s2ictl.errors import ConnectionLost, PullBuilderImageFailed, PushImageToRegistryFailed, WrongPlatform
from s2ictl.events import Emit
from s2ictl.models import ImageFacts, Logins, Reference
from s2ictl.oci import deliver
from s2ictl.registry import Repository
from s2ictl.transport import Transport
from tests.fakes.images import LAYER, blob, index_of, picture_of, program_recipe, several, small_image


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
        layers=(oci.digest_of(small_image().layer),),
    )


def test_its_layers_are_read_back_as_they_were(place: Place) -> None:
    put(place, "layers", "1")
    base = place.repository("layers", "1").bases(("linux/amd64",))[0]
    assert [b"".join(layer.chunks()) for layer in base.layers] == [LAYER]


def test_what_is_not_there_resolves_to_nothing(place: Place) -> None:
    assert place.repository("absent", "1").resolve() == ""
    assert place.repository("absent", "1").facts("linux/amd64") is None


def test_a_base_that_is_not_there_is_said_so(place: Place) -> None:
    with pytest.raises(PullBuilderImageFailed, match=r"absent:1 is not in its registry"):
        place.repository("absent", "1").bases(("linux/amd64",))[0]


def test_a_blob_that_is_there_is_not_sent_again(place: Place) -> None:
    repository = place.repository("twice")
    first = repository.write(blob(LAYER))
    assert repository.write(replace(blob(LAYER), chunks=never)) == first


def test_a_layer_of_another_repository_is_mounted_and_not_sent(place: Place) -> None:
    put(place, "below", "1")
    base = place.repository("below", "1").bases(("linux/amd64",))[0]
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


@pytest.mark.parametrize("known", [True, False])
def test_an_upload_that_breaks_off_is_there_whole_in_the_end(place: Place, known: bool) -> None:
    content, breaks = b"0123456789abcdef" * (3 << 16), iter((True,))

    def chunks() -> Iterator[bytes]:
        yield content[: 2 << 20]
        if next(breaks, False):
            raise ConnectionLost("the line was cut")
        yield content[2 << 20 :]

    name = "broken-known" if known else "broken-streamed"
    sent = replace(blob(content), chunks=chunks)
    there = place.repository(name).write(sent if known else replace(sent, digest="", size=-1))
    assert there == oci.descriptor_of(blob(content))
    assert b"".join(place.repository(name).read(there)) == content


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


def test_a_name_leads_to_an_image_by_its_digest_and_by_its_id_and_to_no_other(place: Place) -> None:
    digest, identity = put(place, "leads", "1"), oci.digest_of(small_image().config)
    there = place.repository("leads", "1")
    assert [there.leads_to(image) for image in (digest, identity, oci.digest_of(LAYER))] == [digest, digest, ""]
    assert place.repository("leads", "2").leads_to(digest) == ""


def test_the_images_of_an_index_keep_the_words_in_which_they_were_written(place: Place) -> None:
    one = picture_of(small_image(docker=True))
    oci.deliver(several(amd64=one), place.repository("foreign"), ("all",), emit=lambda _: None)
    assert place.repository("foreign", "all").bases(("linux/amd64",))[0].digest == one.digest


def test_an_index_leads_to_the_image_of_the_platform(place: Place) -> None:
    digests = {one: put(place, "index", one, architecture=one) for one in ("amd64", "arm64")}
    index = index_of(amd64=small_image(), arm64=small_image(architecture="arm64"))
    place.repository("index").tag(index, ("all",), kind=oci.INDEX)
    assert place.repository("index", "all").bases(("linux/arm64",))[0].digest == digests["arm64"]
    with pytest.raises(WrongPlatform, match="is not for linux/s390x") as caught:
        place.repository("index", "all").bases(("linux/s390x",))[0]
    assert caught.value.detail == "it is for linux/amd64, linux/arm64"


def test_an_index_and_what_it_names_are_put_at_once_and_only_the_index_has_a_name(place: Place) -> None:
    images = {one: small_image(architecture=one) for one in ("amd64", "arm64")}
    repository = place.repository("together")
    for image in images.values():
        repository.write(blob(image.layer))
        repository.write(blob(image.config, oci.CONFIG))
    index, children = index_of(**images), tuple(image.manifest for image in images.values())
    assert repository.tag(index, ("1",), kind=oci.INDEX, children=children) == oci.digest_of(index)
    bases = place.repository("together", "1").bases()
    assert [base.digest for base in bases] == [image.digest for image in images.values()]


def test_what_is_said_of_an_image_is_found_by_its_digest(place: Place) -> None:
    digest = put(place, "subject", "1")
    said = [
        place.repository("subject").attach(digest, kind=kind, content=kind.encode(), title="a file")
        for kind in ("application/spdx+json", "application/x-signature")
    ]
    there = place.repository("subject")
    assert [one.digest for one in there.referrers(digest)] == said
    assert [one.digest for one in there.referrers(digest, kind="application/x-signature")] == said[1:]


def test_an_artifact_has_the_same_digest_wherever_it_goes(place: Place, tmp_path: Path, emit: Emit) -> None:
    picture = append(program_recipe(tmp_path), (nothing("linux/amd64"),), emit=emit)
    digest = deliver(picture, place.repository("app"), ("1",), emit=emit)
    assert place.repository("app", "1").resolve() == digest == oci.digest_of(picture.manifest)
