from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import s2ictl
from s2ictl.builders import (
    Blueprint,
    Folder,
    Sign,
    artifacts_of,
    fingerprint,
    is_below,
    load,
    load_all,
    may_be_ours,
    named,
    near_to,
    outdated,
    promised,
    promised_runtime,
    shelf,
)
from s2ictl.errors import InvalidConfiguration, InvalidUsage, PullBuilderImageFailed
from s2ictl.models import Builder, ImageFacts, Reference, RuntimeArtifact


def folder(name: str, *files: str) -> Folder:
    blueprint = Blueprint(
        name=name,
        version="1",
        display_name=name,
        description=name,
        base=Reference.parse("debian:trixie-slim"),
        suite="trixie",
        detects=tuple(Sign(file=file, means=f"a {name} file") for file in files),
        user="1001",
        workdir="/opt/app",
        scripts="/usr/libexec/s2i",
        port=8080,
    )
    return Folder(path=Path("/nowhere") / name, blueprint=blueprint, version=blueprint.version)


PYTHON = folder("python", "uv.lock", "requirements.txt", "*.py")
NODE = folder("node", "package-lock.json", "package.json")
LABELS = {"io.openshift.s2i.scripts-url": "image:///usr/libexec/s2i"}


@pytest.mark.parametrize(
    ("word", "meant"), [("pyhton", "python"), ("pyhton:3.13", "python"), ("pages", ""), ("docker.io/team/node:1", "")]
)
def test_a_mistyped_builder_brings_the_one_that_is_near(word: str, meant: str) -> None:
    assert near_to(word, [PYTHON, NODE]) == meant


def test_every_builder_on_our_shelf_loads() -> None:
    ours = load_all(shelf(Path(s2ictl.__file__).parent))
    assert [each.name for each in ours] == sorted(each.name for each in ours)
    assert [str(each.image) for each in ours] == [f"s2ictl/{each.name}:{each.blueprint.version}" for each in ours]


def test_no_script_names_a_host_that_packages_come_from() -> None:
    ours = shelf(Path(s2ictl.__file__).parent)
    scripts = [*ours.glob("*/install"), *ours.glob("*/s2i/bin/*")]
    host = re.compile(r"""(?:://|['"])[a-z0-9-]+(?:\.[a-z0-9-]+)*\.(?:com|dev|io|net|org)(?=['":/])""")
    assert {path: found for path in scripts if (found := host.findall(path.read_text()))} == {}
    assert len(scripts) > len(load_all(ours))


@pytest.mark.parametrize(
    ("word", "prefix", "may"),
    [
        ("python", "s2ictl", True),
        ("kubespheredev/java-8-centos7", "s2ictl", True),
        ("docker.io/s2ictl/python:3.13", "s2ictl", True),
        ("registry.example.com/team/python:3.13", "registry.example.com/team", True),
        ("registry.example.com/team/python:3.13", "s2ictl", False),
        ("registry.example.com/team/python:3.13", "registry.example.com.evil/team", False),
    ],
)
def test_a_name_with_somebody_else_s_registry_means_no_builder_of_ours(word: str, prefix: str, may: bool) -> None:
    assert may_be_ours(word, prefix) == may


def test_a_wheel_keeps_its_builders_inside(tmp_path: Path) -> None:
    package = tmp_path / "s2ictl"
    package.mkdir()
    assert shelf(package) == tmp_path / "builders"
    (package / "_builders").mkdir()
    assert shelf(package) == package / "_builders"


def test_an_unknown_key_is_named_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "builder.yaml").write_text("name: x\nversoin: '1'\n")
    with pytest.raises(InvalidConfiguration, match=r"builder.yaml:2:1: unknown key 'versoin'"):
        load(tmp_path)


def test_a_builder_is_called_as_its_folder(tmp_path: Path) -> None:
    shutil.copytree(shelf(Path(s2ictl.__file__).parent) / "python", tmp_path / "other")
    with pytest.raises(InvalidConfiguration, match="its folder 'other'"):
        load_all(tmp_path)


def test_the_labels_of_a_builder_are_its_promises() -> None:
    labels = {**LABELS, "io.openshift.s2i.destination": "/opt/s2i/", "io.openshift.s2i.assemble-user": "1002"}
    facts = ImageFacts(id="sha256:1", labels=labels)
    assert promised("b:1", facts) == Builder(
        image="b:1", destination="/opt/s2i", scripts="/usr/libexec/s2i", assemble_user="1002", facts=facts
    )


