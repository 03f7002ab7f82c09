"""`b2i` as it is typed, on the real engine and registry: real artifacts, both roads, and what the results answer."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from tests import testbed
from tests.cli import Ran, Shell, shell
from tests.engine import apps, javas, programs, tiny
from tests.engine.apps import Ours
from tests.engine.tiny import SCRIPTS, script

OURS = f"contract/b2i-{os.urandom(4).hex()}"  # where the builders of this run are called
FOREIGN = "engine/b2i-foreign:v3.2.0"
ONE_FILE = """
cd /tmp/src && set -- * && test $# = 1 && test -f "$1" || { echo "not one file: $*"; exit 1; }
mkdir -p /opt/app/here && mv "$1" "/opt/app/here/$1" && echo "took $1"
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("b2i")


@pytest.fixture(scope="module")
def here(
    home: Path, engine_facts: testbed.Engine, registry_facts: testbed.Registry, api: Any, ours: Ours
) -> Iterator[Shell]:
    """A shell with an engine; our builders have names of this run's own, and that of programs is yet to be made."""
    prefix = f"{registry_facts.open}/{OURS}"
    for image in (ours(*words).folder.image for words in (("tomcat",), ("tomcat", "9"), ("jar",))):
        api.tag(str(image), f"{prefix}/{PurePosixPath(image.repository).name}", image.tag)
    mirrors = {name: value for name, value in os.environ.items() if name.lower().endswith(("_proxy", "mirror"))}
    made = shell(
        home,
        **mirrors,
        **{name: os.environ[name] for name in ("SSL_CERT_FILE", "APT_MIRROR") if name in os.environ},
        DOCKER_HOST=engine_facts.docker_host,
        S2ICTL_BUILDERS=prefix,
    )
    yield made
    tiny.remove_named(api, OURS)


def done(ran: Ran) -> str:
    assert ran.status == 0, ran.stderr
    return ran.stdout.strip()


def image_of(here: Shell, artifact: Path, *words: str) -> str:
    """The image of an artifact, under a name of its own in the engine."""
    name = f"{OURS}/app:{os.urandom(4).hex()}"
    return done(here.run("b2i", str(artifact), "--tag", name, *words))


