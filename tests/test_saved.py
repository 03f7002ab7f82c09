"""What engines save: every form of it becomes the same image, and nothing in it is believed."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s2ictl import oci
from s2ictl.errors import CommitContainerFailed, LimitReached, S2IError
from s2ictl.models import Reference
from s2ictl.saved import manifest_of, taken
from s2ictl.tarballs import tarball
from tests.fakes.carried import Form, config_of, packed, saved

BASE = packed({"etc/hello": b"hello" * 300})
APP = packed({"app/shop": bytes(range(256)) * 40})


@dataclass(slots=True)
class Blobs:
    """Where an image is put: its blobs by their digests."""

    there: dict[str, bytes] = field(default_factory=dict)

    def write(self, blob: oci.Blob) -> oci.Descriptor:
        content = b"".join(blob.chunks())
        digest = oci.digest_of(content)
        self.there[digest] = content
        return oci.Descriptor(media_type=blob.media_type, digest=digest, size=len(content))

    def take(self, archive: bytes, *, chunk: int = 1000) -> oci.Manifest:
        pieces = (archive[at : at + chunk] for at in range(0, len(archive), chunk))
        manifest = oci.read_manifest(manifest_of(pieces, self.write), "it")
        assert isinstance(manifest, oci.Manifest)
        return manifest

    def layers(self, manifest: oci.Manifest) -> list[bytes]:
        return [gzip.decompress(self.there[layer.digest]) for layer in manifest.layers]


@pytest.mark.parametrize("form", ["docker", "blobs", "oci"])
def test_every_form_becomes_the_same_image(form: Form) -> None:
    blobs = Blobs()
    manifest = blobs.take(saved([BASE, APP], form=form))
    assert blobs.layers(manifest) == [BASE, APP]
    assert blobs.there[manifest.config.digest] == config_of([BASE, APP])
    assert {layer.media_type for layer in manifest.layers} == {f"{oci.LAYER}+gzip"}
    assert manifest == Blobs().take(saved([BASE, APP], form="docker"))


@pytest.mark.parametrize("form", ["docker", "blobs"])
def test_what_an_engine_calls_it_is_told_with_it(form: Form) -> None:
    blobs, names = Blobs(), ("team/app:1", "whatever it says")
    image = taken(iter((saved([BASE], names=names, form=form),)), blobs.write)
    assert (image.names, image.id) == (names, oci.digest_of(config_of([BASE])))
    assert taken(iter((saved([BASE], form=form),)), blobs.write).names == ()


def test_in_a_layout_the_name_is_the_one_that_containerd_reads() -> None:
    config, layer = oci.blob_of(config_of([BASE]), oci.CONFIG), oci.blob_of(BASE, oci.LAYER)
    manifest = oci.Manifest(schema_version=2, config=oci.descriptor_of(config), layers=(oci.descriptor_of(layer),))
    picture = oci.Picture(blobs=(layer, config), manifest=oci.encode(manifest), id=config.digest)
    archive = tarball(picture, (Reference.parse("app:1"),), platform="linux/amd64")
    assert taken(archive, Blobs().write).names == ("app:1",)
    layout = without(tarball(picture, (Reference.parse("app:1"),), platform="linux/amd64"), "manifest.json")
    assert taken(iter((layout,)), Blobs().write).names == ("docker.io/library/app:1",)


def without(archive: Iterator[bytes], name: str) -> bytes:
    """The archive without one of its members."""
    with tarfile.open(fileobj=io.BytesIO(b"".join(archive))) as tar:
        files = {each.name: file.read() for each in tar if each.isreg() and (file := tar.extractfile(each))}
    return packed({path: content for path, content in files.items() if path != name})


@pytest.mark.parametrize("form", ["blobs", "oci"])
def test_a_layer_that_is_compressed_stays_the_very_blob_that_its_registry_has(form: Form) -> None:
    blobs = Blobs()
    manifest = blobs.take(saved([BASE, APP], form=form, compress=True))
    assert [layer.digest for layer in manifest.layers] == [
        oci.digest_of(gzip.compress(each, mtime=0)) for each in (BASE, APP)
    ]


def test_a_layer_that_is_there_twice_is_kept_once_and_named_twice() -> None:
    blobs = Blobs()
    manifest = blobs.take(saved([BASE, APP, BASE]))
    assert blobs.layers(manifest) == [BASE, APP, BASE]


def test_a_layer_larger_than_any_document_is_packed_as_it_comes() -> None:
    large = packed({"large": bytes(5 << 20)})
    blobs = Blobs()
    assert blobs.layers(blobs.take(saved([large]), chunk=1 << 20)) == [large]


def test_a_layer_that_begins_as_a_document_does_is_a_layer_all_the_same() -> None:
    odd = packed({'{"a file": 1}': b"content"})
    blobs = Blobs()
    assert blobs.layers(blobs.take(saved([odd]))) == [odd]


def test_an_image_of_no_layers_is_one() -> None:
    assert Blobs().take(saved([])).layers == ()


def changed(archive: bytes, name: str, content: bytes | None) -> bytes:
    """The archive with other bytes in one member, or without it."""
    buffer = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(archive)) as before,
        tarfile.open(fileobj=buffer, mode="w") as after,
    ):
        for member in before:
            file = before.extractfile(member) if member.isreg() else None
            data = file.read() if file else b""
            if member.name.endswith(name):
                if content is None:
                    continue
                data = content
            member.size = len(data)
            after.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


ARCHIVE = saved([BASE, APP])
LIST = b'[{"Config": "%s"}]'


@pytest.mark.parametrize(
    ("archive", "why"),
    [
        (ARCHIVE.rstrip(b"\0"), "it ends in the middle"),
        (ARCHIVE[: len(ARCHIVE) // 2], "it ends in the middle"),
        (b"", "it ends in the middle"),
        (ARCHIVE[:-1024] + b'{"message": "the engine stopped here"}'.ljust(1024), "goes on behind its end"),
        (changed(ARCHIVE, f"{0:064x}/layer.tar", BASE.replace(b"hello", b"jello")), "it lacks the layer sha256:"),
        (changed(ARCHIVE, f"{1:064x}/layer.tar", None), "it lacks the layer sha256:"),
        (changed(ARCHIVE, "manifest.json", None), "its list of images cannot be followed"),
        (changed(ARCHIVE, "manifest.json", b"[]"), "its list of images cannot be followed"),
        (changed(ARCHIVE, "manifest.json", b"[" * 100_000), "its list of images cannot be followed"),
        (changed(ARCHIVE, "manifest.json", LIST % b"../../etc/passwd"), "its list of images cannot be followed"),
        (packed({"manifest.json": LIST % b"a.json", "a.json": b"{}"}), ""),
        (saved([BASE], form="blobs", compress=True)[:1500] + bytes(10_000), ""),
        (packed({"layer.tar": b"\x28\xb5\x2f\xfd" + bytes(1000)}), "compressed with zstd"),
        (packed({"layer.tar": gzip.compress(BASE)[:100] + bytes(1000)}), "cannot be unpacked"),
        (saved([b"%d" % number * 600 for number in range(128)]), "the limit is 127"),
    ],
)
def test_what_is_cut_off_or_forged_is_no_image(archive: bytes, why: str) -> None:
    with pytest.raises(S2IError) as failure:
        Blobs().take(archive)
    assert why in failure.value.detail
    assert failure.value.exit_code in (6, 8)


def test_documents_without_end_are_not_held_in_memory() -> None:
    file = b"{" + bytes(4_000_000)
    archive = packed({f"{number}.json": file for number in range(18)})
    with pytest.raises(LimitReached, match="bytes of documents"):
        Blobs().take(archive, chunk=1 << 20)


def test_a_layer_that_climbs_is_never_written_by_its_name() -> None:
    with pytest.raises(CommitContainerFailed) as failure:
        Blobs().take(packed({"../../etc/cron.d/mine": b"x", "manifest.json": json.dumps([]).encode()}))
    assert "leads out of the archive" in failure.value.detail


@settings(deadline=None)
@given(st.binary(max_size=3000), st.integers(0, len(ARCHIVE)))
def test_whatever_comes_is_an_image_or_an_error_of_ours(noise: bytes, at: int) -> None:
    forged = ARCHIVE[:at] + noise + ARCHIVE[at + len(noise) :]
    blobs = Blobs()
    try:
        manifest = blobs.take(forged)
    except S2IError:
        return
    config = oci.read_config(blobs.there[manifest.config.digest], "it")
    assert [oci.digest_of(layer) for layer in blobs.layers(manifest)] == list(config.rootfs.diff_ids)
