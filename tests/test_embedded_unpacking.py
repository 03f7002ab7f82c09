"""A tar → files below one directory: as the specification of layers says, and nothing outside whatever it says."""

from __future__ import annotations

import os
import stat
import tarfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from s2ictl.engines.embedded.warden.failures import Damaged, TooMuch
from tests.layertrees import LONG_AGO, Item, Leaf, directory, hard_link, link, tar_of, tree_of, unpack

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files of other owners")

SECOND = 10**9
TIME = LONG_AGO * SECOND


def file(content: bytes = b"", *, mode: int = 0o644, names: tuple[str, ...] = ()) -> Leaf:
    return Leaf("file", mode, (0, 0), TIME, content, (), names)


def way(*, mode: int = 0o755, mtime: int = TIME) -> Leaf:
    return Leaf("directory", mode, (0, 0), mtime, None, ())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    return root


@pytest.fixture
def sentinel(tmp_path: Path) -> Path:
    """A directory beside the root, in which nothing must change."""
    sentinel = tmp_path / "outside"
    sentinel.mkdir()
    (sentinel / "file").write_bytes(b"as it was")
    (sentinel / "directory").mkdir()
    return sentinel


# ----------------------------------------------------------------------------------------------------------- members


def test_every_kind_of_file_has_what_the_tar_says_of_it(root: Path) -> None:
    attribute = (("SCHILY.xattr.user.colour", "blue"),)
    tar = tar_of(
        directory("d", mode=0o1777, owner=(7, 8)),
        Item("d/file", b"content", mode=0o4755, owner=(5, 6), mtime=LONG_AGO + 0.25, records=attribute),
        link("d/link", "file"),
        hard_link("d/again", "d/file"),
        Item("d/fifo", kind=tarfile.FIFOTYPE, mode=0o622),
        Item("d/null", kind=tarfile.CHRTYPE, device=(1, 3), mode=0o666),
        Item("d/disk", kind=tarfile.BLKTYPE, device=(8, 300), owner=(0, 6)),
    )
    assert unpack(tar, root) == (7, 0)
    names = ("d/again", "d/file")
    content = Leaf("file", 0o4755, (5, 6), TIME + SECOND // 4, b"content", (("user.colour", b"blue"),), names)
    assert tree_of(root) == {
        "d": Leaf("directory", 0o1777, (7, 8), TIME, None, ()),
        "d/again": content,
        "d/file": content,
        "d/link": Leaf("link", 0o777, (0, 0), TIME, "file", ()),
        "d/fifo": Leaf("fifo", 0o622, (0, 0), TIME, None, ()),
        "d/null": Leaf("character device", 0o666, (0, 0), TIME, (1, 3), ()),
        "d/disk": Leaf("block device", 0o644, (0, 6), TIME, (8, 300), ()),
    }


def test_the_umask_changes_no_mode(root: Path) -> None:
    before = os.umask(0o077)
    try:
        unpack(tar_of(directory("d"), Item("d/f", mode=0o666), Item("i/f", mode=0o640)), root)
    finally:
        os.umask(before)
    assert {path: leaf.mode for path, leaf in tree_of(root).items()} == {
        "d": 0o755,
        "d/f": 0o666,
        "i": 0o755,
        "i/f": 0o640,
    }


def test_directories_that_are_not_told_of_are_root_s_and_those_that_are_there_keep_what_they_are(root: Path) -> None:
    unpack(tar_of(directory("old", mode=0o700, owner=(3, 4))), root)
    unpack(tar_of(Item("old/f"), Item("new/deep/f")), root)
    assert tree_of(root) == {
        "old": Leaf("directory", 0o700, (3, 4), TIME, None, ()),
        "old/f": file(),
        "new": way(mtime=0),
        "new/deep": way(mtime=0),
        "new/deep/f": file(),
    }


def test_the_group_of_a_directory_is_not_handed_on(root: Path) -> None:
    unpack(tar_of(directory("d", mode=0o2775, owner=(0, 9)), Item("d/f"), Item("d/sub/f")), root)
    assert {path: (leaf.mode, leaf.owner) for path, leaf in tree_of(root).items()} == {
        "d": (0o2775, (0, 9)),
        "d/f": (0o644, (0, 0)),
        "d/sub": (0o755, (0, 0)),
        "d/sub/f": (0o644, (0, 0)),
    }


def test_a_directory_has_its_time_whatever_is_made_in_it_later(root: Path) -> None:
    unpack(tar_of(directory("a", mtime=5), directory("a/b", mtime=6), Item("a/b/f"), Item("a/g")), root)
    tree = tree_of(root)
    assert (tree["a"].mtime, tree["a/b"].mtime) == (5 * SECOND, 6 * SECOND)


def test_times_before_1970_and_parts_of_a_second_are_kept(root: Path) -> None:
    unpack(tar_of(Item("old", records=(("mtime", "-1.5"),)), Item("fine", records=(("mtime", "1.0123456789"),))), root)
    assert {path: leaf.mtime for path, leaf in tree_of(root).items()} == {"old": -1_500_000_000, "fine": 1_012_345_678}


def test_a_capability_is_kept_and_what_a_machine_or_a_mount_notes_is_not(root: Path) -> None:
    capability = b"\1\0\0\2\0\4\0\0" + bytes(12)
    said = {
        "security.capability": capability.decode(),
        "security.selinux": "system_u",
        "trusted.overlay.opaque": "y",
        "user.overlay.whiteout": "y",
        "user.kept": "",
        "trusted.kept": "too",
    }
    records = tuple((f"SCHILY.xattr.{name}", value) for name, value in said.items())
    unpack(tar_of(Item("f", mode=0o755, records=records)), root)
    assert tree_of(root)["f"].attributes == (
        ("security.capability", capability),
        ("trusted.kept", b"too"),
        ("user.kept", b""),
    )


def test_a_large_file_and_many_small_ones_come_whole(root: Path) -> None:
    large = os.urandom(5 << 20)
    small = {f"d/{number}": b"%d" % number * (number % 700) for number in range(900)}
    tar = tar_of(Item("large", large), *(Item(path, content) for path, content in small.items()))
    assert unpack(tar, root) == (len(large) + sum(map(len, small.values())), 0)
    tree = tree_of(root)
    assert {path: tree[path].content for path in ("large", *small)} == {"large": large, **small}


def test_more_directories_than_may_be_open_at_once(root: Path) -> None:
    paths = [f"{top}/{below}" for top in range(20) for below in range(30)]
    unpack(tar_of(*(Item(f"{path}/f") for path in (*paths, *(f"{each}/again" for each in paths[:100])))), root)
    assert len(tree_of(root)) == 20 + 600 * 2 + 100 * 2
    assert len(os.listdir("/proc/self/fd")) < 256  # noqa: PTH208


def test_an_ordinary_user_is_told_how_many_devices_are_left_out(root: Path) -> None:
    tar = tar_of(Item("null", kind=tarfile.CHRTYPE, device=(1, 3)), Item("pipe", kind=tarfile.FIFOTYPE))
    assert unpack(tar, root, rootless=True) == (0, 1)
    assert {path: leaf.kind for path, leaf in tree_of(root).items()} == {"pipe": "fifo"}


# --------------------------------------------------------------------------------------------------- one over another


KINDS = {
    "file": Item("x", b"new"),
    "directory": directory("x"),
    "link": link("x", "elsewhere"),
    "hard link": hard_link("x", "other"),
    "fifo": Item("x", kind=tarfile.FIFOTYPE),
    "character device": Item("x", kind=tarfile.CHRTYPE, device=(1, 5)),
}


@pytest.mark.parametrize("before", KINDS)
@pytest.mark.parametrize("after", KINDS)
def test_what_comes_later_takes_the_place_of_what_was_there(root: Path, before: str, after: str) -> None:
    other = Item("other", b"other")
    unpack(tar_of(other, KINDS[before]), root)
    unpack(tar_of(KINDS[after]), root)
    replaced = tree_of(root)
    alone = root.parent / "alone"
    alone.mkdir()
    unpack(tar_of(other, KINDS[after]), alone)
    assert replaced == tree_of(alone)


def test_a_directory_over_a_directory_keeps_what_is_in_it(root: Path) -> None:
    unpack(tar_of(directory("d"), Item("d/f")), root)
    unpack(tar_of(directory("d", mode=0o700)), root)
    assert tree_of(root) == {"d": way(mode=0o700), "d/f": file()}


def test_a_directory_has_the_attributes_that_the_last_layer_says(root: Path) -> None:
    for said in ("first", "second"):
        unpack(tar_of(Item("d", kind=tarfile.DIRTYPE, records=((f"SCHILY.xattr.user.{said}", "1"),))), root)
    assert tree_of(root)["d"].attributes == (("user.second", b"1"),)


def test_of_two_members_with_one_name_the_later_holds(root: Path) -> None:
    unpack(tar_of(Item("f", b"one"), hard_link("g", "f"), Item("f", b"two")), root)
    assert tree_of(root) == {"f": file(b"two"), "g": file(b"one")}


def test_a_hard_link_is_to_what_lies_below_too_and_to_a_link_itself(root: Path) -> None:
    unpack(tar_of(Item("lower", b"x"), link("pointer", "lower")), root)
    unpack(tar_of(hard_link("a/b", "/lower"), hard_link("c", "./pointer"), hard_link("lower", "lower")), root)
    tree = tree_of(root)
    assert tree["lower"] == tree["a/b"] == file(b"x", names=("a/b", "lower"))
    assert tree["c"].names == ("c", "pointer")


# ----------------------------------------------------------------------------------------------------------- deletions


@pytest.fixture
def below(root: Path) -> Path:
    unpack(tar_of(directory("d"), Item("d/a"), Item("d/b"), directory("d/sub"), Item("d/sub/c"), Item("e")), root)
    return root


@pytest.mark.parametrize(
    ("items", "left"),
    [
        ([Item("d/.wh.a")], {"d", "d/b", "d/sub", "d/sub/c", "e"}),
        ([Item(".wh.d")], {"e"}),
        ([Item("d/.wh.sub"), Item("d/sub/new")], {"d", "d/a", "d/b", "d/sub", "d/sub/new", "e"}),
        ([Item("d/sub/new"), Item("d/.wh.sub")], {"d", "d/a", "d/b", "d/sub", "d/sub/new", "e"}),
        ([Item("d/a"), Item("d/.wh.a")], {"d", "d/a", "d/b", "d/sub", "d/sub/c", "e"}),
        ([Item("d/.wh..wh..opq"), Item("d/new")], {"d", "d/new", "e"}),
        ([Item("d/new"), Item("d/.wh..wh..opq")], {"d", "d/new", "e"}),
        ([Item("d/sub/new"), Item("d/.wh..wh..opq")], {"d", "d/sub", "d/sub/new", "e"}),
        ([directory("new"), Item("new/f"), Item("new/.wh..wh..opq"), Item("new/.wh.f")], None),
        ([Item(".wh.nothing"), Item("nowhere/.wh.x"), Item("nowhere/.wh..wh..opq")], set()),
        ([Item(".wh..wh.aufs"), directory(".wh..wh.plnk"), Item(".wh..wh.plnk/1.2")], set()),
        ([Item(".wh..wh..opq")], {""}),
    ],
)
def test_a_whiteout_deletes_what_the_layers_below_had_and_that_alone(
    below: Path, items: list[Item], left: set[str] | None
) -> None:
    whole = {"d", "d/a", "d/b", "d/sub", "d/sub/c", "e"}
    unpack(tar_of(*items), below)
    expected = {"new", "new/f", *whole} if left is None else left - {""} if left else whole
    assert set(tree_of(below)) == expected


def test_a_whiteout_is_a_file_like_others_in_what_is_put_into_a_container(below: Path) -> None:
    unpack(tar_of(Item("d/.wh.a")), below, layer=False)
    assert {"d/a", "d/.wh.a"} <= set(tree_of(below))


@pytest.mark.parametrize("item", [Item("d/.wh.a"), Item("d/.wh..wh..opq"), Item("d/new"), Item("d/implied/new")])
def test_a_directory_of_which_nothing_is_said_keeps_its_time(below: Path, item: Item) -> None:
    unpack(tar_of(item), below)
    assert tree_of(below)["d"].mtime == TIME


def test_a_layer_says_whose_the_root_is_and_what_is_put_into_a_container_does_not(root: Path) -> None:
    unpack(tar_of(directory("./", mode=0o711, owner=(1, 2))), root)
    unpack(tar_of(directory("./", mode=0o777)), root, layer=False)
    facts = root.stat()
    assert (stat.S_IMODE(facts.st_mode), facts.st_uid, facts.st_gid) == (0o711, 1, 2)


# ------------------------------------------------------------------------------------------------------------- hostile


def test_links_lead_nowhere_outside(root: Path, sentinel: Path) -> None:
    before = tree_of(sentinel)
    tar = tar_of(
        link("absolute", str(sentinel)),
        link("climbing", "../" * 30 + str(sentinel)),
        link("again", "climbing"),
        Item("absolute/file", b"1"),
        Item("climbing/two", b"2"),
        Item("again/directory/three", b"3"),
    )
    unpack(tar, root)
    assert tree_of(sentinel) == before
    inside = str(sentinel).lstrip("/")
    tree = tree_of(root)
    assert {path: leaf.content for path, leaf in tree.items() if leaf.kind == "file"} == {
        f"{inside}/file": b"1",
        f"{inside}/two": b"2",
        f"{inside}/directory/three": b"3",
    }


def test_a_link_is_replaced_and_not_followed(root: Path, sentinel: Path) -> None:
    before = tree_of(sentinel)
    names = ("file", "dir", "pipe", "gone", "hard")
    unpack(tar_of(*(link(name, str(sentinel / "file")) for name in names), Item("own", b"own")), root)
    (root / "straight").symlink_to(sentinel)
    unpack(
        tar_of(
            Item("file", b"new"),
            directory("dir"),
            Item("pipe", kind=tarfile.FIFOTYPE),
            Item(".wh.gone"),
            hard_link("hard", "own"),
            directory("straight"),
            Item("straight/file", b"inside"),
            Item("straight/.wh.directory"),
        ),
        root,
    )
    assert tree_of(sentinel) == before
    assert {path: leaf.kind for path, leaf in tree_of(root).items()} == {
        "file": "file",
        "dir": "directory",
        "pipe": "fifo",
        "hard": "file",
        "own": "file",
        "straight": "directory",
        "straight/file": "file",
    }


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ([Item("../out")], "leads upwards"),
        ([Item("a/../../out")], "leads upwards"),
        ([Item("d/.."), Item("f")], "leads upwards"),
        ([hard_link("x", "../outside/file")], "leads upwards"),
        ([hard_link("x", "nothing")], "not there"),
        ([directory("d"), hard_link("x", "d")], "cannot be unpacked"),
        ([Item("d/f"), hard_link("d", "d/f")], "what lies in it"),
        ([Item("f"), Item("f/below")], "no directory"),
        ([link("a", "b"), link("b", "a"), Item("a/x")], "no directory"),
        ([Item(".wh.")], "nothing that can be named"),
        ([Item("d/f"), Item("d/.wh..")], "nothing that can be named"),
        ([Item("d/f"), Item("d/.wh...")], "nothing that can be named"),
        ([Item(".wh.d/f")], "means a deletion"),
        ([Item("n" * 256)], "cannot be unpacked"),
        ([Item("n/" * 3000 + "f")], "no path"),
        ([Item(".")], "root of the tar is no directory"),
        ([Item("zero", kind=tarfile.CHRTYPE)], "is deleted"),
        ([Item("far", kind=tarfile.CHRTYPE, device=(1 << 13, 0))], "no kernel has"),
        ([Item("f", records=(("uid", str(2**32 - 1)),))], "nobody can be"),
        ([Item("f", records=(("mtime", "9" * 19),))], "further away"),
    ],
)
def test_what_cannot_be_meant_is_refused(root: Path, sentinel: Path, items: list[Item], said: str) -> None:
    before = tree_of(sentinel)
    with pytest.raises(Damaged, match=said):
        unpack(tar_of(*items), root)
    assert tree_of(sentinel) == before


