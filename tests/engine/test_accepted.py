"""What an engine made is an image to everybody else, to Docker and to skopeo; and it is the same on both engines."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from s2ictl.engines.docker import Docker
from s2ictl.models import Reference
from tests import testbed
from tests.engine import grounds, tiny
from tests.engine.grounds import OnDocker, on_this_machine
from tests.engine.world import Real, believed, built, listing
from tests.fakes.engine_contract import NAME, assembly
from tests.parts import need


@pytest.fixture
def pushed(world: Real, registry_facts: testbed.Registry) -> Reference:
    """An image that the registry has, and the engine no more."""
    name = Reference.parse(f"{registry_facts.open}/engine/accepted:1")
    built(world, "echo made >/opt/app/made", names=(name,))
    digest = world.engine.push(name, login=None, confirm=believed, emit=lambda _: None)
    world.ground.forget(str(name))
    return name.at(digest)


def skopeo(*words: str | Path) -> str:
    need("skopeo")
    return subprocess.run(["skopeo", *words], check=True, capture_output=True, text=True).stdout


def test_docker_pulls_what_was_pushed_under_the_same_digest_and_runs_it(world: Real, pushed: Reference) -> None:
    world.api.pull(str(pushed))
    world.stack.callback(world.api.remove_image, str(pushed), force=True)
    container = world.api.create_container_from_config({"Image": str(pushed), "Cmd": ["cat", "/opt/app/made"]})
    world.stack.callback(world.api.remove_container, container["Id"], force=True)
    world.api.start(container["Id"])
    world.api.wait(container["Id"])
    assert world.api.logs(container["Id"]) == b"made\n"


def test_skopeo_copies_what_was_pushed_and_finds_every_byte_as_promised(pushed: Reference, tmp_path: Path) -> None:
    place = f"docker://{pushed.registry}/{pushed.repository}@{pushed.digest}"
    skopeo("copy", "--quiet", "--src-tls-verify=false", place, f"dir:{tmp_path}/copy")
    manifest = json.loads((tmp_path / "copy" / "manifest.json").read_text())
    files = {f"sha256:{file.name}" for file in (tmp_path / "copy").iterdir()}
    assert {manifest["config"]["digest"], *(layer["digest"] for layer in manifest["layers"])} <= files


def test_skopeo_reads_what_was_saved(world: Real, tmp_path: Path) -> None:
    built(world, "echo made >/opt/app/made")
    with world.engine.save(str(NAME)) as saved, (tmp_path / "saved.tar").open("wb") as file:
        file.writelines(saved)
    said = skopeo("inspect", "--config", f"docker-archive:{tmp_path}/saved.tar")
    assert json.loads(said)["config"]["Cmd"] == ["/usr/libexec/s2i/run"]


# ---------------------------------------------------------------------------------------------------- one and the same

# Every way in which a layer can differ from what is below it; the times are the script's own.
CHANGES = """
umask 022; cd /opt/app
mkdir -p a/b closed; echo x >a/b/file; ln a/b/file a/linked; ln -s ../a/b/file a/soft; ln -s /nowhere a/dangling
mkfifo a/pipe; echo y >"$(printf 'a/new\\nline')"; echo z >a/\303\244; echo secret >closed/file; chmod 0 closed/file
cp /bin/busybox a/suid; chmod 6755 a/suid; chown 1234:5678 a/b; chmod 1777 a/b; : >a/empty
mkdir -p a/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/end
rm /etc/group /usr/libexec/s2i/save-artifacts; chmod 750 /usr/libexec; chown user /etc/passwd
rm -rf /srv/whole; mkdir /srv/whole; echo new >/srv/whole/new
rm -rf /srv/becomes-file; echo now a file >/srv/becomes-file; rm /srv/becomes-directory; mkdir /srv/becomes-directory
mv /srv/moves /srv/moved; rm -rf /tmp/src/hello.txt
find /opt/app /srv /etc/passwd -depth -exec touch -h -d @1000000000 {} +
"""
BELOW = {
    "srv/whole/old": b"old",
    "srv/whole/sub/old": b"old",
    "srv/becomes-file/x": b"x",
    "srv/becomes-directory": b"x",
    "srv/moves/file": b"moved",
}


def test_the_same_script_leaves_the_same_files_on_both_engines(docker: Docker, api: Any, tmp_path: Path) -> None:
    trees = []
    with ExitStack() as stack:
        stack.callback(tiny.remove_named, api, "contract/")
        here = stack.enter_context(on_this_machine(tmp_path / "state", api))
        for ground in (OnDocker(engine=docker, api=api, environ={}), here):
            world = Real(ground=ground, stack=stack)
            scripts = {"assemble": tiny.script(CHANGES), "run": b"", "save-artifacts": b""}
            base = world.image(with_files(tiny.rootfs(scripts), BELOW), user="0:0")
            image = ground.engine.assemble(assembly(base), lambda _: None).id
            trees.append(tree(ground, image))
    assert trees[1] == trees[0]
    assert {"opt/app/a/linked", "srv/whole/new", "srv/moved/file", "opt/app/a/pipe"} <= trees[1].keys()


def test_a_volume_of_the_image_stays_as_the_image_has_it(world: Real) -> None:
    """Whoever runs the result mounts something there; so what assemble did in it is nobody's."""
    name, script = "contract/volume:1", "echo x >/srv/data/new; rm /srv/data/old; echo x >/srv/new"
    scripts = {"assemble": tiny.script(script), "run": b""}
    root = with_files(tiny.rootfs(scripts), {"srv/data/old": b"old"})
    grounds.made(world.ground, name, root, "ENV PATH=/bin", "USER 0:0", "VOLUME /srv/data")
    world.engine.assemble(assembly(grounds.facts_of(world.ground, name)), lambda _: None)
    assert listing(world, str(NAME), "/srv").keys() == {"srv/data", "srv/data/old", "srv/new"}


def with_files(filesystem: bytes, files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO(filesystem)
    with tarfile.open(fileobj=buffer, mode="a") as tar:
        for path, content in files.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(content), 0o644
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def tree(ground: grounds.Ground, image: str) -> dict[str, tuple[object, ...]]:
    """All that a container of this image has in it, but for the times of what the script has not touched."""
    container = ground.api.create_container_from_config({"Image": ground.show(image), "Cmd": ["none"]})["Id"]
    try:
        content = b"".join(ground.api.export(container))
    finally:
        ground.api.remove_container(container)
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        return {member.name: described(tar, member) for member in tar}


def described(tar: tarfile.TarFile, member: tarfile.TarInfo) -> tuple[object, ...]:
    file = tar.extractfile(member) if member.isreg() else None
    timed = member.mtime if member.name.startswith(("opt/", "srv/", "etc/passwd")) else 0
    attributes = sorted((key, value) for key, value in member.pax_headers.items() if key.startswith("SCHILY.xattr"))
    said = (member.type, oct(member.mode), member.uid, member.gid, member.linkname, timed, attributes)
    return (*said, file.read() if file else b"")
