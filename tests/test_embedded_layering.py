"""What was changed above lower trees → the tar of a layer: what is in it, and that its bytes are always the same."""

from __future__ import annotations

import hashlib
import io
import os
import socket
import stat
import tarfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from s2ictl.engines.embedded.warden import layering
from s2ictl.engines.embedded.warden.failures import Damaged, TooMuch
from tests.layertrees import LONG_AGO, Item, directory, hard_link, link, tar_of, tree_of, unpack

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files of other owners, and whiteouts")

NOW = 2_000_000_000 * 10**9
EPOCH = 1_700_000_000
MARKS = ("trusted.overlay.", "user.overlay.")


class Stack:
    """An upper directory on lower ones, the topmost first, as an overlay would have them."""

    def __init__(self, directory: Path, *lowers: tuple[Item, ...]) -> None:
        self.upper = directory / "upper"
        self.lowers = [directory / f"lower{number}" for number in range(len(lowers))]
        for path in (self.upper, *self.lowers):
            path.mkdir(mode=0o755)
        for path, items in zip(self.lowers, lowers, strict=True):
            unpack(tar_of(*items), path)

    def change(self, *items: Item) -> Stack:
        unpack(tar_of(*items), self.upper)
        return self

    def layer(self, *skip: str, volumes: tuple[str, ...] = (), since: int = NOW, epoch: int | None = EPOCH) -> bytes:
        with ExitStack() as stack:
            upper, *lowers = (_held(path, stack) for path in (self.upper, *self.lowers))
            pieces = layering.layer(upper, tuple(lowers), skip=skip, volumes=volumes, since=since, epoch=epoch)
            return b"".join(pieces)

    def names(self, *skip: str) -> list[str]:
        return names_in(self.layer(*skip))


def _held(path: Path, stack: ExitStack) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    stack.callback(os.close, descriptor)
    return descriptor


def names_in(tar: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(tar)) as read:
        return read.getnames()


def whiteout(path: Path) -> None:
    os.mknod(path, stat.S_IFCHR, os.makedev(0, 0))


def opaque(path: Path, mark: str = "trusted.overlay.") -> None:
    os.setxattr(path, f"{mark}opaque", b"y")


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    """A lower tree with a directory `etc` and one file in each of two directories."""
    return Stack(tmp_path, (directory("etc"), Item("etc/a", b"a"), directory("usr/lib"), Item("usr/lib/b", b"b")))


# ------------------------------------------------------------------------------------------------------ what is in it


def test_every_kind_of_file_is_in_it_in_the_order_of_names(tmp_path: Path) -> None:
    stack = Stack(tmp_path).change(
        Item("opt/script", b"#!/bin/sh", mode=0o4755, owner=(5, 6)),
        hard_link("opt/again", "opt/script"),
        link("opt/z", "script"),
        link("opt-a", "t" * 150),
        Item("opt/null", kind=tarfile.CHRTYPE, device=(1, 3)),
        Item("opt/pipe", kind=tarfile.FIFOTYPE, mode=0o600),
        Item("opt/ä", records=(("SCHILY.xattr.user.colour", "blue"),)),
        directory("opt", mode=0o750, owner=(8**7, 0)),
    )
    with tarfile.open(fileobj=io.BytesIO(stack.layer())) as tar:
        found = [(each.name, each.type, each.linkname, each.mode, each.uid, each.gid, each.mtime) for each in tar]
        assert tar.getmember("opt/ä").pax_headers == {"SCHILY.xattr.user.colour": "blue"}
        assert (tar.getmember("opt/null").devmajor, tar.getmember("opt/null").devminor) == (1, 3)
    assert found == [
        ("opt", tarfile.DIRTYPE, "", 0o750, 8**7, 0, LONG_AGO),
        ("opt/again", tarfile.REGTYPE, "", 0o4755, 5, 6, LONG_AGO),
        ("opt/null", tarfile.CHRTYPE, "", 0o644, 0, 0, LONG_AGO),
        ("opt/pipe", tarfile.FIFOTYPE, "", 0o600, 0, 0, LONG_AGO),
        ("opt/script", tarfile.LNKTYPE, "opt/again", 0o4755, 5, 6, LONG_AGO),
        ("opt/z", tarfile.SYMTYPE, "script", 0o777, 0, 0, LONG_AGO),
        ("opt/ä", tarfile.REGTYPE, "", 0o644, 0, 0, LONG_AGO),
        ("opt-a", tarfile.SYMTYPE, "t" * 150, 0o777, 0, 0, LONG_AGO),
    ]


