"""A file that is an archive, by its content and never by its name; and what cannot be one."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from s2ictl.archives import Limits, tar_stream
from s2ictl.archives.unpacked import read_archive
from s2ictl.errors import FetchSourceFailed, LimitReached, S2IError
from s2ictl.models import Member
from tests import packers

ROOMY = Limits(members=1000, size=1 << 30)
PACK: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}
packed = pytest.mark.parametrize("how", PACK)
compressed = pytest.mark.parametrize("how", [how for how in PACK if how != "plain"])


def tar(files: dict[str, bytes]) -> bytes:
    members = (
        (Member(path=path, kind="file", mode=0o644, size=len(content)), io.BytesIO(content).read)
        for path, content in files.items()
    )
    return b"".join(tar_stream(members, uid=0, gid=0))


def read(path: Path, content: bytes, limits: Limits = ROOMY) -> dict[str, bytes]:
    path.write_bytes(content)
    with path.open("rb") as file:
        entries = read_archive(file, name="the archive", limits=limits)
        return {member.path: whole(content, member.size) for member, content in entries}


def whole(content: Callable[[int], bytes], size: int) -> bytes:
    return b"".join(iter(lambda: content(1 << 16), b""))


FILES = {"app": b"hello", "data/large": bytes(range(256)) * 1500, "empty": b""}


@packed
def test_the_content_says_how_a_tar_is_packed(how: str, tmp_path: Path) -> None:
    assert read(tmp_path / "misleading.zip", PACK[how](tar(FILES))) == FILES


@packed
def test_two_can_read_one_file_at_once(how: str, tmp_path: Path) -> None:
    path = tmp_path / "archive"
    path.write_bytes(PACK[how](tar(FILES)))
    with path.open("rb") as file:
        first = read_archive(file, name="the archive", limits=ROOMY)
        next(first)
        second = [member.path for member, _ in read_archive(file, name="the archive", limits=ROOMY)]
        assert [*["app"], *(member.path for member, _ in first)] == second == list(FILES)


@compressed
def test_what_was_packed_in_pieces_is_one_archive(how: str, tmp_path: Path) -> None:
    archive = tar(FILES)
    assert read(tmp_path / "x", PACK[how](archive[:700]) + PACK[how](archive[700:])) == FILES


@compressed
def test_a_packed_archive_that_was_cut_off_is_never_taken_for_a_whole_one(how: str, tmp_path: Path) -> None:
    archive = PACK[how](tar(FILES))
    for cut in (len(archive) // 2, len(archive) - 9, len(archive) - 1):
        with pytest.raises(FetchSourceFailed, match="damaged"):
            read(tmp_path / "x", archive[:cut])


@compressed
def test_what_follows_a_packed_archive_is_not_passed_over(how: str, tmp_path: Path) -> None:
    with pytest.raises(S2IError):
        read(tmp_path / "x", PACK[how](tar(FILES)) + b"and more")


@compressed
def test_a_flipped_bit_is_found(how: str, tmp_path: Path) -> None:
    archive = bytearray(PACK[how](tar({"app": bytes(range(256)) * 30})))
    archive[-20] ^= 1
    with pytest.raises(FetchSourceFailed):
        read(tmp_path / "x", bytes(archive))


@pytest.mark.parametrize("how", ["bzip2", "xz"])  # gzip has no way to say so much so briefly
def test_a_bomb_is_given_up_by_what_comes_out_of_it(how: str, tmp_path: Path) -> None:
    bomb = PACK[how](tar({"zeros": bytes(12 << 20)}))
    with pytest.raises(LimitReached, match="grows to more than 1000 times its size"):
        read(tmp_path / "x", bomb)


def test_xz_is_given_only_so_much_memory(tmp_path: Path) -> None:
    greedy = lzma.compress(tar(FILES), filters=[{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 20}])
    # The size of its dictionary is one byte in the header of the block; the largest that there is, and its checksum.
    header = bytearray(greedy[12:24])
    header[4] = 40
    header[8:12] = zlib.crc32(bytes(header[:8])).to_bytes(4, "little")
    with pytest.raises(LimitReached, match="bytes of memory"):
        read(tmp_path / "x", greedy[:12] + bytes(header) + greedy[24:])


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is empty"),
        (b"print(1)\n", "its content is of no kind that is known here"),
        (b"\x7fELF\x02\x01", "it is a program"),
        (b"\x28\xb5\x2f\xfd", "it is packed by zstd"),
        (b"7z\xbc\xaf\x27\x1c", "it is a 7z archive"),
        (b"Rar!\x1a\x07", "it is a rar archive"),
        (b"\n <!DOCTYPE html>", "it is an HTML or XML page"),
        (gzip.compress(gzip.compress(tar(FILES), mtime=0)), "it is packed twice"),
        (gzip.compress(b"print(1)\n", mtime=0), "what is packed in it is no tar"),
        (gzip.compress(b"", mtime=0), "what is packed in it is no tar"),
    ],
)
def test_what_is_no_archive_is_told_with_what_would_be_one(content: bytes, why: str, tmp_path: Path) -> None:
    with pytest.raises(FetchSourceFailed) as caught:
        read(tmp_path / "x", content)
    assert (caught.value.message, caught.value.detail) == (
        f"the archive is no archive that can be read: {why}",
        "supported are tar (plain, or packed by gzip, bzip2 or xz) and zip",
    )


def test_a_program_is_sent_where_programs_go(tmp_path: Path) -> None:
    with pytest.raises(FetchSourceFailed) as caught:
        read(tmp_path / "x", b"\x7fELF" + bytes(600))
    assert caught.value.hint == "s2ictl b2i FILE makes an image of a finished artifact"


@pytest.mark.parametrize("flag", ["--format=ustar", "--format=gnu", "--format=pax", "-z", "-j", "-J"])
def test_what_gnu_tar_writes_is_read(flag: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "src").mkdir(parents=True)
    (source / "src" / "app").write_bytes(b"hello")
    (source / "src" / "same").hardlink_to(source / "src" / "app")
    packers.tar(source, tmp_path / "x", flag, "--sort=name")
    with (tmp_path / "x").open("rb") as file:
        members = [member for member, _ in read_archive(file, name="the archive", limits=ROOMY)]
    assert [(member.path, member.kind, member.target) for member in members] == [
        ("src", "directory", ""),
        ("src/app", "file", ""),
        ("src/same", "hardlink", "src/app"),
    ]


@pytest.mark.parametrize("form", ["gnu", "posix"])
def test_a_file_with_holes_is_refused_by_any_of_its_forms(form: str, tmp_path: Path) -> None:
    holes = tmp_path / "holes"
    with holes.open("wb") as file:
        file.truncate(1 << 20)
        file.seek(1 << 19)
        file.write(b"x")
    packers.tar(tmp_path, tmp_path / "x", f"--format={form}", "--sparse", names=("holes",))
    with pytest.raises(S2IError) as caught:
        read(tmp_path / "y", (tmp_path / "x").read_bytes())
    assert "sparse" in f"{caught.value.message} {caught.value.detail}"


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(how=st.sampled_from(list(PACK)), noise=st.binary(max_size=200), at=st.integers(min_value=0, max_value=400))
def test_hostile_bytes_are_an_error_of_ours_or_an_archive(how: str, noise: bytes, at: int, tmp_path: Path) -> None:
    whole = PACK[how](tar({"app": b"x" * 900, "n" * 200: b"y"}))
    with contextlib.suppress(S2IError):
        read(tmp_path / "x", whole[:at] + noise + whole[at + len(noise) :])


def test_python_s_own_archives_are_read(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x", "w:xz") as archive:
        archive.add(__file__, arcname="./a//test.py")
    assert read(tmp_path / "y", (tmp_path / "x").read_bytes()) == {"a/test.py": Path(__file__).read_bytes()}
