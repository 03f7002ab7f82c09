"""Zip: what every packer writes, and what none would write but to be read in two ways."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import struct
import warnings
import zipfile
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s2ictl.archives import Limits
from s2ictl.archives.zip import read_zip
from s2ictl.errors import FetchSourceFailed, LimitReached, Refused, S2IError
from s2ictl.models import Member
from tests import packers

ROOMY = Limits(members=1000, size=1 << 30)
WHEN = (2020, 2, 3, 4, 5, 6)
THEN = 1580702706


def info(name: str, mode: int = 0o100644, *, system: int = 3) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name, WHEN)
    member.external_attr, member.create_system = mode << 16, system
    member.compress_type = zipfile.ZIP_DEFLATED
    return member


def written(*members: tuple[zipfile.ZipInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that stand twice
        for member, content in members:
            archive.writestr(member, content)
    return buffer.getvalue()


def read(archive: bytes, limits: Limits = ROOMY) -> list[tuple[Member, bytes]]:
    entries = read_zip(io.BytesIO(archive), name="the zip", limits=limits)
    return [(member, b"".join(iter(partial(content, 100), b""))) for member, content in entries]


def file(path: str, content: bytes, mode: int = 0o644) -> tuple[Member, bytes]:
    return Member(path=path, kind="file", mode=mode, size=len(content), mtime=THEN), content


# ------------------------------------------------------------------------------------------------------ what is read


def test_files_directories_and_links_keep_their_modes_and_times() -> None:
    archive = written(
        (info("bin/", 0o040755), b""),
        (info("bin/run", 0o100755), b"#!/bin/sh\n"),
        (info("latest", stat.S_IFLNK | 0o777), b"bin/run"),
        (info("./plain"), b"x" * 5000),
    )
    assert read(archive) == [
        (Member(path="bin", kind="directory", mode=0o755, mtime=THEN), b""),
        file("bin/run", b"#!/bin/sh\n", 0o755),
        (Member(path="latest", kind="link", mode=0o777, target="bin/run", mtime=THEN), b""),
        file("plain", b"x" * 5000),
    ]


def test_a_directory_is_one_by_its_mode_or_its_name() -> None:
    archive = written((info("by-mode", 0o040700), b""), (info("by-name/", 0o100644), b""))
    assert [(member.path, member.kind) for member, _ in read(archive)] == [
        ("by-mode", "directory"),
        ("by-name", "directory"),
    ]
    with pytest.raises(FetchSourceFailed, match="not a whole zip archive"):
        read(written((info("full/", 0o040755), b"x")))


def test_a_packer_that_knows_no_modes_is_given_usual_ones() -> None:
    archive = written((info("d/", 0, system=0), b""), (info("d/f", 0, system=0), b"x"), (info("g", 0o100000), b"y"))
    assert [(member.path, member.kind, member.mode) for member, _ in read(archive)] == [
        ("d", "directory", 0o755),
        ("d/f", "file", 0o644),
        ("g", "file", 0o644),
    ]


@settings(max_examples=40)
@given(name=st.text(min_size=1, max_size=60).filter(lambda name: not set("\\\0/") & set(name) and name.strip(".")))
def test_any_name_comes_out_as_it_went_in(name: str) -> None:
    with contextlib.suppress(UnicodeEncodeError):  # a lone surrogate is no name to a zip
        assert [member.path for member, _ in read(written((info(name), b"")))] == [name]


def test_names_of_unix_without_a_word_about_their_letters_are_bytes() -> None:
    archive = written((info("caf0"), b"x")).replace(b"caf0", b"caf\xe9")
    assert [os.fsencode(member.path) for member, _ in read(archive)] == [b"caf\xe9"]


def test_times_of_unix_count_more_than_those_of_dos_and_a_date_that_is_none_is_the_beginning() -> None:
    exact, odd = info("exact"), info("odd")
    exact.extra = struct.pack("<HHBl", 0x5455, 5, 1, -7)
    odd.date_time = (1980, 0, 0, 0, 0, 0)
    assert [member.mtime for member, _ in read(written((exact, b""), (odd, b"")))] == [-7, 0]


def test_what_zip_itself_writes_is_read(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "été").mkdir(parents=True)
    (source / "été" / "run").write_bytes(b"hello" * 100)
    (source / "été" / "run").chmod(0o750)
    (source / "link").symlink_to("été/run")
    os.utime(source / "été" / "run", (1234567890, 1234567890))
    packers.zipped(source, tmp_path / "x.zip")
    found = {member.path: (member.kind, member.target, content) for member, content in read_all(tmp_path / "x.zip")}
    assert found == {
        "été": ("directory", "", b""),
        "été/run": ("file", "", b"hello" * 100),
        "link": ("link", "été/run", b""),
    }
    run = next(member for member, _ in read_all(tmp_path / "x.zip") if member.path == "été/run")
    assert (run.mode, run.mtime) == (0o750, 1234567890)


def read_all(path: Path) -> list[tuple[Member, bytes]]:
    return read(path.read_bytes())


def test_zip64_is_read() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        with archive.open(info("large"), "w", force_zip64=True) as content:
            content.write(b"x" * 1000)
        archive.comment = b"with a comment"
    assert read(buffer.getvalue()) == [file("large", b"x" * 1000)]


def test_a_zip_that_was_written_into_a_pipe_is_read() -> None:
    ours, theirs = os.pipe()
    with os.fdopen(theirs, "wb") as pipe, zipfile.ZipFile(pipe, "w") as archive:
        archive.writestr(info("one"), b"x" * 1000)
        archive.writestr(info("two"), b"y")
    with os.fdopen(ours, "rb") as end:
        assert read(end.read()) == [file("one", b"x" * 1000), file("two", b"y")]


def test_an_empty_zip_has_no_members() -> None:
    assert read(written()) == []


# --------------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("name", "mode", "said"),
    [
        ("../evil", 0o100644, "leads out"),
        ("a/../../evil", 0o100644, "leads out"),
        ("/etc/passwd", 0o100644, "leads out"),
        ("a\\b", 0o100644, "has a backslash in its name"),
        ("..\\evil", 0o100644, "has a backslash in its name"),
        ("pipe", 0o010644, "is a fifo"),
        ("disk", 0o060644, "is a block device"),
    ],
)
def test_a_member_that_is_no_part_of_a_tree_refuses_all_of_it(name: str, mode: int, said: str) -> None:
    with pytest.raises(Refused, match=said):
        read(written((info("fine"), b"x"), (info(name, mode), b"x")))


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([info("out", stat.S_IFLNK), info("out/x")], "through a link"),
        ([info("out", stat.S_IFLNK), info("out")], "through a link"),
        ([info("f"), info("f/x")], "lies below a file"),
        ([info("f/x"), info("f")], "both a directory and something else"),
    ],
)
def test_members_that_stand_in_each_other_s_way_are_refused(members: list[zipfile.ZipInfo], said: str) -> None:
    with pytest.raises(Refused, match=said):
        read(written(*((member, b"/etc") for member in members)))


def test_members_that_share_their_bytes_are_refused() -> None:
    archive = bytearray(written((info("aa"), os.urandom(500)), (info("bb"), os.urandom(500))))
    entries = [at for at in range(len(archive)) if archive[at : at + 4] == b"PK\x01\x02"]
    archive[entries[1] + 42 : entries[1] + 46] = archive[entries[0] + 42 : entries[0] + 46]
    with pytest.raises(Refused, match="lies over another member"):
        read(bytes(archive))


def test_what_lies_around_a_zip_is_refused_since_it_would_be_left_out() -> None:
    archive = written((info("a"), b"x"))
    with pytest.raises(Refused, match="goes on behind its end"):
        read(archive + b"more")
    with pytest.raises(Refused, match="has something before its first member"):
        read(b"#!/bin/sh\nexec java -jar $0\n" + archive)


def test_what_is_encrypted_or_packed_in_rare_ways_is_told(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "secret").write_bytes(b"x" * 100)
    packers.zipped(tmp_path / "source", tmp_path / "x.zip", "-P", "word")
    with pytest.raises(FetchSourceFailed, match="secret in the zip is encrypted"):
        read_all(tmp_path / "x.zip")
    rare = info("rare")
    rare.compress_type = zipfile.ZIP_BZIP2
    with pytest.raises(FetchSourceFailed, match="packed by method 12"):
        read(written((rare, b"x")))


def test_a_bomb_is_told_by_its_ratio() -> None:
    with pytest.raises(LimitReached, match="more than 1000 times its size"):
        read(written((info("zeros"), bytes(1000))).replace(struct.pack("<L", 1000), struct.pack("<L", 100 << 20)))


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (Limits(members=2, size=1000), "more than 2 members"),
        (Limits(members=9, size=5), "more than 5 bytes"),
        (Limits(members=9, size=1000, name=3), "name of more than 3 bytes"),
        (Limits(members=0, size=1000, names=9), "the directory of the zip has"),
    ],
)
def test_more_than_was_agreed_is_not_read(limits: Limits, said: str) -> None:
    with pytest.raises(LimitReached, match=said):
        read(written(*((info(name), b"xx") for name in ("one", "two", "three"))), limits)


def test_a_size_that_is_not_true_is_found() -> None:
    archive = written((info("lie"), b"x" * 5000))
    size = struct.pack("<L", 5000)
    for claimed in (4000, 6000):
        with pytest.raises(FetchSourceFailed, match="not a whole zip archive"):
            read(archive.replace(size, struct.pack("<L", claimed)))


def test_a_name_that_is_another_in_the_directory_is_found() -> None:
    archive = written((info("name-one"), b"x"))
    with pytest.raises(FetchSourceFailed, match="not a whole zip archive"):
        read(archive.replace(b"name-one", b"name-two", 1))


@pytest.mark.parametrize("target", [b"", b"a\0b"])
def test_a_link_that_leads_nowhere_is_damage(target: bytes) -> None:
    with pytest.raises(FetchSourceFailed, match="not a whole zip archive"):
        read(written((info("link", stat.S_IFLNK), target)))


@settings(max_examples=60)
@given(cut=st.integers(min_value=0, max_value=400))
def test_a_zip_that_was_cut_off_is_never_taken_for_a_whole_one(cut: int) -> None:
    whole = written((info("a"), os.urandom(200)), (info("b"), b"y"))
    with pytest.raises(S2IError):
        read(whole[: min(cut, len(whole) - 1)])


@settings(max_examples=100)
@given(noise=st.binary(max_size=60), at=st.integers(min_value=0, max_value=500))
def test_hostile_bytes_are_an_error_of_ours_or_an_archive(noise: bytes, at: int) -> None:
    whole = written((info("a"), b"x" * 300), (info("link", stat.S_IFLNK), b"a"), (info("dir/"), b""))
    with contextlib.suppress(S2IError):
        read(whole[:at] + noise + whole[at + len(noise) :])