def test_no_name_of_a_user_and_no_other_time_is_in_it(tmp_path: Path) -> None:
    layer = Stack(tmp_path).change(Item("f", b"x")).layer()
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        (member,) = tar
    assert (member.uname, member.gname, member.pax_headers) == ("", "", {})
    assert len(layer) == 4 * tarfile.BLOCKSIZE


def test_nothing_changed_is_an_empty_tar(stack: Stack) -> None:
    assert stack.layer() == bytes(2 * tarfile.BLOCKSIZE)


def test_large_files_come_in_pieces_and_whole(tmp_path: Path) -> None:
    content = os.urandom((3 << 20) + 17)
    stack = Stack(tmp_path).change(Item("large", content), Item("small", b"after"))
    back = tmp_path / "back"
    back.mkdir()
    unpack(stack.layer(), back)
    assert {path: leaf.content for path, leaf in tree_of(back).items()} == {"large": content, "small": b"after"}


def test_of_a_file_without_content_in_places_the_whole_is_written(tmp_path: Path) -> None:
    stack = Stack(tmp_path)
    with (stack.upper / "holes").open("wb") as file:
        file.truncate(2 << 20)
    assert len(stack.layer()) == (2 << 20) + 3 * tarfile.BLOCKSIZE


def test_a_socket_is_left_out(tmp_path: Path) -> None:
    stack = Stack(tmp_path).change(Item("f"))
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(stack.upper / "s"))
    assert stack.names() == ["f"]


def test_a_name_that_would_delete_something_stops_it(tmp_path: Path) -> None:
    stack = Stack(tmp_path)
    (stack.upper / ".wh.passwd").touch()
    with pytest.raises(Damaged, match=r"/\.wh\.passwd cannot be in an image"):
        stack.layer()


@pytest.mark.parametrize("mark", ["metacopy", "redirect"])
def test_what_has_its_content_elsewhere_stops_it(stack: Stack, mark: str) -> None:
    stack.change(directory("etc"))
    os.setxattr(stack.upper / "etc", f"trusted.overlay.{mark}", b"/else")
    with pytest.raises(Damaged, match="keeps the rest elsewhere"):
        stack.layer()


def test_a_tree_that_is_too_deep_stops_it(tmp_path: Path) -> None:
    stack = Stack(tmp_path)
    here = os.open(stack.upper, os.O_RDONLY)
    for _ in range(300):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    with pytest.raises(TooMuch, match="too deep"):
        stack.layer()


# --------------------------------------------------------------------------------------- directories that are not new


def test_a_directory_that_only_got_another_time_is_left_out(stack: Stack) -> None:
    stack.change(directory("etc", mtime=5), directory("usr", mtime=5), directory("usr/lib", mtime=5))
    assert stack.names() == []


def test_it_stands_before_what_was_written_in_it(stack: Stack) -> None:
    stack.change(directory("etc"), directory("usr"), directory("usr/lib"), Item("usr/lib/new"), directory("var"))
    assert stack.names() == ["usr", "usr/lib", "usr/lib/new", "var"]


@pytest.mark.parametrize(
    "change",
    [
        directory("etc", mode=0o700),
        directory("etc", owner=(1, 0)),
        Item("etc", kind=tarfile.DIRTYPE, mode=0o755, records=(("SCHILY.xattr.user.a", "1"),)),
    ],
)
def test_one_that_is_other_than_it_was_is_written(stack: Stack, change: Item) -> None:
    assert stack.change(change).names() == ["etc"]


