"""Layers through the kernel's own overlays: unpacked on each other, written again, and the same trees as before."""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from s2ictl.engines.embedded.warden import kernel, layering
from s2ictl.engines.embedded.warden.failures import Damaged
from tests.layertrees import LONG_AGO, Item, Tree, directory, hard_link, link, tar_of, tree_of, unpack

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts an overlay in this process")

LARGE = b"large" * 300_000
PLAIN = "index=off,metacopy=off,redirect_dir=nofollow"
CAPABILITY = (("SCHILY.xattr.security.capability", (b"\1\0\0\2\0\4\0\0" + bytes(12)).decode()),)

BASE = (
    directory("bin", mode=0o755),
    Item("bin/su", b"setuid", mode=0o4755, owner=(0, 7)),
    Item("bin/ping", b"able", mode=0o755, records=CAPABILITY),
    link("sbin", "bin"),
    directory("tmp", mode=0o1777),
    directory("shared", mode=0o2775, owner=(3, 4)),
    Item("shared/one", b"linked", mode=0o600, owner=(3, 4)),
    hard_link("shared/two", "shared/one"),
    hard_link("three", "shared/one"),
    link("broken", "/nowhere/at/all"),
    hard_link("also-broken", "broken"),
    Item("dev/null", kind=tarfile.CHRTYPE, device=(1, 3), mode=0o666),
    Item("dev/disk", kind=tarfile.BLKTYPE, device=(259, 70_000), mode=0o660, owner=(0, 6)),
    Item("dev/pipe", kind=tarfile.FIFOTYPE, mode=0o622),
    Item("n" * 255, b"long name"),
    Item("/".join(["deep" * 30] * 8), b"long path", owner=(3_000_000, 2_000_000_000)),
    Item("latin-\udce9", b"no text"),
    Item("large", LARGE),
    Item("empty"),
    Item("old", b"before 1970", mtime=-5),
    directory("gone"),
    Item("gone/a"),
    directory("gone/below"),
    Item("gone/below/b"),
    directory("renewed", mode=0o700),
    Item("renewed/old"),
    directory("partly"),
    Item("partly/kept", b"kept"),
    Item("partly/hidden"),
    Item("becomes-directory", b"file"),
    directory("becomes-file"),
    Item("becomes-file/x"),
    directory("becomes-link"),
    Item("becomes-link/y"),
    directory("marked", mode=0o755),
    Item("marked/z", records=(("SCHILY.xattr.user.colour", "blue"), ("SCHILY.xattr.user.nothing", ""))),
)
SECOND = (
    Item("renewed/early", b"before the mark"),
    Item("renewed/.wh..wh..opq"),
    Item("renewed/late", b"after it"),
    Item(".wh.gone"),
    Item("partly/.wh.hidden"),
    Item("partly/.wh.never-there"),
    directory("becomes-directory"),
    Item("becomes-directory/new"),
    Item("becomes-file", b"now"),
    link("becomes-link", "tmp"),
    Item("sbin/by-a-link", b"in bin"),
    hard_link("four", "three"),
    Item("shared/two", b"no longer linked", mode=0o644, owner=(3, 4)),
    directory("tmp", mode=0o755),
    Item("bin/su", b"setuid", mode=0o4755, owner=(0, 7), mtime=LONG_AGO + 5),
    directory("marked", mode=0o711, owner=(9, 9)),
    Item("./implied/parents/of/this"),
    Item("/absolute", b"absolute"),
    Item("large", LARGE[::-1]),
)


@contextmanager
def overlay(place: Path, lower: Path, name: str) -> Iterator[tuple[Path, Path]]:
    """A tree with an upper directory on it: both, as long as the context lasts."""
    upper, work, merged = (place / f"{name}-{part}" for part in ("upper", "work", "merged"))
    for path in (upper, work, merged):
        path.mkdir(mode=0o755)
    given = f"{PLAIN},lowerdir={lower},upperdir={upper},workdir={work}"
    kernel.mount("overlay", str(merged), "overlay", 0, given)
    try:
        yield upper, merged
    finally:
        kernel.unmount(str(merged))


