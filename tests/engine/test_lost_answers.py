"""The engine has done what it was asked for, and its answer is lost: nothing is made twice, nothing is forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from s2ictl.engines.docker import open_docker
from s2ictl.errors import Unreachable
from s2ictl.events import Event, Line, Notice
from s2ictl.leases import this_host
from s2ictl.models import Reference
from tests import testbed
from tests.engine.grounds import OnDocker, on_docker
from tests.engine.wires import breaking
from tests.engine.world import Real, believed, made_of, text_of
from tests.fakes.engine import Script
from tests.fakes.engine_contract import NAME, ask, assembly

pytestmark = on_docker

ONCE = Script(text="echo once >>/opt/app/times")


@contextmanager
def on_a_bad_wire(world: Real, facts: testbed.Engine, request: str, *, after: int = 0) -> Iterator[Real]:
    """The same world, but this one answer is lost in it."""
    with (
        breaking(facts.docker_host, request, after=after) as wire,
        open_docker({"DOCKER_HOST": wire.docker_host}, host=this_host(), emit=lambda _: None) as engine,
    ):
        yield Real(ground=OnDocker(engine=engine, api=world.api, environ={}), stack=world.stack)
    assert wire.broken


@pytest.mark.parametrize(
    "request_",
    [r"POST \S+/commit\?", r"POST \S+/tag\?", r"DELETE \S+/images/s2ictl/unfinished", r"DELETE \S+/containers/"],
)
def test_the_image_is_found_again_and_made_once(world: Real, engine_facts: testbed.Engine, request_: str) -> None:
    base = world.builder(ONCE)
    with on_a_bad_wire(world, engine_facts, request_) as bad:
        image = bad.engine.assemble(assembly(base), lambda _: None).id
    assert text_of(world, image, "/opt/app/times") == "once\n"
    assert world.api.inspect_image(str(NAME))["Id"] == image
    assert world.api.images(name="s2ictl/unfinished") == []
    assert made_of(world, base) == [image]


def test_an_image_without_a_name_is_found_again_too(world: Real, engine_facts: testbed.Engine) -> None:
    base = world.builder(ONCE)
    with on_a_bad_wire(world, engine_facts, r"POST \S+/commit\?") as bad:
        image = bad.engine.assemble(assembly(base, names=()), lambda _: None).id
    world.stack.callback(world.api.remove_image, image)
    assert text_of(world, image, "/opt/app/times") == "once\n"
    assert made_of(world, base) == [image]


@pytest.mark.parametrize(
    "request_", [r"POST \S+/containers/create", r"PUT \S+/archive", r"POST \S+/attach", r"POST \S+/start"]
)
def test_no_container_is_left_when_the_build_cannot_go_on(
    world: Real, engine_facts: testbed.Engine, request_: str
) -> None:
    base = world.builder(Script(text="sleep 60"))
    with on_a_bad_wire(world, engine_facts, request_) as bad, pytest.raises(Unreachable):
        bad.engine.assemble(assembly(base), lambda _: None)
    assert ask(world, NAME) is None


def test_output_that_was_not_heard_is_said_to_be_missing(world: Real, engine_facts: testbed.Engine) -> None:
    said: list[Event] = []
    base = world.builder(
        Script(text="head -c 400 /dev/zero | tr '\\0' x; echo; sleep 1; echo lost; sleep 4; echo last")
    )
    with on_a_bad_wire(world, engine_facts, r"POST \S+/attach", after=200) as bad:
        bad.engine.assemble(assembly(base), said.append)
    assert [event.text for event in said if isinstance(event, Line)][-1] == "last"
    assert [event.text for event in said if isinstance(event, Notice) and event.level == "warning"] == [
        "the wire to assemble broke off for a while: some of its output was not heard"
    ]


def test_a_push_whose_answer_broke_off_is_made_again_and_pushes_nothing_twice(
    world: Real, engine_facts: testbed.Engine, registry_facts: testbed.Registry
) -> None:
    name = Reference.parse(f"{registry_facts.open}/engine/broken-off:1")
    world.engine.assemble(assembly(world.builder(ONCE), names=(name,)), lambda _: None)
    with on_a_bad_wire(world, engine_facts, r"POST \S+/push", after=250) as bad:
        digest = bad.engine.push(name, login=None, confirm=believed, emit=lambda _: None)
    assert world.engine.push(name, login=None, confirm=believed, emit=lambda _: None) == digest
