"""Images made of files, without an engine: a node needs one before any registry answers, and tests need small ones."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path


def write_image(target: Path, name: str, *, files: Mapping[str, Path], entrypoint: Sequence[str]) -> None:
    """Write a tar that `docker load`, `ctr images import` and `skopeo copy docker-archive:` understand."""
    layer = tar({path: source.read_bytes() for path, source in files.items()}, mode=0o755)
    configuration = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": list(entrypoint)},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    contents = {
        "layer.tar": layer,
        "config.json": json.dumps(configuration).encode(),
        "manifest.json": json.dumps(manifest).encode(),
    }
    target.write_bytes(tar(contents, mode=0o644))


def tar(files: Mapping[str, bytes], *, mode: int) -> bytes:
    """A tar of files, the same bytes for the same files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