def test_so_is_the_root_where_it_is_other_than_it_was(stack: Stack) -> None:
    stack.upper.chmod(0o711)
    with tarfile.open(fileobj=io.BytesIO(stack.layer())) as tar:
        assert [(each.name, each.mode) for each in tar] == [(".", 0o711)]


# ----------------------------------------------------------------------------------------------------- what is deleted


def test_what_is_deleted_is_said_after_the_directory_around_it(stack: Stack) -> None:
    stack.change(directory("etc"), directory("usr"))
    whiteout(stack.upper / "etc/a")
    whiteout(stack.upper / "usr/lib")
    assert stack.names() == ["etc", "etc/.wh.a", "usr", "usr/.wh.lib"]


def test_whiteouts_that_are_links_to_each_other_are_no_links(stack: Stack) -> None:
    stack.change(directory("etc"), directory("usr"), directory("usr/lib"))
    whiteout(stack.upper / "etc/a")
    (stack.upper / "usr/lib/b").hardlink_to(stack.upper / "etc/a")
    assert stack.names() == ["etc", "etc/.wh.a", "usr", "usr/lib", "usr/lib/.wh.b"]


@pytest.mark.parametrize("mark", MARKS)
def test_a_whiteout_by_an_attribute_is_one(stack: Stack, mark: str) -> None:
    stack.change(directory("etc"), Item("etc/a"))
    os.setxattr(stack.upper / "etc", f"{mark}opaque", b"x")  # which says that such lie in it
    os.setxattr(stack.upper / "etc/a", f"{mark}whiteout", b"")
    assert stack.names() == ["etc", "etc/.wh.a"]


def test_what_no_lower_tree_has_need_not_be_deleted(stack: Stack) -> None:
    stack.change(directory("etc"))
    whiteout(stack.upper / "etc/made-and-gone")
    assert stack.names() == []


@pytest.mark.parametrize("mark", [*MARKS, "user.fuseoverlayfs."])
def test_a_directory_made_anew_hides_what_was_in_it(stack: Stack, mark: str) -> None:
    stack.change(directory("usr"), directory("usr/lib"), Item("usr/lib/c"), directory("new"))
    opaque(stack.upper / "usr/lib", mark)
    opaque(stack.upper / "new", mark)
    assert stack.names() == ["new", "usr", "usr/lib", "usr/lib/.wh..wh..opq", "usr/lib/c"]


def test_what_a_program_puts_beside_that_mark_is_nothing_more(stack: Stack) -> None:
    stack.change(directory("etc"), Item("etc/c"))
    (stack.upper / "etc/.wh..wh..opq").touch()
    whiteout(stack.upper / "etc/.wh..opq")
    opaque(stack.upper / "etc")
    assert stack.names() == ["etc", "etc/.wh..wh..opq", "etc/c"]


@pytest.mark.parametrize(
    ("items", "names"),
    [((Item("usr/lib"),), ["usr", "usr/lib"]), ((directory("etc/a"), Item("etc/a/b")), ["etc", "etc/a", "etc/a/b"])],
)
def test_another_kind_in_its_place_needs_no_whiteout(stack: Stack, items: tuple[Item, ...], names: list[str]) -> None:
    assert stack.change(directory("usr"), directory("etc"), *items).names() == names


def test_lower_trees_hide_from_each_other_what_they_delete(tmp_path: Path) -> None:
    base = (directory("d"), Item("d/a"), Item("d/b"), directory("o"), Item("o/c"), Item("f"))
    stack = Stack(tmp_path, (directory("d"), directory("o")), base)
    whiteout(stack.lowers[0] / "d/a")
    opaque(stack.lowers[0] / "o")
    stack.change(directory("d"), directory("o"))
    for path in ("d/a", "d/b", "o/c", "f"):
        whiteout(stack.upper / path)
    assert stack.names() == ["d", "d/.wh.b", ".wh.f"]


# ---------------------------------------------------------------------------------------------------- what is left out


