from __future__ import annotations

import contextlib
import io
import os
import tarfile
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s2ictl.archives import Entry, Limits, read_tar, rerooted, tar_stream
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


def hardlink(path: str, target: str) -> Entry:
    return Member(path=path, kind="hardlink", mode=0o644, target=target), io.BytesIO().read


def written(*entries: Entry) -> bytes:
    return b"".join(tar_stream(entries, uid=1001, gid=0))


def read(archive: bytes, *, limits: Limits = ROOMY, noise: int = 0) -> list[tuple[Member, bytes]]:
    entries = read_tar(io.BytesIO(archive).read, name="the tar", limits=limits, noise=noise)
    return [(member, content(1 << 20)) for member, content in entries]


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


def test_a_large_file_passes_in_blocks_and_small_ones_in_one() -> None:
    large = Member(path="large", kind="file", mode=0o644, size=8 << 20)
    small = [file(f"small/{number}", b"x") for number in range(1000)]
    blocks = list(tar_stream([(large, io.BytesIO(bytes(large.size)).read), *small], uid=0, gid=0))
    assert (max(map(len, blocks)) <= 2 << 20, len(blocks)) == (True, 9)


@pytest.mark.parametrize("size", [(1 << 20) - 1, 1 << 20, (1 << 20) + 1, 2 << 20])
def test_a_file_that_grew_is_noticed_wherever_a_block_ends(size: int) -> None:
    member = Member(path="log", kind="file", mode=0o644, size=size)
    assert len(b"".join(tar_stream([(member, io.BytesIO(bytes(size)).read)], uid=0, gid=0))) % 512 == 0
    with pytest.raises(FetchSourceFailed, match="log changed while it was read"):
        list(tar_stream([(member, io.BytesIO(bytes(size + 1)).read)], uid=0, gid=0))


@pytest.mark.parametrize("content", [b"", b"1234", b"123456", b"1" * 100_000])
def test_a_file_that_grew_or_shrank_stops_the_stream(content: bytes) -> None:
    entry = Member(path="log", kind="file", mode=0o644, size=5), io.BytesIO(content).read
    with pytest.raises(FetchSourceFailed, match="log changed while it was read"):
        written(entry)


def test_a_hard_link_is_moved_with_the_member_that_it_names() -> None:
    members = [file("app", b"hello")[0], hardlink("bin/run", "app")[0], link("latest", "app")[0]]
    assert [(moved.path, moved.target) for moved in (rerooted(member, "tmp/src") for member in members)] == [
        ("tmp/src/app", ""),
        ("tmp/src/bin/run", "tmp/src/app"),
        ("tmp/src/latest", "app"),
    ]


def test_hard_links_come_out_as_they_went_in() -> None:
    long = "d/" * 60 + "file"
    archive = written(file(long, b"hello"), hardlink("first", long), hardlink("second", "first"))
    assert [(member.path, member.kind, member.target, content) for member, content in read(archive)] == [
        (long, "file", "", b"hello"),
        ("first", "hardlink", long, b""),
        ("second", "hardlink", "first", b""),
    ]
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        assert [(member.name, member.islnk(), member.linkname) for member in tar][2:] == [
            ("first", True, long),
            ("second", True, "first"),
        ]


# ---------------------------------------------------------------------------------------------------------- reading


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@settings(max_examples=40)
@given(names=st.sets(PATHS.map(lambda path: path[:90]), max_size=5))
def test_archives_of_others_are_read_as_they_meant(form: int, names: Iterable[str]) -> None:
    ordered = [f"{index}{name.rstrip('/')}" for index, name in enumerate(names)]  # none lies below another
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
        ([info("hard", tarfile.LNKTYPE, target="/etc/passwd")], "/etc/passwd in the tar leads out"),
        ([info("hard", tarfile.LNKTYPE, target="a/../../b")], "leads out"),
        ([info("hard", tarfile.LNKTYPE, target="later"), info("later")], "hard link hard in the tar leads to no file"),
        ([info("hard", tarfile.LNKTYPE, target="hard")], "leads to no file"),
        ([info("f"), info("f", tarfile.LNKTYPE, target="./f")], "leads to no file"),
        ([info("d", tarfile.DIRTYPE), info("hard", tarfile.LNKTYPE, target="d")], "leads to no file"),
        ([info("out", tarfile.SYMTYPE, target="/etc/passwd"), info("x", tarfile.LNKTYPE, target="out")], "no file"),
        ([info("out", tarfile.SYMTYPE, target="/etc"), info("x", tarfile.LNKTYPE, target="out/passwd")], "no file"),
        ([info("out", tarfile.SYMTYPE, target="/etc"), info("d/x"), info("out/y")], "through a link"),
        ([info("f"), info("f/x")], "lies below a file"),
        ([info("d/x"), info("d")], "both a directory and something else"),
        ([info("d/x"), info("d", tarfile.SYMTYPE, target="/etc")], "both a directory and something else"),
        ([info("holes", tarfile.GNUTYPE_SPARSE)], "sparse file"),
        ([info("a"), info("part", b"M")], "special file"),
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
        (Limits(members=10, size=1000, names=100), "names in the tar have more than 100 bytes"),
        (Limits(members=10, size=1000, name=90), "name of more than 90 bytes"),
    ],
)
def test_more_than_was_agreed_is_not_read(limits: Limits, said: str) -> None:
    with pytest.raises(LimitReached, match=said):
        read(written(file("a", b"1234"), file("b" * 200, b"5678")), limits=limits)