@contextmanager
def running(engine_facts: testbed.Engine, image: str, **settings: Any) -> Iterator[apps.Running]:
    """The image as a strict cluster runs it: nothing can be written but /tmp, by a user of no name."""
    import docker

    client = docker.DockerClient(base_url=engine_facts.docker_host, version="auto")
    strict = {"read_only": True, "tmpfs": {"/tmp": ""}, "user": "123456:0", **settings}
    container = client.containers.run(image, detach=True, ports={"8080/tcp": ("127.0.0.1", None)}, **strict)
    try:
        container.reload()
        port = container.ports["8080/tcp"][0]["HostPort"]
        yield apps.Running(url=f"http://127.0.0.1:{port}", container=container)
    finally:
        container.remove(force=True)
        client.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What an image says of itself, the layers below its last one, and what that brings."""

    said: Mapping[str, object]
    below: Sequence[str]
    last: Mapping[str, tuple[object, ...]]


def held(api: Any, image: str) -> Held:
    below = api.inspect_image(image)["RootFS"]["Layers"][:-1]
    return Held(said=said(api, image), below=below, last=last_layer(api, image))


def last_layer(api: Any, image: str) -> Mapping[str, tuple[object, ...]]:
    """What the last layer brings, in its order: kind, mode, owner, time, and bytes."""
    with tarfile.open(fileobj=io.BytesIO(b"".join(api.get_image(image)))) as whole:
        listed = json.load(whole.extractfile("manifest.json") or io.BytesIO())
        content = whole.extractfile(listed[0]["Layers"][-1])
        assert content is not None
        with tarfile.open(fileobj=io.BytesIO(content.read())) as layer:
            return {
                member.name: (
                    member.type,
                    member.mode & 0o7777,
                    member.uid,
                    member.gid,
                    member.mtime,
                    _bytes(layer, member),
                )
                for member in layer
            }


def _bytes(layer: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = layer.extractfile(member) if member.isreg() else None
    return file.read() if file else b""


def said(api: Any, image: str) -> Mapping[str, object]:
    """What an image says of itself, but for the digest by which the engine knows what it need not build."""
    config = dict(api.inspect_image(image)["Config"])
    config["Labels"] = {name: text for name, text in config["Labels"].items() if name != "io.s2ictl.recipe"}
    config["Entrypoint"] = config["Entrypoint"] or None
    wanted = ("Env", "User", "Cmd", "Entrypoint", "WorkingDir", "ExposedPorts", "Labels", "Volumes", "StopSignal")
    return {name: config.get(name) for name in wanted}


# ------------------------------------------------------------------------------------------------------------ two roads


@pytest.mark.parametrize(
    ("make", "words", "path", "answer"),
    [
        (partial(javas.war, "jakarta"), ("--jvm-opts", "-Xss1m"), "/shop/hello", "hello from jakarta at /shop/"),
        (partial(javas.war, "javax"), ("--context-path", "/a/b"), "/a/b/hello", "hello from javax at /a/b/"),
        (javas.jar, ("--args", "say 'two words'"), "/", "hello from a jar on Java 21, told [say, two words]"),
        (programs.dynamic_c, ("--args", "say"), "/", "hello from C, told say"),
    ],
)
def test_both_roads_end_in_one_image_that_answers(
    make: Callable[[], Path],
    words: tuple[str, ...],
    path: str,
    answer: str,
    here: Shell,
    api: Any,
    engine_facts: testbed.Engine,
) -> None:
    name, artifact = f"{OURS}/app:{os.urandom(4).hex()}", make()
    images = []
    for engine in ("append", "docker"):
        done(here.run("b2i", str(artifact), "--tag", name, "--engine", engine, *words))
        images.append(held(api, name))
        with running(engine_facts, name) as shop:
            assert answer in shop.text(path)
    appended, assembled = images
    # A container has had the artifact in /tmp before, and its layer tells of that directory although nothing is new.
    passed = {"tmp": (tarfile.DIRTYPE, 0o1777, 0, 0, 0, b"")}
    assert assembled == replace(appended, last={**appended.last, **passed})
    assert list(assembled.last) == [*appended.last, *passed]


@pytest.mark.parametrize(
    ("make", "words", "path", "answer"),
    [
        (javas.boot, (), "/", "hello from Spring Boot on Java 21"),
        (javas.boot, ("--layered",), "/", "hello from Spring Boot on Java 21"),
        (programs.static_c, (), "/", "hello from C alone"),
    ],
)
def test_what_is_only_appended_answers_as_well(
    make: Callable[[], Path],
    words: tuple[str, ...],
    path: str,
    answer: str,
    here: Shell,
    engine_facts: testbed.Engine,
) -> None:
    with running(engine_facts, image_of(here, make(), *words)) as shop:
        assert answer in shop.text(path)


@pytest.mark.parametrize("engine", ["append", "docker"])
def test_an_unpacked_war_is_served_under_the_name_of_its_directory(
    engine: str, here: Shell, home: Path, engine_facts: testbed.Engine
) -> None:
    exploded = home / "exploded" / "cart"
    if not exploded.exists():
        javas.unpacked(javas.war("jakarta"), exploded)
    with running(engine_facts, image_of(here, exploded, "--engine", engine)) as shop:
        assert "at /cart/" in shop.text("/cart/hello")


@pytest.mark.parametrize("engine", ["append", "docker"])
def test_a_tomcat_that_does_not_run_its_servlets_stops_it_on_both_roads(engine: str, here: Shell) -> None:
    ran = here.run("b2i", str(javas.war("javax")), "--tag", f"{OURS}/no:1", "--server", "tomcat10", "--engine", engine)
    assert (ran.status, ran.stdout) == (6, "")
    assert "shop.war is for javax servlets, and Tomcat 10.1 runs jakarta ones alone" in ran.stderr
    assert "--server tomcat9" in ran.stderr
    assert "assemble" not in ran.stderr


def test_the_same_again_is_unchanged_on_both_roads(here: Shell) -> None:
    for engine in ("append", "docker"):
        words = ("b2i", str(javas.jar()), "--tag", f"{OURS}/again:{engine}", "--engine", engine, "-o", "json")
        first, again = (json.loads(done(here.run(*words))) for _ in range(2))
        assert (first["unchanged"], again["unchanged"], again["id"]) == (False, True, first["id"])


# ---------------------------------------------------------------------------------------------- somebody else's builder


@pytest.fixture
def foreign(api: Any) -> Iterator[str]:
    """A builder as KubeSphere's are: it takes exactly one file, and keeps its name."""
    scripts = {"assemble": script(ONE_FILE), "run": script("ls /opt/app/here; sleep 60")}
    labels = f'LABEL io.openshift.s2i.scripts-url="image://{SCRIPTS}"'
    with tiny.imported(api, FOREIGN, tiny.rootfs(scripts), labels, "USER 1001", "WORKDIR /opt/app"):
        yield FOREIGN


@pytest.mark.parametrize(
    ("make", "words", "took"),
    [
        (partial(javas.war, "javax"), (), "shop.war"),
        (partial(javas.war, "javax"), ("--context-path", "/"), "ROOT.war"),
        (programs.static_c, ("--network", "none", "--memory", "64m"), "shop"),
    ],
)
def test_a_builder_that_takes_one_file_gets_one_under_the_name_that_counts(
    make: Callable[[], Path], words: tuple[str, ...], took: str, here: Shell, foreign: str, api: Any
) -> None:
    name = f"{OURS}/foreign:{os.urandom(4).hex()}"
    ran = here.run("b2i", str(make()), foreign, name, *words)
    assert done(ran) == name
    assert f"took {took}" in ran.stderr
    assert api.inspect_image(name)["Config"]["Labels"]["io.openshift.s2i.build.image"] == f"docker.io/{foreign}"
    api.remove_image(name, force=True)


# ---------------------------------------------------------------------------------------------------- without an engine


def test_without_an_engine_a_war_goes_straight_into_the_registry_and_runs(
    here: Shell, home: Path, registry_facts: testbed.Registry, engine_facts: testbed.Engine
) -> None:
    done(here.run("push", f"{registry_facts.open}/{OURS}/tomcat:10.1"))
    alone = replace(here, environ={**here.environ, "DOCKER_HOST": "unix:///nonexistent", "XDG_CACHE_HOME": f"{home}/x"})
    name = f"{registry_facts.open}/{OURS}/shop:1"
    words = ("b2i", str(javas.war("jakarta")), "--tag", name, "--push", "-o", "json")
    first, again = (json.loads(done(alone.run(*words))) for _ in range(2))
    assert (first["image"], first["context-path"]) == (f"{name}@{first['digest']}", "/shop")
    assert (again["digest"], again["unchanged"]) == (first["digest"], True)
    with running(engine_facts, first["image"]) as shop:
        assert "at /shop/" in shop.text("/shop/hello")
