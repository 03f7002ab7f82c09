"""A builder of two megabytes, made in a second without any download: one static busybox and two scripts."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from docker import errors

from tests.parts import need

APPLETS = """
    cat chmod cp dd echo env false find grep head httpd id kill ln ls mkdir mkfifo mv nohup od printf ps rm rmdir sh
    sleep stat tail tar tee test touch tr true truncate wc yes
"""
PASSWD = "root:x:0:0:root:/root:/bin/sh\nuser:x:1001:0::/opt/app:/bin/sh\n"
SCRIPTS = "/usr/libexec/s2i"


def rootfs(scripts: Mapping[str, bytes], *, shell: bool = True) -> bytes:
    """The tar of a root file system with these scripts; without a shell it has the bare program under another name."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for directory, mode, uid in (
            ("bin", 0o755, 0),
            ("etc", 0o755, 0),
            ("tmp", 0o1777, 0),
            ("opt/app", 0o755, 1001),
        ):
            entry = tarfile.TarInfo(directory)
            entry.type, entry.mode, entry.uid = tarfile.DIRTYPE, mode, uid
            tar.addfile(entry)
        _file(tar, "bin/busybox", busybox().read_bytes())
        for applet in APPLETS.split() if shell else ():
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        _file(tar, "etc/passwd", PASSWD.encode(), mode=0o644)
        _file(tar, "etc/group", b"root:x:0:\n", mode=0o644)
        for name, content in scripts.items():
            _file(tar, f"{SCRIPTS.lstrip('/')}/{name}", content)
    return buffer.getvalue()


def foreign(name: str, *, architecture: str) -> bytes:
    """An image for machines of another kind, as `docker save` would write it: one empty layer."""
    layer = bytes(10240)
    config = {
        "architecture": architecture,
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        _file(tar, "config.json", json.dumps(config).encode())
        _file(tar, "manifest.json", json.dumps(manifest).encode())
        _file(tar, "layer.tar", layer)
    return buffer.getvalue()


def _file(tar: tarfile.TarFile, name: str, content: bytes, *, mode: int = 0o755) -> None:
    entry = tarfile.TarInfo(name)
    entry.mode, entry.size = mode, len(content)
    tar.addfile(entry, io.BytesIO(content))


def busybox() -> Path:
    need("busybox-static")
    found = shutil.which("busybox")
    assert found is not None
    return Path(found)


def script(text: str) -> bytes:
    return f"#!/bin/sh\n{text}\n".encode()


@contextmanager
def imported(api: Any, name: str, filesystem: bytes, *instructions: str) -> Iterator[str]:
    """An image of a root file system while the context lasts; answers its id."""
    repository, _, tag = name.rpartition(":")
    api.import_image_from_data(filesystem, repository=repository, tag=tag, changes=list(instructions))
    identity = str(api.inspect_image(name)["Id"])
    try:
        yield identity
    finally:
        with suppress(errors.NotFound):  # where a test has others prune what it has
            api.remove_image(name, force=True)


def output_of(api: Any, image: str) -> str:
    """What the image prints when it is run."""
    container = api.create_container_from_config({"Image": image})["Id"]
    try:
        api.start(container)
        api.wait(container)
        return str(api.logs(container).decode())
    finally:
        api.remove_container(container, force=True)


def remove_named(api: Any, *words: str) -> None:
    """Remove the images with one of these words in their names, and no others: the engine is not ours alone."""
    names = [name for image in api.images() for name in image["RepoTags"] or () if any(word in name for word in words)]
    for name in names:
        api.remove_image(name, force=True)
