"""The members of a tar in every form that layers have been written in, and what is no member in any of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s2ictl.archives.headers import headers_for
from s2ictl.engines.embedded.warden.failures import Damaged, TooMuch
from s2ictl.engines.embedded.warden.headers import END, header
from s2ictl.engines.embedded.warden.members import DIRECTORY, FILE, HARD_LINK, LINK, Tar
from s2ictl.models import Member
from tests.layertrees import LONG_AGO, Item, directory, hard_link, link, tar_of, unpack

KINDS = {"file": FILE, "directory": DIRECTORY, "link": LINK, "hardlink": HARD_LINK}
Seen = tuple[bytes, bytes, int, tuple[int, int], int, int, bytes]


def members(tar: bytes, *, closed: bool = True) -> list[Seen]:
    """What stands in a tar, but for content and attributes."""
    source = os.memfd_create("tar")
    try:
        os.write(source, tar)
        os.lseek(source, 0, os.SEEK_SET)
        return [
            (each.kind, each.path, each.mode, (each.uid, each.gid), each.mtime, each.size, each.target)
            for each in Tar(source, closed=closed).members()
        ]
    finally:
        os.close(source)


def plain(kind: bytes, path: str, *, size: int = 0, target: str = "", mode: int = 0o644) -> Seen:
    return (kind, os.fsencode(path), mode, (0, 0), LONG_AGO * 10**9, size, os.fsencode(target))


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_each_of_the_library_s_formats_is_read(form: int) -> None:
    tar = tar_of(directory("d"), Item("d/f", b"content"), link("d/l", "f"), hard_link("d/h", "d/f"), form=form)
    assert members(tar) == [
        plain(DIRECTORY, "d/", mode=0o755),
        plain(FILE, "d/f", size=7),
        plain(LINK, "d/l", target="f", mode=0o777),
        plain(HARD_LINK, "d/h", target="d/f"),
    ]


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_and_large_numbers_are_read_in_both_ways_of_writing_them(form: int) -> None:
    path, target = "/".join(["long" * 30] * 5), "t" * 300
    tar = tar_of(
        Item(path, owner=(3_000_000_000, 8**7), mtime=-5.0),
        Item(path, kind=tarfile.SYMTYPE, target=target, mtime=8**11),
        Item("\udcff\udcfe", b"no text"),
        form=form,
    )
    assert members(tar) == [
        (FILE, path.encode(), 0o644, (3_000_000_000, 8**7), -5 * 10**9, 0, b""),
        (LINK, path.encode(), 0o644, (0, 0), 8**11 * 10**9, 0, target.encode()),
        plain(FILE, "\udcff\udcfe", size=7),
    ]


def _changed(block: bytes, at: int, value: bytes) -> bytes:
    """A header with other bytes somewhere, and a checksum that is right again."""
    block = block[:at] + value + block[at + len(value) :]
    plain = block[:148] + b"        " + block[156:]
    return block[:148] + b"%06o\0 " % sum(plain) + block[156:]


SMALL = header(b"name", FILE, mode=0o644, uid=0, gid=0, mtime=LONG_AGO)


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        pytest.param(_changed(SMALL, 257, bytes(255)), plain(FILE, "name"), id="before there was a standard"),
        pytest.param(_changed(_changed(SMALL, 257, bytes(255)), 156, b"\0"), plain(FILE, "name"), id="of no kind"),
        pytest.param(
            _changed(_changed(SMALL, 0, b"name/"), 156, b"\0"), plain(DIRECTORY, "name/"), id="a slash for a directory"
        ),
        pytest.param(_changed(SMALL, 156, b"7"), plain(FILE, "name"), id="contiguous"),
        pytest.param(_changed(SMALL, 100, b" 644    "), plain(FILE, "name"), id="spaces around digits"),
        pytest.param(_changed(SMALL, 345, b"some/where"), plain(FILE, "some/where/name"), id="a prefix"),
        pytest.param(
            _changed(_changed(SMALL, 257, b"ustar  \0"), 345, b"no prefix"), plain(FILE, "name"), id="GNU's own fields"
        ),
        pytest.param(
            _changed(_changed(_changed(SMALL, 345, b"way"), 476, b"14000000000"), 508, b"tar\0"),
            plain(FILE, "way/name"),
            id="star's shorter prefix",
        ),
    ],
)
def test_headers_of_other_days_are_read(block: bytes, expected: Seen) -> None:
    assert members(block + END) == [expected]


def test_a_checksum_over_signed_bytes_is_right_too() -> None:
    block = _changed(SMALL, 0, b"\xff\xfe")
    unsigned = int(block[148:154], 8)
    assert members(block[:148] + b"%06o\0 " % (unsigned - 512) + block[156:] + END)[0][1] == b"\xff\xfeme"


def test_what_is_no_file_has_no_content_whatever_its_header_says() -> None:
    tar = _changed(header(b"d/", DIRECTORY, mode=0o755, uid=0, gid=0, mtime=LONG_AGO), 124, b"00000001000\0") + SMALL
    assert [each[1] for each in members(tar + END)] == [b"d/", b"name"]


def test_what_is_said_of_all_members_is_said_of_none() -> None:
    with_global = _changed(header(b"g", b"g", mode=0, uid=0, gid=0, mtime=0, size=14), 0, b"g")
    assert members(with_global + b"14 path=other\n".ljust(512, b"\0") + SMALL + END) == [plain(FILE, "name")]


# --------------------------------------------------------------------------------------------------- sparse files


@pytest.mark.skipif(not shutil.which("tar") or os.geteuid() != 0, reason="root and GNU tar make these files")
@pytest.mark.parametrize("pieces", [1, 3, 4, 5, 30])
@pytest.mark.parametrize(
    "words",
    [["--format=gnu"], *(["--format=posix", f"--sparse-version={version}"] for version in ("0.0", "0.1", "1.0"))],
    ids=" ".join,
)
def test_a_file_with_holes_comes_whole(tmp_path: Path, words: list[str], pieces: int) -> None:
    for name in ("from", "to"):
        (tmp_path / name).mkdir()
    sparse, after = tmp_path / "from/sparse", tmp_path / "from/z-after"
    with sparse.open("wb") as file:
        for number in range(pieces):
            file.seek(number << 18)
            file.write(b"piece %d" % number)
        file.truncate((pieces << 18) + 1000)
    after.write_bytes(b"after it")
    command = ["tar", *words, "--sparse", "-cf", "-", "-C", str(tmp_path / "from"), "sparse", "z-after"]
    tar = subprocess.run(command, check=True, capture_output=True).stdout
    assert len(tar) < pieces << 16
    unpack(tar, tmp_path / "to")
    assert (tmp_path / "to/sparse").read_bytes() == sparse.read_bytes()
    assert (tmp_path / "to/z-after").read_bytes() == b"after it"
    assert (tmp_path / "to/sparse").stat().st_blocks <= sparse.stat().st_blocks


SPARSE = (("GNU.sparse.size", "100"), ("GNU.sparse.name", "holes"))


@pytest.mark.parametrize(
    "map_", ["0,5", "5,2,0,1", "0,3,2,1", "98,3", "0,3,", "0", "a,b", "-1,3", "1," + "9" * 19, "0,2"]
)
def test_a_map_that_is_not_that_of_its_content_is_refused(map_: str) -> None:
    tar = tar_of(Item("f", b"abc", records=(*SPARSE, ("GNU.sparse.map", map_))))
    if map_ == "0,3,":
        assert members(tar) == [(FILE, b"holes", 0o644, (0, 0), LONG_AGO * 10**9, 100, b"")]
        return
    with pytest.raises(Damaged, match="sparse"):
        members(tar)


@pytest.mark.parametrize("content", [b"", b"1\n", b"x\n", b"1\n0\n", b"9999999\n" + b"0\n" * 300])
def test_a_map_before_the_content_that_does_not_end_is_refused(content: bytes) -> None:
    records = (*SPARSE, ("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"))
    with pytest.raises(Damaged, match=r"sparse|ends in the middle"):
        members(tar_of(Item("f", content, records=records)))


# ------------------------------------------------------------------------------------------------------------ damage


def test_a_tar_that_is_cut_off_anywhere_is_damaged() -> None:
    tar = tar_of(Item("f", b"x" * 700), Item("p" * 200, b"y"), directory("d"))
    end = len(tar.rstrip(b"\0")) // 512 * 512 + 512
    for length in range(0, end, 100):
        with pytest.raises(Damaged):
            members(tar[:length])


def test_a_layer_that_has_no_end_is_whole_where_a_member_ends() -> None:
    whole = SMALL + SMALL
    assert len(members(whole, closed=False)) == 2
    with pytest.raises(Damaged, match="ends in the middle"):
        members(whole, closed=True)
    with pytest.raises(Damaged, match="ends in the middle"):
        members(whole[:-1], closed=False)


@pytest.mark.parametrize(
    ("tar", "said"),
    [
        (b"no tar at all" * 100, "no number|checksum"),
        (SMALL[:148] + b"0000001\0" + SMALL[156:], "checksum"),
        (_changed(SMALL, 124, b"\xff" * 12), "no file has"),
        (_changed(SMALL, 124, b"\x80" + b"\x7f" * 11), "no file has"),
        (_changed(SMALL, 124, b"-0000000001\0"), "no number"),
        (_changed(SMALL, 108, b"\xff" * 8), "nobody can be"),
        (_changed(SMALL, 136, b"\x80" + b"\x7f" * 11), "further away"),
        (_changed(SMALL, 156, b"Z"), "of a kind that no file is"),
        (_changed(SMALL, 156, b"1"), "leads nowhere"),
    ],
)
def test_what_no_header_can_say_is_damage(tar: bytes, said: str) -> None:
    with pytest.raises(Damaged, match=said):
        members(tar + END)


@pytest.mark.parametrize(
    "body", [b"8 path=x\n", b"99 path=x\n", b"path=x\n", b"0 path=x\n", b"10 path=xyz", b"8 path\nx", b"-5 path=x\n"]
)
def test_records_that_are_malformed_are_damage(body: bytes) -> None:
    block = header(b"x", b"x", mode=0, uid=0, gid=0, mtime=0, size=len(body))
    with pytest.raises(Damaged, match="malformed"):
        members(block + body.ljust(512, b"\0") + SMALL + END)


def test_there_is_an_end_to_what_may_stand_before_a_member() -> None:
    block = header(b"L", b"L", mode=0, uid=0, gid=0, mtime=0, size=2) + b"x\0".ljust(512, b"\0")
    with pytest.raises(TooMuch, match="extended headers"):
        members(block * 20 + SMALL + END)
    with pytest.raises(TooMuch, match="2097152 bytes"):
        members(header(b"x", b"x", mode=0, uid=0, gid=0, mtime=0, size=2 << 20))


def said_of(tar: bytes) -> str:
    """Why a tar is refused; nothing when it is read."""
    try:
        members(tar)
    except (Damaged, TooMuch) as refused:
        return str(refused)
    return ""


@settings(max_examples=300, deadline=None)
@given(
    spots=st.lists(st.tuples(st.integers(0, 4095), st.binary(min_size=1, max_size=20)), max_size=4),
    mends=st.booleans(),
)
def test_whatever_is_changed_in_a_tar_it_is_read_or_refused(spots: list[tuple[int, bytes]], mends: bool) -> None:
    records = (("GNU.sparse.map", "0,3"), *SPARSE)
    tar = tar_of(Item("f", b"abc", records=records), Item("l" * 150, b"x"), link("k", "t" * 120))
    for at, value in spots:
        at %= len(tar) - len(value)
        block = at - at % 512
        inside = min(at - block, 512 - len(value))
        changed = _changed if mends else lambda block, at, value: block[:at] + value + block[at + len(value) :]
        tar = tar[:block] + changed(tar[block : block + 512], inside, value) + tar[block + 512 :]
    assert said_of(tar).isprintable()


# ---------------------------------------------------------------------------------------------------------- headers


PART = st.binary(min_size=1, max_size=120).filter(
    lambda part: not {0, ord("/")} & set(part) and part not in (b".", b"..")
)
PATHS = st.lists(PART, min_size=1, max_size=4).map(b"/".join)
NUMBERS = st.one_of(st.integers(0, 1 << 36), st.sampled_from([8**11 - 1, 8**11]))
OWNERS = st.one_of(st.integers(0, 65535), st.sampled_from([8**7 - 1, 8**7, 2**32 - 2]))


@settings(max_examples=200, deadline=None)
@given(
    path=PATHS,
    kind=st.sampled_from(["file", "directory", "link", "hardlink"]),
    mode=st.integers(0, 0o7777),
    owner=st.tuples(OWNERS, OWNERS),
    size=NUMBERS,
    target=PATHS,
    mtime=st.integers(-(10**10), 10**11),
)
def test_both_of_our_writers_write_the_same(
    path: bytes, kind: str, mode: int, owner: tuple[int, int], size: int, target: bytes, mtime: int
) -> None:
    uid, gid = owner
    size = size if kind == "file" else 0
    target = target if "link" in kind else b""
    member = Member(
        path=os.fsdecode(path),
        kind=kind,  # type: ignore[arg-type]  # one of those
        mode=mode,
        size=size,
        mtime=mtime,
        target=os.fsdecode(target),
    )
    theirs = headers_for(uid=uid, gid=gid, kept=0o7777)(member)
    name = path + b"/" if kind == "directory" else path
    ours = header(name, KINDS[kind], mode=mode, uid=uid, gid=gid, mtime=mtime, size=size, target=target)
    assert ours == theirs
    if not size:
        assert members(ours + END) == [(KINDS[kind], name, mode, owner, mtime * 10**9, 0, target)]


def test_attributes_and_devices_are_written_as_the_library_reads_them(tmp_path: Path) -> None:
    tar = header(
        b"null",
        b"3",
        mode=0o666,
        uid=0,
        gid=0,
        mtime=0,
        device=(1, 3),
        attributes={b"user.a": b"1\n\xff\0", b"user.b": b""},
    )
    (tmp_path / "x.tar").write_bytes(tar + END)
    with tarfile.open(tmp_path / "x.tar", errors="surrogateescape") as read:
        (member,) = read
    assert (member.devmajor, member.devminor, member.ischr()) == (1, 3, True)
    assert member.pax_headers == {"SCHILY.xattr.user.a": "1\n\udcff\0", "SCHILY.xattr.user.b": ""}
