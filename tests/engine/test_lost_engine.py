"""An engine that dies, is restarted or runs full while it works: never a success, never assemble's fault."""

from __future__ import annotations

import itertools
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from s2ictl.engines.client import Api
from s2ictl.engines.docker import Docker, open_docker
from s2ictl.errors import CommitContainerFailed, ConnectionLost, LimitReached, PullBuilderImageFailed, Unreachable
from s2ictl.events import Event, Line, Notice
from s2ictl.leases import this_host
from s2ictl.models import ImageConfig
from s2ictl.wire import Way
from tests.engine import tiny
from tests.engine.grounds import OnDocker
from tests.engine.kitchen import APP, Kitchen
from tests.engine.ownengine import OwnEngine, own_engine
from tests.engine.world import Real, made_of
from tests.fakes.engine import Script
from tests.fakes.engine_contract import CONFIG, NAME, archive, ask, assembly

if TYPE_CHECKING:
    from typing_extensions import Buffer


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
                yield Real(ground=OnDocker(engine=engine, api=api, environ={}), stack=stack)
                engine.finish()
        finally:
            api.close()


@contextmanager
def cooking(own: OwnEngine, directory: Path) -> Iterator[Kitchen]:
    """A kitchen there, and nothing of what was cooked afterwards."""
    with workplace(own) as world:
        yield Kitchen(ground=world.ground, directory=directory, stack=world.stack)
        tiny.remove_named(world.api, APP, "whole-story/moving")
        world.api.prune_images()


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
        world.ground.finish()
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
        world.ground.finish()
        assert world.api.containers(all=True) == []
        world.api.remove_image(str(NAME), force=True)


class Hasty(socket.socket):
    """A socket on which nobody is ever waited for longer than a moment."""

    def __init__(self, hears: Callable[[bytes], None]) -> None:
        super().__init__(socket.AF_UNIX)
        self._hears = hears

    def settimeout(self, seconds: float | None) -> None:
        super().settimeout(min(seconds or 1.5, 1.5))

    def send(self, data: Buffer, flags: int = 0) -> int:
        self._hears(bytes(data))
        return super().send(data, flags)


@contextmanager
def hasty(own: OwnEngine, request: bytes) -> Iterator[Docker]:
    """A client that soon gives up, of an engine that stands still at one request."""
    stood: list[bytes] = []

    def hears(data: bytes) -> None:
        if not stood and re.match(request, data):
            stood.append(data)
            own.suspend()
            threading.Timer(5.0, own.resume).start()

    def dial() -> Way:
        wire = Hasty(hears)
        wire.connect(own.docker_host.removeprefix("unix://"))
        return Way(wire=wire, close=wire.close)

    api = Api(dial)
    api.greet()
    engine = Docker(api, host=this_host())
    yield engine
    engine.finish()
    api.close()
    assert stood


@pytest.mark.parametrize("request_", [rb"POST \S+/commit\?", rb"POST \S+/tag\?"])
def test_an_engine_that_stands_still_for_too_long_makes_the_image_once(own: OwnEngine, request_: bytes) -> None:
    said: list[Event] = []
    with workplace(own) as world:
        base = world.builder(Script(text="echo once >>/opt/app/times"))
        with hasty(own, request_) as engine:
            image = engine.assemble(assembly(base), said.append).id
        facts = ask(world, NAME)
        assert facts is not None
        assert facts.id == image
        assert [event.text for event in said if isinstance(event, Notice) and "is waited for" in event.text]
        world.ground.finish()
        assert world.api.containers(all=True) == []
        assert made_of(world, base) == [image]
        world.api.remove_image(str(NAME), force=True)


@pytest.mark.parametrize("what", ["images", "containers"])
def test_whoever_prunes_meanwhile_makes_a_build_fail_and_never_wrong(own: OwnEngine, tmp_path: Path, what: str) -> None:
    with cooking(own, tmp_path) as kitchen:
        for _ in range(6):
            builder = kitchen.builder("cp /tmp/src/hello.txt /opt/app/")
            with pruning(own, what), suppress(PullBuilderImageFailed, CommitContainerFailed):
                made = kitchen.build(builder)
                assert kitchen.files(made.image.id)["opt/app/hello.txt"].content == b"hello\n"
        kitchen.ground.finish()
        assert kitchen.api.containers(all=True) == []


@contextmanager
def pruning(own: OwnEngine, what: str) -> Iterator[None]:
    """Remove whatever nobody uses just now, again and again."""
    api, over = own.api(), threading.Event()

    def prune() -> None:
        while not over.wait(0.05):
            if what == "images":
                api.prune_images(filters={"dangling": False, "label!": ["io.openshift.s2i.build.image"]})
            else:
                api.prune_containers()

    thread = threading.Thread(target=prune)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        api.close()


def test_a_builder_whose_name_is_given_away_meanwhile_is_one_builder_to_the_end(own: OwnEngine, tmp_path: Path) -> None:
    with cooking(own, tmp_path) as kitchen:
        scripts = {"assemble": 'echo "$WHO" >/opt/app/who', "run": "true"}
        both = [kitchen.image(scripts, f"ENV WHO={who}", f"LABEL who={who}") for who in ("one", "two")]
        with giving_away(own, "whole-story/moving", both):
            for _ in range(6):
                made = kitchen.build("whole-story/moving:1")
                (who,) = {word.partition("=")[2] for word in made.facts.env if word.startswith("WHO=")}
                assert kitchen.files(made.image.id)["opt/app/who"].content == f"{who}\n".encode()
                assert made.facts.labels["who"] == who


@contextmanager
def giving_away(own: OwnEngine, name: str, images: list[str]) -> Iterator[None]:
    """Have a name that means now this image and now that."""
    api, over = own.api(), threading.Event()
    api.tag(images[0], name, tag="1")

    def give() -> None:
        for image in itertools.cycle(images):
            if over.wait(0.03):
                return
            api.tag(image, name, tag="1")

    thread = threading.Thread(target=give)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        api.close()


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
