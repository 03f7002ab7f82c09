"""What assemble alone may see, on real containers: it reaches assemble, and nothing of it is in the image."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from s2ictl.errors import AssembleFailed, CommitContainerFailed, InvalidUsage, LimitReached, Refused
from s2ictl.events import Event, Line, Notice
from s2ictl.models import BuildSecret, Confinement, Injection, Secret, Volume
from tests.engine import tiny
from tests.engine.grounds import on_docker
from tests.engine.world import Real, built, last_layer, saved
from tests.fakes.engine import Script
from tests.fakes.engine_contract import NAME, ask, assembly

TOKEN = BuildSecret(id="token", content=Secret("canary-77"))


# ------------------------------------------------------------------------------------------------------------ secrets


def test_a_secret_is_read_by_assemble_alone_and_only_a_directory_s_name_stays(world: Real) -> None:
    said = built(world, "cat /run/secrets/token; echo; stat -c '%a %u' /run/secrets/token", secrets=(TOKEN,))
    assert said == ["canary-77", "400 1001"]
    assert b"canary-77" not in saved(world, str(NAME))
    assert last_layer(world, str(NAME)) <= {"opt", "opt/app", "tmp", "run", "run/secrets"}


def test_a_secret_declares_no_volume_and_leaves_none(world: Real) -> None:
    before = volumes(world)
    built(world, "true", secrets=(TOKEN,))
    assert not world.api.inspect_image(world.ground.show(str(NAME)))["Config"].get("Volumes")
    assert volumes(world) - before == set()


def test_a_secret_needs_no_shell(world: Real) -> None:
    bare = dict.fromkeys(("assemble", "run"), b"#!/bin/busybox sh\n/bin/busybox cat /run/secrets/token\n")
    said: list[Event] = []
    base = world.image(tiny.rootfs(bare, shell=False))
    world.engine.assemble(assembly(base, secrets=(TOKEN,)), said.append)
    assert [event.text for event in said if isinstance(event, Line)] == ["canary-77"]
    assert b"canary-77" not in saved(world, str(NAME))


def volumes(world: Real) -> set[str]:
    return {volume["Name"] for volume in world.api.volumes()["Volumes"] or ()}


# --------------------------------------------------------------------------------------------------------- injections


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A directory as Kubernetes mounts a secret: links to files, through a link to a directory."""
    root = tmp_path / "keys"
    (root / "..2026").mkdir(parents=True)
    (root / "..2026" / "token").write_text("canary-88")
    (root / "..2026" / "tool").write_text("#!/bin/sh\necho it runs\n")
    (root / "..2026" / "tool").chmod(0o755)
    (root / "..data").symlink_to("..2026")
    (root / "token").symlink_to("..data/token")
    (root / "tool").symlink_to("..data/tool")
    return root


def test_an_injected_directory_is_there_for_assemble_and_gone_with_all_that_was_made_for_it(
    world: Real, keys: Path
) -> None:
    inject = (Injection(source=keys, target="/etc/pki/shop"),)
    said = built(
        world, "cat /etc/pki/shop/token; echo; /etc/pki/shop/tool; stat -c %a /etc/pki/shop/token", injections=inject
    )
    assert said == ["canary-88", "it runs", "600"]
    assert b"canary-88" not in saved(world, str(NAME))
    assert last_layer(world, str(NAME)) <= {"opt", "opt/app", "tmp", "etc"}


def test_what_assemble_put_beside_it_stays(world: Real, keys: Path) -> None:
    inject = (Injection(source=keys, target="/opt/app/conf"),)
    built(world, "echo own >/opt/app/conf/own", injections=inject)
    assert {"opt/app/conf", "opt/app/conf/own"} <= last_layer(world, str(NAME))
    assert "opt/app/conf/token" not in last_layer(world, str(NAME))


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("", "/opt/app/token"),
        ("conf/", "/opt/app/conf/token"),
        ("/opt/app", "/opt/app/token"),
        ("/etc/tok", "/etc/tok"),
    ],
)
def test_a_file_goes_into_a_directory_or_takes_the_target_s_name(
    world: Real, keys: Path, target: str, path: str
) -> None:
    base = world.image(tiny.rootfs({"assemble": tiny.script(f"cat {path}"), "run": b""}), workdir="/opt/app")
    said: list[Event] = []
    inject = (Injection(source=keys / "token", target=target),)
    world.engine.assemble(assembly(base, injections=inject), said.append)
    assert [event.text for event in said if isinstance(event, Line)] == ["canary-88"]
    assert b"canary-88" not in saved(world, str(NAME))


