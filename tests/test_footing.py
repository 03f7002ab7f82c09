"""Where the base of an artifact's image is found: the nearest place that has it, and each read once."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from s2ictl import images, oci, shelf
from s2ictl.builders import MADE_OF, Folder, fingerprint, named
from s2ictl.errors import InvalidUsage, PullBuilderImageFailed, WrongPlatform
from s2ictl.events import Findings, StepStarted
from s2ictl.footing import Wanted, find, parse_base, shown
from s2ictl.layouts import Laid
from s2ictl.models import ImageFacts, Reference
from tests.artifactyard import BUILD, Yard
from tests.fakes.carried import packed
from tests.fakes.images import index_of, small_image
from tests.fakes.published import picture
from tests.fakes.registry import FakeRegistry, running
from tests.fakes.unpacker import Unpacking

JAR = "s2ictl/jar:21"


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    made = Yard(home=tmp_path)
    made.stock("jar:21")
    return made


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with running(FakeRegistry()) as registry:
        yield registry


def found(yard: Yard, wanted: Wanted, *platforms: str) -> tuple[tuple[oci.Base, ...], bool]:
    """The bases, and whether nothing had to be brought."""
    findings = Findings()
    with yard.supplies() as supplies:
        return find(wanted, platforms, BUILD, supplies, yard.events.append, findings), findings.cached


def ours(yard: Yard, word: str = "jar:21") -> Wanted:
    return named(word, yard.folders)


def published(registry: FakeRegistry, repository: str, tag: str, *, made_of: str = "") -> None:
    """An image for two machines, in a registry."""
    settings = {"Labels": {MADE_OF: made_of}, "Env": ["PATH=/bin"]}
    images = {machine: small_image(architecture=machine, settings=settings) for machine in ("amd64", "arm64")}
    for image in images.values():
        registry.put(repository, image.layer)
        registry.put(repository, image.config)
        registry.tag(repository, image.digest, oci.MANIFEST, image.manifest)
    registry.tag(repository, tag, oci.INDEX, index_of(**images))


def test_one_of_ours_is_read_out_of_the_engine_and_then_stands_on_the_shelf(yard: Yard) -> None:
    (first,), cached = found(yard, ours(yard))
    yard.engine = None
    (again,), cached_again = found(yard, ours(yard))
    assert (first.name, again.name, again.digest, cached, cached_again) == (JAR, JAR, "", False, True)
    assert [event.subject for event in yard.events if isinstance(event, StepStarted)] == [JAR]  # kept, once
    assert again.config == first.config


def store(yard: Yard, name: str, layer: bytes, **labels: str) -> ImageFacts:
    """An image that the engine without a daemon has made."""
    place = yard.home / "images"
    with images.opened(place, unpacker=lambda: Unpacking(place)) as store:
        return store.keep(picture(layer, **labels), (Reference.parse(name),))


def test_one_of_ours_that_the_engine_without_a_daemon_has_is_read_where_it_lies(yard: Yard) -> None:
    folder, yard.engine = ours(yard), None
    assert isinstance(folder, Folder)
    layer = packed({"base": b"b"})
    store(yard, JAR, layer, **{MADE_OF: "another version"})
    with pytest.raises(PullBuilderImageFailed, match="is not on this machine"):
        found(yard, folder)
    facts = store(yard, JAR, layer, **{MADE_OF: fingerprint(folder)})
    with yard.supplies() as supplies:
        (base,) = find(folder, (), BUILD, supplies, yard.events.append, Findings())
        assert (base.name, oci.digest_of(base.document)) == (JAR, facts.id)
        assert gzip.decompress(b"".join(base.layers[0].chunks())) == layer
    assert not (yard.home / "bases").exists()


def test_what_the_engine_without_a_daemon_has_is_not_packed_once_more(yard: Yard) -> None:
    assert yard.engine is not None
    facts = store(yard, "mine:1", packed({"mine": b"m"}), of="mine")
    yard.engine.images["mine:2"] = facts
    (base,), cached = found(yard, Reference.parse("mine:2"))
    assert (base.name, base.facts.labels, cached) == ("mine:2", {"of": "mine"}, True)
    assert not (yard.home / "bases").exists()


def test_one_of_another_version_of_its_folder_does_not_serve(yard: Yard) -> None:
    found(yard, ours(yard))
    (home,) = (yard.home / "bases/blobs/sha256").parent.parent.glob("index.json")
    assert len(json.loads(home.read_bytes())["manifests"]) == 1
    yard.engine = None
    with pytest.raises(PullBuilderImageFailed, match="the base s2ictl/jar:25 is not on this machine") as missing:
        found(yard, ours(yard, "jar:25"))
    assert missing.value.hint == (
        "where an engine is: S2ICTL_BUILDERS=registry.example.com/team s2ictl builders build jar:25 --push, and the "
        "same variable here; or another base: --base eclipse-temurin:25-jre"
    )


def test_a_registry_that_is_said_to_have_ours_is_asked_first_for_all_machines(
    yard: Yard, registry: FakeRegistry
) -> None:
    yard.prefix, yard.engine = f"{registry.host}/ours", None
    wanted = ours(yard)
    assert wanted is not None
    published(registry, "ours/jar", "21", made_of=fingerprint(wanted))  # type: ignore[arg-type]
    bases, _ = found(yard, wanted)
    assert [str(base.config.platform) for base in bases] == ["linux/amd64", "linux/arm64"]
    (only,), _ = found(yard, wanted, "linux/arm64")
    assert str(only.config.platform) == "linux/arm64"


def test_what_a_registry_has_of_another_version_is_said_and_the_engine_serves(
    yard: Yard, registry: FakeRegistry
) -> None:
    yard.prefix = f"{registry.host}/ours"
    yard.stock("jar:21")
    published(registry, "ours/jar", "21", made_of="sha256:older")
    (base,), _ = found(yard, ours(yard))
    assert base.name == f"{registry.host}/ours/jar:21"
    assert f"{base.name} in its registry was made of another version of its folder" in yard.said()


def test_a_registry_that_does_not_answer_is_said_and_the_engine_serves(yard: Yard, registry: FakeRegistry) -> None:
    yard.prefix = f"{registry.host}/ours"
    yard.stock("jar:21")
    (base,), _ = found(yard, ours(yard))
    assert base.name == f"{registry.host}/ours/jar:21"
    assert any("is not in its registry" in text for text in yard.said())


def test_an_image_without_a_registry_is_the_engines_where_it_has_one(yard: Yard) -> None:
    assert yard.engine is not None
    yard.engine.images["mine:1"] = replace(yard.engine.images[JAR], id="sha256:mine", labels={"of": "mine"})
    (base,), cached = found(yard, Reference.parse("mine:1"), "linux/amd64")
    _, cached_again = found(yard, Reference.parse("mine:1"))
    assert (base.name, base.facts.labels, cached, cached_again) == ("mine:1", {"of": "mine"}, False, True)


def test_an_image_in_a_registry_is_for_the_machines_that_are_named(yard: Yard, registry: FakeRegistry) -> None:
    published(registry, "base", "1")
    name = Reference.parse(f"{registry.host}/base:1")
    bases, _ = found(yard, name, "linux/arm64")
    assert [str(base.config.platform) for base in bases] == ["linux/arm64"]
    with pytest.raises(WrongPlatform):
        found(yard, name, "linux/s390x")
    assert yard.opened == 0


def test_a_base_fits_a_machine_of_which_it_names_the_variant_too(yard: Yard, registry: FakeRegistry) -> None:
    image = small_image(architecture="arm64", variant="v8")
    registry.put("base", image.layer)
    registry.put("base", image.config)
    registry.tag("base", "1", oci.MANIFEST, image.manifest)
    (base,), _ = found(yard, Reference.parse(f"{registry.host}/base:1"), "linux/arm64")
    assert str(base.config.platform) == "linux/arm64/v8"


def test_a_base_of_two_names_is_called_by_the_one_that_was_typed(yard: Yard) -> None:
    assert yard.engine is not None
    mine = replace(yard.engine.images[JAR], id="sha256:mine")
    yard.engine.images |= {"mine:1": mine, "mine:2": mine}
    names = [found(yard, Reference.parse(name))[0][0].name for name in ("mine:1", "mine:2", "mine:1")]
    assert names == ["mine:1", "mine:2", "mine:1"]


def test_what_is_made_of_one_of_ours_never_takes_its_place(yard: Yard) -> None:
    assert yard.engine is not None
    yard.engine.images["mine:1"] = replace(yard.engine.images[JAR], id="sha256:mine")
    found(yard, Reference.parse("mine:1"))
    assert [base.name for base in found(yard, ours(yard))[0]] == [JAR]


def test_the_shelf_has_images_of_this_machine_alone(yard: Yard) -> None:
    with pytest.raises(WrongPlatform, match=f"{JAR} is not for linux/arm64"):
        found(yard, ours(yard), "linux/arm64")


def test_an_empty_base_is_for_whatever_the_program_is_for(yard: Yard) -> None:
    bases, _ = found(yard, None, "linux/arm64")
    assert [(base.name, str(base.config.platform), base.layers) for base in bases] == [("", "linux/arm64", ())]


@pytest.mark.parametrize(
    ("text", "base", "again"),
    [
        ("scratch", None, "scratch"),
        ("debian:13", Reference.parse("debian:13"), "debian:13"),
        ("oci:lay", Laid(kind="oci", path=Path("/here/lay")), "oci:/here/lay"),
        ("oci:/lay:1.0", Laid(kind="oci", path=Path("/lay"), tag="1.0"), "oci:/lay:1.0"),
    ],
)
def test_a_base_is_read_as_it_is_typed(text: str, base: Wanted, again: str) -> None:
    assert (parse_base(text, cwd=Path("/here")), shown(base)) == (base, again)


def test_a_file_is_no_base_and_the_way_to_make_one_of_it_is_said() -> None:
    with pytest.raises(InvalidUsage, match=r"tar:app\.tar is no base") as refused:
        parse_base("tar:app.tar", cwd=Path("/here"))
    assert "--base oci:DIR" in refused.value.hint


def test_a_builder_that_was_made_anew_is_read_anew(yard: Yard) -> None:
    found(yard, ours(yard))
    shelf.renewed(yard.home / "bases", "s2ictl/other:21")
    assert found(yard, ours(yard))[1]
    shelf.renewed(yard.home / "bases", JAR)
    assert not found(yard, ours(yard))[1]