@pytest.mark.parametrize(
    "facts",
    [
        ImageFacts(id="1", labels={"io.kubesphere.s2i.scripts-url": "image:///usr/libexec/s2i"}),
        ImageFacts(id="1", labels={"io.s2i.scripts-url": "image:///usr/libexec/s2i"}),
        ImageFacts(id="1", env=("PATH=/bin", "STI_SCRIPTS_URL=image:///usr/libexec/s2i")),
    ],
)
def test_foreign_and_older_spellings_are_understood(facts: ImageFacts) -> None:
    builder = promised("b:1", facts)
    assert (builder.scripts, builder.destination, builder.assemble_user) == ("/usr/libexec/s2i", "/tmp", "")


@pytest.mark.parametrize(
    "url",
    [
        "image:///x; rm -rf /",
        "image:///a/../b",
        "image://relative",
        "http://evil/s",
        "/usr/libexec/s2i",
        "image:///a\nb",
    ],
)
def test_a_label_that_is_no_place_in_the_image_is_refused(url: str) -> None:
    with pytest.raises(PullBuilderImageFailed):
        promised("b:1", ImageFacts(id="1", labels={"io.openshift.s2i.scripts-url": url}))


def test_a_volume_over_the_destination_is_refused() -> None:
    facts = ImageFacts(id="1", labels=LABELS, volumes=("/tmp",))
    with pytest.raises(PullBuilderImageFailed, match="volume"):
        promised("b:1", facts)
    assert promised("b:1", replace(facts, volumes=("/tmpfiles", "/data"))).destination == "/tmp"


def test_a_builder_of_onbuild_instructions_is_refused_with_the_way_to_build_it() -> None:
    with pytest.raises(PullBuilderImageFailed) as refused:
        promised("old:1", ImageFacts(id="1", labels=LABELS, onbuild=("COPY . /src",)))
    assert refused.value.hint == "build it with a Dockerfile of one line: FROM old:1"


def test_an_image_without_labels_promises_nothing() -> None:
    assert promised("debian", ImageFacts(id="1")).scripts == ""


def test_a_destination_that_the_user_names_counts_more_and_is_typed_wrongly_by_him() -> None:
    facts = ImageFacts(id="1", labels={**LABELS, "io.openshift.s2i.destination": "/label"})
    assert promised("b:1", facts, destination="/named//").destination == "/named"
    with pytest.raises(InvalidUsage):
        promised("b:1", facts, destination="named")


@pytest.mark.parametrize("path", ["/", "", "/a/../b", "/a b", "/a/./b", "/a$b", "/" + "a" * 1024])
def test_a_destination_in_a_label_is_a_place_or_the_builder_is_broken(path: str) -> None:
    labels = {**LABELS, "io.openshift.s2i.destination": path}
    if not path:
        assert promised("b:1", ImageFacts(id="1", labels=labels)).destination == "/tmp"
        return
    with pytest.raises(PullBuilderImageFailed, match="the label destination of b:1 is not an absolute path"):
        promised("b:1", ImageFacts(id="1", labels=labels))


@pytest.mark.parametrize(
    ("labels", "env", "destination"),
    [
        ({"io.kubesphere.s2i.destination": "/k"}, (), "/k"),
        ({"io.kubespehre.s2i.destination": "/misspelt"}, (), "/misspelt"),
        ({"io.s2i.destination": "/older"}, (), "/older"),
        ({}, ("STI_LOCATION=/oldest",), "/oldest"),
        ({"io.openshift.s2i.destination": "/new", "io.s2i.destination": "/older"}, ("STI_LOCATION=/oldest",), "/new"),
    ],
)
def test_a_destination_has_many_spellings(labels: dict[str, str], env: tuple[str, ...], destination: str) -> None:
    assert promised("b:1", ImageFacts(id="1", labels=labels, env=env)).destination == destination


def test_words_of_the_old_days_are_named_where_they_count() -> None:
    labels = {"io.s2i.scripts-url": "image:///s"}
    assert list(outdated("b:1", ImageFacts(id="1", labels=labels, env=("STI_LOCATION=/l",)))) == [
        "b:1 says io.s2i.scripts-url, which has another name now: the label io.openshift.s2i.scripts-url",
        "b:1 says STI_LOCATION, which has another name now: the label io.openshift.s2i.destination",
    ]
    assert list(outdated("b:1", ImageFacts(id="1", labels=LABELS, env=("STI_SCRIPTS_URL=image:///s",)))) == []


def test_a_runtime_image_promises_who_assembles_in_it_and_may_have_onbuild_instructions() -> None:
    labels = {"io.openshift.s2i.assemble-user": "1", "io.openshift.s2i.assemble-runtime-user": "2"}
    runtime = promised_runtime("r:1", ImageFacts(id="1", labels=labels, onbuild=("RUN x",)))
    assert (runtime.scripts, runtime.destination, runtime.assemble_user) == ("", "/tmp", "2")


