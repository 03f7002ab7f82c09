"""The engine of one command: which one it is and why, where its things lie on this machine, and the door to it.

Docker, or Podman by its socket, is whichever the docker program would talk to; the other one needs nobody to answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from s2ictl.cli.places import (
    image_memory,
    image_shelf,
    image_store,
    machine_memory,
    own_platform,
)
from s2ictl.cli.session import World
from s2ictl.engines import Carrier, Whole
from s2ictl.engines.choice import Asked, Choice, Name, Surroundings, Wanted, choose
from s2ictl.errors import InvalidUsage, Unreachable
from s2ictl.events import Emit, Event, Notice
from s2ictl.models import BuildRequest, Login, Reference
from s2ictl.targets import ENGINE
from s2ictl.values import dataclass

if TYPE_CHECKING:
    from s2ictl.cli.registries import Registries
    from s2ictl.engines.docker import Docker
    from s2ictl.engines.embedded.engine import Embedded
    from s2ictl.engines.embedded.machine import Machine
    from s2ictl.registry import OpenRepository, Repository
    from s2ictl.shelf import Shelf
    from s2ictl.transport import Transport

VARIABLE = "S2ICTL_ENGINE"
FLAG = "--engine"

Engine = Annotated[
    Asked | None,
    typer.Option(
        FLAG,
        help="Docker or Podman, or the one that needs no daemon. Also S2ICTL_ENGINE.",
        show_default="auto: docker where one answers, else embedded",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The engine of a command and what lies beside it, each opened when it is asked for first.

    `docker` is the daemon, also where the engine is the other one; `embedded` is that one, None where it is not.
    """

    engine: Whole
    choice: Choice
    repository: OpenRepository
    shelf: Callable[[], Shelf]
    docker: Callable[[], Docker]
    embedded: Embedded | None = None

    def fitted(self, request: BuildRequest, *, to_docker: bool) -> BuildRequest:
        """The request at this engine: to the one without a daemon, Docker is a place like any other, and missed before
        the work."""
        if self.embedded is None or not to_docker:
            return request
        self.docker()
        return replace(request, targets=(*request.targets, ENGINE))


def wanted(world: World, flag: Asked | None = None, *, holding: str = "") -> Wanted:
    """What was named, by the flag or by the environment."""
    named, by = (flag, FLAG) if flag else (world.environ.get(VARIABLE) or "auto", VARIABLE)
    for engine in get_args(Asked):
        if engine == named:
            return Wanted(engine=engine, by=f"{by} {engine}" if by == FLAG else by, holding=holding)
    raise InvalidUsage(f"{VARIABLE} is {named[:80]!r}", hint="auto, docker or embedded")


@contextmanager
def open_engine(
    world: World, emit: Emit, asked: Wanted | None = None, registries: Registries | None = None
) -> Iterator[Whole]:
    """The engine that was named, or that suits best, while the context lasts; which one and why is said first."""
    with opened(world, emit, asked, registries) as site:
        yield site.engine


@contextmanager
def opened(
    world: World,
    emit: Emit,
    asked: Wanted | None = None,
    registries: Registries | None = None,
    *,
    said: bool = True,
) -> Iterator[Opened]:
    """The same, with what lies beside it; the registries are those that it may ask. A command that opens one twice
    has it `said` once."""
    with ExitStack() as stack:
        site = _Site(world, emit, stack, registries)
        choice = choose(asked or wanted(world), site.surroundings())
        there = site.opened(choice)
        site.tell(str(choice) if said else "")
        yield there


def told(asked: Wanted) -> str:
    """The same where nobody may be asked yet."""
    if asked.engine == "auto":
        return "docker or podman where one answers, else embedded"
    return f"{asked.engine}, as {asked.by} says"


def open_daemon(world: World, emit: Emit) -> AbstractContextManager[Docker]:
    """Docker, or Podman by its socket, and no other."""
    from s2ictl.engines.docker import open_docker
    from s2ictl.leases import this_host

    return open_docker(world.environ, host=this_host(), emit=emit, memory=image_memory(world))


class _Site:
    """What there is, opened at most once and closed with the stack."""

    def __init__(self, world: World, emit: Emit, stack: ExitStack, registries: Registries | None) -> None:
        self._world = world
        self._stack = stack
        self._registries = registries
        self._emit = emit
        self._early: list[Event] | None = []  # what is said before the engine's own line waits for that
        self._docker = cache(self._open_docker)
        self._silence = cache(self._asked_for_docker)
        self._machine = cache(self._explored)
        self._transport = cache(self._open_transport)
        self._shelf = cache(self._open_shelf)

    def surroundings(self) -> Surroundings:
        return Surroundings(silence=self._silence, lacking=self._lacking, held=self._held)

    def tell(self, choice: str) -> None:
        """Say which one it is, and then what was said meanwhile."""
        early, self._early = self._early or [], None
        for event in (*([Notice(text=choice)] if choice else []), *early):
            self._emit(event)

    def opened(self, choice: Choice) -> Opened:
        embedded = self._stack.enter_context(self._open_embedded()) if choice.engine == "embedded" else None
        return Opened(
            engine=embedded or self._docker(),
            choice=choice,
            repository=self._repository,
            shelf=self._shelf,
            docker=self._docker,
            embedded=embedded,
        )

    # ------------------------------------------------------------------------------------------------ asked about

    def _asked_for_docker(self) -> Unreachable | None:
        try:
            self._docker()
        except Unreachable as error:
            return error
        return None

    def _lacking(self) -> str:
        return "; ".join(f"{lack.what}: {lack.because}" for lack in self._machine().lacks)

    def _held(self, engine: Name, image: str) -> str:
        if engine == "docker":
            known = self._docker().held(image)
        else:
            from s2ictl import images

            known = images.known(image_store(self._world), image)
        return known.id if known else ""

    def _explored(self) -> Machine:
        from s2ictl.engines.embedded.machine import explored

        world = self._world
        return explored(world.environ, store=image_store(world), memory=machine_memory(world))

    # ----------------------------------------------------------------------------------------------------- opened

    def _said(self, event: Event) -> None:
        if self._early is None:
            self._emit(event)
        else:
            self._early.append(event)

    def _open_docker(self) -> Docker:
        return self._stack.enter_context(open_daemon(self._world, self._said))

    def _open_embedded(self) -> AbstractContextManager[Embedded]:
        from s2ictl.engines.embedded.opening import Elsewhere, open_embedded
        from s2ictl.leases import this_host

        return open_embedded(
            image_store(self._world),
            self._machine(),
            platform=own_platform(),
            host=this_host(),
            elsewhere=Elsewhere(repository=self._by_login, neighbour=self._neighbour),
        )

    def _neighbour(self) -> Carrier | None:
        return self._docker() if self._silence() is None else None

    def _open_transport(self) -> tuple[Registries, Transport]:
        from s2ictl.cli import workshop

        registries = self._registries or workshop.users_registries(self._world)
        return registries, self._stack.enter_context(registries.transport(self._emit))

    def _repository(self, name: Reference) -> Repository:
        registries, transport = self._transport()
        return registries.repository(name, transport)

    def _by_login(self, name: Reference, login: Login | None) -> Repository:
        registries, transport = self._transport()
        return registries.with_login(login).repository(name, transport)

    def _open_shelf(self) -> Shelf:
        from s2ictl import shelf

        return self._stack.enter_context(shelf.opened(image_shelf(self._world)))
