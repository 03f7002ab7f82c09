"""What it means that an artifact is what it is: who runs it, on what, and where it is found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Literal

import pytest

from s2ictl.artifacts import Meaning, Server, Wishes, meaning_of
from s2ictl.artifacts.meaning import context_path_of, deployed_as, parse_context_path, war_name
from s2ictl.errors import InvalidArtifact, InvalidUsage, S2IError, WrongPlatform
from s2ictl.models import Artifact, Binary, Java, Servlet

JAR = Artifact(path=Path("/shop.jar"), name="shop.jar", kind="jar", size=1, java=Java(level=17, main_class="a.Shop"))
PROGRAM = Artifact(
    path=Path("/shop"), name="shop", kind="binary", size=1, binary=Binary(machine="amd64", linkage="static")
)


def war(name: str = "shop.war", **facts: object) -> Artifact:
    java = Java(**{"level": 17, "servlet": "jakarta", **facts})  # type: ignore[arg-type]
    return Artifact(path=Path("/") / name, name=name, kind="war", size=1, java=java)


def meant(artifact: Artifact, wishes: Wishes | None = None) -> Meaning:
    return meaning_of(artifact, wishes or Wishes(), prefix="registry.example.com/b")


def stopped(artifact: Artifact, wishes: Wishes | None = None) -> S2IError:
    with pytest.raises(S2IError) as caught:
        meant(artifact, wishes)
    return caught.value


def test_a_war_is_served_by_tomcat_under_its_name() -> None:
    assert meant(war()) == Meaning(
        builder="tomcat",
        because="shop.war: a war for jakarta servlets, Java 17",
        runner_up=None,
        base="registry.example.com/b/tomcat:10.1",
        place=PurePosixPath("/deployments/shop.war"),
        run=("catalina.sh", "run"),
        port=8080,
        java=21,
        tomcat="10.1",
        context_path="/shop",
        war="shop.war",
    )


def test_a_jar_starts_by_itself() -> None:
    assert meant(JAR, Wishes(jvm_options=("-Xmx1g",), arguments=("--say", "two words"))) == Meaning(
        builder="jar",
        because="shop.jar: a jar that starts, Java 17",
        runner_up=None,
        base="registry.example.com/b/jar:21",
        place=PurePosixPath("/deployments/shop.jar"),
        run=("java", "-Xmx1g", "-jar", "/deployments/shop.jar", "--say", "two words"),
        env=(("JAVA_OPTIONS", "-Xmx1g"), ("JAVA_ARGS", "--say 'two words'")),
        java=21,
    )


def test_a_static_program_needs_nothing_and_a_dynamic_one_its_loader() -> None:
    assert meant(PROGRAM, Wishes(arguments=("-v",))) == Meaning(
        builder="binary",
        because="shop: a program for linux/amd64, linked statically",
        runner_up=None,
        base="scratch",
        place=PurePosixPath("/opt/app-root/bin/shop"),
        run=("/opt/app-root/bin/shop", "-v"),
        beside=PurePosixPath("/opt/app-root/src"),
        env=(("ARGS", "-v"),),
    )
    assert [meant(dynamic(loader)).base for loader in ("/lib64/ld-linux-x86-64.so.2", "/lib/ld-musl-x86_64.so.1")] == [
        "registry.example.com/b/binary:13",
        "alpine:3",
    ]


def test_a_program_with_files_stays_beside_them() -> None:
    meaning = meant(replace(PROGRAM, form="zip", entry="shop"))
    assert (str(meaning.place), str(meaning.beside)) == ("/opt/app-root/src/shop", "/opt/app-root/src")


def dynamic(loader: str) -> Artifact:
    binary = Binary(machine="amd64", linkage="dynamic", interpreter=loader)
    return Artifact(path=Path("/shop"), name="shop", kind="binary", size=1, binary=binary)


@pytest.mark.parametrize("artifact", [war(), JAR, dynamic("/lib64/ld-linux-x86-64.so.2")])
def test_nothing_is_no_base_for_what_needs_something(artifact: Artifact) -> None:
    with pytest.raises(InvalidUsage, match="scratch has nothing"):
        meant(artifact, Wishes(base="scratch"))


@pytest.mark.parametrize(
    ("servlet", "descriptor", "server", "tomcat"),
    [
        ("javax", "4.0", None, "9"),
        ("jakarta", "6.0", None, "10.1"),
        ("jakarta", "6.1", None, "11"),
        (None, "", None, "10.1"),
        ("jakarta", "6.0", "tomcat11", "11"),
        ("javax", "", "tomcat9", "9"),
    ],
)
def test_the_servlets_choose_the_tomcat(
    servlet: Servlet | None, descriptor: str, server: Server | None, tomcat: str
) -> None:
    meaning = meant(war(servlet=servlet, descriptor=descriptor), Wishes(server=server))
    assert (meaning.tomcat, meaning.notices) == (tomcat, ())


@pytest.mark.parametrize(("version", "tomcat"), [("3.5.6", "10.1"), ("4.0.0", "11")])
def test_spring_boot_chooses_the_tomcat_that_it_was_made_for(version: str, tomcat: str) -> None:
    assert meant(war(spring_boot=version)).tomcat == tomcat


def test_what_a_tomcat_does_not_run_is_said() -> None:
    assert meant(war(mixed=True)).notices == (
        "shop.war has both javax and jakarta servlets; Tomcat 10.1 runs jakarta ones alone",
    )
    assert meant(war(servlet="javax"), Wishes(server="tomcat11")).notices == (
        "shop.war has a web.xml for javax servlets; Tomcat 11 runs jakarta ones alone",
    )


@pytest.mark.parametrize(
    ("needs", "server", "hint"),
    [
        (("javax",), "tomcat10", "--server tomcat9"),
        (("javax",), "tomcat11", "--server tomcat9"),
        (("jakarta",), "tomcat9", "--server tomcat10"),
    ],
)
def test_a_tomcat_that_does_not_run_its_servlets_stops_it_with_the_one_that_does(
    needs: tuple[Servlet, ...], server: Server, hint: str
) -> None:
    error = stopped(war(servlet=needs[0], needs=needs), Wishes(server=server))
    assert (type(error), error.exit_code, error.hint) == (WrongPlatform, 6, hint)
    assert f"shop.war is for {needs[0]} servlets, and Tomcat " in error.message


@pytest.mark.parametrize("server", ["tomcat9", "tomcat10"])
def test_what_has_servlets_for_both_runs_on_either_and_is_warned_of(server: Server) -> None:
    meaning = meant(war(mixed=True, needs=("jakarta", "javax")), Wishes(server=server))
    assert [notice.partition(";")[0] for notice in meaning.notices] == ["shop.war has both javax and jakarta servlets"]


@pytest.mark.parametrize(
    ("level", "asked", "java", "tomcat", "version"),
    [
        (0, None, 21, "tomcat:10.1", "jar:21"),
        (21, None, 21, "tomcat:10.1", "jar:21"),
        (22, None, 25, "tomcat:10.1-java25", "jar:25"),
        (8, 25, 25, "tomcat:10.1-java25", "jar:25"),
    ],
)
def test_the_oldest_java_that_runs_its_classes_is_taken(
    level: int, asked: int | None, java: int, tomcat: str, version: str
) -> None:
    served = meant(war(level=level), Wishes(java=asked))
    alone = meant(war(level=level, main_class="a.Shop"), Wishes(java=asked, server="own"))
    found = (served.java, served.base.rpartition("/")[2], alone.java, alone.base.rpartition("/")[2])
    assert found == (java, tomcat, java, version)


@pytest.mark.parametrize(
    ("level", "asked", "words"),
    [
        (26, None, "the nearest is 25"),
        (30, None, "the nearest is 25"),
        (17, 17, "there is no Java 17 here; the nearest is 21"),
        (25, 21, "which Java 21 does not run"),
    ],
)
def test_a_java_that_is_not_here_stops_it_with_the_nearest(level: int, asked: int | None, words: str) -> None:
    error = stopped(war(level=level), Wishes(java=asked))
    assert (type(error), error.exit_code, words in error.message) == (WrongPlatform, 6, True)


def test_on_a_base_of_the_users_own_any_java_may_be() -> None:
    meaning = meant(war(level=26), Wishes(base="registry.example.com/tomcat:12-java26"))
    assert (meaning.java, meaning.base) == (26, "registry.example.com/tomcat:12-java26")


def test_a_library_stops_with_what_to_give_instead() -> None:
    library = Artifact(path=Path("/a"), name="shop-1-plain.jar", kind="jar", size=1, java=Java(level=17))
    error = stopped(library)
    assert (error.exit_code, error.hint) == (5, "give the other jar of that build, without -plain")


def test_a_war_that_starts_by_itself_may_do_so() -> None:
    both = war(main_class="a.Shop", server="tomcat", spring_boot="3.4.1")
    assert meant(both).runner_up == ("jar", "shop.war: it also starts by itself")
    alone = meant(both, Wishes(server="own"))
    assert (alone.builder, alone.run, alone.because, alone.context_path) == (
        "jar",
        ("java", "-jar", "/deployments/shop.war"),
        "shop.war: a war that starts by itself, Spring Boot 3.4.1, tomcat, Java 17",
        None,
    )
    assert meant(both, Wishes(type="jar")).builder == "jar"
    assert isinstance(stopped(war(), Wishes(server="own")), InvalidArtifact)


def folder(kind: Literal["war", "jar"], name: str = "shop", entry: str = "", launcher: str = "") -> Artifact:
    java = Java(level=17, main_class="a.Shop", launcher=launcher)
    return Artifact(path=Path("/shop"), name=name, kind=kind, size=1, form="directory", entry=entry, java=java)


def test_an_unpacked_jar_is_started_by_its_class_or_by_what_starts_that_one() -> None:
    commands = [
        meant(artifact).run for artifact in (folder("jar"), folder("jar", name="shop.jar", launcher="b.Starts"))
    ]
    assert commands == [
        ("java", "-cp", "/deployments/shop", "a.Shop"),
        ("java", "-cp", "/deployments/shop", "b.Starts"),
    ]


def test_a_jar_with_its_libraries_beside_it_is_a_file_among_others() -> None:
    meaning = meant(folder("jar", name="shop.jar", entry="shop.jar"))
    assert (str(meaning.place), str(meaning.beside), meaning.run[-2:]) == (
        "/deployments/shop.jar",
        "/deployments",
        ("-jar", "/deployments/shop.jar"),
    )


def test_in_layers_the_jar_of_spring_boot_lies_unpacked_and_any_other_as_it_is() -> None:
    java = Java(level=17, main_class="a.Shop", launcher="b.Starts", spring_boot="3.5.6")
    layered = Wishes(layered=True)
    boot, plain = meant(replace(JAR, java=java), layered), meant(JAR, layered)
    assert (str(boot.place), boot.run) == ("/deployments/shop", ("java", "-cp", "/deployments/shop", "b.Starts"))
    assert str(plain.place) == "/deployments/shop.jar"


def test_an_unpacked_war_lies_under_the_name_that_tomcat_gives_it() -> None:
    meaning = meant(folder("war", name="shop##2.war"))
    assert (str(meaning.place), meaning.war, meaning.context_path) == ("/deployments/shop##2", "shop##2.war", "/shop")


@pytest.mark.parametrize(("name", "lies"), [("shop", "shop.jar"), ("SHOP.JAR", "SHOP.jar"), ("shop.zip", "shop.jar")])
def test_a_jar_lies_under_a_name_that_ends_like_one(name: str, lies: str) -> None:
    assert meant(replace(JAR, name=name)).place.name == lies


def test_files_that_a_jar_wants_beside_it_are_missed() -> None:
    java = Java(level=17, main_class="a.Shop", beside=("lib/a.jar", "lib/b.jar", "lib/c.jar", "lib/d.jar"))
    thin = Artifact(path=Path("/shop.jar"), name="shop.jar", kind="jar", size=1, java=java)
    assert meant(thin).notices == (
        "shop.jar wants files beside it that are not there: lib/a.jar, lib/b.jar, lib/c.jar and 1 more",
    )


def test_the_users_own_word_counts() -> None:
    meaning = meant(war(), Wishes(context_path="a/b/", base="tomcat:10.1-jre21", jvm_options=("-Xmx1g", "-ea")))
    assert (meaning.context_path, meaning.war, meaning.base, meaning.env) == (
        "/a/b",
        "a#b.war",
        "tomcat:10.1-jre21",
        (("CATALINA_OPTS", "-Xmx1g -ea"),),
    )


@pytest.mark.parametrize(
    ("artifact", "wishes", "kind"),
    [
        (PROGRAM, Wishes(type="jar"), InvalidArtifact),
        (JAR, Wishes(type="binary"), InvalidArtifact),
        (PROGRAM, Wishes(java=21), InvalidUsage),
        (PROGRAM, Wishes(context_path="/shop"), InvalidUsage),
        (JAR, Wishes(context_path="/shop"), InvalidUsage),
        (JAR, Wishes(server="tomcat9"), InvalidUsage),
        (war(), Wishes(arguments=("-v",)), InvalidUsage),
    ],
)
def test_what_does_not_go_together_is_said(artifact: Artifact, wishes: Wishes, kind: type[S2IError]) -> None:
    assert type(stopped(artifact, wishes)) is kind


@pytest.mark.parametrize(
    ("name", "path", "deployed"),
    [
        ("shop.war", "/shop", "shop.war"),
        ("ROOT.war", "/", "ROOT.war"),
        ("root.war", "/root", "root.war"),
        ("a#b.war", "/a/b", "a#b.war"),
        ("shop##2.1.war", "/shop", "shop##2.1.war"),
        ("ROOT##3.war", "/", "ROOT##3.war"),
        ("##3.war", "/", "ROOT##3.war"),
        ("a#b##c#d.war", "/a/b", "a#b##c#d.war"),
        ("shop-1.2.WAR", "/shop-1.2", "shop-1.2.war"),
        ("shop-1.2", "/shop-1.2", "shop-1.2.war"),
        ("shop.zip", "/shop", "shop.war"),
    ],
)
def test_a_war_is_found_where_tomcat_serves_its_name(name: str, path: str, deployed: str) -> None:
    assert (context_path_of(name), deployed_as(name)) == (path, deployed)


@pytest.mark.parametrize(
    ("typed", "path", "name"), [("/", "/", "ROOT.war"), ("shop", "/shop", "shop.war"), ("/a/b", "/a/b", "a#b.war")]
)
def test_a_context_path_has_one_spelling_and_its_war_a_name(typed: str, path: str, name: str) -> None:
    assert (parse_context_path(typed), war_name(path)) == (path, name)


@pytest.mark.parametrize("typed", ["/a b", "/a//b", "/a?b", "/../x", "/a#b", "/a\n"])
def test_what_is_no_path_is_refused(typed: str) -> None:
    with pytest.raises(InvalidUsage, match="no path of an address"):
        parse_context_path(typed)
