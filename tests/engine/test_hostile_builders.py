"""Strange builders, sources and images on the real engine: what they leave behind, and what they say of themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from s2ictl.errors import S2IError
from s2ictl.labels import RECIPE
from s2ictl.models import Cache
from tests.engine import tiny
from tests.engine.grounds import on_docker
from tests.engine.kitchen import Kitchen
from tests.engine.world import Real, built
from tests.fakes.engine import Script
from tests.fakes.engine_contract import CONFIG, NAME, assembly

APP = "hostile/app"
CACHE = Cache(app=APP, builder="contract/builder:1", target="/opt/app/dl", name="s2ictl-cache-hostile1")
RECIPES = "sha256:" + "f" * 64

# Everything that a command without rights can put into a directory that the next one is given.
FILLED = """
cd /opt/app/dl
ln -s /etc/passwd passwd; ln -s ../../../../../../etc up; ln -s loop loop; ln -s /proc/self/root root
mkfifo pipe; cp /bin/busybox suid; chmod 6777 suid; mkdir -p closed/inner; echo x >closed/inner/x; chmod 0 closed
mkdir "$(printf 'new\\nline')"; chmod 0 .
"""


@pytest.fixture
def caches(world: Real) -> Iterator[Real]:
    yield world
    for volume in world.api.volumes(filters={"name": "s2ictl-cache-hostile"})["Volumes"] or ():
        world.api.remove_volume(volume["Name"], force=True)


def test_the_next_build_survives_what_one_left_in_a_cache_and_so_does_who_forgets_it(caches: Real) -> None:
    built(caches, FILLED, caches=(CACHE,))
    assert built(caches, "stat -c %a /opt/app/dl; ls /opt/app/dl | wc -l", caches=(CACHE,)) == ["755", "8"]
    (kept,) = (each for each in caches.engine.kept() if each.app == APP)
    assert caches.engine.forget(kept)


@pytest.mark.parametrize(
    ("leads_to", "error"),
    [("/tmp/src", "what only assemble may see could not be removed"), ("loop", "could not (create|mount)")],
)
def test_a_cache_whose_place_is_a_link_in_the_image_ends_in_one_clear_error(
    kitchen: Kitchen, leads_to: str, error: str
) -> None:
    place = "/opt/app/loop"
    first = kitchen.build(kitchen.builder(f"[ -L {place} ] || ln -s {leads_to} {place}"))
    with pytest.raises(S2IError, match=error):
        kitchen.build(first.image.id, app=APP, caches=(place,), names=())
    _forget(kitchen)


def test_an_image_that_only_says_it_is_the_result_of_a_build_is_not_taken_for_it(world: Real) -> None:
    scripts = {"assemble": tiny.script("true"), "run": tiny.script("true")}
    label = f"LABEL {RECIPE}={RECIPES}"
    published = tiny.imported(world.api, "contract/published:1", tiny.rootfs(scripts), "USER user", label)
    world.stack.enter_context(published)
    world.ground.take("contract/published:1")
    assert world.engine.find(RECIPE, RECIPES) is None
    forged = world.engine.facts("contract/published:1", pull="never", login=None, emit=lambda _: None)
    assert forged is not None
    said = replace(CONFIG, labels={RECIPE: RECIPES})
    made = world.engine.assemble(assembly(forged, config=lambda _: said), lambda _: None)
    found = world.engine.find(RECIPE, RECIPES)
    assert found is not None
    assert found.id == made.id


def _forget(kitchen: Kitchen) -> None:
    kitchen.ground.finish()
    for each in kitchen.engine.kept():
        if each.app == APP:
            kitchen.engine.forget(each)


@on_docker
def test_what_is_not_finished_is_not_found(world: Real) -> None:
    base = world.builder(Script(text="true"))
    world.engine.assemble(assembly(base), lambda _: None)
    container = world.api.create_container_from_config({"Image": str(NAME), "Cmd": ["x"]})["Id"]
    named: Any = {"repository": "s2ictl/unfinished", "tag": "contract-hostile"}
    world.stack.callback(tiny.remove_named, world.api, "s2ictl/unfinished:contract-hostile")
    try:
        world.api.commit(container, **named, changes=[f"LABEL {RECIPE}={RECIPES}"])
    finally:
        world.api.remove_container(container)
    assert world.engine.find(RECIPE, RECIPES) is None
