"""Images of the Docker API: found, pulled, loaded, committed, named, pushed and forgotten."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from s2ictl.engines import dockerapi, verdicts
from s2ictl.engines.connection import WORK, Forgiven, door, outlasting, patient
from s2ictl.errors import (
    CommitContainerFailed,
    PullBuilderImageFailed,
    PushImageToRegistryFailed,
    S2IError,
    WrongPlatform,
)
from s2ictl.events import Emit, Notice
from s2ictl.models import ImageConfig, ImageFacts, Login, PullPolicy, Reference

UNFINISHED = "s2ictl/unfinished"  # what a commit is called until it has its own names; its tag says whose it is
_STALL = 120.0
_PAUSES = (1.0, 2.0, 4.0, 8.0)

_SETTLE = (0.1, 0.2, 0.4, 0.8)

Sleep = Callable[[float], None]


def facts(
    api: Any, image: str, *, pull: PullPolicy, login: Login | None, emit: Emit, sleep: Sleep
) -> ImageFacts | None:
    """What the image says of itself; None when it is nowhere to be had."""
    known = inspect(api, image) if pull != "always" else None
    if known is None and pull != "never" and _pulled(api, image, login, emit, sleep):
        known = inspect(api, image)
    if known is not None:
        _check_platform(api, image, known)
    return known


def inspect(api: Any, image: str) -> ImageFacts | None:
    """What the engine itself knows of the image."""
    with door(f"inspect {image}", PullBuilderImageFailed), Forgiven(404):
        return dockerapi.image_facts(api.inspect_image(image), Reference.parse(image).repository)
    return None


def platform(api: Any) -> Mapping[str, str]:
    with door("ask the engine for its version"):
        answer: Mapping[str, str] = api.version()
    return answer


def _check_platform(api: Any, image: str, known: ImageFacts) -> None:
    version = platform(api)
    own = f"{version['Os']}/{version['Arch']}"
    if known.platform and known.platform != own:
        raise WrongPlatform(
            f"{image} is for {known.platform}, the engine runs {own}", hint="name an image of the engine's platform"
        )


# ------------------------------------------------------------------------------------------------------- registries


def _pulled(api: Any, image: str, login: Login | None, emit: Emit, sleep: Sleep) -> bool:
    """Pull, again when what went wrong is likely to pass; False when the image is not there."""
    emit(Notice(text=f"pulling {image}"))
    text = _pull(api, image, login, emit)
    for pause in _PAUSES:
        if not verdicts.passes(text):
            break
        # Never all clients at the same moment: they would meet the same limit again.
        pause *= random.uniform(0.75, 1.25)  # noqa: S311  (nobody's secret)
        emit(Notice(text=f"could not pull {image}: {text[:200]}; trying again in {pause:.0f} s", level="warning"))
        sleep(pause)
        text = _pull(api, image, login, emit)
    if text and (failure := verdicts.pull_failure(image, text, login)):
        raise failure
    return not text


def _pull(api: Any, image: str, login: Login | None, emit: Emit) -> str:
    """What the engine says went wrong."""
    name = Reference.parse(image)
    tag = name.digest or name.tag or "latest"
    try:
        with door(f"pull {image}", PullBuilderImageFailed), patient(api, _STALL):
            records = api.pull(name.name, tag=tag, stream=True, decode=True, auth_config=dockerapi.auth(login))
            return dockerapi.first_error(records, image, emit, digests=[])
    except PullBuilderImageFailed as error:
        return error.detail


def push(api: Any, name: Reference, *, login: Login | None, emit: Emit) -> str:
    """Send the image to its registry and answer the digest there."""
    with door(f"push {name}", PushImageToRegistryFailed), patient(api, WORK):
        records = api.push(name.name, tag=name.tag, stream=True, decode=True, auth_config=dockerapi.auth(login))
        kept: list[str] = []
        text = dockerapi.first_error(records, str(name), emit, digests=kept)
    if text:
        raise verdicts.push_failure(name, text, login)
    if not kept:
        raise PushImageToRegistryFailed(f"could not push {name}", detail="the engine's answer ended without a digest")
    return kept[-1]


# ------------------------------------------------------------------------------------------------- made and forgotten


def load_base(api: Any, filesystem: Iterator[bytes], name: Reference, *, command: tuple[str, ...]) -> ImageFacts:
    """Make an image of a tar of a root file system."""
    changes = [
        "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        f"CMD {json.dumps(command)}",
    ]
    with door(f"load {name}", PullBuilderImageFailed), patient(api, WORK):
        api.import_image_from_data(filesystem, repository=name.name, tag=name.tag, changes=changes)
    known = inspect(api, str(name))
    if known is None:
        raise PullBuilderImageFailed(f"could not load {name}", detail="the engine did not keep it")
    return known


def commit(
    api: Any, container: str, config: ImageConfig, names: tuple[Reference, ...], *, lease: str, emit: Emit
) -> str:
    """Make the container an image with all of these names, or with none of them; answers its id."""
    # With its last name an image goes, so that one that gets none must not have this one either.
    unfinished = f"{UNFINISHED}:{lease}" if names else ""
    made = ""
    try:
        made = outlasting(lambda: _committed(api, container, config, unfinished), emit)
        outlasting(lambda: _name(api, made, names), emit)
    finally:
        if unfinished:
            _clear(api, unfinished, waits=() if made else _SETTLE)
    return made


def _clear(api: Any, unfinished: str, *, waits: tuple[float, ...]) -> None:
    """Take the name away that nobody asked for; a commit that was cut off on our side only may just be on its way."""
    for wait in (0.0, *waits):
        time.sleep(wait)
        with suppress(S2IError):
            forget(api, unfinished)


def _committed(api: Any, container: str, config: ImageConfig, unfinished: str) -> str:
    """The image under a name that nobody else has: it is found by it when the answer was lost."""
    known = inspect(api, unfinished) if unfinished else None
    if known is not None:
        return known.id
    repository, _, tag = unfinished.partition(":")
    with door("commit the container", CommitContainerFailed), patient(api, WORK):
        document = dockerapi.commit_document(config)
        return str(api.commit(container, repository=repository or None, tag=tag or None, conf=document)["Id"])


def _name(api: Any, image: str, names: tuple[Reference, ...]) -> None:
    """Give all names; what a name meant before is put back when a later one fails."""
    given: list[tuple[Reference, str]] = []
    try:
        for name in names:
            before = inspect(api, str(name))
            given.append((name, before.id if before else ""))
            with door(f"name the image {name}", CommitContainerFailed):
                api.tag(image, name.name, tag=name.tag)
    except BaseException:
        for name, before_it in reversed(given):
            with suppress(S2IError):
                _put_back(api, name, before_it)
        raise


def _put_back(api: Any, name: Reference, image: str) -> None:
    if image:
        with door(f"name the image {name}"):
            api.tag(image, name.name, tag=name.tag)
    else:
        forget(api, str(name))


def forget(api: Any, name: str) -> None:
    """Take a name away, and with its last one the image."""
    with door(f"forget {name}"), Forgiven(404):
        api.remove_image(name, noprune=True)


def size(api: Any, image: str) -> int:
    with door("inspect the image", CommitContainerFailed):
        return int(api.inspect_image(image)["Size"])


def remove(api: Any, image: str) -> None:
    """Forget the image of this id, when no name leads to it any more and nothing uses it."""
    with door("remove the image", CommitContainerFailed), Forgiven(404, 409):
        if not api.inspect_image(image)["RepoTags"]:
            api.remove_image(image)
