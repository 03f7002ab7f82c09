"""A real engine as the tests of its contract see it: small builders in it, and nothing of ours left afterwards."""

from __future__ import annotations

import io
import itertools
import json
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from s2ictl.engines import Whole
from s2ictl.events import Event, Line
from s2ictl.models import ImageFacts, Reference
from tests.engine import grounds, tiny
from tests.engine.grounds import Ground
from tests.fakes.engine import Script
from tests.fakes.engine_contract import assembly

_numbers = itertools.count()


@dataclass(frozen=True, slots=True, kw_only=True)
class Real:
    ground: Ground
    stack: ExitStack

    @property
    def engine(self) -> Whole:
        return self.ground.engine

    @property
    def api(self) -> Any:
        """The Docker in which builders are made, and images judged."""
        return self.ground.api

    def builder(self, assemble: Script, *, user: str = "user", entrypoint: tuple[str, ...] = ()) -> ImageFacts:
        scripts = {"assemble": tiny.script(assemble.text), "run": tiny.script("exec sleep 60")}
        return self.image(tiny.rootfs(scripts), user=user, entrypoint=entrypoint)

    def image(
        self, filesystem: bytes, *, user: str = "user", entrypoint: tuple[str, ...] = (), workdir: str = "/"
    ) -> ImageFacts:
        name = f"contract/builder-{next(_numbers)}:1"
        words = ", ".join(f'"{word}"' for word in entrypoint)
        instructions = [
            "ENV PATH=/bin",
            f"USER {user}",
            f"WORKDIR {workdir}",
            *([f"ENTRYPOINT [{words}]"] if entrypoint else []),
        ]
        self.stack.enter_context(tiny.imported(self.api, name, filesystem, *instructions))
        self.ground.take(name)
        facts = self.engine.facts(name, pull="never", login=None, emit=lambda _: None)
        assert facts is not None
        return facts


def believed(name: Reference, _: str) -> str:
    """Of what was pushed the engine's word has to do."""
    return name.digest


def built(world: Real, script: str, **changes: Any) -> list[str]:
    """Assemble with this script and answer what it said."""
    said: list[Event] = []
    base = world.builder(Script(text=script))
    world.engine.assemble(assembly(base, **changes), said.append)
    world.ground.finish()
    return [event.text for event in said if isinstance(event, Line)]


def saved(world: Real, name: str) -> bytes:
    """Everything that the image is made of: layers, configuration, history."""
    return grounds.saved(world.ground, name)


def last_layer(world: Real, name: str) -> set[str]:
    with tarfile.open(fileobj=io.BytesIO(saved(world, name))) as image:
        (manifest,) = json.loads(_content(image, "manifest.json"))
        with tarfile.open(fileobj=io.BytesIO(_content(image, manifest["Layers"][-1]))) as layer:
            return {member.name for member in layer}


def _content(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    assert file is not None
    return file.read()


def named(world: Real, repository: str) -> list[str]:
    """The names in this repository that lead to an image."""
    return [name for name in world.engine.names() if name.rpartition(":")[0] == repository]


def made_of(world: Real, base: ImageFacts) -> list[str]:
    """The images that were committed from containers of this one."""
    every = {image["Id"]: image["ParentId"] for image in world.api.images(all=True)}
    return [image for image, parent in every.items() if parent == base.id]


def listing(world: Real, image: str, path: str) -> dict[str, str]:
    """What lies below a path of the image, each with its mode and owner."""
    with _container(world, image) as container, _archive(world, container, path) as tar:
        return {member.name: f"{member.mode & 0o777:o} {member.uid}:{member.gid}" for member in tar.getmembers()[1:]}


def text_of(world: Real, image: str, path: str) -> str:
    with _container(world, image) as container, _archive(world, container, path) as tar:
        return _content(tar, tar.getmembers()[0].name).decode()


@contextmanager
def _container(world: Real, image: str) -> Iterator[str]:
    shown = world.ground.show(image)
    container = world.api.create_container_from_config({"Image": shown, "Cmd": ["/bin/true"]})["Id"]
    try:
        yield container
    finally:
        world.api.remove_container(container, force=True)


@contextmanager
def _archive(world: Real, container: str, path: str) -> Iterator[tarfile.TarFile]:
    with tarfile.open(fileobj=io.BytesIO(b"".join(world.api.get_archive(container, path)[0]))) as tar:
        yield tar