def test_directories_in_each_other_have_an_end() -> None:
    assert len(read(written(file("d/" * 256 + "f")))) == 1
    with pytest.raises(LimitReached, match="a path in the tar has more than 256 directories"):
        read(written(file("d/" * 257 + "f")))


def test_a_time_that_no_file_can_have_is_damage() -> None:
    late = info("late")
    late.mtime = 1 << 50
    with pytest.raises(FetchSourceFailed) as caught:
        read(foreign(late))
    assert caught.value.detail == "a time is further away than any file's"


def test_headers_for_a_member_that_never_comes_have_an_end() -> None:
    header = info("n" * 150).tobuf(tarfile.PAX_FORMAT)[:1024]
    with pytest.raises(LimitReached, match="more than 16 extended headers"):
        read(header * 17)


def test_the_header_of_an_extended_name_is_not_believed_about_its_size() -> None:
    header = bytearray(info("n" * 150).tobuf(tarfile.PAX_FORMAT)[:512])
    header[124:136] = b"77777777777\0"
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + sum(header[156:]) + 8 * 32)
    with pytest.raises(LimitReached, match="name of more than"):
        read(bytes(header))


@pytest.mark.parametrize("tail", [b"x", bytes(9000) + b"x", "more"])
def test_what_lies_behind_the_end_is_refused_since_it_would_be_left_out(tail: bytes | str) -> None:
    behind = written(file("second")) if isinstance(tail, str) else tail
    with pytest.raises(Refused, match="goes on behind its end"):
        read(written(file("first")) + behind)


def test_an_end_without_end_is_left() -> None:
    endless = io.BytesIO(written(file("first")))
    entries = read_tar(lambda size: endless.read(size) or bytes(size), name="the tar", limits=ROOMY)
    with pytest.raises(LimitReached, match="behind its end"):
        list(entries)


# ------------------------------------------------------------------------------- what a program that also talks wrote


@settings(max_examples=40)
@given(before=st.binary(max_size=700), after=st.binary(max_size=700))
def test_talk_around_an_archive_is_passed_over(before: bytes, after: bytes) -> None:
    archive = written(file("a", b"x" * 600), link("l", "a"))
    assert read(before + archive + after, noise=700) == read(archive)


@pytest.mark.parametrize(
    "archive",
    [b"", bytes(10240), b"saving nothing\n" + bytes(10240), foreign(form=tarfile.GNU_FORMAT)],
    ids=["silence", "zeros", "talk", "tar"],
)
def test_a_program_that_saved_nothing_wrote_an_archive_without_members(archive: bytes) -> None:
    assert read(archive, noise=65536) == []


@pytest.mark.parametrize("said", [b"nothing to save\n", b"x" * 200_000, b"ustar" * 400], ids=["a", "many", "ustar"])
def test_talk_alone_is_no_archive(said: bytes) -> None:
    with pytest.raises(FetchSourceFailed) as caught:
        read(said, noise=65536)
    assert caught.value.detail == "its first 65536 bytes hold no header"


def test_talk_is_passed_over_only_where_it_is_expected() -> None:
    with pytest.raises(FetchSourceFailed, match="not a whole tar archive"):
        read(b"hello\n" + written(file("a")))
    with pytest.raises(FetchSourceFailed, match="not a whole tar archive"):
        read(b"x" * 5000 + written(file("a")), noise=100)


def test_talk_that_comes_in_drops_is_passed_over_too() -> None:
    source = io.BytesIO(b"saving\n" + written(file("a", b"12345")) + b"done\n")
    entries = read_tar(lambda size: source.read(min(size, 7)), name="the tar", limits=ROOMY, noise=65536)
    assert [(member.path, content(100)) for member, content in entries] == [("a", b"12345")]


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
