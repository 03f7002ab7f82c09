"""Layers that no container has made, on real parts: a registry takes them, and an engine unpacks what was described."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from s2ictl import oci
from s2ictl.artifacts import parts_of, read
from s2ictl.engines.append import Recipe, append
from s2ictl.events import Emit
from s2ictl.models import Reference
from s2ictl.registry import Repository
from s2ictl.transport import Transport
from tests import testbed
from tests.engine import tiny
from tests.engine.world import Real, listing, text_of
from tests.fakes.artifacts import klass, laid, packed, war
from tests.fakes.images import as_below, blob

DEPLOYMENTS = PurePosixPath("/deployments")
LONG = "/".join(("WEB-INF/classes", *("ein-großes-Verzeichnis-für-é" for _ in range(12)), "Größe.txt"))


@pytest.fixture
def transport(emit: Emit) -> Iterator[Transport]:
    with Transport(os.environ, emit=emit) as transport:
        yield transport


def base(architecture: str) -> oci.Base:
    """A small root file system, whatever machine it says that it is for."""
    layer = blob(tiny.rootfs({}))
    settings = oci.Settings(env=("PATH=/bin",), user="1001")
    rootfs = oci.Layers(diff_ids=(layer.digest,))
    config = oci.Config(architecture=architecture, os="linux", config=settings, rootfs=rootfs)
    return oci.Base(name="", digest="", config=config, layers=(layer,))


def recipe(path: Path, emit: Emit) -> Recipe:
    parts = parts_of(read(path), DEPLOYMENTS / "shop", beside=DEPLOYMENTS, layered=True, emit=emit)
    return Recipe(parts=parts, config=lambda facts: as_below(facts, command=("/bin/true",)), title="shop.war")


@pytest.fixture
def delivered(
    registry_facts: testbed.Registry, transport: Transport, tmp_path: Path, emit: Emit
) -> tuple[Repository, Reference, str]:
    """An image for two platforms, of a war whose libraries have a layer of their own."""
    files = {**war(), "WEB-INF/lib/one-1.jar": packed({"A.class": klass(8)}), LONG: b"found"}
    picture = append(recipe(laid(tmp_path / "shop.war", files), emit), (base("amd64"), base("arm64")), emit=emit)
    name = Reference(registry=registry_facts.open, repository=f"contract/append-{os.urandom(4).hex()}", tag="1")
    repository = Repository(name, transport=transport, logins=lambda _: None)
    return repository, name, oci.deliver(picture, repository, ("1", "latest"), emit=emit)


def test_a_registry_has_the_image_for_each_platform_under_one_digest(
    delivered: tuple[Repository, Reference, str],
) -> None:
    repository, _, digest = delivered
    found = repository.bases()
    assert repository.resolve() == digest
    assert [str(each.config.platform) for each in found] == ["linux/amd64", "linux/arm64"]
    assert [layer.digest for layer in found[0].layers] == [layer.digest for layer in found[1].layers]


def test_an_engine_unpacks_the_layers_as_they_were_described(
    delivered: tuple[Repository, Reference, str], world: Real, emit: Emit
) -> None:
    _, name, digest = delivered
    facts = world.engine.facts(str(name), pull="always", login=None, emit=emit)
    assert facts is not None
    assert facts.digest == digest
    there = listing(world, str(name), "/deployments")
    steps = LONG.split("/")
    assert there == {
        "deployments/shop": "755 1001:0",
        "deployments/shop/WEB-INF": "755 1001:0",
        "deployments/shop/WEB-INF/classes": "755 1001:0",
        "deployments/shop/WEB-INF/classes/com": "755 1001:0",
        "deployments/shop/WEB-INF/classes/com/example": "755 1001:0",
        "deployments/shop/WEB-INF/classes/com/example/Shop.class": "644 1001:0",
        "deployments/shop/WEB-INF/lib": "755 1001:0",
        "deployments/shop/WEB-INF/lib/one-1.jar": "644 1001:0",
        "deployments/shop/WEB-INF/web.xml": "644 1001:0",
        **{f"deployments/shop/{'/'.join(steps[:depth])}": "755 1001:0" for depth in range(3, len(steps))},
        f"deployments/shop/{LONG}": "644 1001:0",
    }
    assert listing(world, str(name), "/").get("/deployments") == "775 1001:0"
    assert text_of(world, str(name), f"/deployments/shop/{LONG}") == "found"
