"""The straight way of a layer to where its image is wanted, put together for the engine of one command."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from s2ictl.cli.engine import Opened
from s2ictl.cli.places import own_platform
from s2ictl.engines import Layered
from s2ictl.events import Emit
from s2ictl.models import Assembly, BuildRequest, ImageFacts, Reference, Target
from s2ictl.targets import ENGINE, Ways
from s2ictl.workshop import Outlet

if TYPE_CHECKING:
    from s2ictl import oci
    from s2ictl.images import Store
    from s2ictl.sending import Packing


def outlet(site: Opened, request: BuildRequest, *, stays: bool = False) -> Outlet | None:
    """That of the engine that was opened; None where a daemon is nearer to the registry than we are, and where the
    image is needed in it next."""
    if site.embedded is not None:
        store = site.embedded.store
        return Outlet(
            layered=site.engine.layered,
            base=lambda last, _: store.base(last.image_id),
            send=partial(_send, site, lambda: _kept_in(store)),
            keeps=True,
        )
    if stays or not site.docker().is_here:
        return None
    return Outlet(
        layered=site.engine.layered,
        base=partial(_base, site, request),
        send=partial(_send, site, lambda: _passing(site)),
        keeps=False,
    )


def _kept_in(store: Store) -> Packing:
    from s2ictl.sending import Packing

    return Packing(place=lambda: store, keeping=store)


def _passing(site: Opened) -> Packing:
    from s2ictl.sending import Packing

    return Packing(place=site.shelf)


def _base(site: Opened, request: BuildRequest, last: Assembly, emit: Emit) -> oci.Base:
    from s2ictl import sending

    # Who says that nothing is to be pulled does not want its registry to be asked either.
    repository = None if request.pull_policy == "never" else site.repository
    return sending.base_of(last, site.engine, repository, site.shelf(), emit)


def _send(
    site: Opened,
    packing: Callable[[], Packing],
    left: Layered,
    base: oci.Base,
    targets: tuple[Target, ...],
    names: tuple[Reference, ...],
    emit: Emit,
) -> ImageFacts:
    from s2ictl import sending

    there = site.docker().held(base.name) if ENGINE in targets and base.name else None
    ways = Ways(
        repository=site.repository,
        carrier=site.docker,
        platform=own_platform(),
        held=there.layers if there else (),
    )
    return sending.send(left, base, targets, names, ways, packing(), emit=emit)
