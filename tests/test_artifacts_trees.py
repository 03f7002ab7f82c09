"""An artifact as the source of a build: its files alone, by the names that count, and nothing of where they lay."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import pytest

from s2ictl.artifacts import Wishes, meaning_of, read, tree_of
from s2ictl.errors import LimitReached, Refused
from s2ictl.models import Tree
from tests.fakes.artifacts import boot, laid, packed, runnable, war
from tests.fakes.images import program

BESIDE = PurePosixPath("/opt/app-root/src")


def tree(path: Path, **wishes: str) -> Tree:
    artifact = read(path)
    meaning = meaning_of(artifact, Wishes(**wishes), prefix="s2ictl")  # type: ignore[arg-type]
    return tree_of(artifact, meaning.place, beside=meaning.beside)


def members(found: Tree) -> list[tuple[str, str, int, int]]:
    return [(member.path, member.kind, member.mode, member.size) for member, _ in found.members()]


def test_a_file_is_alone_under_its_name(tmp_path: Path) -> None:
    (tmp_path / "shop.jar").write_bytes(packed(runnable()))
    (tmp_path / "beside.txt").write_text("not asked for")
    found = tree(tmp_path / "shop.jar")
    size = (tmp_path / "shop.jar").stat().st_size
    assert (found.location, found.paths, found.size) == ("shop.jar", ("shop.jar",), size)
    assert members(found) == [("shop.jar", "file", 0o644, size)]
    assert found.read("shop.jar") == packed(runnable())


def test_a_war_has_the_name_of_its_address(tmp_path: Path) -> None:
    (tmp_path / "shop.war").write_bytes(packed(war()))
    assert tree(tmp_path / "shop.war", context_path="/a/b").paths == ("a#b.war",)


def test_an_unpacked_war_is_a_directory_of_its_name(tmp_path: Path) -> None:
    laid(tmp_path / "shop", war())
    found = tree(tmp_path / "shop")
    assert found.paths == ("shop/WEB-INF/classes/com/example/Shop.class", "shop/WEB-INF/web.xml")
    assert ("shop/WEB-INF", "directory", 0o755, 0) in members(found)


def test_an_unpacked_boot_application_is_a_directory_too(tmp_path: Path) -> None:
    laid(tmp_path / "shop", boot())
    assert all(path.startswith("shop/") for path in tree(tmp_path / "shop").paths)


def test_what_lies_beside_a_program_stays_beside_it(tmp_path: Path) -> None:
    laid(tmp_path / "it", {"my shop": program(), "conf/a.ini": b"a", "helper": b"#!/bin/sh\n"})
    assert [entry[:3] for entry in members(tree(tmp_path / "it")) if entry[1] == "file"] == [
        ("conf/a.ini", "file", 0o644),
        ("helper", "file", 0o755),
        ("my-shop", "file", 0o755),
    ]


def test_two_files_for_one_place_are_refused(tmp_path: Path) -> None:
    laid(tmp_path / "it", {"my shop": program(), "my-shop": b"a text"})
    with pytest.raises(Refused, match="my-shop and my shop would be one file in the image"):
        tree(tmp_path / "it")


def test_the_digest_is_of_bytes_and_names_and_of_nothing_else(tmp_path: Path) -> None:
    for directory in ("one", "other"):
        (tmp_path / directory).mkdir()
        (tmp_path / directory / "shop.war").write_bytes(packed(war()))
    os.utime(tmp_path / "other/shop.war", (1, 1))
    (tmp_path / "other/shop.war").chmod(0o600)
    first, other = (tree(tmp_path / directory / "shop.war").digest() for directory in ("one", "other"))
    renamed = tree(tmp_path / "one/shop.war", context_path="/").digest()
    assert (first == other, first == renamed, first[:7]) == (True, False, "sha256:")


def test_only_what_is_small_is_read_at_once(tmp_path: Path) -> None:
    laid(tmp_path / "it", {"shop": program(), "large": bytes((1 << 20) + 1)})
    found = tree(tmp_path / "it")
    with pytest.raises(LimitReached, match="large is larger than"):
        found.read("large")
    with pytest.raises(KeyError):
        found.read("absent")
