"""A builder that takes only what is finished: another one builds for it first, and it runs the result."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from s2ictl.builders import MADE_OF, Folder, fingerprint, load, load_all
from s2ictl.detection import unfinished
from s2ictl.errors import PullBuilderImageFailed
from s2ictl.labels import recorded
from s2ictl.models import ImageFacts
from tests.fakes.engine import Script
from tests.workbench import BUILDER, REQUEST, Bench, tree

SHELF = Path(__file__).parent.parent / "builders"
STATIC, NODE, TOMCAT, JAVA = (load(SHELF / name) for name in ("static", "nodejs", "tomcat", "java"))
PROJECT = {"package.json": b'{"scripts": {"build" : "vite build"}}', "index.html": b"raw"}
RUNS = "nodejs builds this first, because of package.json; the result runs on s2ictl/static:1.26"


def of(folder: Folder) -> ImageFacts:
    """Its image, made of this very folder."""
    labels = {**BUILDER.labels, **folder.blueprint.labels, MADE_OF: fingerprint(folder)}
    return replace(BUILDER, id=f"sha256:{folder.word}", labels=labels)


def bench(files: dict[str, bytes]) -> Bench:
    made = Bench(folders=(JAVA, NODE, STATIC, TOMCAT), tree=tree(files))
    for folder in (JAVA, NODE, STATIC, *map(TOMCAT.at, TOMCAT.versions)):
        made.engine.images[str(folder.image)] = of(folder)
        scripts = ("assemble", "run", "assemble-runtime")
        made.engine.programs[f"sha256:{folder.word}"] = {
            f"/usr/libexec/s2i/{name}": Script(text="") for name in scripts
        }
    return made


def stages(bench: Bench) -> tuple[str, ...]:
    """The images of the containers that a build was described by."""
    (assembly,) = bench.engine.assembled
    runtime = assembly.runtime
    return (assembly.image, runtime.assembly.image) if runtime else (assembly.image,)


@pytest.mark.parametrize("word", ["static", "s2ictl/static:1.26", "nginx"])
def test_a_web_site_that_has_to_be_built_is_built_by_nodejs_and_served_without_it(word: str) -> None:
    built = bench(PROJECT)
    built.build(replace(REQUEST, builder=word))
    assert stages(built) == ("s2ictl/nodejs:24", "s2ictl/static:1.26")
    assert RUNS in built.notices()


@pytest.mark.parametrize(
    ("files", "environ"),
    [
        pytest.param({"index.html": b""}, (), id="without a package.json"),
        pytest.param({**PROJECT, "package.json": b'{"scripts": {"test": "x"}}'}, (), id="without a build script"),
        pytest.param({**PROJECT, "dist/index.html": b""}, (), id="where it was built already"),
        pytest.param(PROJECT, (("WEB_ROOT", "web"),), id="where the user says which directory it is"),
        pytest.param({**PROJECT, ".s2i/environment": b"WEB_ROOT=web\n"}, (), id="where the source says so"),
    ],
)
def test_a_web_site_that_is_finished_is_served_as_it_is(
    files: dict[str, bytes], environ: tuple[tuple[str, str], ...]
) -> None:
    built = bench(files)
    built.build(replace(REQUEST, builder="static", env=environ))
    assert stages(built) == ("s2ictl/static:1.26",)


def test_nodejs_alone_keeps_what_it_has_built() -> None:
    built = bench(PROJECT)
    built.build(replace(REQUEST, builder="nodejs"))
    assert stages(built) == ("s2ictl/nodejs:24",)


def test_the_user_s_own_runtime_image_is_what_the_named_builder_builds_for() -> None:
    built = bench(PROJECT)
    built.engine.images["r:1"] = replace(of(STATIC), id="sha256:r")
    built.engine.programs["sha256:r"] = built.engine.programs["sha256:static"]
    built.build(replace(REQUEST, builder="static", runtime_image="r:1"))
    assert stages(built) == ("s2ictl/static:1.26", "r:1")


def test_one_of_our_builders_may_be_named_as_what_a_result_runs_on() -> None:
    built = bench(PROJECT)
    built.build(replace(REQUEST, builder="nodejs", runtime_image="static"))
    assert stages(built) == ("s2ictl/nodejs:24", "s2ictl/static:1.26")


def test_an_incremental_build_saves_nothing_where_the_result_has_nothing_to_save() -> None:
    built = bench(PROJECT)
    built.build(replace(REQUEST, builder="static", incremental=True))
    assert stages(built) == ("s2ictl/nodejs:24", "s2ictl/static:1.26")
    assert built.engine.assembled[0].salvage is None


# --------------------------------------------------------------------------------------------------------------- wars

WAR, JAVAX = "<project><packaging>war</packaging>", "<groupId>javax.servlet</groupId>"


@pytest.mark.parametrize(
    ("builder", "pom", "runs"),
    [
        ("", WAR, "tomcat:10.1"),
        ("", WAR + JAVAX, "tomcat:9"),
        ("tomcat", WAR, "tomcat:10.1"),
        ("tomcat", WAR + JAVAX, "tomcat:9"),
        ("tomcat", "<project>", "tomcat:10.1"),
        ("tomcat:11", WAR + JAVAX, "tomcat:11"),
        ("s2ictl/tomcat:10.1-java25", WAR, "tomcat:10.1-java25"),
        ("kubesphere/tomcat85-java8-centos7:v3.2.0", WAR, "tomcat:9"),
    ],
)
def test_a_maven_project_is_built_by_java_and_run_by_the_tomcat_that_was_named_or_fits(
    builder: str, pom: str, runs: str
) -> None:
    built = bench({"pom.xml": pom.encode()})
    built.build(replace(REQUEST, builder=builder))
    assert stages(built) == ("s2ictl/java:21", f"s2ictl/{runs}")
    assert f"java builds this first, because of pom.xml; the result runs on s2ictl/{runs}" in built.notices()


def test_it_is_said_which_version_a_source_has_decided_for() -> None:
    because = ", because of pom.xml: a Maven project that makes a war for javax servlets"
    for builder, said in (("", "builder tomcat:9"), ("tomcat", "tomcat is tomcat:9 here")):
        built = bench({"pom.xml": (WAR + JAVAX).encode()})
        built.build(replace(REQUEST, builder=builder))
        assert built.notices()[0] == said + because


def test_both_are_written_down_for_a_rebuild() -> None:
    built = bench({"pom.xml": (WAR + JAVAX).encode()})
    built.build(replace(REQUEST, builder="tomcat"))
    labels = built.engine.assembled[0].config(None).labels
    record = recorded(labels)
    assert record is not None
    assert (labels["io.openshift.s2i.build.image"], record.runtime_image) == (
        "docker.io/s2ictl/java:21",
        "s2ictl/tomcat:9",
    )
    again = bench({"pom.xml": (WAR + JAVAX).encode()})
    again.build(replace(REQUEST, builder=labels["io.openshift.s2i.build.image"], runtime_image=record.runtime_image))
    assert stages(again) == stages(built)


def test_a_war_that_is_finished_is_run_as_it_is() -> None:
    built = bench({"shop.war": b""})
    built.build(replace(REQUEST, builder=""))
    assert stages(built) == ("s2ictl/tomcat:10.1",)


def test_what_runs_a_result_is_named_with_its_version_or_fits() -> None:
    for word, runs in (("tomcat", "tomcat:9"), ("tomcat:11", "tomcat:11"), ("s2ictl/tomcat", "tomcat:10.1")):
        built = bench({"pom.xml": (WAR + JAVAX).encode()})
        built.build(replace(REQUEST, builder="java", runtime_image=word))
        assert stages(built) == ("s2ictl/java:21", f"s2ictl/{runs}")


def test_a_version_that_is_none_is_refused_before_anything_is_built() -> None:
    built = bench({"shop.war": b""})
    with pytest.raises(PullBuilderImageFailed, match=r"the builder tomcat has no version 8\.5; the nearest is 9"):
        built.build(replace(REQUEST, builder="tomcat:8.5"))
    assert built.engine.assembled == []


def test_who_builds_for_another_is_one_of_ours() -> None:
    folders = load_all(SHELF)
    makers = {each.blueprint.made_by.builder for each in folders if each.blueprint.made_by}
    assert makers <= {each.name for each in folders}


@pytest.mark.parametrize("said", [b"", b"\xff\xfe", b'["build"]', b'{"build": '])
def test_a_file_that_is_anything_is_only_looked_at(said: bytes) -> None:
    maker = STATIC.blueprint.made_by
    assert maker is not None
    assert unfinished(maker, tree({"package.json": said}), ()) is (b'"build":' in said)
