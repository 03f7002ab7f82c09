"""The engine opened: its helper process is started before anything else is loaded, and comes to life meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from s2ictl.engines.embedded.wardens import warden
from s2ictl.values import dataclass

if TYPE_CHECKING:
    from s2ictl.engines import Carrier
    from s2ictl.engines.embedded.engine import Embedded, Repository
    from s2ictl.engines.embedded.machine import Machine
    from s2ictl.leases import Host
    from s2ictl.models import Login, Reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """Where images come from and go to: a registry by an image's name, with the login that the caller has for it, and
    the engine beside this one, None where there is none."""

    repository: Callable[[Reference, Login | None], Repository]
    neighbour: Callable[[], Carrier | None] = lambda: None


@contextmanager
def open_embedded(
    directory: Path, machine: Machine, *, platform: str, host: Host, elsewhere: Elsewhere
) -> Iterator[Embedded]:
    """The engine on the store in this directory, while the context lasts; it runs images for this `platform`."""
    with warden(directory, rootless=machine.rootless, overlays=machine.overlays) as helper:
        from s2ictl import images
        from s2ictl.engines.embedded.commands import Site
        from s2ictl.engines.embedded.engine import Embedded

        with images.opened(directory, unpacker=lambda: helper) as store:
            site = Site(warden=helper, store=store, machine=machine, host=host)
            yield Embedded(site, directory=directory, platform=platform, elsewhere=elsewhere)
