"""The Docker engine of one command: whose it is, and where on this machine it is remembered what its images hold."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from s2ictl.cli.places import image_memory
from s2ictl.cli.session import World
from s2ictl.events import Emit

if TYPE_CHECKING:
    from s2ictl.engines.docker import Docker


def open_engine(world: World, emit: Emit) -> AbstractContextManager[Docker]:
    """The engine that the docker program would talk to, while the context lasts."""
    from s2ictl.engines.docker import open_docker
    from s2ictl.leases import this_host

    return open_docker(world.environ, host=this_host(), emit=emit, memory=image_memory(world))