def test_a_runtime_image_says_what_it_wants() -> None:
    facts = ImageFacts(id="1", labels={"io.openshift.s2i.assemble-input-files": " /a ;/b/*.jar:lib/x; "})
    assert artifacts_of("r:1", facts) == (
        RuntimeArtifact(source="/a", target=""),
        RuntimeArtifact(source="/b/*.jar", target="lib/x"),
    )
    assert artifacts_of("r:1", ImageFacts(id="1")) == ()


@pytest.mark.parametrize(
    ("path", "directory", "below"),
    [("/a/b", "/a", True), ("/a", "/a/", True), ("/a", "/", True), ("/ab", "/a", False), ("/a", "/a/b", False)],
)
def test_a_path_is_below_itself_and_what_it_lies_in(path: str, directory: str, below: bool) -> None:
    assert is_below(path, directory) is below


# ---------------------------------------------------------------------------------------------------------- versions


TOMCAT = folder("tomcat", "*.war")
TOMCAT = replace(
    TOMCAT, version="10.1", blueprint=replace(TOMCAT.blueprint, version="10.1", versions=("9", "9-java25"))
)
THERE = replace(TOMCAT, prefix="registry.example.com/team")


@pytest.mark.parametrize(
    ("word", "of", "version"),
    [
        ("tomcat", TOMCAT, "10.1"),
        ("tomcat:10.1", TOMCAT, "10.1"),
        ("tomcat:latest", TOMCAT, "10.1"),
        ("tomcat:9", TOMCAT, "9"),
        ("s2ictl/tomcat", TOMCAT, "10.1"),
        ("s2ictl/tomcat:9-java25", TOMCAT, "9-java25"),
        ("docker.io/s2ictl/tomcat:9", TOMCAT, "9"),
        ("registry.example.com/team/tomcat:9", THERE, "9"),
        ("s2ictl/tomcat:9", THERE, "9"),
        ("tomcat:9", THERE, "9"),
        ("tomcat", TOMCAT.at("9"), "9"),
        ("s2ictl/tomcat:latest", TOMCAT.at("9"), "10.1"),
        ("python:1", PYTHON, "1"),
    ],
)
def test_a_builder_is_meant_in_the_version_that_its_name_bears(word: str, of: Folder, version: str) -> None:
    assert named(word, (NODE, of)) == replace(of, version=version)


@pytest.mark.parametrize(
    "word",
    [
        "apache",
        "team/tomcat:9",
        "library/tomcat:9",
        "docker.io/library/tomcat:9",
        "registry.example.com/team/tomcat:9",
        "registry.example.com/team/tomcat:8",
        f"tomcat:9@sha256:{'a' * 64}",
        f"tomcat@sha256:{'a' * 64}",
        "python:2",
        "s2ictl/python:2",
        "../tomcat/",
        "",
    ],
)
def test_any_other_name_means_no_builder_of_ours(word: str) -> None:
    assert named(word, (PYTHON, TOMCAT)) is None


def test_another_version_in_our_own_registry_is_the_image_that_lies_there() -> None:
    assert named("registry.example.com/team/tomcat:8", (THERE,)) is None


@pytest.mark.parametrize(
    ("version", "nearest"),
    [
        ("8.5", "9"),
        ("10", "10.1"),
        ("12-java25", "10.1"),
        ("9-java17", "9-java25"),
        ("jre", "10.1"),
        ("9" * 400, "10.1"),
    ],
)
def test_a_version_that_is_none_brings_the_nearest(version: str, nearest: str) -> None:
    with pytest.raises(PullBuilderImageFailed) as refused:
        named(f"tomcat:{version}", (TOMCAT,))
    assert refused.value.message == f"the builder tomcat has no version {version[:80]}; the nearest is {nearest}"
    assert (refused.value.detail, refused.value.hint) == ("there are 10.1, 9, 9-java25", f"name tomcat:{nearest}")


def test_each_version_has_an_image_of_its_own_and_the_first_is_named_without_it() -> None:
    assert [(str(each.image), each.word) for each in map(TOMCAT.at, TOMCAT.versions)] == [
        ("s2ictl/tomcat:10.1", "tomcat"),
        ("s2ictl/tomcat:9", "tomcat:9"),
        ("s2ictl/tomcat:9-java25", "tomcat:9-java25"),
    ]


def test_what_an_image_is_made_of_differs_by_version_and_not_by_what_other_versions_there_are() -> None:
    tomcat = load(shelf(Path(s2ictl.__file__).parent) / "tomcat")
    fewer = replace(tomcat, blueprint=replace(tomcat.blueprint, versions=(), version_aliases={}))
    assert fingerprint(tomcat) == fingerprint(fewer)
    assert len({fingerprint(tomcat.at(version)) for version in tomcat.versions}) == len(tomcat.versions)
