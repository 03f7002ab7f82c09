"""The header writer against the readers of others: the standard library's, and GNU tar where it is."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from s2ictl.archives import tar_stream
from s2ictl.archives.headers import BLOCK, headers_for
from s2ictl.models import Member

PART = st.binary(min_size=1, max_size=180).filter(
    lambda part: not {0, ord("/")} & set(part) and part not in (b".", b"..")
)
PATHS = st.lists(PART, min_size=1, max_size=4).map(lambda parts: os.fsdecode(b"/".join(parts)))
KINDS: st.SearchStrategy[Literal["file", "directory", "link", "hardlink"]] = st.sampled_from(
    ["file", "directory", "link", "hardlink"]
)
NUMBERS = st.one_of(st.integers(0, 1 << 36), st.sampled_from([8**7 - 1, 8**7, 8**11 - 1, 8**11]))
TIMES = st.one_of(st.integers(-(10**10), 10**10), st.sampled_from([-1, 0, 8**11 - 1, 8**11]))
TYPES = {tarfile.REGTYPE: "file", tarfile.DIRTYPE: "directory", tarfile.SYMTYPE: "link", tarfile.LNKTYPE: "hardlink"}
LEAD = "p" * 155


def header(member: Member, *, uid: int = 1001, gid: int = 0) -> bytes:
    return headers_for(uid=uid, gid=gid)(member)


def parsed(head: bytes) -> tarfile.TarInfo:
    with tarfile.open(fileobj=io.BytesIO(head + bytes(2 * BLOCK)), errors="surrogateescape") as tar:
        return next(iter(tar))


@settings(max_examples=100, deadline=None)
@given(
    path=PATHS,
    kind=KINDS,
    mode=st.integers(0, 0o7777),
    size=NUMBERS,
    target=PATHS,
    mtime=TIMES,
    uid=st.one_of(st.integers(0, 65535), st.sampled_from([8**7 - 1, 8**7, 1_000_660_000])),
)
@example(path=f"{LEAD}/{'n' * 100}", kind="file", mode=0, size=0, target="t", mtime=0, uid=0)
@example(path=f"{LEAD}/{'n' * 99}", kind="directory", mode=0, size=0, target="t", mtime=0, uid=0)
@example(path=f"{LEAD}/{'n' * 100}", kind="directory", mode=0, size=0, target="t", mtime=0, uid=0)
@example(path="n" * 100, kind="directory", mode=0, size=0, target="t" * 101, mtime=0, uid=0)
def test_what_is_written_is_what_the_standard_library_reads(
    path: str,
    kind: Literal["file", "directory", "link", "hardlink"],
    mode: int,
    size: int,
    target: str,
    mtime: int,
    uid: int,
) -> None:
    linked = target if kind in ("link", "hardlink") else ""
    member = Member(path=path, kind=kind, mode=mode, size=size, target=linked, mtime=mtime)
    head = header(member, uid=uid)
    found = parsed(head)
    assert len(head) % BLOCK == 0
    assert (os.fsencode(found.name), TYPES[found.type], found.linkname) == (os.fsencode(path), kind, linked)
    assert (found.mode, found.size, found.mtime) == (mode & 0o755, size if kind == "file" else 0, mtime)
    assert (found.uid, found.gid, found.uname, found.gname) == (uid, 0, "", "")


@pytest.mark.parametrize(
    ("path", "blocks"),
    [
        ("n" * 100, 1),
        ("n" * 101, 3),
        ("é" * 50, 1),
        (f"{'p' * 155}/{'n' * 100}", 1),
        (f"{'p' * 156}/{'n' * 100}", 3),
        (f"{'p' * 100}/{'n' * 101}", 3),
        (f"a/{'p' * 150}/{'n' * 100}", 1),
    ],
)
def test_a_record_stands_only_before_a_name_that_has_no_room(path: str, blocks: int) -> None:
    member = Member(path=path, kind="file", mode=0o644)
    assert len(header(member)) == blocks * BLOCK


def test_a_plain_header_is_the_standard_library_s_own_byte_for_byte() -> None:
    theirs = tarfile.TarInfo("opt/app/src/main.py")
    theirs.mode, theirs.size, theirs.mtime, theirs.uid, theirs.gid = 0o755, 4096, 1700000000, 1001, 0
    ours = Member(path="opt/app/src/main.py", kind="file", mode=0o4775, size=4096, mtime=1700000000)
    assert _without_device(header(ours)) == _without_device(theirs.tobuf(tarfile.USTAR_FORMAT))


def _without_device(head: bytes) -> bytes:
    """Without what its versions fill in differently for what is no device, and without the sum of it."""
    return head[:148] + head[156:329] + head[345:]


def test_names_that_are_no_text_are_announced_as_bytes_where_a_record_holds_them() -> None:
    long = os.fsdecode(b"\xff" * 300)
    assert b"hdrcharset=BINARY\n" in header(Member(path=long, kind="file", mode=0o644))
    assert b"hdrcharset" not in header(Member(path="ü" * 300, kind="file", mode=0o644))


@pytest.mark.skipif(not shutil.which("tar"), reason="there is no tar on this machine")
def test_gnu_tar_unpacks_every_name(tmp_path: Path) -> None:
    names = ["plain", "n" * 101, "é" * 60, os.fsdecode(b"\xff\xfe"), f"{'d' * 120}/{'e' * 120}/{'f' * 120}", "a\nb"]
    entries = [
        *((Member(path=name, kind="file", mode=0o644, size=1, mtime=7), io.BytesIO(b"x").read) for name in names),
        (Member(path="link", kind="link", mode=0o777, target="t" * 150), io.BytesIO().read),
        (Member(path="old", kind="directory", mode=0o755, mtime=-5), io.BytesIO().read),
    ]
    archive = b"".join(tar_stream(entries, uid=os.getuid(), gid=os.getgid()))
    subprocess.run(["tar", "-xf", "-", "-C", tmp_path], input=archive, check=True, env={"PATH": os.environ["PATH"]})
    for name in names:
        found = tmp_path / name
        assert (found.read_bytes(), found.stat().st_mtime) == (b"x", 7)
    assert (tmp_path / "link").readlink() == Path("t" * 150)
    assert (tmp_path / "old").stat().st_mtime == -5
