"""What a build works with, and how an image is asked for there, and sent away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from s2ictl import scripts
from s2ictl.builders import Folder
from s2ictl.engines import Confirm, Engine, Layered
from s2ictl.errors import PullBuilderImageFailed, Unreachable
from s2ictl.events import Emit, Notice
from s2ictl.models import Assembly, ImageFacts, Logins, PullPolicy, Reference, Source, Target, Tree
from s2ictl.names import DOCKER_HUB
from s2ictl.targets import REGISTRY
from s2ictl.values import dataclass

if TYPE_CHECKING:
    from s2ictl import oci


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlet:
    """The way of a layer from the container that it was made in to where the image is wanted, with no image of the
    engine's in between.

    `layered` performs an assembly, `base` is what its last container stands on, and `send` has the image of both in
    targets, under names. With `keeps` it is in the engine as well then.
    """

    layered: Callable[[Assembly, Emit], AbstractContextManager[Layered]]
    base: Callable[[Assembly, Emit], oci.Base]
    send: Callable[[Layered, oci.Base, tuple[Target, ...], tuple[Reference, ...], Emit], ImageFacts]
    keeps: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """What a build works with.

    `folders` answers our own builders that a word may mean, and all of them for "". `root_filesystem` makes a base of a
    distribution's suite where no registry has one. `registered` is what an image's registry says of it for a platform,
    without any pull, and `confirm` whether a name leads to an image there. `turn` is to have an image's name alone on
    this machine, for which so many seconds are waited. `carry` takes an image out of the engine into other
    targets, under names, and answers its digest there; `outlet` does without the engine's own image, where it can.
    `laid` is what the image of a tag in a layout says of itself for a platform.
    """

    engine: Engine
    fetch: Callable[[Source, Emit], AbstractContextManager[Tree]]
    find_login: Logins
    folders: Callable[[str], tuple[Folder, ...]]
    root_filesystem: Callable[[str, Emit], AbstractContextManager[Iterator[bytes]]]
    download: scripts.Download
    registered: Callable[[Reference, str], ImageFacts | None] = lambda *_: None
    confirm: Confirm = lambda name, _: name.digest
    turn: Callable[[str, float, Emit], AbstractContextManager[None]] = lambda *_: nullcontext()
    carry: Callable[[str, tuple[Target, ...], tuple[Reference, ...], Emit], str] = lambda *_: ""
    outlet: Outlet | None = None
    laid: Callable[[Path, str, str], ImageFacts | None] = lambda *_: None


def had(image: str, policy: PullPolicy, workshop: Workshop, emit: Emit) -> tuple[ImageFacts | None, bool]:
    """What an image says, and whether it was here already; a login is looked for only where something is pulled."""
    if policy != "always":
        facts = workshop.engine.facts(image, pull="never", login=None, emit=emit)
        if facts is not None or policy == "never":
            return facts, facts is not None
    login = workshop.find_login(place_of(Reference.parse(image)))
    return workshop.engine.facts(image, pull=policy, login=login, emit=emit), False


def just_made(image: Reference | str, workshop: Workshop, emit: Emit) -> ImageFacts:
    """What an image says of itself that was made a moment ago."""
    facts = workshop.engine.facts(str(image), pull="never", login=None, emit=emit)
    if facts is None:
        raise PullBuilderImageFailed(f"{image} was built and is gone again", hint="build it again")
    return facts


def nowhere(what: str, image: str, policy: PullPolicy) -> PullBuilderImageFailed:
    return PullBuilderImageFailed(
        f"there is no {what} {image}",
        detail="looked in the engine" + ("" if policy == "never" else " and in its registry"),
        hint="check the name, or log in to its registry",
    )


def deliver(names: tuple[Reference, ...], workshop: Workshop, emit: Emit) -> str:
    """Push under every name; answers the digest, which is the same for all.

    What the engine cannot do is done from here: it may trust a registry less than the user does, or lie elsewhere, and
    for a second registry it may pack a layer anew, to another digest.
    """
    first = _pushed(names[0], workshop, emit)
    if first and all(_pushed(name, workshop, emit) == first for name in names[1:]):
        return first
    return workshop.carry(str(names[0]), (REGISTRY,), names, emit)


def _pushed(name: Reference, workshop: Workshop, emit: Emit) -> str:
    """The digest; "" where the engine does not reach the registry, and we do."""
    login = workshop.find_login(place_of(name))
    try:
        return workshop.engine.push(name, login=login, confirm=workshop.confirm, emit=emit)
    except Unreachable as error:
        workshop.confirm(name, "")  # who is out of reach from here as well is said to be so
        emit(Notice(text=f"{error.in_passing}; so the image is sent from here", level="warning"))
        return ""


def place_of(name: Reference) -> str:
    """What of a registry a name means, for whoever looks for a login."""
    return f"{name.registry or DOCKER_HUB}/{name.repository}"
