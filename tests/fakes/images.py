"""Small images and programs, made of bytes."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass

from s2ictl import oci

LAYER = b"a layer that is already there" * 40
_CODE = bytes.fromhex("b83c00000031ff0f05")  # mov eax, 60; xor edi, edi; syscall: exit(0)


def program(
    *, machine: int = 62, interpreter: bytes = b"", kind: int = 2, system: int = 0, entry: int = 0x400078
) -> bytes:
    """The smallest program for Linux that does anything: it ends, and says that all went well."""
    segments = 2 if interpreter else 1
    begin = 64 + 56 * segments
    code = _CODE + interpreter
    header = b"\x7fELF" + bytes([2, 1, 1, system]) + bytes(8)
    header += struct.pack("<HHIQQQIHHHHHH", kind, machine, 1, entry, 64, 0, 0, 64, 56, segments, 0, 0, 0)
    load = struct.pack("<2I6Q", 1, 5, 0, 0x400000, 0x400000, begin + len(code), begin + len(code), 4096)
    asked = struct.pack("<2I6Q", 3, 4, begin + len(_CODE), 0, 0, len(interpreter), len(interpreter), 1)
    return header + load + (asked if interpreter else b"") + code


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallImage:
    """An image of one layer, as its three documents."""

    layer: bytes
    config: bytes
    manifest: bytes

    @property
    def digest(self) -> str:
        return oci.digest_of(self.manifest)


def small_image(
    *, architecture: str = "amd64", docker: bool = False, layer: bytes = LAYER, settings: object = None
) -> SmallImage:
    """An image in the words of the OCI, or in Docker's."""
    config = json.dumps(
        {
            "architecture": architecture,
            "os": "linux",
            "container": "of no interest",
            "config": settings or {"Env": ["PATH=/bin"], "User": "1001", "Labels": {"of": "the base"}, "Cmd": ["sh"]},
            "rootfs": {"type": "layers", "diff_ids": [oci.digest_of(layer)]},
            "history": [{"created_by": "somebody"}],
        }
    ).encode()
    docker_layer = "application/vnd.docker.image.rootfs.diff.tar"
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json" if docker else oci.MANIFEST,
            "config": {"mediaType": oci.CONFIG, "digest": oci.digest_of(config), "size": len(config)},
            "layers": [
                {"mediaType": docker_layer if docker else oci.LAYER, "digest": oci.digest_of(layer), "size": len(layer)}
            ],
        }
    ).encode()
    return SmallImage(layer=layer, config=config, manifest=manifest)


def index_of(**images: SmallImage) -> bytes:
    """An index: architecture by architecture."""
    entries = [
        {
            "mediaType": oci.MANIFEST,
            "digest": image.digest,
            "size": len(image.manifest),
            "platform": {"os": "linux", "architecture": architecture},
        }
        for architecture, image in images.items()
    ]
    return json.dumps({"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": entries}).encode()


def blob(content: bytes, kind: str = oci.LAYER, *, home: str = "") -> oci.Blob:
    return oci.Blob(
        media_type=kind, digest=oci.digest_of(content), size=len(content), chunks=lambda: iter((content,)), home=home
    )