@pytest.mark.parametrize(
    ("skip", "names"),
    [
        ((), ["etc", "etc/c", "tmp", "tmp/src", "tmp/src/f", "tmp/z", "way"]),
        (("/tmp/src",), ["etc", "etc/c", "tmp", "tmp/z", "way"]),
        (("/tmp/src", "/tmp"), ["etc", "etc/c", "way"]),
        (("/way/src",), ["etc", "etc/c", "tmp", "tmp/z", "way"]),
        (("/tmp", "/etc/a"), ["etc", "etc/.wh.a", "etc/c", "way"]),
        (("/tmp", "/etc/", "/way"), [".wh.etc"]),
        (("/tmp", "/usr/lib/b"), ["etc", "etc/c", "usr", "usr/lib", "usr/lib/.wh.b", "way"]),
        (("/tmp", "/usr/lib/none", "/none/at/all", "/etc/a/below"), ["etc", "etc/c", "way"]),
        (("/tmp", "/usr/lib/b", "/usr/lib/none", "/usr"), ["etc", "etc/c", ".wh.usr", "way"]),
    ],
)
def test_what_is_skipped_is_left_out_and_deleted_where_it_was(
    stack: Stack, skip: tuple[str, ...], names: list[str]
) -> None:
    stack.change(directory("etc"), Item("etc/c"), directory("tmp/src"), Item("tmp/src/f"), Item("tmp/z"))
    stack.change(link("way", "/tmp"))
    assert stack.names(*skip) == names


def test_of_what_lies_in_a_volume_nothing_is_said(stack: Stack) -> None:
    stack.change(Item("etc/new", b"x"), directory("data"), Item("data/x", b"x"), Item("usr/new", b"x"))
    whiteout(stack.upper / "etc/a")
    assert names_in(stack.layer(volumes=("/etc", "/data", "/nowhere"))) == ["usr", "usr/new"]
    assert names_in(stack.layer("/usr/lib", volumes=("/etc/new", "/data"))) == [
        *("etc", "etc/.wh.a"),
        *("usr", "usr/.wh.lib", "usr/new"),
    ]


def test_a_path_is_skipped_where_it_leads_in_the_trees(tmp_path: Path) -> None:
    base = (directory("real"), Item("real/a"), Item("real/b"), link("one", "../../two"), link("two", "/one-more/.."))
    stack = Stack(tmp_path, base).change(link("one-more", "real/x"), directory("real/x"), Item("real/n"))
    assert stack.names("/one/a", "/two/n") == ["one-more", "real", "real/.wh.a", "real/x"]


def test_links_in_a_circle_lead_nowhere(tmp_path: Path) -> None:
    stack = Stack(tmp_path, (link("a", "b"), link("b", "a")))
    with pytest.raises(Damaged, match="lead nowhere"):
        stack.layer("/a/x")


def test_the_first_name_of_a_file_is_the_first_that_is_in_the_layer(tmp_path: Path) -> None:
    stack = Stack(tmp_path).change(Item("a/f", b"x"), hard_link("b/f", "a/f"), hard_link("c/f", "a/f"))
    with tarfile.open(fileobj=io.BytesIO(stack.layer("/a"))) as tar:
        assert [(each.name, each.linkname) for each in tar] == [("b", ""), ("b/f", ""), ("c", ""), ("c/f", "b/f")]


# ------------------------------------------------------------------------------------------------- always the same


def times(layer: bytes) -> dict[str, float]:
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        return {each.name: each.mtime for each in tar}


def test_what_is_newer_than_the_beginning_gets_the_fixed_time(stack: Stack) -> None:
    stack.change(Item("etc/new", mtime=6.5), Item("etc/old", mtime=5.5))
    whiteout(stack.upper / "etc/a")
    stack.change(directory("etc", mtime=6.5))
    at = 6_500_000_000
    assert times(stack.layer(since=at)) == {"etc": EPOCH, "etc/new": EPOCH, "etc/old": 5, "etc/.wh.a": EPOCH}
    assert times(stack.layer(since=at, epoch=None)) == {"etc": 6, "etc/new": 6, "etc/old": 5, "etc/.wh.a": 0}


