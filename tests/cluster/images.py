"""Images of two megabytes for the node to run, made of one static busybox and pushed without any engine."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from tests import testbed
from tests.engine import tiny
from tests.parts import need


def push(name: str, run: str, *, user: str = "1001", login: str = "") -> str:
    """Push an image that runs this shell script and says that it listens on 8080; answers its digest."""
    need("skopeo")
    layer = tiny.rootfs({"run": tiny.script(run)})
    with tempfile.TemporaryDirectory() as directory:
        archive, digest = Path(directory, "image.tar"), Path(directory, "digest")
        archive.write_bytes(_docker_archive(layer, user))
        command = ["skopeo", "copy", "--quiet", "--dest-tls-verify=false", f"--digestfile={digest}"]
        credentials = [f"--dest-creds={login}"] if login else []
        subprocess.run([*command, *credentials, f"docker-archive:{archive}", f"docker://{name}"], check=True)
        return digest.read_text().strip()


def serving(text: str) -> str:
    """A script that answers every question on 8080 with this text, and ends when it is told to."""
    page = f"mkdir -p /tmp/www; echo '{text}' >/tmp/www/index.html"
    return f"{page}; httpd -f -p 8080 -h /tmp/www & trap 'kill $!; exit 0' TERM; wait"


def _docker_archive(layer: bytes, user: str) -> bytes:
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "User": user,
            "Env": ["PATH=/bin"],
            "Cmd": [f"{tiny.SCRIPTS}/run"],
            "ExposedPorts": {"8080/tcp": {}},
            "Labels": {"org.opencontainers.image.revision": "c0ffee"},
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    files = {
        "config.json": json.dumps(config).encode(),
        "layer.tar": layer,
        "manifest.json": json.dumps([{"Config": "config.json", "RepoTags": None, "Layers": ["layer.tar"]}]).encode(),
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def pull_secret(name: str, namespace: str, registry: testbed.Registry) -> dict[str, Any]:
    """The one Secret that pushes from here and pulls there."""
    auth = base64.b64encode(f"{registry.username}:{registry.password}".encode()).decode()
    content = json.dumps({"auths": {registry.closed: {"auth": auth}}})
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "type": "kubernetes.io/dockerconfigjson",
        "data": {".dockerconfigjson": base64.b64encode(content.encode()).decode()},
    }