def written(upper: Path, lower: Path, *skip: str) -> bytes:
    descriptors = [os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in (upper, lower)]
    try:
        above, below = descriptors
        return b"".join(layering.layer(above, (below,), skip=skip, since=0, epoch=None))
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def without_times_of_directories(tree: Tree) -> Tree:
    return {path: replace(leaf, mtime=0) if leaf.kind == "directory" else leaf for path, leaf in tree.items()}


def trees_of(place: Path, base: bytes, second: bytes) -> tuple[Tree, Tree, bytes]:
    """What two layers make of each other, and what they make when the second is the one that we write of it."""
    lower = place / "lower"
    lower.mkdir(mode=0o755)
    unpack(base, lower)
    with overlay(place, lower, "first") as (upper, merged):
        unpack(second, merged)
        first = tree_of(merged)
        layer = written(upper, lower)
    with overlay(place, lower, "again") as (_, merged):
        unpack(layer, merged)
        return first, tree_of(merged), layer


def test_an_image_with_every_oddity_is_the_same_when_it_is_written_again(tmp_path: Path) -> None:
    first, again, _ = trees_of(tmp_path, tar_of(*BASE), tar_of(*SECOND))
    assert again == first
    assert first["four"].names == ("four", "three")  # the kernel takes a file up by one of its names alone
    assert {"gone", "renewed/old", "partly/hidden", "becomes-link/y", "becomes-file/x"}.isdisjoint(first)
    assert {"renewed/early", "renewed/late", "partly/kept", "bin/by-a-link", "absolute"} <= first.keys()
    assert (first["dev/disk"].content, first["bin/ping"].attributes[0][0]) == ((259, 70_000), "security.capability")


def test_a_whole_image_in_one_layer_is_the_same_tree_again(tmp_path: Path) -> None:
    for name in ("empty", "image", "again"):
        (tmp_path / name).mkdir(mode=0o755)
    unpack(tar_of(*BASE), tmp_path / "image")
    unpack(written(tmp_path / "image", tmp_path / "empty"), tmp_path / "again")
    assert tree_of(tmp_path / "again") == tree_of(tmp_path / "image")


