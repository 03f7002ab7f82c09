from __future__ import annotations

import contextlib
import io
import os
import tarfile
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s2ictl.archives import CHUNK, Entry, Limits, read_tar, tar_stream
from s2ictl.errors import FetchSourceFailed, LimitReached, Refused, S2IError
from s2ictl.models import Member

ROOMY = Limits(members=1000, size=1 << 40)
PART = st.binary(min_size=1, max_size=300).filter(
    lambda part: not {0, ord("/")} & set(part) and part not in (b".", b"..")
)
PATHS = st.lists(PART, min_size=1, max_size=4).map(lambda parts: os.fsdecode(b"/".join(parts)))
TIMES = st.integers(min_value=-(10**10), max_value=20 * 10**9)


def file(path: str, content: bytes = b"", *, mode: int = 0o644, mtime: int = 0) -> Entry:
    return Member(path=path, kind="file", mode=mode, size=len(content), mtime=mtime), io.BytesIO(content).read


def directory(path: str) -> Entry:
    return Member(path=path, kind="directory", mode=0o755), io.BytesIO().read


def link(path: str, target: str) -> Entry:
    return Member(path=path, kind="link", mode=0o755, target=target), io.BytesIO().read


def written(*entries: Entry) -> bytes:
    return b"".join(tar_stream(entries, uid=1001, gid=0))


def read(archive: bytes, *, limits: Limits = ROOMY) -> list[tuple[Member, bytes]]:
    source = io.BytesIO(archive)
    return [(member, content(1 << 20)) for member, content in read_tar(source.read, name="the tar", limits=limits)]


def foreign(*members: tarfile.TarInfo, form: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form, errors="surrogateescape") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(bytes(member.size)))
    return buffer.getvalue()


def info(name: str, kind: bytes = tarfile.REGTYPE, *, target: str = "", size: int = 0) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.size = kind, target, size
    return member


# ---------------------------------------------------------------------------------------------------------- writing


def test_the_stream_begins_with_its_root_and_gives_all_else_to_one_user() -> None:
    archive = written(directory("src"), file("src/app", b"hello", mode=0o755, mtime=7), link("src/link", "app"))
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        assert [(m.name, m.type, m.mode, m.uid, m.gid, m.mtime, m.size, m.linkname) for m in tar] == [
            (".", tarfile.DIRTYPE, 0o755, 0, 0, 0, 0, ""),
            ("src", tarfile.DIRTYPE, 0o755, 1001, 0, 0, 0, ""),
            ("src/app", tarfile.REGTYPE, 0o755, 1001, 0, 7, 5, ""),
            ("src/link", tarfile.SYMTYPE, 0o755, 1001, 0, 0, 0, "app"),
        ]
    assert archive.startswith(b"./\0")


@pytest.mark.parametrize(
    ("mode", "kept"), [(0o4755, 0o755), (0o2777, 0o755), (0o1666, 0o644), (0o600, 0o600), (0o444, 0o444), (0, 0)]
)
def test_modes_are_what_the_umask_of_an_assemble_user_leaves(mode: int, kept: int) -> None:
    with tarfile.open(fileobj=io.BytesIO(written(file("f", mode=mode)))) as tar:
        assert tar.getmember("f").mode == kept


@settings(max_examples=40)
@given(path=PATHS, target=PART.map(os.fsdecode), content=st.binary(max_size=2000), mtime=TIMES)
def test_any_name_and_time_comes_out_byte_for_byte(path: str, target: str, content: bytes, mtime: int) -> None:
    archive = written(file(path, content, mtime=mtime), link(f"{path}.link", target))
    expected = [
        (Member(path=path, kind="file", mode=0o644, size=len(content), mtime=mtime), content),
        (Member(path=f"{path}.link", kind="link", mode=0o755, target=target), b""),
    ]
    assert read(archive) == expected
    with tarfile.open(fileobj=io.BytesIO(archive), errors="surrogateescape") as tar:
        names = [os.fsencode(member.name) for member in tar]
    assert names == [b".", os.fsencode(path), os.fsencode(f"{path}.link")]


def test_files_of_many_gigabytes_have_their_size_written() -> None:
    head = next(tar_stream([(Member(path="huge", kind="file", mode=0o644, size=9 << 30), zeros)], uid=0, gid=0))
    member, _ = next(read_tar(io.BytesIO(head).read, name="the tar", limits=ROOMY))
    assert (member.path, member.size) == ("huge", 9 << 30)


