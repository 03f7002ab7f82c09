"""What a container left behind, sent as it is: one form of it whoever reads it, and no image in the daemon."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from s2ictl.engines import upper
from s2ictl.engines.connection import connected
from s2ictl.engines.docker import Docker
from s2ictl.leases import this_host
from s2ictl.models import Assembly, Cache, ImageFacts, Volume
from tests import testbed
from tests.cli import Shell, shell
from tests.engine import tiny
from tests.engine.grounds import on_docker
from tests.engine.world import Real
from tests.fakes.engine import Script
from tests.fakes.engine_contract import NAME, assembly

BUILDER = "layered.example.com/builder:1"
SAID = ("LABEL io.openshift.s2i.scripts-url=image:///usr/libexec/s2i", "USER 1001", "ENV PATH=/bin")
ROOT = tiny.rootfs({"assemble": tiny.script("mv /tmp/src/* /opt/app/"), "run": tiny.script("cat /opt/app/hello.txt")})

_BEFORE = """
cd /opt
mkdir gone kind quiet shut many around around/deep
echo old >gone/file; echo old >kind/file; echo old >file; echo old >around/deep/old
i=0; while [ $i -lt 9 ]; do echo old >many/old-$i; i=$((i+1)); done
touch -d '2001-01-01 00:00:00' * */* /etc /etc/*
"""
_AFTER = """
cd /opt
mkdir -p app/new/deep; echo a >app/new/deep/file; ln app/new/deep/file app/new/deep/other; ln -s ../file app/new/link
mkfifo app/new/fifo; echo b >"app/new/ü b"; echo c >app/setuid; chmod 4755 app/setuid
mkdir app/empty; chmod 1777 app/empty
rm -r gone
rm -r kind; echo new >kind; rm file; mkdir file; echo new >file/in
touch quiet/x; rm quiet/x; chmod 700 shut; echo new >>around/deep/old
i=0; while [ $i -lt 90 ]; do echo new >many/new-$i; i=$((i+1)); done
rm many/old-3; echo changed >many/old-4; mkdir many/z; echo z >many/z/z
echo "other:x:7:7::/:/bin/sh" >>/etc/passwd; rm /etc/group; touch -d '2001-02-03 00:00:00' app/new/deep
"""


@pytest.fixture
def asking(world: Real) -> Iterator[Docker]:
    """The same engine, for somebody who may not read its files."""
    with connected(world.ground.environ) as api:
        engine = Docker(api, host=this_host(), trees=lambda _: None)
        yield engine
        engine.finish()


def changed(world: Real, before: str = _BEFORE) -> ImageFacts:
    """An image in which there is something to change."""
    base = world.builder(Script(text="exit 0"))
    script = f"set -e\n{before}"
    world.engine.assemble(assembly(base, command=("/bin/sh", "-c", script), user="0:0"), lambda _: None)
    made = world.engine.held(str(NAME))
    assert made is not None
    return made


def described(base: ImageFacts, script: str, **changes: Any) -> Assembly:
    return assembly(base, command=("/bin/sh", "-c", f"set -e\n{script}"), user="0:0", epoch=1000, **changes)


def layer(engine: Any, told: Assembly) -> bytes:
    with engine.layered(told, lambda _: None) as left:
        once, again = b"".join(left.chunks()), b"".join(left.chunks())
    assert once == again
    return once


def listed(tar: bytes) -> dict[str, tuple[str, int, int, str]]:
    with tarfile.open(fileobj=io.BytesIO(tar)) as opened:
        return {each.name: (oct(each.mode), each.uid, int(each.mtime), each.linkname) for each in opened}


@on_docker
def test_the_daemon_s_words_give_the_very_bytes_of_its_files(world: Real, asking: Docker) -> None:
    told = described(changed(world), _AFTER)
    read, asked = layer(world.engine, told), layer(asking, told)
    assert listed(asked) == listed(read)
    assert hashlib.sha256(asked).hexdigest() == hashlib.sha256(read).hexdigest()


@on_docker
def test_everything_that_became_of_the_image_is_in_the_layer_and_nothing_else(world: Real, asking: Docker) -> None:
    found = listed(layer(asking, described(changed(world), _AFTER)))
    assert {name for name in found if "new-" not in name} == {
        *("etc", "etc/.wh.group", "etc/passwd"),
        *("opt", "opt/.wh.gone"),
        *("opt/app", "opt/app/empty", "opt/app/new", "opt/app/new/deep", "opt/app/new/deep/file"),
        *("opt/app/new/deep/other", "opt/app/new/fifo", "opt/app/new/link", "opt/app/new/ü b", "opt/app/setuid"),
        *("opt/around", "opt/around/deep", "opt/around/deep/old"),
        *("opt/file", "opt/file/in", "opt/kind"),
        *("opt/many", "opt/many/.wh.old-3", "opt/many/old-4", "opt/many/z", "opt/many/z/z", "opt/shut"),
    }
    assert found["opt/app/new/deep/other"][3] == "opt/app/new/deep/file"
    assert found["opt/app/setuid"] == ("0o4755", 0, 1000, "")
    assert found["opt/app/new/deep"][2] == 981158400
    assert found["opt/shut"] == ("0o700", 0, 978307200, "")


@on_docker
def test_what_is_mounted_is_no_part_of_the_layer_by_either_way(world: Real, asking: Docker, tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("not the image's")
    given = assembly(world.builder(Script(text="exit 0"))).confinement
    volume = Volume(source=str(tmp_path), target="/opt/app/theirs")
    cache = Cache(app="layered", builder="b", target="/opt/app/kept", name="s2ictl-contract-layered")
    told = described(
        changed(world),
        "echo x >/opt/app/kept/x; mkdir /opt/app/own; echo y >/opt/app/own/y",
        confinement=type(given)(volumes=(volume,)),
        caches=(cache,),
    )
    read, asked = layer(world.engine, told), layer(asking, told)
    assert listed(read).keys() == {"opt", "opt/app", "opt/app/own", "opt/app/own/y"}
    assert asked == read


@on_docker
def test_the_daemon_s_files_are_read_here_where_they_may_be(world: Real) -> None:
    """Else the other tests would compare one way with itself."""
    container = world.api.create_container_from_config({"Image": changed(world).id, "Cmd": ["/bin/true"]})["Id"]
    try:
        assert upper.trees(world.api.inspect_container(container)) is not None
    finally:
        world.api.remove_container(container)


# ----------------------------------------------------------------------------------------------------- as it is typed


@pytest.fixture(scope="module")
def api(engine_facts: testbed.Engine) -> Iterator[Any]:
    import docker

    client = docker.APIClient(base_url=engine_facts.docker_host, version="auto")
    with ExitStack() as stack:
        stack.callback(client.close)
        stack.callback(tiny.remove_named, client, "layered/", "/layered/")
        stack.enter_context(tiny.imported(client, BUILDER, ROOT, *SAID))
        yield client


@pytest.fixture
def typed(engine_facts: testbed.Engine, api: Any, tmp_path: Path) -> Shell:
    made = shell(tmp_path, DOCKER_HOST=engine_facts.docker_host, SOURCE_DATE_EPOCH="1000")
    (made.cwd / "app").mkdir()
    (made.cwd / "app/hello.txt").write_text("hello\n")
    return made


def built(typed: Shell, *words: str) -> dict[str, Any]:
    done = typed.run("build", "app", BUILDER, *words, "-o", "json")
    assert done.status == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_what_goes_to_a_registry_is_not_left_in_the_daemon(
    typed: Shell, api: Any, registry_facts: testbed.Registry
) -> None:
    name = f"{registry_facts.open}/layered/passed:1"
    said = built(typed, name, "--push")
    assert said["image"] == f"{name}@{said['digest']}"
    assert said["engine"] == {"name": "docker", "because": "as S2ICTL_ENGINE says"}
    assert api.images(name) == []
    api.pull(name)
    assert api.create_container(name, ["/bin/cat", "/opt/app/hello.txt"])["Id"]


def test_it_is_in_the_daemon_as_well_where_that_is_asked_for(
    typed: Shell, api: Any, registry_facts: testbed.Registry
) -> None:
    name = f"{registry_facts.open}/layered/both:1"
    said = built(typed, name, "--push", "--to", "docker")
    assert [image["Id"] for image in api.images(name)] == [said["id"]]


def test_nothing_is_built_again_that_its_places_have(typed: Shell, api: Any, registry_facts: testbed.Registry) -> None:
    name = f"{registry_facts.open}/layered/again:1"
    words = (name, "--push", "--to", "oci:out")
    first = built(typed, *words)
    again = built(typed, *words)
    assert (first["unchanged"], again["unchanged"], again["digest"]) == (False, True, first["digest"])
    assert api.images(name) == []


def test_what_its_registry_refused_is_in_the_daemon_and_is_only_sent_the_next_time(
    typed: Shell, api: Any, registry_facts: testbed.Registry
) -> None:
    name = f"{registry_facts.open}/layered/late:1"
    refused = typed.run("build", "app", BUILDER, "127.0.0.1:1/layered/late:1", "--push", "--pull-policy", "never")
    assert refused.status == 10
    assert "the image is in the engine: the same build once more only sends it" in refused.stderr
    again = built(typed, "127.0.0.1:1/layered/late:1", "--dry-run")
    assert again["push"] is False
    api.tag("127.0.0.1:1/layered/late:1", name.rpartition(":")[0], "1")
    assert built(typed, "127.0.0.1:1/layered/late:1")["unchanged"]


@pytest.mark.parametrize("way", ["registry", "layout", "both"])
def test_both_engines_give_one_layer_for_one_source(typed: Shell, registry_facts: testbed.Registry, way: str) -> None:
    name = f"{registry_facts.open}/layered/alike-{way}:1"
    to = {"registry": ("--push",), "layout": ("--to", "oci:out"), "both": ("--push", "--to", "oci:out")}[way]
    docker = built(typed, name, *to, "--engine", "docker", "--force")
    embedded = built(typed, name, *to, "--engine", "embedded", "--force")
    assert embedded["digest"] == docker["digest"]
