"""What an artifact is, found out from its bytes alone."""

from __future__ import annotations

import hashlib
import os
import struct
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as some

from s2ictl.artifacts import content_digest, read
from s2ictl.artifacts.reading import safe_name
from s2ictl.errors import InvalidArtifact, LimitReached, S2IError, WrongPlatform
from s2ictl.models import Artifact, Binary
from tests.fakes.images import program


def file(directory: Path, content: bytes, name: str = "app") -> Path:
    path = directory / name
    path.write_bytes(content)
    return path


def test_a_static_program_is_known_by_its_header(tmp_path: Path) -> None:
    content = program()
    assert read(file(tmp_path, content, "page.html")) == Artifact(
        path=tmp_path / "page.html",
        name="page.html",
        kind="binary",
        size=len(content),
        binary=Binary(machine="amd64", linkage="static"),
    )


def test_a_dynamic_program_names_its_loader(tmp_path: Path) -> None:
    artifact = read(file(tmp_path, program(interpreter=b"/lib/ld-musl-x86_64.so.1\0")))
    assert artifact.binary == Binary(machine="amd64", linkage="dynamic", interpreter="/lib/ld-musl-x86_64.so.1")


@pytest.mark.parametrize(("machine", "name"), [(62, "amd64"), (183, "arm64"), (243, "riscv64"), (21, "ppc64le")])
def test_its_machine_bears_the_name_that_images_use(machine: int, name: str, tmp_path: Path) -> None:
    assert read(file(tmp_path, program(machine=machine))).binary == Binary(machine=name, linkage="static")


def test_a_32_bit_program_of_the_other_byte_order_is_read(tmp_path: Path) -> None:
    header = b"\x7fELF" + bytes([1, 1, 1, 0]) + bytes(8)
    header += struct.pack("<HHIIIIIHHHHHH", 2, 40, 1, 0x10054, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    artifact = read(file(tmp_path, header + struct.pack("<8I", 1, 0, 0, 0, 84, 84, 5, 4096)))
    assert artifact.binary == Binary(machine="arm", linkage="static")


def test_a_program_for_another_system_or_machine_is_for_another_platform(tmp_path: Path) -> None:
    with pytest.raises(WrongPlatform, match="for FreeBSD, not for Linux"):
        read(file(tmp_path, program(system=9)))
    with pytest.raises(WrongPlatform, match="a machine that no image is made for"):
        read(file(tmp_path, program(machine=9999)))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><title>Log in</title>", "HTML"),
        (b"\n  <html>", "HTML"),
        (b"#!/bin/sh\n", "a script"),
        (b"MZ\x90", "for Windows"),
        (b"\xcf\xfa\xed\xfe", "for macOS"),
        (b"\x1f\x8b\x08", "a compressed archive"),
        (b"PK\x03\x04", "is cut short"),
        (b"some text", "of no kind that is known"),
        (b"\x7fELF", "is cut short"),
        (program()[:40], "is cut short"),
        (program()[:100], "is cut short"),
        (program()[:-1], "is cut short"),
        (b"\x7fELF\x09\x09" + bytes(60), "broken ELF header"),
        (program(kind=1), "no program"),
        (program(kind=3, entry=0), "a shared library"),
        (program(interpreter=b"ld.so\0"), "broken ELF header"),
        (program(interpreter=b"/ld.so\0and more"), "broken ELF header"),
        (program(interpreter=b"/ld\n.so\0"), "broken ELF header"),
    ],
)
def test_what_is_no_program_is_refused_with_what_it_is(content: bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidArtifact) as caught:
        read(file(tmp_path, content))
    assert (words in caught.value.message, caught.value.exit_code) == (True, 5)


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").mkdir()
    for path, words in (
        (tmp_path / "empty", "holds nothing finished"),
        (tmp_path / "absent", "there is no artifact"),
        (tmp_path / "pipe", "is not a regular file"),
        (Path("/dev/null"), "is not a regular file"),
        (tmp_path / "absent" / "app", "there is no artifact"),
        (tmp_path / ("a" * 300), "cannot be read"),
    ):
        with pytest.raises(InvalidArtifact, match=words):
            read(path)


def test_its_digest_is_that_of_its_bytes_wherever_it_lies(tmp_path: Path) -> None:
    artifact = read(file(tmp_path, program(), "one"))
    assert content_digest(artifact) == f"sha256:{hashlib.sha256(program()).hexdigest()}"


def test_an_artifact_beyond_the_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = file(tmp_path, program())
    os.truncate(path, 20 << 30)
    with pytest.raises(LimitReached, match="the limit is"):
        read(path)


@given(some.integers(4, 250), some.binary(min_size=1, max_size=8))
@example(56, b"\xff\xff")
def test_no_header_confuses_the_reader(position: int, noise: bytes) -> None:
    content = bytearray(program(interpreter=b"/lib/ld.so\0"))
    content[position : position + len(noise)] = noise
    path = Path(f"/proc/self/fd/{os.memfd_create('app')}")
    try:
        path.write_bytes(content)
        with suppress(S2IError):
            assert read(path).kind == "binary"
    finally:
        os.close(int(path.name))


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("app", "app"),
        ("my app", "my-app"),
        ("app\n", "app"),
        ("-rf", "rf"),
        ("..app", "app"),
        ("\u00e4", "app"),
        ("x" * 200, "x" * 80),
        ("shop-1.2_3.bin", "shop-1.2_3.bin"),
    ],
)
def test_a_name_in_the_image_is_fit_for_a_command_line(name: str, safe: str) -> None:
    assert safe_name(name) == safe
