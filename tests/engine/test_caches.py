"""Caches on a real engine: filled by one build, found by the next of the same app, in no layer, and gone when told."""

from __future__ import annotations

import json
import shutil
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from docker import errors

from s2ictl.engines import Keeper
from s2ictl.errors import Conflict, PullBuilderImageFailed
from s2ictl.events import Event, Line, Notice
from s2ictl.leases import name_for, this_host
from s2ictl.models import Cache, Reference
from tests import testbed
from tests.cli import shell
from tests.engine import tiny
from tests.engine.grounds import on_docker
from tests.engine.world import Real, built, last_layer
from tests.fakes.engine import Script
from tests.fakes.engine_contract import NAME, assembly

OF_SHOP = Cache(app="contract/shop", builder="contract/builder:1", target="/opt/app/dl", name="s2ictl-cache-contract1")
OF_CART = replace(OF_SHOP, app="contract/cart", name="s2ictl-cache-contract2")
LOOKS = "ls /opt/app/dl; echo kept >/opt/app/dl/file"


@pytest.fixture
def caches(world: Real) -> Real:
    def remove() -> None:
        for volume in world.api.volumes(filters={"name": "s2ictl-cache-contract"})["Volumes"] or ():
            world.api.remove_volume(volume["Name"], force=True)

    world.stack.callback(remove)
    return world


def test_what_one_build_leaves_in_a_cache_the_next_of_the_same_app_finds(caches: Real) -> None:
    said = [built(caches, LOOKS, caches=(cache,)) for cache in (OF_SHOP, OF_SHOP, OF_CART)]
    assert said == [[], ["file"], []]


def test_nothing_of_a_cache_is_in_the_layer_but_its_place(caches: Real) -> None:
    built(caches, LOOKS, caches=(OF_SHOP,))
    assert last_layer(caches, str(NAME)) <= {"opt", "opt/app", "opt/app/dl", "tmp"}


@pytest.mark.parametrize("user", ["user", "2000:0", "0:0"])
def test_a_cache_is_the_command_s_user_s_where_the_image_has_no_such_directory(caches: Real, user: str) -> None:
    cache = replace(OF_SHOP, target="/var/cache/dl")
    said = built(caches, "stat -c '%u %g %a' /var/cache/dl; echo x >/var/cache/dl/x", caches=(cache,), user=user)
    assert said == [f"{({'user': '1001:0'}.get(user, user)).replace(':', ' ')} 755"]


def test_a_cache_begins_with_what_the_image_has_there(caches: Real) -> None:
    cache = replace(OF_SHOP, target="/usr/libexec/s2i")
    assert built(caches, "ls /usr/libexec/s2i", caches=(cache,)) == ["assemble", "run"]


@on_docker
def test_a_volume_of_somebody_else_is_refused_and_stays_as_it_is(caches: Real) -> None:
    caches.api.create_volume(OF_SHOP.name, labels={"whose": "mine"})
    with pytest.raises(Conflict, match="has a volume s2ictl-cache-contract1 that is not the cache of contract/shop"):
        built(caches, LOOKS, caches=(OF_SHOP,))
    assert caches.api.inspect_volume(OF_SHOP.name)["Labels"] == {"whose": "mine"}


def test_what_another_user_left_is_not_used_and_not_in_the_way(caches: Real) -> None:
    said = [built(caches, LOOKS, caches=(OF_SHOP,), user=user) for user in ("user", "2000:0", "2000:0")]
    assert said == [[], [], ["file"]]


@on_docker
def test_a_cache_that_is_broken_is_made_anew(caches: Real) -> None:
    built(caches, LOOKS, caches=(OF_SHOP,))
    shutil.rmtree(caches.api.inspect_volume(OF_SHOP.name)["Mountpoint"])
    said: list[Event] = []
    caches.engine.assemble(assembly(caches.builder(Script(text=LOOKS)), caches=(OF_SHOP,)), said.append)
    assert [event for event in said if isinstance(event, Line | Notice)] == [
        Notice(text="the downloads at /opt/app/dl are damaged; they are fetched again", level="warning")
    ]


def test_no_cache_is_blamed_for_an_image_that_is_gone(caches: Real) -> None:
    built(caches, LOOKS, caches=(OF_SHOP,))
    gone = replace(assembly(caches.builder(Script(text=LOOKS)), caches=(OF_SHOP,)), image_id=f"sha256:{'0' * 64}")
    with pytest.raises(PullBuilderImageFailed):
        caches.engine.assemble(gone, lambda _: None)
    assert built(caches, LOOKS, caches=(OF_SHOP,)) == ["file"]


# --------------------------------------------------------------------------------------------------------- turns


def test_two_builds_of_one_app_use_its_cache_one_after_the_other(caches: Real) -> None:
    text = "echo begins >>/opt/app/dl/log; sleep 0.5; echo ends >>/opt/app/dl/log"
    base = caches.builder(Script(text=text))

    def build(number: int) -> None:
        name = Reference.parse(f"contract/side-{number}:1")
        with caches.ground.another() as engine:
            engine.assemble(assembly(base, caches=(OF_SHOP,), names=(name,), owner="contract"), lambda _: None)

    builds = [threading.Thread(target=build, args=(number,)) for number in range(3)]
    for each in builds:
        each.start()
    for each in builds:
        each.join()
    assert built(caches, "cat /opt/app/dl/log", caches=(OF_SHOP,)) == ["begins", "ends"] * 3


