"""What a build works with, and how an image is asked for there, and sent away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from s2ictl import scripts
from s2ictl.builders import Folder
from s2ictl.engines import Engine
from s2ictl.errors import PullBuilderImageFailed
from s2ictl.events import Emit
from s2ictl.models import ImageFacts, Logins, PullPolicy, Reference, Source, Tree
from s2ictl.names import DOCKER_HUB


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """What a build works with.

    `folders` answers our own builders that a word may mean, and all of them for "". `root_filesystem` makes a base of a
    distribution's suite where no registry has one. `registered` is what an image's registry says of it for a platform,
    without any pull. `turn` is to have an image's name alone on this machine, for which so many seconds are waited.
    """

    engine: Engine
    fetch: Callable[[Source, Emit], AbstractContextManager[Tree]]
    find_login: Logins
    folders: Callable[[str], tuple[Folder, ...]]
    root_filesystem: Callable[[str, Emit], AbstractContextManager[Iterator[bytes]]]
    download: scripts.Download
    registered: Callable[[Reference, str], ImageFacts | None] = lambda *_: None
    turn: Callable[[str, float, Emit], AbstractContextManager[None]] = lambda *_: nullcontext()


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
    """Push under every name; the digest is the same for all."""
    digests = [workshop.engine.push(name, login=workshop.find_login(place_of(name)), emit=emit) for name in names]
    return digests[0]


def place_of(name: Reference) -> str:
    """What of a registry a name means, for whoever looks for a login."""
    return f"{name.registry or DOCKER_HUB}/{name.repository}"
