"""Archives of images, as engines write them, and what two layers do not have alike."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2ictl.engines import Difference
from s2ictl.engines.layers import Facts, compared, layers_of
from s2ictl.errors import CommitContainerFailed

FILE = Facts(
    kind="file",
    content=hashlib.sha256(b"hello").digest(),
    target="",
    mode=0o644,
    owner=(1001, 0),
    attributes=(),
    time=7.0,
)


def tar_of(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def entry(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", note: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, target
    made.pax_headers = {"SCHILY.xattr.user.note": note} if note else {}
    made.mode, made.uid, made.gid, made.mtime = 0o644, 1001, 0, 7
    return made


def plain(name: str, content: bytes) -> tuple[tarfile.TarInfo, bytes]:
    return tarfile.TarInfo(name), content


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


BASE = tar_of((entry("etc", tarfile.DIRTYPE), b""), (entry("etc/motd"), b"hello"))
TOP = tar_of(
    (entry("opt", tarfile.DIRTYPE), b""),
    (entry("opt/app"), b"hello"),
    (entry("opt/same", tarfile.LNKTYPE, "opt/app"), b""),
    (entry("opt/link", tarfile.SYMTYPE, "app"), b""),
    (entry("opt/.wh.gone"), b""),
    (entry("opt/able", note="x"), b"hello"),
)
CONFIG = json.dumps({"rootfs": {"diff_ids": [digest(BASE), digest(TOP)]}}).encode()

OLDER = tar_of(
    plain("aa/VERSION", b"1.0"),
    plain("aa/json", b"{}"),
    plain("aa/layer.tar", BASE),
    plain("bb/json", b"{}"),
    plain("bb/layer.tar", TOP),
    plain("cc.json", CONFIG),
    plain("manifest.json", b'[{"Config": "cc.json", "Layers": ["aa/layer.tar", "bb/layer.tar"]}]'),
)
OCI = tar_of(
    plain("oci-layout", b'{"imageLayoutVersion": "1.0.0"}'),
    plain(f"blobs/sha256/{digest(CONFIG)[7:]}", CONFIG),
    plain(f"blobs/sha256/{digest(TOP)[7:]}", TOP),
    plain(f"blobs/sha256/{digest(BASE)[7:]}", BASE),
    plain("index.json", b"{}"),
)
PACKED = tar_of(
    plain("index.json", b"{}"), plain("blobs/sha256/a", gzip.compress(BASE[:700]) + gzip.compress(BASE[700:]))
)


def reading(content: bytes, *, at_once: int = 1 << 20) -> dict[str, dict[str, Facts]]:
    file = io.BytesIO(content)
    return {name: dict(layer) for name, layer in layers_of(lambda size: file.read(min(size, at_once)))}


@pytest.mark.parametrize("archive", [OLDER, OCI], ids=["older", "oci"])
def test_each_layer_of_an_archive_is_told_by_the_digest_of_its_bytes(archive: bytes) -> None:
    assert reading(archive)[digest(TOP)] == {
        "/opt": replace(FILE, kind="directory", content=b""),
        "/opt/app": FILE,
        "/opt/same": replace(FILE, kind="hard link", content=b"", target="opt/app"),
        "/opt/link": replace(FILE, kind="link", content=b"", target="app"),
        "/opt/.wh.gone": replace(FILE, content=hashlib.sha256(b"").digest()),
        "/opt/able": replace(FILE, attributes=(("SCHILY.xattr.user.note", "x"),)),
    }
    assert reading(archive).keys() == {digest(BASE), digest(TOP)}


def test_a_layer_that_is_packed_is_known_by_what_it_is_unpacked() -> None:
    assert reading(PACKED) == {digest(BASE): reading(OLDER)[digest(BASE)]}


def test_an_empty_layer_is_a_layer_too() -> None:
    empty = bytes(1024)
    assert reading(tar_of(plain("aa/layer.tar", empty))) == {digest(empty): {}}


@given(st.integers(min_value=1, max_value=5000))
def test_it_does_not_matter_in_what_pieces_an_archive_comes(at_once: int) -> None:
    assert reading(OCI, at_once=at_once) == reading(OCI)


@given(st.integers(min_value=0, max_value=len(OLDER) - 1), st.binary(min_size=1, max_size=600))
def test_an_archive_that_is_damaged_is_an_error_of_ours_or_another_archive(at: int, noise: bytes) -> None:
    damaged = OLDER[:at] + noise + OLDER[at + len(noise) :]
    with suppress(CommitContainerFailed):
        reading(damaged)


def test_an_archive_that_breaks_off_is_damaged() -> None:
    with pytest.raises(CommitContainerFailed, match="is damaged"):
        reading(OLDER[: OLDER.index(b"opt/same")])


def ways() -> Iterator[tuple[Facts | None, tuple[str, ...]]]:
    yield FILE, ()
    yield None, ("presence",)
    yield replace(FILE, kind="link", content=b"", target="a"), ("kind",)
    yield replace(FILE, content=b"other"), ("content",)
    yield replace(FILE, target="other"), ("target",)
    yield replace(FILE, mode=0o600), ("mode",)
    yield replace(FILE, owner=(0, 0)), ("owner",)
    yield replace(FILE, attributes=(("a", "b"),)), ("attributes",)
    yield replace(FILE, time=8.0), ("time",)
    yield replace(FILE, content=b"other", time=8.0), ("content", "time")


@pytest.mark.parametrize(("other", "told"), list(ways()))
def test_a_path_differs_in_what_is_not_alike(other: Facts | None, told: tuple[str, ...]) -> None:
    layer = {"/a": other} if other else {}
    expected = [Difference(path="/a", ways=told)] if told else []
    assert list(compared({"/a": FILE}, layer)) == list(compared(layer, {"/a": FILE})) == expected


def test_differences_stand_in_the_order_of_their_paths() -> None:
    assert [each.path for each in compared({"/b": FILE, "/d": FILE}, {"/a": FILE, "/c": FILE})] == [
        "/a",
        "/b",
        "/c",
        "/d",
    ]