@on_docker
def test_nobody_waits_for_the_container_of_a_build_that_has_died(caches: Real) -> None:
    built(caches, LOOKS, caches=(OF_SHOP,))
    _held(caches, name_for("build", replace(this_host(), pid=2**22 + 1), seconds=60))
    assert built(caches, LOOKS, caches=(OF_SHOP,)) == ["file"]


@on_docker
def test_a_container_that_has_ended_holds_nobody_up(caches: Real) -> None:
    built(caches, LOOKS, caches=(OF_SHOP,))
    container = _held(caches, "s2ictl-contract-ended")
    caches.api.start(container)
    caches.api.wait(container)
    assert built(caches, LOOKS, caches=(OF_SHOP,)) == ["file"]


@on_docker
def test_a_container_of_somebody_else_that_was_never_begun_holds_nobody_up(caches: Real) -> None:
    built(caches, LOOKS, caches=(OF_SHOP,))
    _held(caches, "contract-never-begun")
    assert built(caches, LOOKS, caches=(OF_SHOP,)) == ["file"]


def _held(world: Real, name: str) -> str:
    """A container that has the volume; it is made, and not started."""
    mount = {"Type": "volume", "Source": OF_SHOP.name, "Target": "/held"}
    base = world.builder(Script(text="true"))
    document = {"Image": base.id, "Entrypoint": ["/bin/true"], "HostConfig": {"Mounts": [mount]}}
    container = str(world.api.create_container_from_config(document, name=name)["Id"])
    world.stack.callback(_remove, world.api, container)
    return container


# --------------------------------------------------------------------------------------------------- kept, forgotten


def ours(engine: Keeper) -> list[Any]:
    return [kept for kept in engine.kept() if kept.app.startswith("contract/")]


@on_docker
def test_what_is_kept_says_whose_it_is_and_is_forgotten_unless_a_container_has_it(caches: Real) -> None:
    built(caches, "head -c 5000 /dev/zero >/opt/app/dl/file", caches=(OF_SHOP,))
    (kept,) = ours(caches.engine)
    described = (kept.kind, kept.app, kept.builder, kept.name, kept.what, kept.size)
    assert described == ("cache", OF_SHOP.app, OF_SHOP.builder, OF_SHOP.name, OF_SHOP.target, 5000)
    container = _held(caches, "s2ictl-contract-holds")
    assert caches.engine.forget(kept) is False
    caches.api.remove_container(container)
    assert (caches.engine.forget(kept), caches.engine.forget(kept), ours(caches.engine)) == (True, True, [])


def test_a_cache_was_used_when_a_build_had_it_and_not_when_it_was_filled(caches: Real) -> None:
    built(caches, "echo x >/opt/app/dl/x; touch -d @86400 /opt/app/dl/x", caches=(OF_SHOP,))
    (first,) = ours(caches.engine)
    built(caches, "sleep 1", caches=(OF_SHOP,))
    built(caches, "true", caches=(OF_SHOP,))
    (last,) = ours(caches.engine)
    assert first.used < last.used


def test_images_of_dependencies_are_kept_too_and_have_been_used_when_they_were_named_last(caches: Real) -> None:
    name = Reference.parse("s2ictl/dependencies:contract0123456789abcdef")
    caches.stack.callback(tiny.remove_named, caches.api, str(name))
    built(caches, "head -c 7000 /dev/urandom >/opt/app/lib", names=(name,))
    (kept,) = (each for each in caches.engine.kept() if each.name == str(name))
    assert (kept.kind, kept.app, kept.what, kept.builder[:17]) == (
        "dependencies",
        "",
        "contract0123",
        "contract/builder-",
    )
    assert 7000 <= kept.size < 20000
    assert caches.engine.forget(kept) is True
    assert [each for each in caches.engine.kept() if each.name == str(name)] == []


# -------------------------------------------------------------------------------------------------------- the command


def test_caches_are_shown_and_those_of_one_app_removed(caches: Real, tmp_path: Path) -> None:
    for cache in (OF_SHOP, OF_CART):
        built(caches, LOOKS, caches=(cache,))
    here = shell(tmp_path, **caches.ground.environ)
    shown = json.loads(here.run("cache", "info", "-o", "json").stdout)
    assert [row["what"] for row in shown if row["app"].startswith("contract/")] == ["/opt/app/dl"] * 2
    planned = here.run("cache", "prune", "--app", OF_SHOP.app, "--dry-run", "-o", "name")
    assert (planned.status, planned.stdout, len(ours(caches.engine))) == (0, f"{OF_SHOP.name}\n", 2)
    removed = here.run("cache", "prune", "--app", OF_SHOP.app)
    assert (removed.status, removed.stderr.splitlines()[-1]) == (0, "freed 5 B")
    assert [kept.app for kept in ours(caches.engine)] == [OF_CART.app]


@on_docker
def test_what_a_build_uses_stays_and_is_named(caches: Real, engine_facts: testbed.Engine, tmp_path: Path) -> None:
    built(caches, LOOKS, caches=(OF_SHOP,))
    _held(caches, "s2ictl-contract-holds")
    ran = shell(tmp_path, DOCKER_HOST=engine_facts.docker_host).run("cache", "prune", "--app", OF_SHOP.app)
    assert ran.stderr == "warning: in use, and stays: contract/shop /opt/app/dl\nfreed 0 B\n"
    assert len(ours(caches.engine)) == 1


def _remove(api: Any, container: str) -> None:
    with suppress(errors.NotFound):
        api.remove_container(container, force=True)
