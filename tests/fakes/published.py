"""Images as a registry has them, and as they are when they were just made."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from s2ictl import oci
from s2ictl.models import Reference
from tests.fakes.carried import config_of

NAME = Reference.parse("registry.example.com/team/base:1")
HOME = "registry.example.com/team/base"


def published(
    *layers: bytes,
    settings: dict[str, Any] | None = None,
    kind: str = f"{oci.LAYER}+gzip",
    pack: Callable[[bytes], bytes] = lambda layer: gzip.compress(layer, mtime=0),
    plain: tuple[bytes, ...] = (),
    **said: Any,
) -> oci.Base:
    """An image as a registry has it; `plain` are other layers than those that its configuration tells of."""
    document = json.dumps({**json.loads(config_of(layers, settings)), **said}).encode()
    blobs = tuple(replace(oci.blob_of(pack(layer), kind), home=HOME) for layer in plain or layers)
    manifest = oci.encode(
        oci.Manifest(
            schema_version=2,
            media_type=oci.MANIFEST,
            config=oci.descriptor_of(oci.blob_of(document, oci.CONFIG)),
            layers=tuple(map(oci.descriptor_of, blobs)),
        )
    )
    return oci.Base(
        name=str(NAME),
        digest=oci.digest_of(manifest),
        config=oci.read_config(document, "it"),
        layers=blobs,
        manifest=manifest,
        document=document,
    )


def picture(*layers: bytes, **labels: str) -> oci.Picture:
    """An image that was just made of these layers."""
    base = published(*layers, settings={"Labels": labels})
    config = oci.blob_of(base.document, oci.CONFIG)
    return oci.Picture(blobs=(*base.layers, config), manifest=base.manifest, id=config.digest)
