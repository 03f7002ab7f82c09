"""Small images and programs, made of bytes."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from s2ictl import oci
from s2ictl.artifacts import read
from s2ictl.artifacts.parts import parts_of
from s2ictl.engines.append import Recipe
from s2ictl.models import ImageConfig, ImageFacts

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
    *,
    architecture: str = "amd64",
    variant: str = "",
    docker: bool = False,
    layer: bytes = LAYER,
    settings: object = None,
) -> SmallImage:
    """An image in the words of the OCI, or in Docker's."""
    config = json.dumps(
        {
            "architecture": architecture,
            "os": "linux",
            **({"variant": variant} if variant else {}),
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


def program_recipe(directory: Path) -> Recipe:
    """The recipe of an image that starts a program, and is as its base for the rest."""
    path = directory / "app"
    if not path.exists():
        path.write_bytes(program())
    place = PurePosixPath("/opt/app-root/bin/app")
    parts = parts_of(read(path), place, beside=PurePosixPath("/opt/app-root/src"), emit=lambda _: None)
    return Recipe(parts=parts, config=lambda facts: as_below(facts, command=(str(place),)), title="app")


def as_below(facts: ImageFacts, *, command: tuple[str, ...]) -> ImageConfig:
    """What a base says of itself, but for what is started."""
    return ImageConfig(
        command=command,
        entrypoint=(),
        user=facts.user,
        workdir=facts.workdir,
        env=tuple(facts.variables.items()),
        labels=facts.labels,
        exposed=facts.exposed,
    )


def picture_of(image: SmallImage) -> oci.Picture:
    """A small image as something to deliver."""
    return oci.Picture(
        blobs=(blob(image.layer), blob(image.config, oci.CONFIG)),
        manifest=image.manifest,
        id=oci.digest_of(image.config),
        kind=str(json.loads(image.manifest)["mediaType"]),
    )


def layered(*layers: bytes, architecture: str = "amd64") -> oci.Picture:
    """An image of these layers, each as it is."""
    diff_ids = tuple(oci.digest_of(layer) for layer in layers)
    config = oci.Config(architecture=architecture, os="linux", rootfs=oci.Layers(diff_ids=diff_ids))
    blobs = tuple(oci.blob_of(layer, oci.LAYER) for layer in layers)
    described = oci.inline(config, oci.CONFIG)
    manifest = oci.Manifest(
        schema_version=2,
        media_type=oci.MANIFEST,
        config=oci.descriptor_of(described),
        layers=tuple(map(oci.descriptor_of, blobs)),
    )
    return oci.Picture(blobs=(*blobs, described), manifest=oci.encode(manifest), id=described.digest)


def several(**pictures: oci.Picture) -> oci.Picture:
    """Images as one for several platforms: architecture by architecture."""
    entries = tuple(
        oci.Descriptor(
            media_type=picture.kind,
            digest=picture.digest,
            size=len(picture.manifest),
            platform=oci.Platform(os="linux", architecture=architecture),
        )
        for architecture, picture in pictures.items()
    )
    return oci.Picture(
        blobs=tuple(blob for picture in pictures.values() for blob in picture.blobs),
        manifest=oci.encode(oci.Index(schema_version=2, media_type=oci.INDEX, manifests=entries)),
        id=next(iter(pictures.values())).id,
        kind=oci.INDEX,
        children=tuple(picture.manifest for picture in pictures.values()),
    )
