"""Images as engines save them, in the forms that are about, made of bytes; and what an engine reads of one."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from s2ictl import oci

Form = Literal["docker", "blobs", "oci"]


def packed(files: Mapping[str, bytes], links: Mapping[str, str] | None = None) -> bytes:
    """A tar of these files, such as a layer is."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        for name, target in (links or {}).items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            tar.addfile(entry)
    return buffer.getvalue()


def config_of(layers: Sequence[bytes], settings: Mapping[str, Any] | None = None) -> bytes:
    document = {
        "architecture": "amd64",
        "os": "linux",
        "container": "what the engine notes about its own past",
        "config": dict(settings or {"Labels": {"is": "saved"}}),
        "rootfs": {"type": "layers", "diff_ids": [oci.digest_of(layer) for layer in layers]},
    }
    return json.dumps(document).encode()


def saved(
    layers: Sequence[bytes],
    *,
    settings: Mapping[str, Any] | None = None,
    names: Sequence[str] = (),
    form: Form = "docker",
    compress: bool = False,
) -> bytes:
    """The archive of an image: as Docker wrote it until 24, as it does since, or an OCI layout alone."""
    config = config_of(layers, settings)
    stored = [gzip.compress(layer, mtime=0) if compress else layer for layer in layers]
    if form == "docker":
        return _older(config, stored, names)
    files = {_blob(content): content for content in (config, *stored)}
    if form == "blobs":
        files["manifest.json"] = _list(_blob(config), names, [_blob(layer) for layer in stored])
        return packed(files)
    kind = f"{oci.LAYER}+gzip" if compress else oci.LAYER
    manifest = oci.encode(
        oci.Manifest(
            schema_version=2,
            config=oci.descriptor_of(oci.blob_of(config, oci.CONFIG)),
            layers=tuple(oci.descriptor_of(oci.blob_of(layer, kind)) for layer in stored),
        )
    )
    entry = oci.descriptor_of(oci.blob_of(manifest, oci.MANIFEST))
    files |= {_blob(manifest): manifest, "index.json": oci.encode(oci.Index(schema_version=2, manifests=(entry,)))}
    return packed({**files, "oci-layout": b'{"imageLayoutVersion":"1.0.0"}'})


def _older(config: bytes, layers: Sequence[bytes], names: Sequence[str]) -> bytes:
    """A directory for each layer; one that is there already is a link to it."""
    files: dict[str, bytes] = {}
    links: dict[str, str] = {}
    first: dict[bytes, str] = {}
    for number, layer in enumerate(layers):
        place = f"{number:064x}"
        files |= {f"{place}/VERSION": b"1.0", f"{place}/json": b'{"id": "of no interest"}'}
        if layer in first:
            links[f"{place}/layer.tar"] = f"../{first[layer]}/layer.tar"
        else:
            files[f"{place}/layer.tar"] = layer
            first[layer] = place
    called = f"{oci.digest_of(config).removeprefix('sha256:')}.json"
    places = [f"{number:064x}/layer.tar" for number in range(len(layers))]
    return packed({**files, called: config, "manifest.json": _list(called, names, places)}, links)


def _blob(content: bytes) -> str:
    return f"blobs/sha256/{oci.digest_of(content).removeprefix('sha256:')}"


def _list(config: str, names: Sequence[str], layers: Sequence[str]) -> bytes:
    return json.dumps([{"Config": config, "RepoTags": list(names), "Layers": list(layers)}]).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What an engine takes of an archive; `layers` are those whose bytes came with it, by their digest."""

    config: bytes
    names: tuple[str, ...]
    layers: Mapping[str, bytes]


def loaded(archive: bytes) -> Loaded:
    """Read an archive by Docker's own list, as every engine does."""
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as tar:
        files = {each.name: file.read() for each in tar if each.isreg() and (file := tar.extractfile(each))}
    (listed,) = json.loads(files["manifest.json"])
    there = (files[name] for name in listed["Layers"] if name in files)
    plain = [gzip.decompress(layer) if layer.startswith(b"\x1f\x8b") else layer for layer in there]
    return Loaded(
        config=files[listed["Config"]],
        names=tuple(listed["RepoTags"] or ()),
        layers={oci.digest_of(layer): layer for layer in plain},
    )
