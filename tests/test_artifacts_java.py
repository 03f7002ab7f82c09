"""What a jar and a war say of themselves, and what their classes and libraries show."""

from __future__ import annotations

from pathlib import Path

import pytest

from s2ictl.artifacts import content_digest, is_artifact, read
from s2ictl.errors import InvalidArtifact, LimitReached, Refused
from s2ictl.models import Artifact, Binary, Java
from tests.fakes.artifacts import WEB_XML, boot, klass, laid, manifest, packed, runnable, streamed, war
from tests.fakes.images import program


def at(directory: Path, content: bytes, name: str = "shop.bin") -> Path:
    path = directory / name
    path.write_bytes(content)
    return path


def java(directory: Path, files: dict[str, bytes], name: str = "shop.bin") -> Java:
    found = read(at(directory, packed(files), name)).java
    assert found is not None
    return found


# ------------------------------------------------------------------------------------------------------------- kinds


def test_a_jar_is_known_by_its_content_whatever_it_is_called(tmp_path: Path) -> None:
    content = packed(runnable())
    assert read(at(tmp_path, content, "page.html")) == Artifact(
        path=tmp_path / "page.html",
        name="page.html",
        kind="jar",
        size=len(content),
        java=Java(level=17, main_class="com.example.Shop"),
    )


def test_a_war_keeps_the_steps_of_its_context_path_in_its_name(tmp_path: Path) -> None:
    artifact = read(at(tmp_path, packed(war()), "my shop#v1##2.war"))
    assert (artifact.name, artifact.kind) == ("my-shop#v1##2.war", "war")


def test_nothing_but_pages_is_a_war_where_it_is_called_one(tmp_path: Path) -> None:
    content = packed({"META-INF/MANIFEST.MF": manifest(), "index.jsp": b"<p>"})
    assert read(at(tmp_path, content, "shop.war")).java == Java(level=0)


def test_an_ear_is_refused_with_what_to_give_instead(tmp_path: Path) -> None:
    with pytest.raises(InvalidArtifact, match="an enterprise archive") as caught:
        read(at(tmp_path, packed({"META-INF/application.xml": b"<application/>", "shop.war": b""})))
    assert caught.value.hint == "give the war in it"


def test_a_jar_behind_a_script_is_a_jar(tmp_path: Path) -> None:
    assert java(tmp_path, runnable()) == Java(level=17, main_class="com.example.Shop")
    artifact = read(at(tmp_path, b"#!/bin/bash\nexec java -jar $0\n" + packed(runnable())))
    assert artifact.java == Java(level=17, main_class="com.example.Shop")


def test_the_name_of_what_came_from_elsewhere_is_handed_in(tmp_path: Path) -> None:
    path = at(tmp_path, packed(war()), "3")
    assert read(path, name="shop.war").name == "shop.war"
    with pytest.raises(InvalidArtifact, match=r"^shop\.war is no jar, war or program: it is an HTML"):
        read(at(tmp_path, b"<html>", "4"), name="shop.war")


def test_an_unpacked_war_is_a_war(tmp_path: Path) -> None:
    artifact = read(laid(tmp_path / "shop", war("javax", 8)))
    assert (artifact.kind, artifact.form, artifact.name) == ("war", "directory", "shop")
    assert artifact.java == Java(level=8, servlet="javax", needs=("javax",), descriptor="4.0")


def test_a_directory_may_hold_a_program_with_what_it_needs(tmp_path: Path) -> None:
    directory = laid(tmp_path / "dist", {"server": program(), "public/index.html": b"<html>"})
    assert read(directory) == Artifact(
        path=directory,
        name="server",
        kind="binary",
        size=len(program()) + 6,
        form="directory",
        entry="server",
        binary=Binary(machine="amd64", linkage="static"),
    )


def test_so_may_a_zip(tmp_path: Path) -> None:
    artifact = read(at(tmp_path, packed({"server": program(interpreter=b"/lib/ld.so\0"), "a.txt": b""}), "dist.zip"))
    assert (artifact.form, artifact.entry, artifact.name) == ("zip", "server", "server")
    assert artifact.binary == Binary(machine="amd64", linkage="dynamic", interpreter="/lib/ld.so")


def test_a_directory_may_hold_a_jar_with_its_libraries(tmp_path: Path) -> None:
    jar = packed(runnable(Class_Path="lib/a.jar lib/b.jar"))
    artifact = read(laid(tmp_path / "dist", {"shop.jar": jar, "lib/a.jar": packed({"A.class": klass(8)})}))
    assert (artifact.form, artifact.entry, artifact.name) == ("directory", "shop.jar", "shop.jar")
    assert artifact.java == Java(level=17, main_class="com.example.Shop", beside=("lib/b.jar",))


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"a": program(), "b": program()}, "holds several finished things"),
        ({"notes.txt": b"x"}, "holds nothing finished"),
        ({}, "holds nothing finished"),
        ({"shop.war": packed(war())}, "is a zip around shop.war"),
    ],
)
def test_what_nothing_can_be_chosen_of_is_refused(files: dict[str, bytes], words: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidArtifact, match=words):
        read(at(tmp_path, packed(files), "dist.zip"))