def test_so_does_a_directory_that_only_leads_to_what_was_changed(stack: Stack) -> None:
    stack.change(directory("etc", mtime=5), Item("etc/old", mtime=5))
    assert times(stack.layer("/usr/lib/b")) == {
        "etc": EPOCH,
        "etc/old": 5,
        "usr": EPOCH,
        "usr/lib": EPOCH,
        "usr/lib/.wh.b": EPOCH,
    }
    assert times(stack.layer(epoch=None)) == {"etc": 5, "etc/old": 5}


def test_the_same_changes_give_the_same_bytes_whatever_was_before(tmp_path: Path) -> None:
    items = [directory("d"), *(Item(f"d/{number}", b"%d" % number) for number in range(200)), link("l", "d")]
    layers = []
    for name, changes, umask in (("one", items, 0o022), ("two", items[::-1], 0o077)):
        (tmp_path / name).mkdir()
        before = os.umask(umask)
        stack = Stack(tmp_path / name, (directory("d"),)).change(*changes)
        layers.append(stack.layer())
        os.umask(before)
    assert layers[0] == layers[1] == stack.layer()


def test_the_bytes_are_fixed_for_ever(stack: Stack) -> None:
    stack.change(directory("etc"))
    whiteout(stack.upper / "etc/a")
    stack.change(
        directory("etc", mode=0o700),
        Item("etc/" + "long" * 50, b"content", owner=(8**7, 3)),
        hard_link("linked", "etc/" + "long" * 50),
        Item("x", records=(("SCHILY.xattr.user.b", "2"), ("SCHILY.xattr.user.a", "1"))),
    )
    assert (
        hashlib.sha256(stack.layer()).hexdigest() == "a749878e0b4a2971a6146c8ea3500de9c83e044f94c894b8e1a890864bcd5e83"
    )


# ------------------------------------------------------------------------------------------------------- other walks


def subtree(root: Path, path: str) -> bytes | None:
    with ExitStack() as stack:
        blocks = layering.subtree(_held(root, stack), path)
        return None if blocks is None else b"".join(blocks)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    items = (directory("opt/app"), Item("opt/app/f", b"x"), Item("opt/app/.wh.kept"), link("way", "/opt"))
    unpack(tar_of(*items, link("out", "/" + "../" * 30 + str(tmp_path))), tmp_path, layer=False)
    return tmp_path


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/opt/app", ["app", "app/.wh.kept", "app/f"]),
        ("/opt/app/", ["app", "app/.wh.kept", "app/f"]),
        ("/opt/app/.", [".", "./.wh.kept", "./f"]),
        ("/way/app/f", ["f"]),
        ("/way", ["way"]),
        ("/", [".", "./opt", "./opt/app", "./opt/app/.wh.kept", "./opt/app/f", "./out", "./way"]),
        ("/..", [".", "./opt", "./opt/app", "./opt/app/.wh.kept", "./opt/app/f", "./out", "./way"]),
        ("/opt/app/../app/..", [".", "./app", "./app/.wh.kept", "./app/f"]),
        ("/none", None),
        ("/opt/app/f/below", None),
        ("/out/opt", None),
    ],
)
def test_what_lies_at_a_path_is_called_by_its_last_name(root: Path, path: str, names: list[str] | None) -> None:
    tar = subtree(root, path)
    assert (names_in(tar) if tar is not None else None) == names


Step = Callable[[], Iterator[bytes]]


def test_a_walk_that_is_not_gone_to_its_end_holds_nothing_open(root: Path) -> None:
    unpack(tar_of(Item("large", bytes(3 << 20))), root)
    before = os.listdir("/proc/self/fd")  # noqa: PTH208
    with ExitStack() as stack:
        held = _held(root, stack)
        walks: list[Step] = [
            lambda: layering.layer(held, (), skip=(), since=NOW, epoch=0),
            lambda: layering.subtree(held, "/large") or iter(()),
        ]
        for walk in walks:
            next(walk())
            walk()
    assert os.listdir("/proc/self/fd") == before  # noqa: PTH208
