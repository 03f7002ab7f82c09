"""An engine that dies, is restarted or runs full while it works: never a success, never assemble's fault."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from s2ictl.engines.docker import open_docker
from s2ictl.errors import ConnectionLost, LimitReached, Unreachable
from s2ictl.events import Event, Line
from s2ictl.leases import this_host
from s2ictl.models import ImageConfig
from tests.engine.ownengine import OwnEngine, own_engine
from tests.engine.world import Real
from tests.fakes.engine import Script
from tests.fakes.engine_contract import CONFIG, NAME, archive, ask, assembly

# The library leaves its socket open where nobody listens any more.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True)
def _sockets_are_closed_here() -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture(scope="module")
def own() -> Iterator[OwnEngine]:
    with own_engine(size="128m") as engine:
        yield engine


@contextmanager
def workplace(own: OwnEngine) -> Iterator[Real]:
    with open_docker({"DOCKER_HOST": own.docker_host}, host=this_host(), emit=lambda _: None) as engine:
        api = own.api()
        try:
            with ExitStack() as stack:
                yield Real(engine=engine, api=api, stack=stack)
        finally:
            api.close()


def once(act: Callable[[], None], own: OwnEngine) -> Callable[[], None]:
    """Do this to the engine the first time, and bring it back a moment later."""
    done: list[bool] = []

    def strike() -> None:
        if not done:
            done.append(True)
            act()
            threading.Timer(1.0, own.start).start()

    return strike


@pytest.mark.parametrize("way", ["kill", "stop"])
def test_an_engine_that_goes_away_during_assemble_is_no_fault_of_assemble(own: OwnEngine, way: str) -> None:
    strike = once(getattr(own, way), own)

    def hears(event: Event) -> None:
        if isinstance(event, Line):
            strike()

    with workplace(own) as world:
        base = world.builder(Script(text="echo running; sleep 60"))
        with pytest.raises(ConnectionLost, match="the engine was lost during assemble"):
            world.engine.assemble(assembly(base), hears)
        assert world.api.containers(all=True) == []
        assert ask(world, NAME) is None


def test_an_engine_that_is_restarted_before_the_commit_is_waited_for(own: OwnEngine) -> None:
    strike = once(own.stop, own)
    asked: list[bytes | None] = []

    def config(metadata: bytes | None) -> ImageConfig:
        asked.append(metadata)
        if len(asked) == 2:
            strike()
        return CONFIG

    with workplace(own) as world:
        base = world.builder(Script(text="true"))
        image = world.engine.assemble(assembly(base, config=config), lambda _: None).id
        facts = ask(world, NAME)
        assert facts is not None
        assert facts.id == image
        assert world.api.containers(all=True) == []
        world.api.remove_image(str(NAME), force=True)


def test_a_disk_that_is_full_is_a_limit_and_nothing_stays_on_it(own: OwnEngine) -> None:
    def large(uid: int, gid: int) -> Iterator[bytes]:
        yield archive({"tmp/src/large": bytes(140 << 20)}, uid=uid, gid=gid)

    with workplace(own) as world:
        base = world.builder(Script(text="head -c 80000000 /dev/zero >/opt/app/large"))
        for described in (assembly(base, upload=large), assembly(base)):
            with pytest.raises(LimitReached, match="the engine's disk is full"):
                world.engine.assemble(described, lambda _: None)
            assert world.api.containers(all=True) == []
        assert [image for image in world.api.images(all=True) if image["Id"] != base.id] == []


def test_an_engine_that_is_not_there_is_said_with_its_address() -> None:
    with pytest.raises(Unreachable), open_docker({"DOCKER_HOST": "unix:///nonexistent"}, host=this_host(), emit=print):
        pass
