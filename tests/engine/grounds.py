"""The two engines of which one contract holds, each beside a Docker that knows images longer than we do.

The small builders are made in Docker and taken over from it; what was built is shown to it, and judged there. On Docker
itself both ways have no length.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest
from docker import errors

from s2ictl import images
from s2ictl.engines import Whole
from s2ictl.engines.docker import Docker, open_docker
from s2ictl.engines.embedded import machine
from s2ictl.engines.embedded.engine import Embedded
from s2ictl.engines.embedded.opening import Elsewhere, open_embedded
from s2ictl.leases import this_host
from s2ictl.models import ImageFacts, Login, Reference
from s2ictl.registry import Repository
from s2ictl.transport import Transport
from tests import testbed
from tests.engine import tiny
from tests.parts import available, need_daemonless

# What is the Docker API's and not the contract's: a container that somebody else kills, holds or lists; volumes by
# name; a builder without a shell, where only a wrapper hands things over; a container that stands after a failure.
on_docker = pytest.mark.on_docker


class Ground(Protocol):
    """An engine to test, and the Docker that makes its builders and judges its images."""

    @property
    def engine(self) -> Whole: ...

    @property
    def api(self) -> Any: ...

    @property
    def environ(self) -> Mapping[str, str]:
        """What stands in the environment of whoever means this engine."""

    def take(self, name: str) -> None:
        """Have the engine have an image that Docker has."""

    def show(self, image: str) -> str:
        """Have Docker have an image of the engine's; answers its id."""

    def forget(self, name: str) -> None:
        """Take a name away where it is, and with its last one the image."""

    def another(self) -> AbstractContextManager[Whole]:
        """The same engine, opened once more beside the first."""

    def standing(self, builder: str) -> list[str]:
        """The containers of this image that are left."""

    def finish(self) -> None:
        """Wait until what is taken away behind the engine's back is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnDocker:
    engine: Docker
    api: Any
    environ: Mapping[str, str]

    def take(self, name: str) -> None:
        """It is there."""

    def show(self, image: str) -> str:
        return str(self.api.inspect_image(image)["Id"])

    def forget(self, name: str) -> None:
        with suppress(errors.ImageNotFound):
            self.api.remove_image(name, force=True)

    def another(self) -> AbstractContextManager[Docker]:
        return open_docker(self.environ, host=this_host(), emit=lambda _: None)

    def standing(self, builder: str) -> list[str]:
        return [container["Id"] for container in self.api.containers(all=True, filters={"ancestor": builder})]

    def finish(self) -> None:
        self.engine.finish()


@dataclass(frozen=True, slots=True, kw_only=True)
class OnThisMachine:
    """The engine without a daemon, with a store of one test's own."""

    engine: Whole
    api: Any
    environ: Mapping[str, str]
    directory: Path
    platform: str
    stack: ExitStack

    def take(self, name: str) -> None:
        self.engine.load(self.api.get_image(name))

    def show(self, image: str) -> str:
        identity = facts_of(self, image).id
        if not self._has(identity):
            with self.engine.save(identity) as content:
                self.api.load_image(content)
            self.stack.callback(self._remove, identity)
        assert self._has(identity)
        return identity

    def forget(self, name: str) -> None:
        with images.opened(self.directory, unpacker=lambda: pytest.fail("nothing is unpacked here")) as store:
            store.forget(name)

    def another(self) -> AbstractContextManager[Whole]:
        return opened(self.directory, self.platform)

    def standing(self, builder: str) -> list[str]:
        return [chamber.name for chamber in self.directory.glob("chambers/*")]

    def finish(self) -> None:
        """Nothing is done behind its back."""

    def _has(self, identity: str) -> bool:
        with suppress(errors.ImageNotFound):
            return bool(self.api.inspect_image(identity))
        return False

    def _remove(self, identity: str) -> None:
        with suppress(errors.ImageNotFound):
            self.api.remove_image(identity, force=True)


def facts_of(ground: Ground, image: str) -> ImageFacts:
    """What an image that is there says of itself."""
    facts = ground.engine.held(image)
    assert facts is not None, f"there is no {image}"
    return facts


def made(ground: Ground, name: str, filesystem: bytes, *instructions: str) -> str:
    """Have a small image, and another of the same name no more; answers its id."""
    repository, _, tag = name.rpartition(":")
    ground.api.import_image_from_data(filesystem, repository=repository, tag=tag, changes=list(instructions))
    ground.take(name)
    return facts_of(ground, name).id


def saved(ground: Ground, image: str) -> bytes:
    """Everything that an image is made of: layers, configuration, history."""
    return b"".join(ground.api.get_image(ground.show(image)))


def output_of(ground: Ground, image: str) -> str:
    """What an image prints when Docker runs it."""
    return tiny.output_of(ground.api, ground.show(image))


@contextmanager
def on_this_machine(state: Path, api: Any) -> Iterator[OnThisMachine]:
    """The engine without a daemon as commands find it that keep their state there; nothing of it is left afterwards."""
    directory, platform = state / "images", f"linux/{api.version()['Arch']}"
    environ = {"S2ICTL_ENGINE": "embedded", "S2ICTL_STATE": str(state), "DOCKER_HOST": "unix:///nonexistent"}
    with ExitStack() as stack:
        engine = stack.enter_context(opened(directory, platform))
        yield OnThisMachine(
            engine=engine, api=api, environ=environ, directory=directory, platform=platform, stack=stack
        )
    assert list(directory.glob("chambers/*")) == []


@contextmanager
def opened(directory: Path, platform: str) -> Iterator[Embedded]:
    need_daemonless()
    found = machine.explored(os.environ, store=directory, memory=directory.parent / "machine")
    with available():
        if found.lacks:
            raise testbed.Unavailable("an engine without a daemon", found.lacks[0].what)
    with ExitStack() as stack:

        def repository(name: Reference, login: Login | None) -> Repository:
            transport = stack.enter_context(Transport({}, emit=lambda _: None))  # which remembers whom it let in
            return Repository(name, transport=transport, logins=lambda _: login)

        elsewhere = Elsewhere(repository=repository)
        opening = open_embedded(directory, found, platform=platform, host=this_host(), elsewhere=elsewhere)
        with opening as engine:
            yield engine
