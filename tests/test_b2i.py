"""The story of an artifact on both of its roads, with an engine that runs nothing and registries of this process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from s2ictl import b2i, oci
from s2ictl.artifacts import Wishes
from s2ictl.build import DONE
from s2ictl.errors import PullBuilderImageFailed, Refused, Unreachable
from s2ictl.labels import RECIPE
from s2ictl.models import ImageFacts, Reference, Target
from s2ictl.targets import ENGINE, REGISTRY
from tests.artifactyard import NAME, Yard
from tests.fakes.artifacts import packed, runnable, war
from tests.fakes.images import index_of, program, small_image
from tests.fakes.registry import FakeRegistry, running
from tests.workbench import BUILDER

FILES: Mapping[str, bytes] = {
    "shop.war": packed(war()),
    "shop.jar": packed(runnable()),
    "shop": program(interpreter=b"/lib64/ld-linux-x86-64.so.2\0"),
    "alone": program(),
}


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    made = Yard(home=tmp_path)
    made.stock("tomcat:10.1", "jar:21", "binary:13")
    return made


def spoken(facts: ImageFacts) -> object:
    """What an image says of itself, but for what speaks of the road."""
    labels = {name: value for name, value in facts.labels.items() if name != RECIPE}
    return labels, facts.env, facts.user, facts.command


def put_index(registry: FakeRegistry, repository: str, tag: str) -> None:
    """An image for two machines."""
    images = {machine: small_image(architecture=machine) for machine in ("amd64", "arm64")}
    for image in images.values():
        registry.put(repository, image.layer)
        registry.put(repository, image.config)
        registry.tag(repository, image.digest, oci.MANIFEST, image.manifest)
    registry.tag(repository, tag, oci.INDEX, index_of(**images))


# ----------------------------------------------------------------------------------------------------- two roads, one


@pytest.mark.parametrize("name", ["shop.war", "shop.jar", "shop"])
def test_both_roads_end_in_an_image_that_says_the_same_of_itself(name: str, yard: Yard) -> None:
    wishes = Wishes() if name == "shop" else Wishes(jvm_options=("-Xss1m",))
    request = yard.request(yard.home / name, wishes=wishes)
    request = replace(request, build=replace(request.build, env=(("A", "1"),), labels=(("team", "shop"),)))
    yard.make(request)
    appended = spoken(yard.facts())
    yard.make(replace(request, engine="docker"))
    assert yard.engine is not None
    assert len(yard.engine.assembled) == 1
    assert spoken(yard.facts()) == appended


@pytest.mark.parametrize(
    ("name", "path", "mode"),
    [("shop.war", "tmp/src/shop.war", 0o644), ("shop.jar", "tmp/src/shop.jar", 0o644), ("shop", "tmp/src/shop", 0o755)],
)
def test_a_builder_finds_the_artifact_alone_where_source_would_lie(name: str, path: str, mode: int, yard: Yard) -> None:
    yard.make(yard.request(yard.home / name, engine="docker"))
    assert yard.engine is not None
    (upload,) = yard.engine.uploads
    files = {place: found for place, found in upload.items() if place.startswith("tmp/src/")}
    assert {place: (found.mode, found.content) for place, found in files.items()} == {path: (mode, FILES[name])}


def test_a_builder_of_somebody_elses_assembles_a_war_under_the_name_of_its_address(yard: Yard) -> None:
    assert yard.engine is not None
    yard.engine.images["b:1"] = BUILDER
    yard.engine.programs[BUILDER.id] = yard.engine.programs["sha256:tomcat:10.1"]
    request = yard.request(yard.home / "shop.war", wishes=Wishes(context_path="/a/b"))
    image = yard.make(replace(request, build=replace(request.build, builder="b:1")))
    assert "tmp/src/a#b.war" in yard.engine.uploads[0]
    assert (image.builder, image.context_path) == ("b:1", "/a/b")
    assert "container: b:1 assembles it in a container" in yard.said()


def test_a_war_is_said_to_be_served_where_it_is_and_the_last_word_is_the_same_on_both_roads(yard: Yard) -> None:
    for engine in ("append", "docker"):
        image = yard.make(yard.request(yard.home / "shop.war", engine=engine))
        assert image.context_path == "/shop"
        assert yard.said()[-2:] == ["shop.war is served at /shop, on port 8080", DONE]


# ------------------------------------------------------------------------------------------------- without a container


def test_the_base_is_read_out_of_the_engine_once_and_then_no_engine_is_needed(yard: Yard) -> None:
    layout = Target(kind="oci", path=yard.home / "out")
    first = yard.make(yard.request(yard.home / "shop.jar", targets=(layout,)))
    assert yard.opened == 1
    yard.engine = None
    again = yard.make(yard.request(yard.home / "shop.jar", targets=(layout,)))
    assert (again.digest, again.builder) == (first.digest, "s2ictl/jar:21")


def test_the_same_artifact_gives_the_same_digest_whatever_surrounds_it(yard: Yard) -> None:
    (yard.home / "deeper").mkdir()
    other = (yard.home / "shop.jar").rename(yard.home / "deeper" / "shop.jar")
    other.chmod(0o600)
    out = (Target(kind="oci", path=yard.home / "out"),)
    moved = yard.make(yard.request(other, targets=out))
    (yard.home / "shop.jar").write_bytes(FILES["shop.jar"])
    assert yard.make(yard.request(yard.home / "shop.jar", targets=out)).digest == moved.digest


def test_what_the_engine_has_already_is_unchanged_and_nothing_is_sent(yard: Yard) -> None:
    assert yard.engine is not None
    first = yard.make(yard.request(yard.home / "shop.war"))
    sent = len(yard.engine.sent)
    again = yard.make(yard.request(yard.home / "shop.war"))
    assert (first.unchanged, again.unchanged, again.id, len(yard.engine.sent)) == (False, True, first.id, sent)


def test_what_the_registry_has_already_is_unchanged_and_nothing_is_sent(yard: Yard) -> None:
    with running(FakeRegistry()) as registry:
        name = replace(NAME, registry=registry.host)
        request = yard.request(yard.home / "alone")
        request = replace(request, build=replace(request.build, push=True, names=(name,)))
        first = yard.make(request)
        registry.asked.clear()
        again = yard.make(request)
    assert (first.unchanged, again) == (False, replace(first, unchanged=True))
    assert {asked.method for asked in registry.asked} <= {"OPTIONS", "HEAD"}


def test_every_place_gets_the_one_image(yard: Yard) -> None:
    with running(FakeRegistry()) as registry:
        name = replace(NAME, registry=registry.host)
        places = (ENGINE, Target(kind="oci", path=yard.home / "out"), Target(kind="tar", path=yard.home / "out.tar"))
        request = yard.request(yard.home / "alone", targets=places)
        image = yard.make(replace(request, build=replace(request.build, push=True, names=(name,))))
        assert list(registry.manifests) == [("team/shop", "1"), ("team/shop", image.digest)]
    index = json.loads((yard.home / "out/index.json").read_bytes())
    assert [entry["digest"] for entry in index["manifests"]] == [image.digest]
    assert (yard.facts(name).id, (yard.home / "out.tar").is_file()) == (image.id, True)


def test_what_runs_on_every_machine_is_for_all_that_its_base_is_for(yard: Yard) -> None:
    with running(FakeRegistry()) as registry:
        put_index(registry, "java", "21")
        name, layout = replace(NAME, registry=registry.host), Target(kind="oci", path=yard.home / "out")
        wishes = Wishes(base=f"{registry.host}/java:21")
        request = yard.request(yard.home / "shop.jar", wishes=wishes)
        request = replace(request, build=replace(request.build, push=True, names=(name,), targets=(layout,)))
        image = yard.make(request)
        kind, content = registry.manifests["team/shop", "1"]
        one = yard.make(replace(request, platforms=("linux/arm64",)))
    index = json.loads(content)
    assert (kind, oci.digest_of(content)) == (oci.INDEX, image.digest)
    assert [entry["platform"]["architecture"] for entry in index["manifests"]] == ["amd64", "arm64"]
    assert one.digest == index["manifests"][1]["digest"]
    assert yard.opened == 0


def test_of_several_machines_the_engine_has_the_image_of_its_own_and_that_is_the_one_that_is_named(yard: Yard) -> None:
    with running(FakeRegistry()) as registry:
        put_index(registry, "java", "21")
        wishes = Wishes(base=f"{registry.host}/java:21")
        request = yard.request(yard.home / "shop.jar", wishes=wishes, platforms=("linux/arm64", "linux/amd64"))
        first = yard.make(request)
        again = yard.make(request)
    assert (first.id, again.id, first.unchanged, again.unchanged) == (yard.facts().id, first.id, False, True)


def test_a_name_that_became_its_bases_own_after_the_plan_is_refused(yard: Yard) -> None:
    with running(FakeRegistry()) as registry:
        put_index(registry, "java", "21")
        base = Reference.parse(f"{registry.host}/java:21")
        plan = yard.plan(yard.request(yard.home / "shop.jar", wishes=Wishes(base=str(base)), targets=(REGISTRY,)))
        plan = replace(plan, build=replace(plan.build, names=(base,)))
        with yard.supplies() as supplies, pytest.raises(Refused, match="would replace its own base"):
            b2i.b2i(plan, supplies, emit=yard.events.append)


def test_an_image_for_another_machine_is_unchanged_too_and_gives_its_name_up_to_one_for_this(yard: Yard) -> None:
    (yard.home / "arm").write_bytes(program(machine=183))
    elsewhere = yard.request(yard.home / "arm", platforms=("linux/arm64",))
    first, again = yard.make(elsewhere), yard.make(elsewhere)
    assert (first.unchanged, again.unchanged) == (False, True)
    assert yard.make(yard.request(yard.home / "alone")).id == yard.facts().id != first.id


def test_a_program_that_needs_no_base_promises_the_port_that_others_have(yard: Yard) -> None:
    yard.make(yard.request(yard.home / "alone"))
    assert (yard.facts().exposed, yard.facts().user, yard.facts().entrypoint) == (
        ("8080/tcp",),
        "1001",
        ("/opt/app-root/bin/alone",),
    )


@pytest.mark.parametrize(
    ("targets", "error", "message"),
    [
        ((), Unreachable, "could not reach the container engine"),
        ((REGISTRY,), PullBuilderImageFailed, "the base s2ictl/jar:21 is not on this machine"),
    ],
)
def test_without_an_engine_what_needs_one_is_missed_before_the_work(
    targets: tuple[Target, ...], error: type[Exception], message: str, yard: Yard
) -> None:
    yard.engine = None
    with pytest.raises(error, match=message):
        yard.make(yard.request(yard.home / "shop.jar", targets=targets))
