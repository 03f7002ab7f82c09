"""An artifact becomes one layer on a base image, without any container: no engine is contacted, and nothing is run.

The bytes follow from the artifact, the base and the settings alone. So the same input gives the same digest, whatever
the path, age, owner or time zone of the file, and whoever builds it. The layer is not compressed: an artifact seldom
gains by it, and the bytes of a compressor change with its version.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath

from s2ictl import oci
from s2ictl.errors import InvalidArtifact, PullBuilderImageFailed
from s2ictl.events import Emit, Progress
from s2ictl.models import Artifact

HOME = PurePosixPath("/opt/s2ictl/app")
_USER = "1001"
_CHUNK = 1 << 20
_BLOCK = 512
_S2I = "io.openshift.s2i.build."
_OCI = "org.opencontainers.image."


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything, beside the base, that decides the bytes of the image. `epoch` stands for every time in it."""

    artifact: Artifact
    env: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    ports: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    user: str = ""
    epoch: int = 0

    @property
    def path(self) -> PurePosixPath:
        """Where the artifact lies in the image."""
        return HOME / self.artifact.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """An image, described: what is to be had where it goes, in this order, and the manifest that makes it one."""

    blobs: tuple[oci.Blob, ...]
    manifest: bytes
    id: str


def append(recipe: Recipe, base: oci.Base) -> Picture:
    """Describe the image; of the artifact only the digest is taken, and nothing is sent."""
    if len(base.layers) >= oci.MOST_LAYERS:
        raise PullBuilderImageFailed(f"{base.name} has {len(base.layers)} layers already: no room for another")
    layer = _layer(recipe)
    config = oci.inline(_config(recipe, base.config, base, layer.digest), oci.CONFIG)
    layers = (*base.layers, layer)
    manifest = oci.Manifest(
        schema_version=2,
        media_type=oci.MANIFEST,
        config=oci.descriptor_of(config),
        layers=tuple(oci.descriptor_of(one) for one in layers),
    )
    return Picture(blobs=(*layers, config), manifest=oci.encode(manifest), id=config.digest)


def deliver(picture: Picture, target: oci.Target, tags: tuple[str, ...], *, emit: Emit) -> str:
    """Have the image there under these tags: blobs first and the manifest last; answers its digest."""
    total = sum(blob.size for blob in picture.blobs)
    done = 0
    for blob in picture.blobs:
        target.write(blob)
        done += blob.size
        emit(Progress(subject=str(target), done=done, total=total))
    return target.tag(picture.manifest, tags)


def nothing(platform: str) -> oci.Base:
    """The base of a program that needs none."""
    system, architecture = platform.split("/")
    config = oci.Config(architecture=architecture, os=system, rootfs=oci.Layers())
    return oci.Base(name="", digest="", config=config, layers=())


# ---------------------------------------------------------------------------------------------------- configuration


def _config(recipe: Recipe, below: oci.Config, base: oci.Base, layer: str) -> oci.Config:
    created = datetime.fromtimestamp(recipe.epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    # Some engines refuse an image whose history speaks of another number of layers than there are.
    past = below.history or tuple(oci.Step() for _ in base.layers)
    return oci.Config(
        architecture=below.architecture,
        os=below.os,
        variant=below.variant,
        created=created,
        config=_settings(recipe, below.config or oci.Settings(), base),
        rootfs=oci.Layers(diff_ids=(*below.rootfs.diff_ids, layer)),
        history=(*past, oci.Step(created=created, created_by=f"s2ictl b2i {recipe.artifact.name}")),
    )


def _settings(recipe: Recipe, below: oci.Settings, base: oci.Base) -> oci.Settings:
    env = dict(entry.partition("=")[::2] for entry in below.env or ()) | dict(recipe.env)
    exposed = {**(below.exposed_ports or {}), **{port: {} for port in recipe.ports}}
    return oci.Settings(
        user=recipe.user or below.user or _USER,
        exposed_ports=exposed or None,
        env=tuple(f"{name}={value}" for name, value in env.items()) or None,
        entrypoint=(str(recipe.path),),
        cmd=recipe.arguments or None,
        volumes=below.volumes,
        working_dir=below.working_dir,
        labels={**(below.labels or {}), **_labels(recipe, base), **dict(recipe.labels)},
        stop_signal=below.stop_signal,
    )


def _labels(recipe: Recipe, base: oci.Base) -> dict[str, str]:
    """What the image says of where it came from. Never a path of this machine: that would change the digest."""
    labels = {
        "io.k8s.display-name": recipe.artifact.name,
        f"{_S2I}image": base.name,
        f"{_S2I}source-location": recipe.artifact.name,
        f"{_OCI}title": recipe.artifact.name,
        f"{_OCI}base.name": base.name,
        f"{_OCI}base.digest": base.digest,
    }
    return {name: value for name, value in labels.items() if value}


# ------------------------------------------------------------------------------------------------------------ layer


def _layer(recipe: Recipe) -> oci.Blob:
    seen, size = hashlib.sha256(), 0
    for chunk in tar(recipe):
        seen.update(chunk)
        size += len(chunk)
    digest = f"sha256:{seen.hexdigest()}"
    return oci.Blob(media_type=oci.LAYER, digest=digest, size=size, chunks=lambda: tar(recipe))


def tar(recipe: Recipe) -> Iterator[bytes]:
    """The layer: the directories that lead to the artifact, and the artifact."""
    path = recipe.path.relative_to("/")
    parents = reversed(path.parents[:-1])
    yield b"".join(_header(f"{parent}/", 0, b"5", recipe.epoch) for parent in parents)
    yield _header(str(path), recipe.artifact.size, b"0", recipe.epoch)
    yield from _content(recipe.artifact)
    yield bytes(-recipe.artifact.size % _BLOCK + 2 * _BLOCK)


def _header(name: str, size: int, kind: bytes, epoch: int) -> bytes:
    """A ustar header in its one canonical form: owned by root, executable by all, without names of owners.

    By hand, because the digest of every image rests on it, and the standard library's writer may change its mind.
    """
    fields = b"%s%07o\0%07o\0%07o\0%011o\0%011o\0" % (name.encode().ljust(100, b"\0"), 0o755, 0, 0, size, epoch)
    rest = kind + bytes(100) + b"ustar\x0000" + bytes(247)
    checksum = sum(fields) + sum(rest) + 8 * ord(" ")
    return b"%s%06o\0 %s" % (fields, checksum, rest)


def _content(artifact: Artifact) -> Iterator[bytes]:
    """The bytes of the artifact, exactly as many as were there when it was read."""
    left = artifact.size
    try:
        with artifact.path.open("rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode) or found.st_size != artifact.size:
                raise _changed(artifact)
            while chunk := file.read(min(_CHUNK, left)):
                left -= len(chunk)
                yield chunk
    except OSError as error:
        raise InvalidArtifact(f"{artifact.path} cannot be read", detail=error.strerror or "") from error
    if left:
        raise _changed(artifact)


def _changed(artifact: Artifact) -> InvalidArtifact:
    return InvalidArtifact(
        f"{artifact.path} was changed while it was read", hint="build when whoever writes it is done"
    )