def test_what_the_image_has_already_is_never_replaced(world: Real, keys: Path) -> None:
    inject = (Injection(source=keys / "token", target="/etc/passwd"),)
    with pytest.raises(InvalidUsage, match="would replace /etc/passwd"):
        built(world, "true", injections=inject)


def test_a_link_that_leads_out_of_the_directory_is_refused(world: Real, keys: Path) -> None:
    (keys / "out").symlink_to("/etc/hostname")
    with pytest.raises(InvalidUsage, match="leads out of the directory"):
        built(world, "true", injections=(Injection(source=keys, target="/etc/keys"),))


@on_docker
def test_nothing_can_be_injected_where_nothing_could_be_taken_away(world: Real, keys: Path) -> None:
    base = world.image(tiny.rootfs({"assemble": b"", "run": b""}, shell=False))
    inject = (Injection(source=keys, target="/etc/keys"),)
    with pytest.raises(Refused, match="nothing can be injected into contract/builder:1"):
        world.engine.assemble(assembly(base, injections=inject, programs=()), lambda _: None)


def test_the_source_cannot_make_root_run_something_of_its_own(world: Real, keys: Path) -> None:
    script = "mkdir /opt/app/bin; printf '#!/bin/sh\\ntouch /etc/owned\\n' >/opt/app/bin/rm; chmod +x /opt/app/bin/rm"
    inject = (Injection(source=keys, target="/etc/keys"),)
    built(world, script, injections=inject, env=(("PATH", "/opt/app/bin:/bin"),))
    assert "etc/owned" not in last_layer(world, str(NAME))


# --------------------------------------------------------------------------------------------------------------- keep


@on_docker
def test_a_kept_container_has_the_work_and_none_of_the_secrets(world: Real, keys: Path) -> None:
    said: list[Event] = []
    base = world.builder(Script(text="echo work >/opt/app/work; exit 3"))
    kept = assembly(base, keep=True, secrets=(TOKEN,), injections=(Injection(source=keys, target="/etc/keys"),))
    with pytest.raises(AssembleFailed):
        world.engine.assemble(kept, said.append)
    name = kept_name(world, said)
    files = {
        path: content(world.api, name, path) for path in ("/opt/app/work", "/run/secrets/token", "/etc/keys/token")
    }
    assert files == {"/opt/app/work": b"work\n", "/run/secrets/token": b"", "/etc/keys/token": b""}


@on_docker
def test_a_container_whose_command_did_not_end_is_kept_too(world: Real) -> None:
    said: list[Event] = []
    base = world.builder(Script(text="echo x; sleep 60"))
    with pytest.raises(LimitReached):
        world.engine.assemble(assembly(base, keep=True, timeout=1.0), said.append)
    assert world.api.inspect_container(kept_name(world, said))["State"]["Running"] is False


def kept_name(world: Real, said: list[Event]) -> str:
    (notice,) = (event.text for event in said if isinstance(event, Notice))
    name = notice.rpartition(" ")[2]
    world.stack.callback(world.api.remove_container, name, v=True, force=True)
    return name


def content(api: Any, container: str, path: str) -> bytes:
    chunks: Iterator[bytes] = api.get_archive(container, path)[0]
    with tarfile.open(fileobj=BytesIO(b"".join(chunks))) as tar:
        file = tar.extractfile(tar.getmembers()[0])
        assert file is not None
        return file.read()


@on_docker
def test_nothing_is_committed_when_what_was_handed_over_cannot_be_removed(world: Real, keys: Path) -> None:
    world.api.create_volume("contract-stuck")
    world.stack.callback(world.api.remove_volume, "contract-stuck", force=True)
    held = Confinement(volumes=(Volume(source="contract-stuck", target="/tmp/artifacts"),))
    with pytest.raises(CommitContainerFailed, match="nothing was committed") as failure:
        built(world, "true", confinement=held)
    assert failure.value.detail == "still there: /tmp/src, /tmp/artifacts"
    assert ask(world, NAME) is None