def zeros(size: int) -> bytes:
    return bytes(size)


def test_a_large_file_passes_in_small_chunks() -> None:
    member = Member(path="large", kind="file", mode=0o644, size=8 << 20)
    left = io.BytesIO(bytes(member.size))
    assert max(len(chunk) for chunk in tar_stream([(member, left.read)], uid=0, gid=0)) <= 2 * CHUNK


@pytest.mark.parametrize("content", [b"", b"1234", b"123456", b"1" * 100_000])
def test_a_file_that_grew_or_shrank_stops_the_stream(content: bytes) -> None:
    entry = Member(path="log", kind="file", mode=0o644, size=5), io.BytesIO(content).read
    with pytest.raises(FetchSourceFailed, match="log changed while it was read"):
        written(entry)


# ---------------------------------------------------------------------------------------------------------- reading


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@settings(max_examples=40)
@given(names=st.sets(PATHS.map(lambda path: path[:90]), max_size=5))
def test_archives_of_others_are_read_as_they_meant(form: int, names: Iterable[str]) -> None:
    ordered = sorted({clean for name in names if (clean := name.strip("/"))})
    archive = foreign(*(info(name, size=3) for name in ordered), form=form)
    assert [(member.path, content) for member, content in read(archive)] == [
        ("/".join(part for part in name.split("/") if part not in ("", ".")), bytes(3)) for name in ordered
    ]


def test_long_names_of_gnu_tar_are_read() -> None:
    long, target = "d/" * 150 + "file", "t" * 300
    archive = foreign(info(long), info(f"{long}.link", tarfile.SYMTYPE, target=target), form=tarfile.GNU_FORMAT)
    assert [(member.path, member.target) for member, _ in read(archive)] == [(long, ""), (f"{long}.link", target)]


def test_what_nobody_read_is_skipped() -> None:
    archive = written(file("first", b"x" * 5000), file("second", b"yes"))
    entries = read_tar(io.BytesIO(archive).read, name="the tar", limits=ROOMY)
    next(entries)
    member, content = next(entries)
    assert (member.path, content(100)) == ("second", b"yes")


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([info("../evil")], "leads out"),
        ([info("a/../../evil")], "leads out"),
        ([info("/etc/passwd")], "leads out"),
        ([info("out", tarfile.SYMTYPE, target="/etc"), info("out/passwd")], "through a link"),
        ([info("out", tarfile.SYMTYPE, target="/etc/passwd"), info("out")], "through a link"),
        ([info("hard", tarfile.LNKTYPE, target="/etc/passwd")], "hard link"),
        ([info("pipe", tarfile.FIFOTYPE)], "fifo"),
        ([info("disk", tarfile.BLKTYPE)], "block device"),
        ([info("tty", tarfile.CHRTYPE)], "character device"),
    ],
)
def test_what_would_leave_the_tree_is_refused(members: list[tarfile.TarInfo], said: str) -> None:
    with pytest.raises(Refused, match=said):
        read(foreign(*members))


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (Limits(members=1, size=1000), "more than 1 members"),
        (Limits(members=10, size=5), "more than 5 bytes"),
        (Limits(members=10, size=1000, name=50), "name of more than 50 bytes"),
    ],
)
def test_more_than_was_agreed_is_not_read(limits: Limits, said: str) -> None:
    with pytest.raises(LimitReached, match=said):
        read(written(file("a", b"1234"), file("b" * 200, b"5678")), limits=limits)


@settings(max_examples=40)
@given(cut=st.integers(min_value=0, max_value=5 * 512 - 1))
def test_an_archive_that_was_cut_off_is_never_taken_for_a_whole_one(cut: int) -> None:
    whole = written(file("a", b"x" * 600))
    with pytest.raises(FetchSourceFailed, match="not a whole tar archive"):
        read(whole[:cut])


@settings(max_examples=40)
@given(noise=st.binary(max_size=2000), at=st.integers(min_value=0, max_value=2000))
def test_hostile_bytes_are_an_error_of_ours_or_an_archive(noise: bytes, at: int) -> None:
    whole = written(file("a" * 150, b"x" * 600), link("l", "t" * 150))
    with contextlib.suppress(S2IError):
        read(whole[:at] + noise + whole[at + len(noise) :])
