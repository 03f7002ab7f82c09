"""What of an artifact goes into which layer: paths, modes and owners, the same whatever the files look like here."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from s2ictl.archives import Part, layer_stream
from s2ictl.artifacts import parts_of, read
from s2ictl.artifacts.parts import comes_apart
from s2ictl.errors import FetchSourceFailed, InvalidArtifact, LimitReached, Refused
from s2ictl.events import Emit, Event, Notice
from s2ictl.models import Artifact, Binary
from tests.fakes.artifacts import boot, klass, laid, manifest, packed, runnable, war
from tests.fakes.images import program

DEPLOYMENTS = PurePosixPath("/deployments")
BIN, SRC = PurePosixPath("/opt/app-root/bin"), PurePosixPath("/opt/app-root/src")
SCRIPT = b"#!/bin/sh\necho hello\n"


@dataclass(frozen=True, slots=True, order=True)
class Seen:
    """A member of a layer, as the standard library reads it."""

    path: str
    mode: str
    owner: int
    content: bytes | None = None


def bytes_of(part: Part, *, mtime: int = 0) -> bytes:
    return b"".join(layer_stream(part, uid=1001, gid=0, mtime=mtime))


def members(part: Part) -> list[Seen]:
    with tarfile.open(fileobj=io.BytesIO(bytes_of(part))) as archive:
        return [
            Seen(one.name, f"{one.mode:o}", one.uid, file.read() if (file := archive.extractfile(one)) else None)
            for one in archive
        ]


def files(part: Part) -> list[str]:
    return [member.path for member, _ in part.entries() if member.kind == "file"]


def jar_parts(path: Path, emit: Emit, *, layered: bool = False) -> tuple[Part, ...]:
    artifact = read(path)
    unpacked = path.is_dir() or (layered and comes_apart(artifact))
    place = DEPLOYMENTS / (path.stem if unpacked else path.name)
    return parts_of(artifact, place, beside=DEPLOYMENTS, layered=layered, emit=emit)


def program_parts(path: Path, emit: Emit) -> tuple[Part, ...]:
    artifact = read(path)
    return parts_of(artifact, BIN / artifact.name, beside=SRC, emit=emit)


def written(path: Path, content: Mapping[str, bytes]) -> Path:
    path.write_bytes(packed(content))
    return path


# ------------------------------------------------------------------------------------------------------------ places


def test_a_jar_lies_in_the_deployments_as_the_file_that_it_is(tmp_path: Path, emit: Emit) -> None:
    path = written(tmp_path / "shop.jar", runnable())
    (part,) = jar_parts(path, emit)
    assert part.name == "jar"
    assert members(part) == [
        Seen("deployments", "775", 1001),
        Seen("deployments/shop.jar", "644", 1001, path.read_bytes()),
    ]


def test_in_an_image_of_others_nothing_is_said_of_the_directories_that_it_has(tmp_path: Path, emit: Emit) -> None:
    path = written(tmp_path / "shop.war", war())
    place = PurePosixPath("/usr/local/tomcat/webapps/shop.war")
    (part,) = parts_of(read(path), place, beside=DEPLOYMENTS, emit=emit)
    assert members(part) == [
        Seen("usr/local/tomcat/webapps/shop.war", "644", 1001, path.read_bytes()),
    ]


def test_an_unpacked_war_lies_unpacked(tmp_path: Path, emit: Emit) -> None:
    (part,) = jar_parts(laid(tmp_path / "shop.war", {**war(), "run.sh": SCRIPT}), emit)
    assert [(one.path, one.mode, one.owner) for one in members(part)] == [
        ("deployments", "775", 1001),
        ("deployments/shop", "755", 1001),
        ("deployments/shop/WEB-INF", "755", 1001),
        ("deployments/shop/WEB-INF/classes", "755", 1001),
        ("deployments/shop/WEB-INF/classes/com", "755", 1001),
        ("deployments/shop/WEB-INF/classes/com/example", "755", 1001),
        ("deployments/shop/WEB-INF/classes/com/example/Shop.class", "644", 1001),
        ("deployments/shop/WEB-INF/web.xml", "644", 1001),
        ("deployments/shop/run.sh", "644", 1001),
    ]


@pytest.mark.parametrize("form", ["directory", "zip"])
def test_what_lies_beside_a_program_lies_where_it_is_started(form: str, tmp_path: Path, emit: Emit) -> None:
    content = {"serve": program(), "assets/logo.txt": b"logo", "assets/helper": program(), "setup": SCRIPT}
    path = laid(tmp_path / "app", content) if form == "directory" else written(tmp_path / "app.zip", content)
    (part,) = program_parts(path, emit)
    assert members(part) == [
        Seen("opt", "755", 0),
        Seen("opt/app-root", "755", 0),
        Seen("opt/app-root/bin", "775", 1001),
        Seen("opt/app-root/bin/serve", "755", 1001, program()),
        Seen("opt/app-root/src", "775", 1001),
        Seen("opt/app-root/src/assets", "755", 1001),
        Seen("opt/app-root/src/assets/helper", "755", 1001, program()),
        Seen("opt/app-root/src/assets/logo.txt", "644", 1001, b"logo"),
        Seen("opt/app-root/src/setup", "755", 1001, SCRIPT),
    ]


def test_what_lies_beside_a_jar_stays_beside_it(tmp_path: Path, emit: Emit) -> None:
    content = {"app.jar": packed(runnable(Class_Path="lib/one.jar")), "lib/one.jar": packed({"A.class": klass(8)})}
    artifact = read(laid(tmp_path / "shop", content))
    (part,) = parts_of(artifact, DEPLOYMENTS / artifact.name, beside=DEPLOYMENTS, emit=emit)
    assert files(part) == ["deployments/app.jar", "deployments/lib/one.jar"]


# ------------------------------------------------------------------------------------------------------------ layers


def layers(path: Path, emit: Emit) -> dict[str, list[str]]:
    place = "deployments/shop/"
    return {
        part.name: [file.removeprefix(place) for file in files(part)] for part in jar_parts(path, emit, layered=True)
    }


def test_the_layers_of_spring_boot_are_those_that_its_index_names(tmp_path: Path, emit: Emit) -> None:
    index = (
        b'- "dependencies":\n  - "BOOT-INF/lib/tomcat-embed-core-10.1.34.jar"\n'
        b'- "spring-boot-loader":\n  - "org/"\n- "snapshot-dependencies":\n'
        b'- "company":\n  - "BOOT-INF/lib/spring-boot-3.4.1.jar"\n'
        b'- "application":\n  - "BOOT-INF/classes/"\n  - "META-INF/"\n'
    )
    assert layers(written(tmp_path / "shop.jar", boot(**{"BOOT-INF/layers.idx": index})), emit) == {
        "dependencies": ["BOOT-INF/lib/tomcat-embed-core-10.1.34.jar"],
        "spring-boot-loader": ["org/springframework/boot/loader/launch/JarLauncher.class"],
        "company": ["BOOT-INF/lib/spring-boot-3.4.1.jar"],
        "application": [
            "BOOT-INF/classes/com/example/ShopApplication.class",
            "BOOT-INF/layers.idx",
            "META-INF/MANIFEST.MF",
        ],
    }


def test_without_an_index_its_layers_are_the_usual_ones(tmp_path: Path, emit: Emit) -> None:
    content = boot(**{"BOOT-INF/lib/own-1.0-SNAPSHOT.jar": packed({"C.class": klass(17)})})
    del content["BOOT-INF/layers.idx"]
    assert layers(written(tmp_path / "shop.jar", content), emit) == {
        "dependencies": ["BOOT-INF/lib/spring-boot-3.4.1.jar", "BOOT-INF/lib/tomcat-embed-core-10.1.34.jar"],
        "spring-boot-loader": ["org/springframework/boot/loader/launch/JarLauncher.class"],
        "snapshot-dependencies": ["BOOT-INF/lib/own-1.0-SNAPSHOT.jar"],
        "application": ["BOOT-INF/classes/com/example/ShopApplication.class", "META-INF/MANIFEST.MF"],
    }


def test_the_libraries_of_a_war_have_a_layer_of_their_own(tmp_path: Path, emit: Emit) -> None:
    path = written(tmp_path / "shop.war", {**war(), "WEB-INF/lib/one-1.jar": packed({"A.class": klass(8)})})
    assert layers(path, emit) == {
        "dependencies": ["WEB-INF/lib/one-1.jar"],
        "application": ["WEB-INF/classes/com/example/Shop.class", "WEB-INF/web.xml"],
    }


def test_the_libraries_beside_a_jar_have_a_layer_of_their_own(tmp_path: Path, emit: Emit) -> None:
    content = {"app.jar": packed(runnable(Class_Path="lib/one.jar")), "lib/one.jar": packed({"A.class": klass(8)})}
    artifact = read(laid(tmp_path / "shop", content))
    parts = parts_of(artifact, DEPLOYMENTS / artifact.name, beside=DEPLOYMENTS, layered=True, emit=emit)
    assert {part.name: files(part) for part in parts} == {
        "dependencies": ["deployments/lib/one.jar"],
        "application": ["deployments/app.jar"],
    }


def test_where_there_is_nothing_to_part_it_is_one_layer_and_said_so(
    tmp_path: Path, emit: Emit, events: list[Event]
) -> None:
    path = written(tmp_path / "shop.jar", runnable())
    (part,) = jar_parts(path, emit, layered=True)
    assert files(part) == ["deployments/shop.jar"]
    assert events == [Notice(text="shop.jar has no libraries to put into a layer of their own")]


def test_a_war_whose_main_class_starts_the_packed_file_stays_packed(tmp_path: Path) -> None:
    starter = {"META-INF/MANIFEST.MF": manifest(Main_Class="executable.Main"), "executable/Main.class": klass(8)}
    content = {**war(), **starter}
    assert not comes_apart(read(written(tmp_path / "tool.war", content)))


def test_one_changed_class_changes_one_layer(tmp_path: Path, emit: Emit) -> None:
    changed = boot(**{"BOOT-INF/classes/com/example/ShopApplication.class": klass(21, "changed")})
    (tmp_path / "two").mkdir()
    one = jar_parts(written(tmp_path / "shop.jar", boot()), emit, layered=True)
    two = jar_parts(written(tmp_path / "two/shop.jar", changed), emit, layered=True)
    assert [first.name for first, second in zip(one, two, strict=True) if bytes_of(first) != bytes_of(second)] == [
        "application"
    ]


@pytest.mark.parametrize("form", ["directory", "zip"])
def test_links_are_left_out_and_that_is_said(form: str, tmp_path: Path, emit: Emit, events: list[Event]) -> None:
    directory = laid(tmp_path / "app", {"serve": program(), "data": b"1"})
    (directory / "latest").symlink_to("data")
    path = directory
    if form == "zip":
        path = tmp_path / "app.zip"
        link = zipfile.ZipInfo("latest")
        link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        with zipfile.ZipFile(path, "w") as archive:
            archive.write(directory / "serve", "serve")
            archive.write(directory / "data", "data")
            archive.writestr(link, "data")
    (part,) = program_parts(path, emit)
    assert files(part) == ["opt/app-root/bin/serve", "opt/app-root/src/data"]
    text = "serve has links, which are left out (put the files there instead): latest"
    assert events == [Notice(text=text, level="warning")]


# ------------------------------------------------------------------------------------------------- the same, always


def test_neither_time_nor_mode_nor_order_nor_zone_nor_umask_is_seen(tmp_path: Path, emit: Emit) -> None:
    content = {"serve": program(), "b/c": b"1", "b-c": b"2", "a": SCRIPT}
    one = program_parts(laid(tmp_path / "one/app", content), emit)
    other = laid(tmp_path / "two/app", dict(reversed(content.items())))
    for path in other.rglob("*"):
        os.utime(path, (1, 1))
        path.chmod(0o700 if path.is_dir() else 0o600)
    zipped = written(tmp_path / "app.zip", content)
    assert {bytes_of(part) for part in (*one, *program_parts(other, emit), *program_parts(zipped, emit))} == {
        bytes_of(one[0])
    }


names = st.text(st.characters(exclude_characters="/\\\0", exclude_categories=["Cs"]), min_size=1, max_size=60).filter(
    lambda name: name not in (".", "..") and len(name.encode()) < 200 and not name.startswith(".wh.")
)
trees = st.dictionaries(
    st.lists(names, min_size=1, max_size=4).map("/".join), st.binary(max_size=2000), min_size=1, max_size=8
)


def _apart(content: dict[str, bytes]) -> dict[str, bytes]:
    """Without those that lie below another one of them."""
    return {path: data for path, data in content.items() if not any(path.startswith(f"{other}/") for other in content)}


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=trees.map(_apart))
def test_a_layer_is_what_the_standard_library_reads_and_the_same_in_each_form(
    content: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("parts")
    silent: Emit = lambda _: None  # noqa: E731
    kind = {"kind": "binary", "name": "app", "binary": Binary(machine="amd64", linkage="static"), "entry": "\0"}
    folder, zipped = laid(directory / "app", content), written(directory / "app.zip", content)
    forms = (
        Artifact(path=folder, form="directory", size=0, **kind),  # type: ignore[arg-type]
        Artifact(path=zipped, form="zip", size=zipped.stat().st_size, **kind),  # type: ignore[arg-type]
    )
    (one,), (other,) = (parts_of(each, BIN / "app", beside=SRC, emit=silent) for each in forms)
    assert bytes_of(one) == bytes_of(other)
    found = {one.path.removeprefix("opt/app-root/src/"): one.content for one in members(one) if one.content is not None}
    assert found == content
    paths = [os.fsencode(one.path) for one in members(one)]
    assert paths == sorted(paths)


# ------------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize("name", [".wh.passwd", "WEB-INF/.wh..wh..opq", ".wh.dir/file"])
def test_a_name_that_would_take_files_out_of_the_base_is_refused(name: str, tmp_path: Path, emit: Emit) -> None:
    path = laid(tmp_path / "shop.war", {**war(), name: b""})
    with pytest.raises(Refused, match="has a name that would take files away"):
        jar_parts(path, emit)


@pytest.mark.parametrize("names", [("page", "page"), ("page", "page/b"), ("page/b", "page"), ("page/b/c", "page/b")])
def test_files_that_stand_in_the_place_of_each_other_are_refused(
    names: tuple[str, str], tmp_path: Path, emit: Emit
) -> None:
    content = {**war(), "1" * len(names[0]): b"1", "2" * len(names[1]): b"2"}
    spoilt = packed(content, stored=True)
    for number, name in zip("12", names, strict=True):
        spoilt = spoilt.replace((number * len(name)).encode(), name.encode())
    (tmp_path / "shop.war").write_bytes(spoilt)
    with pytest.raises(Refused, match="stands in the place of another file"):
        jar_parts(tmp_path / "shop.war", emit, layered=True)


def test_a_few_paths_that_lead_through_very_many_directories_are_refused(tmp_path: Path, emit: Emit) -> None:
    deep = {f"{number}/{'d/' * 1900}file": b"" for number in range(9)}
    with pytest.raises(LimitReached, match=r"the names in shop\.war have more than"):
        jar_parts(written(tmp_path / "shop.war", {**war(), **deep}), emit, layered=True)


def test_files_of_two_places_that_would_meet_in_the_image_are_refused(tmp_path: Path, emit: Emit) -> None:
    content = {"the app.jar": packed(runnable()), "the-app.jar": b"another"}
    artifact = read(laid(tmp_path / "shop", content))
    with pytest.raises(Refused, match=r"the-app\.jar and the app\.jar would be one file"):
        parts_of(artifact, DEPLOYMENTS / artifact.name, beside=DEPLOYMENTS, emit=emit)


def test_a_zip_that_is_another_one_when_it_is_read_again_is_refused(tmp_path: Path, emit: Emit) -> None:
    path = written(tmp_path / "shop.jar", boot())
    parts = jar_parts(path, emit, layered=True)
    path.write_bytes(packed(boot(more=b"")))
    with pytest.raises(InvalidArtifact, match="was changed while it was read"):
        bytes_of(parts[0])


def test_a_file_that_is_cut_while_it_is_read_is_refused(tmp_path: Path, emit: Emit) -> None:
    path = written(tmp_path / "shop.jar", {**runnable(), "large": os.urandom(3 << 20)})
    (part,) = jar_parts(path, emit)
    chunks = layer_stream(part, uid=1001, gid=0, mtime=0)
    next(chunks)
    os.truncate(path, 1 << 20)
    with pytest.raises(FetchSourceFailed, match="changed while it was read"):
        list(chunks)
