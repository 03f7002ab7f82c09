"""Two builds of the same source at different times: the same layer, whatever was mounted, handed over or carried."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from docker import errors

from s2ictl.engines import Difference
from s2ictl.engines.docker import Docker, open_docker
from s2ictl.engines.performing import Performer
from s2ictl.errors import S2IError
from s2ictl.leases import this_host
from s2ictl.models import (
    Assembly,
    BuildSecret,
    Cache,
    Confinement,
    ImageFacts,
    Injection,
    Reference,
    Runtime,
    RuntimeArtifact,
    Secret,
    Volume,
)
from tests import testbed
from tests.engine.grounds import on_docker
from tests.engine.world import Real
from tests.fakes.engine import Script
from tests.fakes.engine_contract import CONFIG, NAME, ask, assembly

EPOCH = 1_700_000_000
MAKES = Script(text=f"cp /tmp/src/hello.txt /opt/app/; date; touch -d @{EPOCH} /opt/app/hello.txt /opt/app")


@pytest.fixture
def settled(world: Real) -> Real:
    world.api.create_volume("contract-settling")
    for volume in ("s2ictl-cache-settling", "contract-settling"):
        world.stack.callback(_remove, world.api, volume)
    return world


def _remove(api: Any, volume: str) -> None:
    with suppress(errors.NotFound):
        api.remove_volume(volume, force=True)


def _layers(world: Real, described: Assembly) -> tuple[str, ...]:
    name = Reference.parse(f"contract/settled:{time.time_ns()}")
    runtime = described.runtime
    if runtime is not None:
        runtime = replace(runtime, assembly=replace(runtime.assembly, names=(name,)))
    image = world.engine.assemble(replace(described, names=() if runtime else (name,), runtime=runtime), lambda _: None)
    facts = ask(world, name)
    assert facts is not None
    assert facts.id == image.id
    return facts.layers


def _secret(world: Real, base: ImageFacts, here: Path) -> dict[str, object]:
    return {"secrets": (BuildSecret(id="token", content=Secret(str(time.time_ns()))),)}


def _build_env(world: Real, base: ImageFacts, here: Path) -> dict[str, object]:
    return {"build_env": (("TOKEN", Secret(str(time.time_ns()))),), "ca_bundle": b"PEM"}


def _injection(world: Real, base: ImageFacts, here: Path) -> dict[str, object]:
    (here / "key").write_text("x")
    return {"injections": (Injection(source=here / "key", target="/etc/keys/"),)}


def _cache(world: Real, base: ImageFacts, here: Path) -> dict[str, object]:
    return {"caches": (Cache(app="a", builder="b", target="/opt/app/dl", name="s2ictl-cache-settling"),)}


def _caches_elsewhere(world: Real, base: ImageFacts, here: Path) -> dict[str, object]:
    return {"caches": (Cache(app="a", builder="b", target="/root/.cache/dl", name="s2ictl-cache-settling"),)}


def _directory(world: Real, base: ImageFacts, here: Path) -> dict[str, object]:
    return {"confinement": Confinement(volumes=(Volume(source=str(here), target="/srv/data"),))}


def _volume(world: Real, base: ImageFacts, here: Path) -> dict[str, object]:
    return {"confinement": Confinement(volumes=(Volume(source="contract-settling", target="/srv/data"),))}


def _runtime(world: Real, base: ImageFacts, here: Path) -> dict[str, object]:
    artifacts = (RuntimeArtifact(source="/opt/app/hello.txt", target="web"),)
    second = assembly(base, command=(), programs=(), leftovers=(), epoch=EPOCH)
    return {"runtime": Runtime(assembly=second, artifacts=artifacts, root="/opt/app")}


def _nothing(world: Real, base: ImageFacts, here: Path) -> dict[str, object]:
    return {}


WAYS = [_nothing, _secret, _build_env, _injection, _cache, _caches_elsewhere, _directory, _runtime]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__.strip("_"))
def test_the_same_source_makes_the_same_layers_at_another_time(
    settled: Real, tmp_path: Path, way: Callable[..., Any]
) -> None:
    _at_another_time_too(settled, tmp_path, way)


@on_docker
def test_so_it_does_with_a_volume_of_the_engine(settled: Real, tmp_path: Path) -> None:
    _at_another_time_too(settled, tmp_path, _volume)


def _at_another_time_too(world: Real, here: Path, way: Callable[..., Any]) -> None:
    base = world.builder(MAKES)
    first = _layers(world, assembly(base, epoch=EPOCH, **way(world, base, here)))
    time.sleep(1.1)
    assert _layers(world, assembly(base, epoch=EPOCH, **way(world, base, here))) == first


@on_docker  # which has a directory in the layer in which nothing but the time is another
def test_without_an_epoch_the_time_of_the_build_is_in_the_layer(settled: Real) -> None:
    base = settled.builder(MAKES)
    first = _layers(settled, assembly(base))
    time.sleep(1.1)
    assert _layers(settled, assembly(base)) != first


def test_a_directory_keeps_its_mode_and_owner(settled: Real) -> None:
    base = settled.builder(MAKES)
    _layers(settled, assembly(base, epoch=EPOCH, secrets=(BuildSecret(id="t", content=Secret("x")),)))
    found = settled.engine.find("io.openshift.s2i.build.image", "contract")
    assert found is not None
    roots = _roots(settled, found.id)
    assert roots.pop("run", "755 0:0") == "755 0:0"
    assert roots == {"tmp": "1777 0:0", "opt": "755 0:0"}


@on_docker
def test_an_engine_that_tells_of_mount_points_whatever_is_done_is_asked_once(settled: Real, docker: Docker) -> None:
    base = settled.builder(MAKES)
    described = assembly(base, epoch=EPOCH, secrets=(BuildSecret(id="t", content=Secret("x")),))
    performer = Performer(api=docker._api, host=this_host(), emit=lambda _: None, is_grounded=True)
    with performer.performed(described) as stage:
        assert stage.assembly.image_id == base.id


@on_docker
def test_what_a_volume_of_the_user_hides_is_not_remembered_of_the_image(
    settled: Real, engine_facts: testbed.Engine, tmp_path: Path
) -> None:
    base, hidden = settled.builder(MAKES), _volume(settled, settled.builder(MAKES), tmp_path)
    environ = {"DOCKER_HOST": engine_facts.docker_host}
    remembered = []
    for way in (hidden, {}):
        with open_docker(environ, host=this_host(), emit=lambda _: None, memory=tmp_path / "images") as engine:
            engine.assemble(replace(assembly(base), **way), lambda _: None)  # type: ignore[arg-type]
        remembered.append([file.name for file in tmp_path.glob("images/*")])
    assert remembered == [[], [f"{base.id.removeprefix('sha256:')}.json"]]


def _roots(world: Real, image: str) -> dict[str, str]:
    said: list[Any] = []
    script = "for each in /tmp /run /opt; do [ ! -d $each ] || stat -c '%n %a %u:%g' $each; done"
    world.engine.output(image, command=("/bin/sh", "-c", script), emit=said.append)
    return {line.text.split(" ", 1)[0].lstrip("/"): line.text.split(" ", 1)[1] for line in said}


# ----------------------------------------------------------------------------------------------------- what differs


def test_what_two_images_do_not_have_alike_is_told_path_by_path(settled: Real) -> None:
    texts = (
        "umask 022; cd /opt/app; echo a >content; echo x >mode; echo x >time; touch only; ln -s a link; echo x >kind",
        "umask 022; cd /opt/app; echo b >content; echo x >mode; echo x >time; chmod 700 mode; ln -s b link; mkdir kind",
    )
    times = ("touch -d @1000000 time", "touch -d @2000000 time")
    rest = f"touch -c -h -d @{EPOCH} content mode only link kind . 2>/dev/null; true"
    images = []
    for text, moment in zip(texts, times, strict=True):
        script = Script(text=f"{text}; {rest}; {moment}")
        images.append(settled.engine.assemble(assembly(settled.builder(script), epoch=EPOCH), lambda _: None).id)
    found = settled.engine.differences(*images)
    told = {each.path: each.ways for each in found if each.path.startswith("/opt/app/")}
    assert told == {
        "/opt/app/content": ("content",),
        "/opt/app/kind": ("kind",),
        "/opt/app/link": ("target",),
        "/opt/app/mode": ("mode",),
        "/opt/app/only": ("presence",),
        "/opt/app/time": ("time",),
    }


def test_an_image_differs_in_nothing_from_itself(settled: Real) -> None:
    image = settled.engine.assemble(assembly(settled.builder(MAKES)), lambda _: None).id
    assert settled.engine.differences(image, str(NAME)) == ()


def test_a_layer_that_only_one_of_them_has_differs_in_all_its_paths(settled: Real) -> None:
    base = settled.builder(MAKES)
    image = settled.engine.assemble(assembly(base, epoch=EPOCH), lambda _: None).id
    assert Difference(path="/opt/app/hello.txt", ways=("presence",)) in settled.engine.differences(base.id, image)


# ------------------------------------------------------------------------------------------------------ found, named


def test_the_newest_image_of_a_label_is_found(world: Real) -> None:
    older, _ = (_labelled(world, name, value) for name, value in (("older", "contract"), ("else", "other")))
    assert _found(world) == older
    time.sleep(1.1)  # an engine tells the age of images in whole seconds
    newer = _labelled(world, "newer", "contract")
    assert _found(world) == newer
    for name in ("contract/older:1", "contract/newer:1"):
        world.ground.forget(name)
    assert _found(world) == ""


def _labelled(world: Real, name: str, value: str) -> str:
    config = replace(CONFIG, labels={"io.s2ictl.test": value})
    base, names = world.builder(Script(text="true")), (Reference.parse(f"contract/{name}:1"),)
    return world.engine.assemble(assembly(base, names=names, config=lambda _: config), lambda _: None).id


def _found(world: Real) -> str:
    found = world.engine.find("io.s2ictl.test", "contract")
    return found.id if found else ""


def test_an_image_gets_all_names_or_none(world: Real) -> None:
    image = world.builder(Script(text="true")).id
    one, other = (Reference.parse(f"contract/{name}:1") for name in ("one", "other"))
    with pytest.raises(S2IError, match="not a tag"):
        world.engine.name(image, (one, replace(other, tag="not a tag")))
    assert ask(world, one) is None
    world.engine.name(image, (one, other))
    assert [facts.id for name in (one, other) if (facts := ask(world, name))] == [image, image]


def test_a_name_that_meant_another_image_means_that_again_when_not_all_can_be_given(world: Real) -> None:
    before, image = (world.builder(Script(text=text)).id for text in ("true", "false"))
    name = Reference.parse("contract/taken:1")
    world.engine.name(before, (name,))
    with pytest.raises(S2IError, match="not a tag"):
        world.engine.name(image, (name, replace(name, tag="not a tag")))
    facts = ask(world, name)
    assert facts is not None
    assert facts.id == before