def test_layers_mean_on_an_overlay_what_they_mean_in_one_directory(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir(mode=0o755)
    for layer in (BASE, SECOND):
        unpack(tar_of(*layer), tmp_path / "plain")
    on_overlay, _, _ = trees_of(tmp_path, tar_of(*BASE), tar_of(*SECOND))
    # A hard link to what lies below is a copy there: the kernel takes one of the names up, and not the others.
    alike = ("four", "three", "shared/one")
    expected = tree_of(tmp_path / "plain")
    assert {path: leaf for path, leaf in on_overlay.items() if path not in alike} == {
        path: leaf for path, leaf in expected.items() if path not in alike
    }
    assert {path: on_overlay[path].content for path in alike} == {path: expected[path].content for path in alike}


def test_what_programs_do_in_a_container_is_written_as_they_left_it(tmp_path: Path) -> None:
    lower = tmp_path / "lower"
    lower.mkdir(mode=0o755)
    unpack(tar_of(*BASE), lower)
    with overlay(tmp_path, lower, "first") as (upper, merged):
        (merged / "partly/kept").rename(merged / "moved")
        (merged / "large").chmod(0o600)
        (merged / "empty").touch()
        (merged / "gone/a").unlink()
        (merged / "gone/below/b").unlink()
        (merged / "gone/below").rmdir()
        (merged / "gone/below").mkdir(mode=0o755)
        (merged / "bin/su").write_bytes(b"no longer")
        (merged / "new").mkdir()
        (merged / "new/fifo").hardlink_to(merged / "dev/pipe")
        expected = tree_of(merged)
        layer = written(upper, lower)
    with overlay(tmp_path, lower, "again") as (_, merged):
        unpack(layer, merged)
        found = tree_of(merged)
    assert {path: leaf.mtime // 10**9 for path, leaf in found.items()} == {
        path: leaf.mtime // 10**9 for path, leaf in expected.items()
    }
    assert {
        path: (leaf.kind, leaf.mode, leaf.owner, leaf.content, leaf.attributes) for path, leaf in found.items()
    } == {path: (leaf.kind, leaf.mode, leaf.owner, leaf.content, leaf.attributes) for path, leaf in expected.items()}


def test_what_is_skipped_is_gone_and_the_rest_is_as_it_was(tmp_path: Path) -> None:
    lower = tmp_path / "lower"
    lower.mkdir(mode=0o755)
    unpack(tar_of(*BASE), lower)
    with overlay(tmp_path, lower, "first") as (upper, merged):
        unpack(tar_of(Item("tmp/src/main"), Item("tmp/other"), Item("renewed/new")), merged, layer=False)
        expected = tree_of(merged)
        layer = written(upper, lower, "/tmp/src", "/sbin/su", "/renewed", "/gone/below/b")
    with overlay(tmp_path, lower, "again") as (_, merged):
        unpack(layer, merged)
        found = tree_of(merged)
    left_out = ("tmp/src", "bin/su", "renewed", "gone/below/b")
    kept = {path: leaf for path, leaf in expected.items() if not path.startswith(left_out)}
    assert without_times_of_directories(found) == without_times_of_directories(kept)


# ----------------------------------------------------------------------------------------------------- any two layers


NAME = st.sampled_from(["a", "b", "c"])
PATH = st.lists(NAME, min_size=1, max_size=3).map("/".join)
MARK = st.one_of(NAME.map(".wh.{}".format), st.just(".wh..wh..opq"))


@st.composite
def item(draw: st.DrawFn) -> Item:
    kinds = [tarfile.REGTYPE, tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.FIFOTYPE]
    if draw(st.integers(0, 3)) == 0:
        above = draw(st.one_of(st.just(""), PATH.map("{}/".format)))
        return Item(above + draw(MARK))
    return Item(
        draw(PATH),
        kind=draw(st.sampled_from(kinds)),
        target=draw(st.one_of(PATH, PATH.map("/{}".format))),
        mode=draw(st.sampled_from([0o644, 0o755, 0o700, 0o4711])),
        owner=draw(st.sampled_from([(0, 0), (1, 2)])),
        mtime=draw(st.sampled_from([0, LONG_AGO])),
        records=draw(st.sampled_from([(), (("SCHILY.xattr.trusted.a", "1"),)])),
    )


LAYER = st.lists(item(), max_size=12)


def possible(place: Path, layer: list[Item]) -> bytes:
    """What of a layer fits what is at a place; one member that does not would end it."""
    kept = []
    for member in layer:
        with suppress(Damaged):
            unpack(tar_of(member), place)
            kept.append(member)
    return tar_of(*kept)


@contextmanager
def rejecting_the_impossible() -> Iterator[None]:
    """Members may fit one after the other, and not together: a layer deletes nothing that it brings itself."""
    try:
        yield
    except Damaged:
        reject()


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(base=LAYER, second=LAYER)
def test_any_two_layers_are_the_same_tree_when_the_second_is_written_again(
    tmp_path_factory: pytest.TempPathFactory, base: list[Item], second: list[Item]
) -> None:
    place, scratch = tmp_path_factory.mktemp("layers"), tmp_path_factory.mktemp("scratch")
    with rejecting_the_impossible():
        first, again, _ = trees_of(place, possible(scratch, base), possible(scratch, second))
    # Of a directory that got another time and nothing else no layer tells.
    assert without_times_of_directories(again) == without_times_of_directories(first)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(base=LAYER, second=LAYER)
def test_any_two_layers_mean_the_same_with_an_overlay_and_without(
    tmp_path_factory: pytest.TempPathFactory, base: list[Item], second: list[Item]
) -> None:
    place, plain, scratch = (tmp_path_factory.mktemp(name) for name in ("layers", "plain", "scratch"))
    layers = possible(scratch, base), possible(scratch, second)
    with rejecting_the_impossible():
        for layer in layers:
            unpack(layer, plain)
        on_overlay, _, _ = trees_of(place, *layers)
    assert on_overlay == tree_of(plain)


def test_a_deletion_in_the_written_layer_is_one_that_others_read(tmp_path: Path) -> None:
    _, _, layer = trees_of(tmp_path, tar_of(*BASE), tar_of(*SECOND))
    (tmp_path / "layer.tar").write_bytes(layer)
    with tarfile.open(tmp_path / "layer.tar", errors="surrogateescape") as tar:
        marks = {each.name: (each.size, stat.S_IMODE(each.mode)) for each in tar if "/.wh." in f"/{each.name}"}
    assert marks == dict.fromkeys((".wh.gone", "partly/.wh.hidden", "renewed/.wh.old"), (0, 0o600))
