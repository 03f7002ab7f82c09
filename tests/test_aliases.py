"""The names of other platforms, as they are typed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from s2ictl.aliases import Meant, meant
from s2ictl.builders import Folder
from s2ictl.models import Reference
from tests.test_builders import folder


def known_as(made: Folder, version: str, *aliases: str, levels: tuple[str, ...] = ()) -> Folder:
    made = replace(made, version=version)
    plan = replace(made.blueprint, version=version, aliases=tuple(map(Reference.parse, aliases)), levels=levels)
    return replace(
        made, blueprint=replace(plan, display_name=f"{plan.name} {version}", description="Programs; of all kinds")
    )


JAVA = known_as(folder("java"), "21", "kubespheredev/java-8-centos7", levels=("8", "11"))
PYTHON = known_as(
    folder("python"), "3.13", "kubespheredev/python-36-centos7", "registry.example.com/ubi9/python-313", "snake"
)
TOMCAT = known_as(folder("tomcat"), "10.1")
OLD = {"9": (Reference.parse("kubespheredev/tomcat85-java8-centos7"),)}
TOMCAT = replace(TOMCAT, blueprint=replace(TOMCAT.blueprint, versions=("9",), version_aliases=OLD))
FOLDERS = (JAVA, PYTHON, TOMCAT)


@pytest.mark.parametrize(
    ("word", "builder", "level", "other"),
    [
        ("kubespheredev/java-8-centos7", JAVA, "", "docker.io/kubespheredev/java-8-centos7"),
        ("kubesphere/java-8-centos7:v3.2.0", JAVA, "", "docker.io/kubesphere/java-8-centos7:v3.2.0"),
        ("java-8-centos7", JAVA, "", "docker.io/kubespheredev/java-8-centos7"),
        ("python-36-centos7:latest", PYTHON, "3.6", "docker.io/kubespheredev/python-36-centos7:latest"),
        ("ubi9/python-313", PYTHON, "", "registry.example.com/ubi9/python-313"),
        ("snake", PYTHON, "", "docker.io/snake"),
        ("tomcat85-java8-centos7:v3.2.0", TOMCAT.at("9"), "", "docker.io/kubespheredev/tomcat85-java8-centos7:v3.2.0"),
    ],
)
def test_a_name_of_another_platform_means_a_builder_here(word: str, builder: Folder, level: str, other: str) -> None:
    assert meant(word, FOLDERS) == Meant(word=word, folder=builder, other=Reference.parse(other), level=level)


@pytest.mark.parametrize(
    "word",
    [
        "docker.io/kubespheredev/java-8-centos7",
        "registry.example.com/ubi9/python-313",
        "team/java-8-centos7",
        "team/s2i-binary",
        "docker.io/kubesphere/s2i-binary:v3.2.0",
        f"java-8-centos7@sha256:{'a' * 64}",
        "java-17-centos7",
        "java:8",
        "python",
        "../Pages/",
    ],
)
def test_what_is_written_in_full_or_is_somebody_else_s_means_that_image(word: str) -> None:
    assert meant(word, FOLDERS) is None


def test_it_is_said_which_builder_stands_in_and_how_the_other_image_is_had() -> None:
    java, python = (meant(word, FOLDERS) for word in ("java-8-centos7", "python-36-centos7"))
    assert java is not None
    assert python is not None
    assert (java.notice.level, java.notice.text) == (
        "info",
        (
            "java-8-centos7 is another platform's; the builder java stands in here: java 21 (Programs). "
            "That image itself: docker.io/kubespheredev/java-8-centos7"
        ),
    )
    assert (python.notice.level, python.notice.text) == (
        "warning",
        (
            "python-36-centos7 is another platform's; the builder python stands in here: python 3.13, not the 3.6 of "
            "that name (Programs). That image itself: docker.io/kubespheredev/python-36-centos7"
        ),
    )


def test_an_alias_of_a_version_says_which() -> None:
    tomcat = meant("kubesphere/tomcat85-java8-centos7", FOLDERS)
    assert tomcat is not None
    assert "; the builder tomcat:9 stands in here: " in tomcat.notice.text