def test_a_directory_is_not_gone_down_without_an_end(tmp_path: Path) -> None:
    (tmp_path / "/".join("a" * 300)).mkdir(parents=True)
    with pytest.raises(LimitReached, match="has more than 256 directories"):
        read(tmp_path)


def test_links_in_a_directory_are_not_followed(tmp_path: Path) -> None:
    directory = laid(tmp_path / "dist", {"notes.txt": b"x"})
    (directory / "server").symlink_to("/bin/ls")
    with pytest.raises(InvalidArtifact, match="holds nothing finished"):
        read(directory)


@pytest.mark.parametrize(
    ("name", "content", "finished"),
    [
        ("shop", program(), True),
        ("shop.zip", packed(war()), True),
        ("shop.war", b"<html>", True),
        ("shop.zip", packed({"pom.xml": b"", "src/A.java": b""}), False),
        ("shop.tar", b"x" * 600, False),
        ("run", b"#!/bin/sh\n", False),
    ],
)
def test_source_is_told_from_what_is_finished(name: str, content: bytes, finished: bool, tmp_path: Path) -> None:
    assert is_artifact(at(tmp_path, content, name)) is finished


def test_a_directory_is_source_unless_it_is_an_unpacked_jar_or_war(tmp_path: Path) -> None:
    assert is_artifact(laid(tmp_path / "war", war()))
    assert not is_artifact(laid(tmp_path / "source", {"pom.xml": b"", "old.war": packed(war())}))


def test_the_digest_of_a_directory_is_that_of_its_files(tmp_path: Path) -> None:
    one, two, other = (
        laid(tmp_path / "1" / "shop", war()),
        laid(tmp_path / "2" / "shop", dict(reversed(war().items()))),
        laid(tmp_path / "3" / "shop", war(level=8)),
    )
    digests = [content_digest(read(each)) for each in (one, two, other)]
    assert (digests[0] == digests[1], digests[0] == digests[2]) == (True, False)


# ---------------------------------------------------------------------------------------------------------- manifest


def test_a_long_line_of_the_manifest_is_put_together(tmp_path: Path) -> None:
    name = "com.example." + "a" * 200 + ".Shop"
    files = {"META-INF/MANIFEST.MF": manifest(Main_Class=name), f"{name.replace('.', '/')}.class": klass(17)}
    assert java(tmp_path, files).main_class == name


@pytest.mark.parametrize("value", ["com.example.Shop\x1b[2J", "../Shop", "-jar", "", "a" * 600])
def test_what_is_no_name_of_a_class_is_none(value: str, tmp_path: Path) -> None:
    files = {"META-INF/MANIFEST.MF": manifest(Main_Class=value), "A.class": klass(17)}
    assert java(tmp_path, files).main_class == ""


def test_only_the_first_section_counts_and_names_have_no_case(tmp_path: Path) -> None:
    said = b"MAIN-CLASS: Shop\n\nName: x\nMain-Class: Other\n"
    assert java(tmp_path, {"META-INF/MANIFEST.MF": said, "Shop.class": klass(8)}).main_class == "Shop"


def test_so_is_one_that_is_folded_into_very_many(tmp_path: Path) -> None:
    said = b"Manifest-Version: 1.0\nNote: " + b"\n x" * 300_000 + b"\nMain-Class: S\n hop\n"
    assert java(tmp_path, {"META-INF/MANIFEST.MF": said, "Shop.class": klass(8)}).main_class == "Shop"


@pytest.mark.parametrize("noise", [b"<web-app ", b"<web-app", b"<web-app version", b"<web-app version = '"])
def test_no_descriptor_is_looked_at_for_long(noise: bytes, tmp_path: Path) -> None:
    said = noise * (200_000 // len(noise)) + b"><web-app version='6.1'>"
    found = java(tmp_path, war() | {"WEB-INF/web.xml": said})
    assert (found.servlet, found.descriptor) == ("jakarta", "6.1")


def test_a_class_that_is_not_there_cannot_be_started(tmp_path: Path) -> None:
    with pytest.raises(InvalidArtifact, match="the class that its manifest names is not in it"):
        read(at(tmp_path, packed({"META-INF/MANIFEST.MF": manifest(Main_Class="Shop")})))


def test_a_manifest_is_read_within_limits_and_once(tmp_path: Path) -> None:
    with pytest.raises(LimitReached, match="the limit is 1048576"):
        read(at(tmp_path, packed({"META-INF/MANIFEST.MF": b"x" * (2 << 20)})))
    twice = packed({"META-INF/MANIFEST.MF": manifest(), "META-INF/MANIFEST.MX": manifest()})
    with pytest.raises(Refused, match="stands twice"):
        read(at(tmp_path, twice.replace(b"MANIFEST.MX", b"MANIFEST.MF")))


# ------------------------------------------------------------------------------------------------------------ levels


def test_the_level_is_that_of_the_newest_class_that_every_java_loads(tmp_path: Path) -> None:
    files = runnable(11) | {
        "com/example/Old.class": klass(8),
        "META-INF/versions/25/com/example/Shop.class": klass(25),
        "module-info.class": klass(24),
        "com/example/Broken.class": b"\xca\xfe",
        "com/example/Text.class": b"not a class at all",
    }
    assert java(tmp_path, files).level == 11


@pytest.mark.parametrize("pack", [packed, streamed, lambda files: packed(files, stored=True)])
def test_so_is_that_of_jars_in_it(pack: object, tmp_path: Path) -> None:
    assert callable(pack)
    inner = {"META-INF/MANIFEST.MF": manifest(), "META-INF/versions/25/A.class": klass(25), "A.class": klass(21)}
    assert java(tmp_path, runnable(11) | {"lib/a.jar": pack(inner)}).level == 21


def test_a_jar_in_it_that_grows_without_measure_is_not_read_on(tmp_path: Path) -> None:
    inner = {"A.class": klass(17), "zeros": bytes(8 << 20), "B.class": klass(21)}
    assert java(tmp_path, runnable(11) | {"lib/a.jar": packed(inner)}).level == 21  # its size was told before
    assert java(tmp_path, runnable(11) | {"lib/a.jar": streamed(inner)}).level == 17


def test_of_very_many_classes_some_of_each_package_are_read(tmp_path: Path) -> None:
    many = {f"a/C{number}.class": klass(8) for number in range(2100)}
    assert java(tmp_path, runnable(11) | many | {"b/New.class": klass(21)}).level == 21


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"PK\x03\x04" + b"\xff" * 60, b"no jar at all" * 9])
def test_a_library_that_is_none_says_nothing(content: bytes, tmp_path: Path) -> None:
    assert java(tmp_path, runnable(11) | {"lib/a.jar": content}).level == 11