def test_a_name_in_a_message_says_nothing_to_a_terminal(root: Path) -> None:
    with pytest.raises(Damaged) as caught:
        unpack(tar_of(Item("../\x1b[31mred\n")), root)
    assert str(caught.value) == "/../?[31mred? leads upwards"


def test_there_is_an_end_to_members_to_bytes_and_to_depth(root: Path) -> None:
    with pytest.raises(TooMuch, match="more than 3 files"):
        unpack(tar_of(*map(Item, "abcd")), root, most_members=3)
    with pytest.raises(TooMuch, match="more than 10 bytes"):
        unpack(tar_of(Item("f", b"12345"), Item("g", b"123456")), root, most_bytes=10)
    with pytest.raises(TooMuch, match="deeper"):
        unpack(tar_of(Item("d/" * 300 + "f")), root)


NAME = st.sampled_from(["a", "b", "c", ".wh.a", ".wh.b", ".wh..wh..opq", ".wh.", ".wh...", "..", ".", ""])
PATH = st.lists(NAME, min_size=1, max_size=4).map("/".join)
TARGET = st.one_of(
    PATH, st.sampled_from(["/", "..", "../outside", "/../outside", "../../outside/directory", "a/../.."])
)


@st.composite
def hostile(draw: st.DrawFn) -> Item:
    kinds = [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE]
    kind = draw(st.sampled_from(kinds))
    target = draw(TARGET) if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
    content = draw(st.binary(max_size=20)) if kind == tarfile.REGTYPE else b""
    return Item(draw(PATH), content, kind=kind, target=target, device=(1, 3), mode=draw(st.integers(0, 0o7777)))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(layers=st.lists(st.lists(hostile(), min_size=1, max_size=12), min_size=1, max_size=3), is_layer=st.booleans())
def test_nothing_outside_is_touched_whatever_the_tar_says(
    tmp_path_factory: pytest.TempPathFactory, layers: list[list[Item]], is_layer: bool
) -> None:
    top = tmp_path_factory.mktemp("top")
    root, outside = top / "root", top / "outside"
    root.mkdir()
    (outside / "directory").mkdir(parents=True)
    (outside / "a").write_bytes(b"as it was")
    before = tree_of(outside)
    for items in layers:
        for item in items:  # one at a time, since one that is refused ends the others
            with suppress(Damaged):
                unpack(tar_of(item), root, layer=is_layer)
    with suppress(Damaged):
        unpack(tar_of(*layers[0]), root, layer=is_layer)
    assert tree_of(outside) == before
    assert {each.name for each in top.iterdir()} == {"root", "outside"}
