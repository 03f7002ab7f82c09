"""A builder's own runtime image: what it is made of, and which results are put onto it."""

from __future__ import annotations

import io
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from s2ictl.builders import MADE_OF, Folder, RuntimePlan, fingerprint, load, runtime_labels
from s2ictl.errors import PullBuilderImageFailed, Refused
from s2ictl.events import StepFinished
from s2ictl.foundry import build_builder
from s2ictl.models import Assembly, BuildRequest, ImageConfig, ImageFacts, Reference, Runtime, RuntimeArtifact
from s2ictl.runtimes import bare_root
from tests.fakes.engine import Script, unpacked
from tests.workbench import BUILDER, REQUEST, Bench, tree

APP = RuntimeArtifact(source="/opt/app-root/app/*", target="")
FOLDER = """
name: go
version: "1"
display-name: Go
description: Go programs
base: debian:trixie-slim
suite: trixie
detects:
  - {file: go.mod, means: a Go module}
user: "1001"
workdir: /opt/app-root/app
scripts: /usr/libexec/s2i
port: 8080
labels: {io.openshift.s2i.scripts-url: "image:///usr/libexec/s2i"}
runtime:
  root: /opt/runtime
  artifacts: [/opt/app-root/app/*]
  workdir: /opt/app-root/app
  command: [/opt/app-root/app/main]
  env: {PORT: "8080"}
  labels: {team: runs}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A builder with a runtime image."""
    (tmp_path / "go" / "s2i" / "bin").mkdir(parents=True)
    (tmp_path / "go" / "builder.yaml").write_text(FOLDER)
    for name in ("install", "s2i/bin/assemble", "s2i/bin/run"):
        (tmp_path / "go" / name).write_text("#!/bin/sh\n")
    return load(tmp_path / "go")


def plan_of(folder: Folder) -> RuntimePlan:
    assert folder.blueprint.runtime is not None
    return folder.blueprint.runtime


@pytest.fixture
def bench(folder: Folder) -> Bench:
    """A workshop in which the builder and its runtime image are there, and as their folder says."""
    bench = Bench(tree=tree({"go.mod": b"module x\n"}), folders=(folder,))
    bench.engine.images["s2ictl/go:1"] = replace(BUILDER, labels={**BUILDER.labels, MADE_OF: fingerprint(folder)})
    bench.engine.images["s2ictl/go-runtime:1"] = ImageFacts(
        id="sha256:runtime",
        labels=runtime_labels(folder, plan_of(folder)),
        user="1001",
        workdir="/opt/app-root/app",
        command=("/opt/app-root/app/main",),
    )
    return bench


def go(**changes: object) -> BuildRequest:
    return replace(REQUEST, builder="go", **changes)  # type: ignore[arg-type]


def second_of(assembly: Assembly) -> Runtime:
    assert assembly.runtime is not None
    return assembly.runtime


# ------------------------------------------------------------------------------------------------------- how it is made


def test_it_is_made_with_its_builder_out_of_a_bare_root_and_what_the_builder_laid_ready(folder: Folder) -> None:
    bench = Bench(folders=(folder,))
    bench.engine.images["debian:trixie-slim"] = ImageFacts(id="sha256:debian")
    build_builder(folder, REQUEST, bench.workshop(), emit=bench.events.append)
    builder, made = bench.engine.assembled
    assert (builder.command, made.command, second_of(made).assembly.command) == (("/tmp/src/install",), (), ())
    assert (made.image_id, made.names) == (bench.engine.images["s2ictl/go:1"].id, ())
    second = second_of(made)
    assert (second.artifacts, second.root) == ((RuntimeArtifact(source="/opt/runtime/*", target=""),), "/")
    assert (second.assembly.user, list(unpacked(b"".join(second.assembly.upload(0, 0))))) == ("0:0", [])
    assert second.assembly.names == (
        Reference.parse("s2ictl/go-runtime:1"),
        Reference.parse("s2ictl/go-runtime:latest"),
    )
    assert second.assembly.config(None) == ImageConfig(
        command=("/opt/app-root/app/main",),
        entrypoint=(),
        user="1001",
        workdir="/opt/app-root/app",
        env=(("PORT", "8080"),),
        labels={
            "team": "runs",
            "io.openshift.s2i.assemble-input-files": "/opt/app-root/app/*:",
            MADE_OF: fingerprint(folder),
        },
        exposed=("8080/tcp",),
    )


def test_a_bare_root_has_the_directories_that_are_written_to_and_is_always_the_same(folder: Folder) -> None:
    root = bare_root(plan_of(folder), "1001")
    with tarfile.open(fileobj=io.BytesIO(root)) as tar:
        found = [(each.name, oct(each.mode), each.uid, each.gid, each.mtime) for each in tar]
    assert found == [
        (".", "0o755", 0, 0, 0),
        ("./opt", "0o755", 0, 0, 0),
        ("./opt/app-root", "0o755", 0, 0, 0),
        ("./opt/app-root/app", "0o775", 1001, 0, 0),
        ("./tmp", "0o1777", 0, 0, 0),
    ]
    assert root == bare_root(plan_of(folder), "1001")


