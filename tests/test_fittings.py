"""How an artifact sits on a base of ours, on Tomcat's own image, and on any other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath

import pytest

from s2ictl.artifacts import Meaning
from s2ictl.builders import MADE_OF
from s2ictl.errors import PullBuilderImageFailed
from s2ictl.fittings import Fitting, fitted
from s2ictl.models import ImageFacts

WAR = Meaning(
    builder="tomcat",
    because="shop.war",
    runner_up=None,
    base="s2ictl/tomcat:10.1",
    place=PurePosixPath("/deployments/shop.war"),
    run=("catalina.sh", "run"),
    env=(("CATALINA_OPTS", "-Xss1m"),),
    war="shop.war",
)
JAR = replace(
    WAR,
    builder="jar",
    place=PurePosixPath("/deployments/shop.jar"),
    run=("java", "-Xss1m", "-jar", "/deployments/shop.jar", "serve", "a b"),
    env=(("JAVA_OPTIONS", "-Xss1m"), ("JAVA_ARGS", "serve 'a b'")),
)
OURS = ImageFacts(
    id="sha256:ours",
    labels={MADE_OF: "sha256:folder", "io.openshift.s2i.scripts-url": "image:///usr/libexec/s2i"},
    user="1001",
    entrypoint=("tini", "--"),
)
TOMCATS_OWN = ImageFacts(id="sha256:own", env=("CATALINA_HOME=/usr/local/tomcat",), command=("catalina.sh", "run"))
ANY = ImageFacts(id="sha256:any", user="7", entrypoint=("/hello",), command=("there",))


def test_on_a_base_of_ours_its_own_script_starts_the_artifact() -> None:
    assert fitted(JAR, "s2ictl/jar:21", OURS, arguments=2) == Fitting(
        place=JAR.place, entrypoint=("tini", "--"), command=("/usr/libexec/s2i/run",), user="1001", env=JAR.env
    )


def test_any_other_base_is_told_the_whole_command_and_arguments_can_be_replaced() -> None:
    assert fitted(JAR, "eclipse-temurin:21", ANY, arguments=2) == Fitting(
        place=JAR.place,
        entrypoint=("java", "-Xss1m", "-jar", "/deployments/shop.jar"),
        command=("serve", "a b"),
        user="7",
    )


def test_a_war_goes_to_where_the_image_of_tomcats_makers_has_them() -> None:
    assert fitted(WAR, "tomcat:10.1", TOMCATS_OWN) == Fitting(
        place=PurePosixPath("/usr/local/tomcat/webapps/shop.war"),
        entrypoint=(),
        command=("catalina.sh", "run"),
        user="1001",
        env=WAR.env,
    )


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ((), "debian:13 has no Tomcat that could serve shop.war"),
        (("CATALINA_BASE=../x",), "debian:13 says no place of its Tomcat: '../x'"),
    ],
)
def test_a_war_on_a_base_without_tomcat_is_refused(env: tuple[str, ...], message: str) -> None:
    with pytest.raises(PullBuilderImageFailed) as caught:
        fitted(WAR, "debian:13", replace(ANY, env=env))
    assert caught.value.message == message
