"""A build in two stages: what was assembled in the builder goes into an image that is to run it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from s2ictl.errors import InvalidUsage, PullBuilderImageFailed, Refused
from s2ictl.models import ImageConfig, ImageFacts, Reference, Runtime, RuntimeArtifact
from tests.fakes.engine import Script, unpacked
from tests.workbench import BUILDER, FROM_ONE, INJECTED, JAR, NARROW, NPM, PLAIN, REQUEST, Bench, tree

RUNTIME = ImageFacts(
    id="sha256:runtime",
    digest="sha256:" + "d" * 64,
    labels={"team": "runs"},
    env=("PATH=/sbin",),
    user="1002",
    workdir="/srv",
    entrypoint=("/init",),
    command=("serve",),
    exposed=("80/tcp",),
)


def in_two(facts: ImageFacts, files: dict[str, bytes] | None = None, **changes: object) -> Bench:
    bench = Bench(tree=tree(files or {"app.py": b"x"}))
    bench.engine.images["r:1"] = facts
    asked: dict[str, object] = {"runtime_image": "r:1", "runtime_artifacts": (JAR,), **changes}
    bench.build(replace(REQUEST, **asked))  # type: ignore[arg-type]
    return bench


def runtime_of(bench: Bench) -> Runtime:
    runtime = bench.engine.assembled[0].runtime
    assert runtime is not None
    return runtime


def test_a_runtime_image_keeps_its_ways_and_gets_artifacts_variables_and_labels() -> None:
    bench = in_two(RUNTIME, env=(("A", "1"),), confinement=NARROW, secrets=(NPM,), injections=(INJECTED,))
    first = replace(
        PLAIN,
        programs=("/usr/libexec/s2i/assemble",),
        env=(("A", "1"),),
        confinement=NARROW,
        secrets=(NPM,),
        injections=(INJECTED,),
        names=(),
        exports=(("RUNTIME_IMAGE", "r:1"),),
    )
    second = replace(
        PLAIN,
        image="r:1",
        image_id="sha256:runtime",
        digest="sha256:" + "d" * 64,
        command=(),
        programs=(),
        user="1002",
        leftovers=(),
        env=(("A", "1"),),
        confinement=replace(NARROW, volumes=()),
    )
    assert bench.engine.assembled == [
        replace(first, runtime=Runtime(assembly=second, artifacts=(JAR,), root="/srv")),
    ]
    config = runtime_of(bench).assembly.config(None)
    assert replace(config, labels={}) == ImageConfig(
        command=("serve",),
        entrypoint=("/init",),
        user="1002",
        workdir="/srv",
        env=(("PATH", "/sbin"), ("A", "1")),
        labels={},
        exposed=("80/tcp",),
    )
    assert config.labels["team"] == "runs"
    assert config.labels["io.openshift.s2i.build.image"] == "docker.io/library/b:1"
    assert "there is no assemble-runtime: the artifacts are put into r:1, and nothing is run" in bench.notices()


def test_a_script_for_the_runtime_image_comes_from_the_source_or_from_its_own_place() -> None:
    labels = {
        "io.openshift.s2i.scripts-url": "image:///r",
        "io.openshift.s2i.destination": "/opt",
        "io.openshift.s2i.assemble-runtime-user": "1003",
    }
    bench = in_two(replace(RUNTIME, labels=labels), {".s2i/bin/run": b"#!/bin/sh\n"})
    second = runtime_of(bench).assembly
    assert (second.command, second.programs) == (("/r/assemble-runtime",), ("/r/assemble-runtime",))
    assert (second.user, second.workspace) == ("1003", "/opt/.s2ictl")
    assert second.config(None).command == ("/opt/scripts/run",)
    assert sorted(unpacked(b"".join(second.upload(1, 1)))) == ["opt/scripts", "opt/scripts/run"]


def test_a_runtime_script_of_the_source_is_run_there_and_not_in_the_builder() -> None:
    bench = in_two(RUNTIME, {".s2i/bin/assemble-runtime": b"#!/bin/sh\n"}, assemble_runtime_user="1004")
    second = runtime_of(bench).assembly
    assert (second.command, second.programs, second.user) == (("/tmp/scripts/assemble-runtime",), (), "1004")
    assert sorted(bench.engine.uploads[0]) == ["tmp/scripts", "tmp/src", "tmp/src/.s2i/bin/assemble-runtime"]


def test_a_place_of_scripts_in_the_builder_says_nothing_of_the_runtime_image() -> None:
    bench = Bench()
    bench.engine.images["r:1"] = RUNTIME
    bench.engine.programs[BUILDER.id]["/opt/mine/assemble"] = Script(text="")
    bench.build(replace(REQUEST, runtime_image="r:1", runtime_artifacts=(JAR,), scripts_url="image:///opt/mine"))
    assert bench.engine.assembled[0].command == ("/opt/mine/assemble",)
    assert runtime_of(bench).assembly.config(None).command == ("serve",)


def test_what_goes_into_the_runtime_image_may_stand_in_its_label() -> None:
    labels = {"io.openshift.s2i.assemble-input-files": "/opt/app;/opt/lib/*.so:lib;"}
    bench = in_two(replace(RUNTIME, labels=labels, workdir=""), runtime_artifacts=())
    assert runtime_of(bench).root == "/"
    assert runtime_of(bench).artifacts == (
        RuntimeArtifact(source="/opt/app", target=""),
        RuntimeArtifact(source="/opt/lib/*.so", target="lib"),
    )


@pytest.mark.parametrize("label", ["", "opt/app", "/opt/../etc", "/opt:/abs"])
def test_without_a_readable_word_on_artifacts_nothing_is_built(label: str) -> None:
    with pytest.raises(InvalidUsage, match="r:1"):
        in_two(replace(RUNTIME, labels={"io.openshift.s2i.assemble-input-files": label}), runtime_artifacts=())


def test_artifacts_that_a_volume_would_swallow_are_refused() -> None:
    with pytest.raises(PullBuilderImageFailed, match=r"r:1 declares /srv/lib a volume, so /opt/app/\*.jar"):
        in_two(replace(RUNTIME, volumes=("/srv/lib",)))


@pytest.mark.parametrize(
    ("user", "flag", "files", "way_out"),
    [
        ("root", "", {}, "--runtime-image"),
        ("", "1001", {}, "--runtime-image"),
        ("1002", "root", {".s2i/bin/assemble-runtime": b""}, "--assemble-runtime-user"),
    ],
)
def test_the_policy_holds_for_the_runtime_image_and_for_who_assembles_there(
    user: str, flag: str, files: dict[str, bytes], way_out: str
) -> None:
    with pytest.raises(Refused, match="not among the allowed ones") as refused:
        in_two(replace(RUNTIME, user=user), files, assemble_runtime_user=flag, allowed_uids=FROM_ONE)
    assert way_out in refused.value.hint


def test_a_runtime_image_that_is_nowhere_is_said() -> None:
    with pytest.raises(PullBuilderImageFailed, match="there is no runtime image gone:1"):
        in_two(RUNTIME, runtime_image="gone:1")


def test_the_result_may_not_replace_its_runtime_image() -> None:
    with pytest.raises(Refused, match="its own runtime image"):
        in_two(RUNTIME, names=(Reference.parse("r:1"),))
