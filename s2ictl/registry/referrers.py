"""What others say of an image: a list of what is in it, a signature. Each is an image itself that names its subject.

Registries of the newer kind list them; in an older one a tag, made of the subject's digest, leads to the list, and
whoever adds to it writes it anew.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from s2ictl import oci

EMPTY = "application/vnd.oci.empty.v1+json"
NOTHING = b"{}"
_TITLE = "org.opencontainers.image.title"


class Referrer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """An entry of such a list."""

    media_type: str
    digest: Annotated[str, msgspec.Meta(pattern=r"^sha256:[0-9a-f]{64}\Z")]
    size: Annotated[int, msgspec.Meta(ge=0, le=1 << 50)]
    artifact_type: str = ""
    annotations: dict[str, str] | None = None


class Referrers(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    schema_version: int = 2
    media_type: str = oci.INDEX
    manifests: tuple[Referrer, ...] = ()


class _Statement(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    schema_version: int = 2
    media_type: str = oci.MANIFEST
    artifact_type: str
    config: oci.Descriptor
    layers: tuple[oci.Descriptor, ...]
    subject: oci.Descriptor


def statement(kind: str, content: oci.Descriptor, *, subject: oci.Descriptor, title: str) -> bytes:
    """The manifest that says it; the same of the same, so that saying it twice adds nothing."""
    named = msgspec.structs.replace(content, annotations={_TITLE: title})
    nothing = oci.descriptor_of(oci.blob_of(NOTHING, EMPTY))
    return oci.encode(_Statement(artifact_type=kind, config=nothing, layers=(named,), subject=subject))


def referrer(manifest: bytes, kind: str) -> Referrer:
    """The entry that leads to a statement."""
    return Referrer(media_type=oci.MANIFEST, digest=oci.digest_of(manifest), size=len(manifest), artifact_type=kind)


def listed(content: bytes) -> tuple[Referrer, ...] | None:
    """The entries of a list; None for what is none."""
    try:
        return msgspec.json.decode(content, type=Referrers).manifests
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def tag_of(subject: str) -> str:
    """The tag under which an older registry has the list."""
    return subject.replace(":", "-")
