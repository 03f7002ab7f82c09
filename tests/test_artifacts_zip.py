"""A zip that somebody made to harm, or that was harmed on its way."""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as some

from s2ictl.artifacts import read
from s2ictl.errors import InvalidArtifact, LimitReached, Refused, S2IError
from tests.fakes.artifacts import boot, packed, runnable, war

JAR = packed(runnable())


def refused(directory: Path, content: bytes, name: str = "shop.jar") -> S2IError:
    path = directory / name
    path.write_bytes(content)
    with pytest.raises(S2IError) as caught:
        read(path)
    return caught.value


@pytest.mark.parametrize("cut", [1, 10, 22, 60, len(JAR) // 2, len(JAR) - 4])
def test_one_that_is_cut_short_is_unreadable(cut: int, tmp_path: Path) -> None:
    error = refused(tmp_path, JAR[:-cut])
    assert (type(error), "cut short" in error.message) == (InvalidArtifact, True)


def test_one_that_is_encrypted_is_unreadable(tmp_path: Path) -> None:
    content = bytearray(JAR)
    listed = content.find(b"PK\x01\x02")
    content[listed + 8] |= 1
    assert "is encrypted" in refused(tmp_path, bytes(content)).message


def test_a_packing_that_java_does_not_know_is_named(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("A.class", b"x")
    assert "method 14" in refused(tmp_path, buffer.getvalue()).message


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/x", "a\\..\\x", "a/.."])
def test_an_entry_that_climbs_is_refused(name: str, tmp_path: Path) -> None:
    error = refused(tmp_path, packed(runnable() | {name: b"x"}))
    assert (type(error), error.exit_code) == (Refused, 12)


def claiming(content: bytes, size: int) -> bytes:
    """The same zip, whose directory says of each file that it has this size."""
    changed, at = bytearray(content), 0
    while (at := content.find(b"PK\x01\x02", at)) >= 0:
        struct.pack_into("<L", changed, at + 24, size)
        at += 4
    return bytes(changed)


def test_one_file_that_grows_without_measure_is_a_bomb(tmp_path: Path) -> None:
    error = refused(tmp_path, claiming(JAR, 100 << 20))
    assert (type(error), "1000 times its size" in error.message) == (LimitReached, True)


def test_so_are_many_that_grow_together(tmp_path: Path) -> None:
    error = refused(tmp_path, claiming(JAR, 5 << 20))
    assert (type(error), "200 times its size" in error.message) == (LimitReached, True)


def test_a_directory_that_promises_more_than_it_has_room_for_is_a_lie(tmp_path: Path) -> None:
    end = JAR.rfind(b"PK\x05\x06")
    many = JAR[: end + 10] + struct.pack("<H", 60000) + JAR[end + 12 :]
    assert "speaks of 60000 files and has 2" in refused(tmp_path, many).detail
    long = JAR[: end + 12] + struct.pack("<L", 1 << 31) + JAR[end + 16 :]
    assert "longer than itself" in refused(tmp_path, long).detail


def test_entries_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    content = bytearray(packed(runnable(), stored=True))
    second = content.find(b"PK\x01\x02", content.find(b"PK\x01\x02") + 4)
    content[second + 42 : second + 46] = struct.pack("<L", 8)
    error = refused(tmp_path, bytes(content))
    assert (type(error), "lies over another" in error.message) == (Refused, True)


def test_what_goes_on_behind_its_end_or_begins_before_it_is_refused(tmp_path: Path) -> None:
    assert "behind its end" in refused(tmp_path, JAR + b"more").message
    assert "before its first file" in refused(tmp_path, b"PK\x03\x04" + JAR).message


def test_a_comment_at_the_end_is_nothing_bad(tmp_path: Path) -> None:
    buffer = io.BytesIO(JAR)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.comment = b"made by hand"
    (tmp_path / "shop.jar").write_bytes(buffer.getvalue())
    assert read(tmp_path / "shop.jar").kind == "jar"


def test_a_checksum_is_compared(tmp_path: Path) -> None:
    content = packed(runnable(), stored=True)
    assert "checksum" in refused(tmp_path, content.replace(b"Main-Class", b"Main-Glass", 1)).detail


def test_content_that_ends_before_its_size_is_damaged(tmp_path: Path) -> None:
    content = packed(runnable())
    listed = content.find(b"PK\x01\x02")
    size = struct.unpack_from("<L", content, listed + 24)[0]
    error = refused(tmp_path, content[: listed + 24] + struct.pack("<L", size + 9) + content[listed + 28 :])
    assert (type(error), "ends in the middle" in error.detail) == (InvalidArtifact, True)


def zip64(extra: bytes) -> bytes:
    """A zip of one class, all of whose numbers stand where those of 64 bits do."""
    full, content = 0xFFFFFFFF, b"x" * 50
    checksum = zlib.crc32(content)
    local = struct.pack("<4s5H3L2H", b"PK\x03\x04", 45, 0, 0, 0, 0, checksum, 50, 50, 7, 0) + b"A.class"
    numbers = (45, 45, 0, 0, 0, 0, checksum, full, full, 7, len(extra), 0, 0, 0, 0, full)
    listed = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", *numbers) + b"A.class" + extra
    at = len(local) + len(content)
    end64 = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, len(listed), at)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, at + len(listed), 1)
    return (
        local
        + content
        + listed
        + end64
        + locator
        + struct.pack("<4s4H2LH", b"PK\x05\x06", *[0xFFFF] * 4, full, full, 0)
    )


def test_the_sizes_of_zip64_are_read(tmp_path: Path) -> None:
    (tmp_path / "shop.jar").write_bytes(zip64(struct.pack("<2H3Q", 1, 24, 50, 50, 0)))
    assert read(tmp_path / "shop.jar").kind == "jar"


@pytest.mark.parametrize(
    "extra", [b"", struct.pack("<2HQ", 1, 8, 50), struct.pack("<2H3Q", 7, 24, 50, 50, 0), b"\1\0\xff"]
)
def test_so_is_that_one_is_missing(extra: bytes, tmp_path: Path) -> None:
    assert refused(tmp_path, zip64(extra)).detail == "a size in its directory is missing"


@pytest.mark.parametrize("at", [10, 12, 16])
def test_two_directories_in_one_zip_are_refused(at: int, tmp_path: Path) -> None:
    content = zip64(struct.pack("<2H3Q", 1, 24, 50, 50, 0))
    end = len(content) - 22
    error = refused(tmp_path, content[: end + at] + b"\3\0" + content[end + at + 2 :])
    assert (type(error), error.message.endswith("has two directories")) == (Refused, True)


SEEDS = (JAR, packed(war()), packed(boot()), b"#!/bin/sh\n" + packed(runnable(), stored=True))


@given(some.sampled_from(SEEDS), some.integers(0, 4000), some.binary(min_size=1, max_size=8))
@example(JAR, JAR.find(b"PK\x01\x02") + 28, b"\xff\xff")
@example(JAR, len(JAR) - 10, b"\xff\xff\xff\xff")
def test_no_harm_confuses_the_reader(seed: bytes, position: int, noise: bytes) -> None:
    content = bytearray(seed)
    position %= len(content)
    content[position : position + len(noise)] = noise
    path = Path(f"/proc/self/fd/{os.memfd_create('shop')}")
    try:
        path.write_bytes(content)
        with suppress(S2IError):
            read(path)
    finally:
        os.close(int(path.name))
