"""What a build takes over from the image that it replaces, and when that is forgotten."""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import ANY

import pytest

from s2ictl.errors import AssembleFailed, CommitContainerFailed
from s2ictl.models import Image, ImageFacts, Reference, Salvage
from tests.fakes.engine import FakeEngine, Script, Uploaded, unpacked
from tests.workbench import BUILDER, NARROW, REQUEST, TAG, Bench, Offline, tree


def incremental(bench: Bench, **changes: object) -> Image:
    asked: dict[str, object] = {"incremental": True, **changes}
    return bench.build(replace(REQUEST, **asked))  # type: ignore[arg-type]


def test_the_script_that_is_resolved_now_saves_the_artifacts_of_the_earlier_image() -> None:
    bench = Bench(tree=tree({".s2i/bin/save-artifacts": b"#!/bin/sh\n"}))
    bench.engine.images[str(TAG)] = ImageFacts(id="sha256:earlier")
    incremental(bench, confinement=NARROW, timeout=60.0)
    salvage = bench.engine.assembled[0].salvage
    assert salvage == Salvage(
        image=str(TAG),
        image_id="sha256:earlier",
        command=("/tmp/scripts/save-artifacts",),
        user="1001",
        upload=ANY,
        target="/tmp/artifacts",
        confinement=NARROW,
        timeout=60.0,
    )
    assert unpacked(b"".join(salvage.upload(7, 8))) == {
        "tmp/scripts": Uploaded(uid=7, gid=8, mode=0o755, content=b""),
        "tmp/scripts/save-artifacts": Uploaded(uid=7, gid=8, mode=0o755, content=b"#!/bin/sh\n"),
    }


def test_the_builder_s_own_script_is_run_where_it_lies() -> None:
    bench = Bench()
    bench.engine.images[str(TAG)] = ImageFacts(id="sha256:earlier")
    incremental(bench)
    salvage = bench.engine.assembled[0].salvage
    assert salvage is not None
    assert salvage.command == ("/usr/libexec/s2i/save-artifacts",)
    assert unpacked(b"".join(salvage.upload(7, 8))) == {}


@pytest.mark.parametrize(
    ("labels", "names", "why"),
    [
        (BUILDER.labels, (TAG,), f"there is no {TAG} yet"),
        (BUILDER.labels, (), "an image without a name has no earlier one"),
        ({}, (TAG,), "there is no save-artifacts script"),
    ],
)
def test_where_nothing_can_be_saved_the_build_begins_anew(
    labels: dict[str, str], names: tuple[Reference, ...], why: str
) -> None:
    bench = Bench(tree=tree({".s2i/bin/assemble": b"", ".s2i/bin/run": b""}))
    bench.engine.images["b:1"] = replace(BUILDER, labels=labels)
    incremental(bench, names=names)
    assert bench.engine.assembled[0].salvage is None
    assert f"nothing is saved from an earlier build: {why}" in bench.notices()


def test_an_earlier_image_that_cannot_be_had_hinders_nothing() -> None:
    bench = Bench(engine=Offline())
    incremental(bench)
    assert "nothing is saved from an earlier build: could not pull: no such host" in bench.notices()


def test_the_earlier_image_is_pulled_only_by_its_own_policy() -> None:
    bench = Bench()
    bench.engine.registry[str(TAG)] = ImageFacts(id="sha256:pushed")
    incremental(bench, incremental_pull_policy="never")
    incremental(bench, names=(Reference.parse("registry.example.com/team/app:2"),))
    assert [each.salvage for each in bench.engine.assembled] == [None, None]
    incremental(bench, incremental_pull_policy="always")
    salvage = bench.engine.assembled[2].salvage
    assert salvage is not None
    assert salvage.image_id == "sha256:pushed"


def test_the_image_that_lost_its_name_is_forgotten_after_success_alone() -> None:
    bench = Bench()
    bench.engine.images[str(TAG)] = ImageFacts(id="sha256:earlier")
    bench.script(Script(text="", status=3))
    with pytest.raises(AssembleFailed):
        bench.build(replace(REQUEST, remove_previous=True))
    assert bench.engine.removed == []
    bench.script(Script(text=""))
    bench.build(replace(REQUEST, remove_previous=True))
    bench.build(replace(REQUEST, remove_previous=True))
    assert bench.engine.removed == ["sha256:earlier"]


def test_the_image_that_lost_its_name_is_forgotten_also_when_what_follows_is_interrupted() -> None:
    class Interrupted(FakeEngine):
        def push(self, *_: object, **__: object) -> str:
            raise KeyboardInterrupt

    bench = Bench(engine=Interrupted())
    bench.engine.images[str(TAG)] = ImageFacts(id="sha256:earlier")
    with pytest.raises(KeyboardInterrupt):
        bench.build(replace(REQUEST, remove_previous=True, push=True))
    assert bench.engine.removed == ["sha256:earlier"]


def test_an_earlier_image_without_a_registry_is_not_pulled_from_docker_hub_unasked() -> None:
    bench = Bench()
    bench.engine.registry["shop:1"] = ImageFacts(id="sha256:anybody's")
    incremental(bench, names=(Reference.parse("shop:1"),))
    assert bench.engine.assembled[0].salvage is None
    assert "nothing is saved from an earlier build: there is no shop:1 yet" in bench.notices()


def test_the_first_of_several_names_that_leads_to_an_image_counts() -> None:
    bench = Bench()
    latest = Reference.parse("registry.example.com/team/app:latest")
    bench.engine.images[str(latest)] = ImageFacts(id="sha256:latest")
    incremental(bench, names=(TAG, latest))
    salvage = bench.engine.assembled[0].salvage
    assert salvage is not None
    assert (salvage.image, salvage.image_id) == (str(latest), "sha256:latest")


def test_an_earlier_image_that_cannot_be_removed_is_told_and_the_build_is_good() -> None:
    class Busy(FakeEngine):
        def remove(self, image: str) -> None:
            raise CommitContainerFailed("could not remove the image")

    bench = Bench(engine=Busy())
    bench.engine.images[str(TAG)] = ImageFacts(id="sha256:earlier")
    bench.build(replace(REQUEST, remove_previous=True))
    told = ["the earlier image sha256:earlier stays: could not remove the image", "Build completed successfully"]
    assert bench.notices() == told
