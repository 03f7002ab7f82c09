"""The registries of one command: by which logins they are asked, and who may be without TLS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from s2ictl.cli.session import World
from s2ictl.events import Emit
from s2ictl.models import ImageFacts, Login, Logins, Reference
from s2ictl.turns import in_time
from s2ictl.values import dataclass

if TYPE_CHECKING:
    from s2ictl.registry import OpenRepository, Repository
    from s2ictl.transport import Patience, Transport

_LONGEST_LOOK = 8.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Registries:
    """All of them; each is contacted when it is asked."""

    world: World
    find_login: Logins
    ca_bundle: Path | None = None
    insecure: frozenset[str] = frozenset()

    @contextmanager
    def opened(self, emit: Emit, *, patience: Patience | None = None) -> Iterator[OpenRepository]:
        """Their repositories by name, while the context lasts."""
        with self.transport(emit, patience=patience) as transport:
            yield partial(self.repository, transport=transport)

    def transport(self, emit: Emit, *, patience: Patience | None = None) -> Transport:
        """The way to all of them, to be opened."""
        from s2ictl.transport import PATIENT, Transport

        return Transport(self.world.environ, emit=emit, ca_bundle=self.ca_bundle, patience=patience or PATIENT)

    def repository(self, name: Reference, transport: Transport) -> Repository:
        """One repository, by a way that is open."""
        from s2ictl.registry import Repository

        return Repository(name, transport=transport, logins=self.find_login, insecure=self.insecure)

    def with_login(self, login: Login | None) -> Registries:
        """The same for whoever has found the login already."""
        return replace(self, find_login=lambda _: login)

    def facts(self, name: Reference, platform: str) -> ImageFacts | None:
        """What an image's registry says of it; without patience, since it only spares work."""

        def ask() -> ImageFacts | None:
            from s2ictl.transport import HASTY

            with self.opened(_silently, patience=HASTY) as repository:
                return repository(name).facts(platform)

        return in_time(ask, seconds=_LONGEST_LOOK, what=f"the look for {name} in its registry")

    def confirm(self, name: Reference, image: str) -> str:
        """The digest that a name leads to in its registry, if that is this image."""
        with self.opened(_silently) as repository:
            return repository(name).leads_to(image)


def _silently(_: object) -> None:
    """What it is asked for is the answer, and no news."""
