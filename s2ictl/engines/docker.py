"""The Docker engine, and Podman by its socket: an assembly performed, from the first container to the image's names.

Every container that is made here is removed here, also when the answer to its creation was lost, on Ctrl-C and on
errors; when all went well, while the work goes on. What a killed process left is swept when the next one opens the
engine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s2ictl.engines import Confirm, Difference, Kept, Layered, Running, dockerapi, images, streams
from s2ictl.engines.client import Api
from s2ictl.engines.connection import Forgiven, ask, connected, door
from s2ictl.engines.containers import Removals, created, remove
from s2ictl.engines.endpoints import located
from s2ictl.engines.following import follow
from s2ictl.engines.outcomes import only_to_send
from s2ictl.errors import CommitContainerFailed, RolloutFailed, S2IError
from s2ictl.events import Emit, Notice
from s2ictl.leases import Host, is_abandoned, name_for
from s2ictl.models import Assembly, Built, ImageFacts, Login, PullPolicy, Reference, Runtime

if TYPE_CHECKING:
    from s2ictl.engines.performing import Performer, Stage
    from s2ictl.engines.upper import Find

_RUN_LIMIT = 24 * 3600.0
_OUTPUT_LIMIT = 600.0


@contextmanager
def open_docker(environ: Mapping[str, str], *, host: Host, emit: Emit, memory: Path | None = None) -> Iterator[Docker]:
    """The engine that the docker program would talk to, with what dead processes left there removed.

    In the directory `memory` it is remembered what images hold.
    """
    with connected(environ) as api:
        engine = Docker(api, host=host, memory=memory, is_here=located(environ).kind == "unix")
        try:
            engine.sweep(emit)
            yield engine
        finally:
            engine.finish()


class Docker:
    """An Engine and a Runner on one connection."""

    def __init__(
        self,
        api: Api,
        *,
        host: Host,
        memory: Path | None = None,
        sleep: Callable[[float], None] = time.sleep,
        is_here: bool = True,
        trees: Find | None = None,
    ) -> None:
        self._api = api
        self._host = host
        self._memory = memory
        self._removals = Removals()
        self._sleep = sleep
        self.is_here = is_here  # at a socket of this machine: what it hands out does not come from far away
        self._trees = trees

    def finish(self) -> None:
        """Wait until every container of what was assembled is gone; whoever assembles last calls it."""
        self._removals.finish()

    def version(self) -> str:
        """Say which engine this is, in a few words."""
        said = self._api.said
        return f"{said.get('Version')} (API {said.get('ApiVersion')}, {said.get('Os')}/{said.get('Arch')})"

    # ------------------------------------------------------------------------------------------------------- engine

    def facts(self, image: str, *, pull: PullPolicy, login: Login | None, emit: Emit) -> ImageFacts | None:
        """What an image that is to be run here says of itself; None when it is nowhere to be had."""
        return images.facts(self._api, image, pull=pull, login=login, emit=emit, sleep=self._sleep)

    def find(self, label: str, value: str) -> ImageFacts | None:
        """The newest image of which its label says this."""
        return images.find(self._api, label, value)

    def name(self, image: str, names: tuple[Reference, ...]) -> None:
        """Give an image all of these names, or none of them."""
        images.give_names(self._api, image, names)

    def load_base(self, filesystem: Iterator[bytes], name: Reference, *, command: tuple[str, ...]) -> ImageFacts:
        """Make an image of a tar of a root file system."""
        return images.load_base(self._api, filesystem, name, command=command)

    def assemble(self, assembly: Assembly, emit: Emit) -> Built:
        """Run what is described, and commit what it left behind."""
        from s2ictl.engines.performing import Performer

        leave = self._removals.begin
        performer = Performer(api=self._api, host=self._host, emit=emit, memory=self._memory, leave=leave)
        performer.check(assembly)
        with performer.performed(assembly) as stage:
            if assembly.runtime is None:
                return self._committed(performer, stage)
            fill = performer.carry(stage, assembly.runtime)
            with performer.performed(assembly.runtime.assembly, before=fill) as last:
                return self._committed(performer, last, assembly.runtime)

    @contextmanager
    def layered(self, assembly: Assembly, emit: Emit) -> Iterator[Layered]:
        """Run what is described; its layer can be read while the context lasts. What goes wrong with that does not
        undo the work: then it is committed after all."""
        from s2ictl.engines import upper
        from s2ictl.engines.performing import Performer

        # What the engine makes in a container to mount something there is left out of the layer: no image needs it.
        leave = self._removals.begin
        performer = Performer(
            api=self._api,
            host=self._host,
            emit=emit,
            memory=self._memory,
            leave=leave,
            is_grounded=True,
            trees=self._trees or upper.trees,
        )
        performer.check(assembly)
        with performer.performed(assembly) as stage:
            if assembly.runtime is None:
                with self._kept_if_lost(performer, stage, None, emit), performer.left(stage) as left:
                    yield left
                return
            fill = performer.carry(stage, assembly.runtime)
            with (
                performer.performed(assembly.runtime.assembly, before=fill) as last,
                self._kept_if_lost(performer, last, assembly.runtime, emit),
                performer.left(last) as left,
            ):
                yield left

    @contextmanager
    def _kept_if_lost(self, performer: Performer, stage: Stage, filled: Runtime | None, emit: Emit) -> Iterator[None]:
        try:
            yield
        except S2IError:
            with suppress(S2IError):  # why it did not arrive is what the user has to hear
                performer.committed(stage, filled)
                emit(only_to_send())
            raise

    def _committed(self, performer: Performer, stage: Stage, filled: Runtime | None = None) -> Built:
        image = performer.committed(stage, filled)
        return Built(id=image, size=images.size(self._api, image) - images.size(self._api, stage.assembly.image_id))

    def push(self, name: Reference, *, login: Login | None, confirm: Confirm, emit: Emit) -> str:
        """Send the image to its registry, and answer the digest under which the registry has it then."""
        from s2ictl.engines import pushing

        return pushing.push(self._api, name, login=login, confirm=confirm, emit=emit, sleep=self._sleep)

    def held(self, image: str) -> ImageFacts | None:
        """What it has under this name or id, for whatever machine that is."""
        return images.inspect(self._api, image)

    def save(self, image: str) -> AbstractContextManager[Iterator[bytes]]:
        """An image with all its layers, as the tar that `load` of every engine takes."""
        from s2ictl.engines import carrying

        return carrying.save(self._api, image)

    def load(self, image: Iterator[bytes]) -> str:
        """Take in what such a tar holds; answers the id of the image."""
        from s2ictl.engines import carrying

        return carrying.load(self._api, image)

    def remove(self, image: str) -> None:
        """Forget the image of this id, when no name leads to it any more and nothing uses it."""
        images.remove(self._api, image)

    # ---------------------------------------------------------------------------------- listing, keeper and comparing

    def names(self) -> tuple[str, ...]:
        """Every name that leads to an image here."""
        return images.names(self._api)

    def kept(self) -> tuple[Kept, ...]:
        """All that is kept for later builds, of every app."""
        from s2ictl.engines import caches

        return caches.kept(self._api, self._host)

    def forget(self, kept: Kept) -> bool:
        """Let go of it; False when a build uses it right now."""
        from s2ictl.engines import caches

        return caches.forget(self._api, kept)

    def differences(self, first: str, second: str) -> tuple[Difference, ...]:
        """In what the layers of two images differ, in the order of their paths."""
        from s2ictl.engines import layers

        one, other = (self._inspected(image) for image in (first, second))
        return layers.differences(one, other, self.save)

    def _inspected(self, image: str) -> ImageFacts:
        known = self.held(image)
        if known is None:
            raise CommitContainerFailed(f"there is no image {image}")
        return known

    # ------------------------------------------------------------------------------------------------------- runner

    @contextmanager
    def run(self, image: str, *, ports: tuple[int, ...], env: Mapping[str, str], owner: str) -> Iterator[Running]:
        """A running container while the context lasts."""
        name = name_for(owner, self._host, seconds=_RUN_LIMIT)
        with created(self._api, name, dockerapi.run_document(image, ports, env), image=image) as container:
            container.start()
            published = container.facts()["NetworkSettings"]["Ports"] or {}

            def tell(emit: Emit, *, wait: bool = True) -> None:
                with container.log(follow=wait) as chunks:
                    for line in streams.lines(streams.pieces(chunks)):
                        emit(line)

            try:
                leading = {port: _leading_to(published, port, image) for port in ports}
                yield Running(ports=leading, follow=tell)
            finally:
                with suppress(S2IError), door("stop a container"):
                    ask(self._api, "POST", f"containers/{container.id}/stop", {"t": 3})

    def output(self, image: str, *, command: tuple[str, ...], emit: Emit) -> None:
        """Run one command in the image and say what it prints."""
        name = name_for("output", self._host, seconds=_OUTPUT_LIMIT)
        document = {**dockerapi.run_document(image, (), {}), "Entrypoint": list(command), "Cmd": []}
        with created(self._api, name, document, image=image) as container:
            ended = follow(container, command[0], emit, seconds=_OUTPUT_LIMIT)
        if ended.status or ended.lost:
            raise RolloutFailed(f"{command[0]} in {image} ended with {ended.status}")

    # -------------------------------------------------------------------------------------------------------- sweep

    def sweep(self, emit: Emit) -> None:
        """Remove the containers and the unfinished images of processes that have died."""
        # To find those an engine looks at all the images that it has, so nobody waits for it before the work.
        self._removals.begin(self._sweep_images)
        with door("list containers"):
            every = ask(self._api, "GET", "containers/json", {"all": 1, "filters": {"name": ["s2ictl-"]}}) or ()
        names = [name.lstrip("/") for container in every for name in container.get("Names") or ()]
        for name in filter(self._is_abandoned, names):
            remove(self._api, name)
            emit(Notice(text=f"removed {name}, which a build that died had left"))

    def _sweep_images(self) -> None:
        with suppress(S2IError), door("remove images"):
            unfinished = images.listed(self._api, reference=images.UNFINISHED)
            for name in (tag for image in unfinished for tag in image.get("RepoTags") or ()):
                if self._is_abandoned(name.rpartition(":")[2]):
                    with Forgiven(404, 409):
                        ask(self._api, "DELETE", f"images/{name}")

    def _is_abandoned(self, name: str) -> bool:
        return is_abandoned(name, self._host)


def _leading_to(published: Mapping[str, Any], port: int, image: str) -> int:
    addresses = published.get(f"{port}/tcp")
    if not addresses:
        raise RolloutFailed(f"{image} ended at once", hint="run it by hand, and see what it prints")
    return int(addresses[0]["HostPort"])