# ---------------------------------------------------------------------------------------------------------- servlets


@pytest.mark.parametrize(
    ("files", "servlet", "needs", "mixed"),
    [
        (war("javax"), "javax", ("javax",), False),
        (war("jakarta"), "jakarta", ("jakarta",), False),
        # Tomcat 10 reads the old kind of descriptor as well: the classes know better.
        (war("jakarta") | {"WEB-INF/web.xml": WEB_XML["javax"]}, "jakarta", ("jakarta",), False),
        (war("javax") | {"WEB-INF/lib/spring-web-6.1.2.jar": b""}, "javax", ("javax",), True),
        (
            war("javax") | {"WEB-INF/classes/B.class": klass(8, "jakarta/servlet/Filter")},
            "jakarta",
            ("jakarta", "javax"),
            True,
        ),
        ({"WEB-INF/web.xml": WEB_XML["oldest"]}, "javax", (), False),
        ({"WEB-INF/web.xml": b"<web-app/>"}, None, (), False),
        ({"WEB-INF/classes/A.class": klass(8, "javax.servlet.Filter")}, None, (), False),
        ({"WEB-INF/lib/jakarta.servlet-api-4.0.4.jar": b""}, "javax", ("javax",), False),
        ({"WEB-INF/lib/jakarta.servlet-api-6.0.0.jar": b""}, "jakarta", ("jakarta",), False),
        ({"WEB-INF/lib/spring-webmvc-5.3.39.RELEASE.jar": b""}, "javax", ("javax",), False),
        ({"WEB-INF/lib/undertow-servlet-2.2.37.Final.jar": b""}, "javax", ("javax",), False),
        ({"WEB-INF/lib/spring-web.jar": b"", "WEB-INF/lib/jstl.jar": b""}, "javax", ("javax",), False),
        (runnable() | {"javax/servlet/Servlet.class": klass(8)}, "javax", ("javax",), False),
    ],
)
def test_the_servlets_are_those_of_its_classes_then_of_its_libraries(
    files: dict[str, bytes], servlet: str | None, needs: tuple[str, ...], mixed: bool, tmp_path: Path
) -> None:
    found = java(tmp_path, files)
    assert (found.servlet, found.needs, found.mixed) == (servlet, needs, mixed)


@pytest.mark.parametrize(
    ("file", "server"),
    [
        ("BOOT-INF/lib/jetty-server-12.0.1.jar", "jetty"),
        ("BOOT-INF/lib/undertow-core-2.3.1.Final.jar", "undertow"),
        ("BOOT-INF/lib/netty-codec-http-4.1.100.Final.jar", "netty"),
        ("WEB-INF/lib-provided/tomcat-embed-core-10.1.1.jar", "tomcat"),
        ("org/apache/catalina/startup/Tomcat.class", "tomcat"),
        ("lib/jetty-client-12.0.1.jar", ""),
    ],
)
def test_the_server_in_it_is_known_by_its_library_or_its_classes(file: str, server: str, tmp_path: Path) -> None:
    assert java(tmp_path, runnable() | {file: b""}).server == server


def test_a_jar_of_spring_boot_says_all_of_itself(tmp_path: Path) -> None:
    assert java(tmp_path, boot()) == Java(
        level=21,
        servlet="jakarta",
        needs=("jakarta",),
        server="tomcat",
        spring_boot="3.4.1",
        main_class="com.example.ShopApplication",
        launcher="org.springframework.boot.loader.launch.JarLauncher",
        layers=("dependencies", "application"),
    )
