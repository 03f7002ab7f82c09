"""`tar:FILE`: the same bytes every time, whole or not at all, read by Docker's list and by the OCI's alike."""

from __future__ import annotations

import io
import json
import os
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s2ictl import layouts, oci, tarballs
from s2ictl.errors import CommitContainerFailed, InvalidUsage, PullBuilderImageFailed, S2IError
from s2ictl.events import Emit
from s2ictl.models import Reference
from tests.fakes.carried import loaded
from tests.fakes.images import LAYER, layered, picture_of, several, small_image

NAME = Reference.parse("registry.example.com/team/shop:1.4")
SHORT = Reference.parse("shop")
ONE = picture_of(small_image())
ARM = picture_of(small_image(architecture="arm64"))


def content(picture: oci.Picture = ONE, *names: Reference, platform: str = "linux/amd64") -> bytes:
    return b"".join(tarballs.tarball(picture, names, platform=platform))


def files(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as tar:
        return {each.name: file.read() for each in tar if each.isreg() and (file := tar.extractfile(each))}


def test_docker_reads_the_names_and_the_layers(tmp_path: Path) -> None:
    found = loaded(content(ONE, NAME, SHORT))
    assert found.names == ("registry.example.com/team/shop:1.4", "shop:latest")
    assert (oci.digest_of(found.config), found.layers) == (ONE.id, {oci.digest_of(LAYER): LAYER})


def test_others_read_an_index_that_says_the_name_in_full() -> None:
    index = json.loads(files(content(ONE, NAME, SHORT))["index.json"])
    assert [one["digest"] for one in index["manifests"]] == [ONE.digest] * 2
    assert [one["annotations"] for one in index["manifests"]] == [
        {oci.TAG: "1.4", "io.containerd.image.name": "registry.example.com/team/shop:1.4"},
        {oci.TAG: "latest", "io.containerd.image.name": "docker.io/library/shop:latest"},
    ]


def test_the_bytes_are_fixed_for_ever() -> None:
    assert (
        oci.digest_of(content(ONE, NAME)) == "sha256:8b4d66acd4c2eee3ed0449cfcddc72c99cbdc2ad095083ad7b0a22bbaa3f506b"
    )


def test_the_order_in_which_the_blobs_were_made_is_not_seen() -> None:
    backwards = replace(ONE, blobs=(*reversed(ONE.blobs), *ONE.blobs))
    assert content(backwards, NAME) == content(ONE, NAME)


def test_no_time_and_nobody_s_name_is_in_it() -> None:
    with tarfile.open(fileobj=io.BytesIO(content(ONE, NAME))) as tar:
        assert {(each.mtime, each.uid, each.gid, each.uname, each.gname) for each in tar} == {(0, 0, 0, "", "")}


def test_of_several_platforms_all_are_there_and_docker_is_told_of_its_own() -> None:
    arm = small_image(architecture="arm64", layer=b"for arm")
    archive = content(several(amd64=ONE, arm64=picture_of(arm)), NAME, platform="linux/arm64")
    assert loaded(archive).config == arm.config
    blobs = {name for name in files(archive) if name.startswith("blobs/")}
    assert len(blobs) == 7  # two layers, configurations and manifests, and the index


def test_for_a_platform_that_it_is_not_for_docker_is_told_of_the_first() -> None:
    archive = content(several(amd64=ONE, arm64=ARM), platform="linux/s390x")
    assert loaded(archive).config == small_image().config


# ------------------------------------------------------------------------------------------------- for an engine


def sent(*held: bytes) -> set[bytes]:
    """The layers that go to an engine that has these."""
    image = layered(b"below" * 200, b"above" * 200)
    pieces = tarballs.loadable(image, (NAME,), platform="", held=[oci.digest_of(each) for each in held])
    return set(loaded(b"".join(pieces)).layers.values())


def test_an_engine_is_sent_what_it_does_not_hold() -> None:
    below, above = b"below" * 200, b"above" * 200
    assert sent() == {below, above}
    assert sent(below) == sent(below, b"another") == {above}
    assert sent(below, above) == set()


def test_a_layer_is_held_only_above_the_same_ones() -> None:
    below, above = b"below" * 200, b"above" * 200
    assert sent(above) == sent(b"another", above) == sent(b"another", below) == {below, above}


# ---------------------------------------------------------------------------------------------------------- a file


def test_a_file_is_there_whole(tmp_path: Path, emit: Emit) -> None:
    path = tmp_path / "out.tar"
    path.write_bytes(b"what was there before")
    assert tarballs.write(path, ONE, (NAME,), platform="", emit=emit) == ONE.digest
    assert path.read_bytes() == content(ONE, NAME)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("chunks", [(b"other bytes",), (LAYER, b"more"), ()])
def test_or_not_at_all(chunks: tuple[bytes, ...], tmp_path: Path, emit: Emit) -> None:
    path = tmp_path / "out.tar"
    path.write_bytes(b"what was there before")

    def other() -> Iterator[bytes]:
        return iter(chunks)

    broken = replace(ONE, blobs=(replace(ONE.blobs[0], chunks=other), *ONE.blobs[1:]))
    with pytest.raises(CommitContainerFailed, match="changed meanwhile"):
        tarballs.write(path, broken, (), platform="", emit=emit)
    assert (path.read_bytes(), list(tmp_path.iterdir())) == (b"what was there before", [path])


def test_whoever_is_interrupted_leaves_nothing(tmp_path: Path, emit: Emit) -> None:
    def interrupted() -> Iterator[bytes]:
        yield LAYER[:10]
        raise KeyboardInterrupt

    broken = replace(ONE, blobs=(replace(ONE.blobs[0], chunks=interrupted), *ONE.blobs[1:]))
    with pytest.raises(KeyboardInterrupt):
        tarballs.write(tmp_path / "out.tar", broken, (), platform="", emit=emit)
    assert list(tmp_path.iterdir()) == []


def test_what_could_not_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    for path, why in (
        (tmp_path, "exists and is no file"),
        (Path("/dev/full"), "exists and is no file"),
        (tmp_path / "nowhere/out.tar", "lies in a directory that is not there"),
    ):
        with pytest.raises(InvalidUsage, match=why):
            tarballs.check(path)
    tarballs.check(tmp_path / "new.tar")


# ------------------------------------------------------------------------------------------------------ read again


@pytest.mark.parametrize("picture", [ONE, several(amd64=ONE, arm64=ARM)])
def test_what_was_written_is_read_byte_for_byte(picture: oci.Picture, tmp_path: Path, emit: Emit) -> None:
    tarballs.write(tmp_path / "out.tar", picture, (NAME,), platform="", emit=emit)
    with tarballs.opened(tmp_path / "out.tar") as stored:
        found = layouts.picture(stored, "1.4")
        assert (found.manifest, found.children, found.kind) == (picture.manifest, picture.children, picture.kind)
        assert content(found, NAME) == content(picture, NAME)


def read(path: Path) -> oci.Picture:
    with tarballs.opened(path) as stored:
        picture = layouts.picture(stored, "")
        for each in picture.blobs:
            assert oci.digest_of(b"".join(each.chunks())) == each.digest
        return picture


def test_what_is_none_is_said_so(tmp_path: Path) -> None:
    path = tmp_path / "it.tar"
    with pytest.raises(PullBuilderImageFailed, match="there is no file"):
        read(path)
    path.write_bytes(b"no tar" * 1000)
    with pytest.raises(PullBuilderImageFailed, match="is not readable"):
        read(path)
    with tarfile.open(path, "w") as tar:
        tar.addfile(tarfile.TarInfo("manifest.json"), io.BytesIO())
    with pytest.raises(PullBuilderImageFailed, match="holds no OCI layout") as failure:
        read(path)
    assert "--to tar:FILE" in failure.value.hint


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/zero"), tmp_path / ("n" * 300)):
        with pytest.raises(PullBuilderImageFailed, match="is not readable"):
            read(path)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_that_claims_to_be_long_is_not_held_in_memory(kind: bytes, tmp_path: Path) -> None:
    claims = tarfile.TarInfo("header")
    claims.type, claims.size = kind, 4 << 30
    path = tmp_path / "it.tar"
    path.write_bytes(claims.tobuf())
    os.truncate(path, 5 << 30)
    with pytest.raises(PullBuilderImageFailed, match="is not readable") as caught:
        read(path)
    assert caught.value.detail == f"one of its headers has {4 << 30} bytes"


def test_a_member_that_leads_back_is_not_followed_for_ever(tmp_path: Path) -> None:
    back = tarfile.TarInfo("back")
    header = bytearray(back.tobuf(tarfile.GNU_FORMAT))
    header[124:136] = (-1024).to_bytes(12, "big", signed=True)
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + sum(header[156:]) + 8 * 32)
    (tmp_path / "it.tar").write_bytes(bytes(header) + bytes(1024))
    with pytest.raises(PullBuilderImageFailed):
        read(tmp_path / "it.tar")


def test_a_file_that_ends_in_the_middle_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "it.tar"
    whole = content(ONE, NAME)
    for length in range(0, len(whole) - 1024, 300):
        path.write_bytes(whole[:length])
        with pytest.raises(PullBuilderImageFailed):
            read(path)


@settings(deadline=None)
@given(at=st.integers(0, len(content(ONE, NAME)) - 1), other=st.binary(min_size=1, max_size=600))
def test_whatever_stands_in_a_file_is_this_image_or_an_error_of_ours(at: int, other: bytes) -> None:
    whole = content(ONE, NAME)
    with tempfile.TemporaryDirectory() as directory, suppress(S2IError):
        path = Path(directory) / "it.tar"
        path.write_bytes(whole[:at] + other + whole[at + len(other) :])
        assert read(path).digest == ONE.digest
