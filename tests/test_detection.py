"""Which builder fits: the signs of all of them, and which of them is the loudest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from s2ictl.builders import Folder, Sign, load_all
from s2ictl.detection import Choice, detect, fitting
from s2ictl.errors import NothingDetected
from s2ictl.models import Tree
from tests.test_builders import NODE, PYTHON, folder
from tests.workbench import tree

SHELF = Path(__file__).parent.parent / "builders"


def files(*paths: str) -> Tree:
    return tree(dict.fromkeys(paths, b""))


def knowing(made: Folder, *signs: Sign) -> Folder:
    return replace(made, blueprint=replace(made.blueprint, detects=signs))


def test_the_strongest_sign_wins_and_the_next_builder_is_the_runner_up() -> None:
    second = Choice(folder=PYTHON, because="requirements.txt: a python file")
    first = Choice(folder=NODE, because="package-lock.json: a node file", runner_up=second)
    assert detect(files("package-lock.json", "requirements.txt", "app.py"), [PYTHON, NODE]) == first


def test_a_weak_sign_speaks_only_where_no_other_does() -> None:
    pages = knowing(folder("pages"), Sign(file="index.html", means="a page", weak=True))
    assert detect(files("index.html", "app.py"), [pages, PYTHON]).folder is PYTHON
    assert detect(files("index.html"), [pages, PYTHON]).folder is pages


def test_of_equal_signs_the_first_name_wins_whatever_the_order() -> None:
    found = files("package-lock.json", "uv.lock")
    assert detect(found, [PYTHON, NODE]) == detect(found, [NODE, PYTHON])


def test_only_the_root_of_the_source_speaks() -> None:
    with pytest.raises(NothingDetected):
        detect(files("vendor/requirements.txt"), [PYTHON])


def test_nothing_fits_says_what_was_looked_for() -> None:
    with pytest.raises(NothingDetected) as nothing:
        detect(files("README"), [PYTHON, NODE])
    assert nothing.value.detail == (
        "looked in its root for python: uv.lock, requirements.txt, *.py; node: package-lock.json, package.json"
    )


# ------------------------------------------------------------------------------------------------ what a file says


def test_what_a_file_says_speaks_louder_than_its_name_and_may_be_for_a_version() -> None:
    plain = knowing(folder("make"), Sign(file="*.mk", means="a project"))
    other = folder("other")
    other = replace(other, blueprint=replace(other.blueprint, versions=("2",)))
    other = knowing(
        other, Sign(file="*.mk", means="an odd one", says="odd.*two", version="2"), Sign(file="x", means="x")
    )
    first = detect(tree({"a.mk": b"even", "b.mk": b"odd, two"}), [plain, other])
    assert (first.folder, first.because) == (other.at("2"), "b.mk: an odd one")
    assert detect(tree({"a.mk": b"even", "x": b""}), [plain, other]).folder is plain


def test_a_file_that_no_sign_looks_into_is_never_read() -> None:
    unread = replace(files("uv.lock", "pom.xml"), read=lambda path: pytest.fail(f"{path} was read"))
    assert detect(unread, [PYTHON]).folder is PYTHON


def test_a_version_fits_where_the_source_speaks_for_it_and_else_nothing_is_said() -> None:
    assert fitting(PYTHON, files("uv.lock")) == Choice(folder=PYTHON, because="uv.lock: a python file")
    assert fitting(PYTHON, files("README")) is None


# ----------------------------------------------------------------------------------------------------- our own shelf


def pom(*words: str) -> bytes:
    return "".join(("<project>", *words, "</project>")).encode()


WAR, JAVAX = "<packaging> war </packaging>", "<dependency>\n<groupId>javax.servlet</groupId>"
EE = "<groupId>javax</groupId><artifactId>javaee-web-api</artifactId>"
BOOT = "<artifactId>spring-boot-maven-plugin</artifactId>"


@pytest.mark.parametrize(
    ("source", "word"),
    [
        ({"pom.xml": pom()}, "java"),
        ({"pom.xml": pom(WAR)}, "tomcat"),
        ({"pom.xml": pom(JAVAX, WAR)}, "tomcat:9"),
        ({"pom.xml": pom(WAR, EE)}, "tomcat:9"),
        ({"pom.xml": pom(WAR, "<groupId>javax.inject</groupId>")}, "tomcat"),
        ({"pom.xml": pom(JAVAX)}, "java"),
        ({"pom.xml": pom(WAR, JAVAX, BOOT)}, "java"),
        ({"pom.xml": pom("<packaging>warp</packaging>")}, "java"),
        ({"pom.xml": pom(WAR), "shop.war": b""}, "tomcat"),
        ({"pom.xml": pom(), "shop.war": b""}, "java"),
        ({"shop.war": b""}, "tomcat"),
        ({"target/shop.war": b""}, "tomcat"),
        ({"WEB-INF/web.xml": b"<web-app/>", "index.html": b""}, "tomcat"),
        ({"pom.xml": b"\xff\xfe"}, "java"),
    ],
)
def test_a_maven_project_that_makes_a_war_is_for_the_tomcat_of_its_servlets(
    source: dict[str, bytes], word: str
) -> None:
    assert detect(tree(source), load_all(SHELF)).folder.word == word