# ---------------------------------------------------------------------------------------------- what is put onto it


def test_a_result_is_put_onto_it_when_nothing_else_is_said(bench: Bench) -> None:
    bench.build(go())
    (done,) = bench.engine.assembled
    assert (done.image, done.names) == ("s2ictl/go:1", ())
    assert (second_of(done).assembly.image, second_of(done).artifacts) == ("s2ictl/go-runtime:1", (APP,))
    config = second_of(done).assembly.config(None)
    assert (config.command, config.user) == (("/opt/app-root/app/main",), "1001")
    assert config.labels["io.s2ictl.build"] == "{}"


@pytest.mark.parametrize(
    ("changes", "files", "why"),
    [
        ({"incremental": True}, {}, "what --incremental saves for the next build is kept there"),
        ({"keep_source": True}, {}, "that is where --keep-source keeps it"),
        ({}, {".s2i/bin/run": b"#!/bin/sh\n"}, "a run script that is not the builder's may need what is there"),
        ({"scripts_url": "image:///mine"}, {}, "a run script that is not the builder's may need what is there"),
    ],
)
def test_a_result_that_needs_more_stays_on_the_builder_and_that_is_said(
    bench: Bench, changes: dict[str, object], files: dict[str, bytes], why: str
) -> None:
    bench.tree = tree({"go.mod": b"module x\n", **files})
    bench.engine.programs[BUILDER.id]["/mine/assemble"] = Script(text="")
    bench.engine.programs[BUILDER.id]["/mine/run"] = Script(text="")
    bench.build(go(**changes))
    assert [each.runtime for each in bench.engine.assembled] == [None]
    assert f"the result stays on s2ictl/go:1: {why}" in bench.notices()


def test_another_script_of_the_source_changes_nothing_about_it(bench: Bench) -> None:
    bench.tree = tree({"go.mod": b"module x\n", ".s2i/bin/assemble": b"#!/bin/sh\n"})
    bench.build(go())
    assert second_of(bench.engine.assembled[0]).assembly.image == "s2ictl/go-runtime:1"


def test_the_user_s_runtime_image_and_artifacts_win(bench: Bench) -> None:
    bench.engine.images["r:1"] = ImageFacts(id="sha256:r", user="1002", workdir="/srv")
    mine = RuntimeArtifact(source="/opt/app-root/app/main", target="bin")
    bench.build(go(runtime_image="r:1", runtime_artifacts=(mine,)))
    second = second_of(bench.engine.assembled[0])
    assert (second.assembly.image, second.artifacts, second.root) == ("r:1", (mine,), "/srv")


def test_other_artifacts_are_put_onto_it_when_it_is_named(bench: Bench) -> None:
    mine = RuntimeArtifact(source="/opt/app-root/app/main", target="")
    bench.build(go(runtime_image="s2ictl/go-runtime:1", runtime_artifacts=(mine,)))
    assert second_of(bench.engine.assembled[0]).artifacts == (mine,)


def test_a_builder_of_somebody_else_s_has_none(bench: Bench) -> None:
    bench.build()
    assert bench.engine.assembled[0].runtime is None


# ----------------------------------------------------------------------------------------------- when it is not there


@pytest.mark.parametrize("known", [None, ImageFacts(id="sha256:old", labels={MADE_OF: "older"})])
def test_it_is_made_when_it_is_not_here_or_of_another_folder(
    bench: Bench, folder: Folder, known: ImageFacts | None
) -> None:
    bench.engine.images.pop("s2ictl/go-runtime:1")
    if known:
        bench.engine.images["s2ictl/go-runtime:1"] = known
    bench.build(go())
    assert [second_of(each).assembly.image for each in bench.engine.assembled] == ["s2ictl/go-runtime:1"] * 2
    assert bench.engine.images["s2ictl/go-runtime:1"].labels[MADE_OF] == fingerprint(folder)
    (step,) = (each for each in bench.events if isinstance(each, StepFinished) and each.name == "runtime image")
    assert not step.cached


def test_one_of_another_version_is_never_pulled(bench: Bench) -> None:
    bench.engine.registry["s2ictl/go-runtime:0"] = ImageFacts(id="sha256:anybody's")
    with pytest.raises(PullBuilderImageFailed, match="there is no runtime image s2ictl/go-runtime:0"):
        bench.build(go(runtime_image="s2ictl/go-runtime:0", runtime_artifacts=(APP,)))


def test_the_result_may_not_replace_it(bench: Bench) -> None:
    with pytest.raises(Refused, match="its own runtime image s2ictl/go-runtime:1"):
        bench.build(go(names=(Reference.parse("s2ictl/go-runtime:1"),)))
    assert bench.engine.assembled == []
