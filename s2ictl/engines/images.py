"""Images of the Docker API: found, pulled, loaded, committed, named and forgotten."""

from __future__ import annotations

import json
import random
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import field
from typing import Any

from s2ictl.engines import dockerapi, verdicts
from s2ictl.engines.client import Api
from s2ictl.engines.connection import WORK, Forgiven, answer, ask, door, outlasting
from s2ictl.errors import (
    CommitContainerFailed,
    PullBuilderImageFailed,
    S2IError,
    Unreachable,
    WrongPlatform,
)
from s2ictl.events import Emit, Notice
from s2ictl.models import ImageConfig, ImageFacts, Login, PullPolicy, Reference
from s2ictl.values import dataclass

UNFINISHED = "s2ictl/unfinished"  # what a commit is called until it has its own names; its tag says whose it is
STALL = 60.0
PAUSES = (1.0, 2.0, 4.0, 8.0)

_SETTLE = (0.1, 0.2, 0.4, 0.8)

Sleep = Callable[[float], None]


def facts(
    api: Api, image: str, *, pull: PullPolicy, login: Login | None, emit: Emit, sleep: Sleep
) -> ImageFacts | None:
    """What an image that is to be run here says of itself; None when it is nowhere to be had."""
    known = inspect(api, image) if pull != "always" else None
    if known is None and pull != "never" and _pulled(api, image, login, emit, sleep):
        known = inspect(api, image)
    if known is not None:
        _check_platform(api, image, known)
    return known


def inspect(api: Api, image: str) -> ImageFacts | None:
    """What the engine itself knows of the image."""
    with door(f"inspect {image}", PullBuilderImageFailed), Forgiven(404):
        return dockerapi.image_facts(ask(api, "GET", f"images/{image}/json"), Reference.parse(image).repository)
    return None


def find(api: Api, label: str, value: str) -> ImageFacts | None:
    """The newest image of which its label says this, and that was committed here.

    Anybody can publish an image whose labels say what he likes. What was pulled has no parent in the engine; what is
    not finished may still have the labels of the image that it was begun with.
    """
    with door("look for an image"):
        found = [image for image in listed(api, label=f"{label}={value}") if _is_made_here(image)]
    newest = max(found, key=lambda image: int(image["Created"]), default=None)
    return inspect(api, newest["Id"]) if newest else None


def names(api: Api) -> tuple[str, ...]:
    """Every name that leads to an image here."""
    with door("list the images"):
        found = {name for image in listed(api) for name in image.get("RepoTags") or ()}
    return tuple(sorted(name for name in found if not name.startswith(("<none>", f"{UNFINISHED}:"))))


def _is_made_here(image: Mapping[str, Any]) -> bool:
    is_finished = not any(name.startswith(f"{UNFINISHED}:") for name in image.get("RepoTags") or ())
    return bool(image.get("ParentId")) and is_finished


def listed(api: Api, **filters: str) -> list[Mapping[str, Any]]:
    """The images that are meant, each as the engine lists it."""
    asked = {"filters": {name: [value] for name, value in filters.items()}}
    return list(ask(api, "GET", "images/json", asked) or ())


def _check_platform(api: Api, image: str, known: ImageFacts) -> None:
    own = f"{api.said.get('Os')}/{api.said.get('Arch')}"
    if known.platform and known.platform != own:
        raise WrongPlatform(
            f"{image} is for {known.platform}, the engine runs {own}", hint="name an image of the engine's platform"
        )


# ------------------------------------------------------------------------------------------------------- registries


def _pulled(api: Api, image: str, login: Login | None, emit: Emit, sleep: Sleep) -> bool:
    """Pull, again when what went wrong is likely to pass; False when the image is not there."""
    emit(Notice(text=f"pulling {image}"))
    text = _pull(api, image, login, emit)
    for pause in PAUSES:
        if not verdicts.passes(text):
            break
        wait(f"could not pull {image}: {text[:200]}", pause, emit, sleep)
        text = _pull(api, image, login, emit)
    if text and (failure := verdicts.pull_failure(image, text, login)):
        raise failure
    return not text


def wait(because: str, pause: float, emit: Emit, sleep: Sleep) -> None:
    """Before a try is made again; never all clients at the same moment, who would meet the same limit again."""
    pause *= random.uniform(0.75, 1.25)  # noqa: S311  (nobody's secret)
    emit(Notice(text=f"{because}; trying again in {pause:.0f} s", level="warning"))
    sleep(pause)


def _pull(api: Api, image: str, login: Login | None, emit: Emit) -> str:
    """What the engine says went wrong."""
    name = Reference.parse(image)
    tag = name.digest or name.tag or "latest"
    try:
        asked, headers = {"fromImage": name.name, "tag": tag}, dockerapi.auth_header(login)
        pulling = answer(api, "POST", "images/create", asked, headers=headers, silence=STALL)
        with door(f"pull {image}", PullBuilderImageFailed), pulling as given:
            trouble = dockerapi.first_error(given.records(), image, emit, digests=[])
            return verdicts.unsigned(trouble, login)
    except PullBuilderImageFailed as error:
        return verdicts.unsigned(error.detail, login)
    except Unreachable:
        with door("ask whether it is there"):
            ask(api, "GET", "version")  # if it answers, it is the registry that does not
        return f"i/o timeout: the transfer broke off, or said nothing for {STALL:.0f} s"


# ------------------------------------------------------------------------------------------------- made and forgotten


def load_base(api: Api, filesystem: Iterator[bytes], name: Reference, *, command: tuple[str, ...]) -> ImageFacts:
    """Make an image of a tar of a root file system."""
    changes = [
        "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        f"CMD {json.dumps(command)}",
    ]
    asked = {"fromSrc": "-", "repo": name.name, "tag": name.tag, "changes": changes}
    loading = answer(api, "POST", "images/create", asked, data=filesystem, silence=WORK)
    with door(f"load {name}", PullBuilderImageFailed), loading as given:
        text = dockerapi.first_error(given.records(), str(name), emit=lambda _: None, digests=[])
    if text:
        raise verdicts.full(f"load {name}", text) if verdicts.is_full(text) else _not_loaded(name, text)
    known = inspect(api, str(name))
    if known is None:
        raise _not_loaded(name, "the engine did not keep it")
    return known


def _not_loaded(name: Reference, because: str) -> PullBuilderImageFailed:
    return PullBuilderImageFailed(f"could not load {name}", detail=verdicts.bounded(because))


def commit(
    api: Api,
    container: str,
    config: ImageConfig,
    names: tuple[Reference, ...],
    *,
    lease: Callable[[], str],
    emit: Emit,
) -> str:
    """Make the container an image with all of these names, or with none of them; answers its id."""
    commits = _Commits(api=api, container=container, config=config, named=bool(names), lease=lease)
    done = False
    try:
        made = outlasting(commits.made, emit)
        outlasting(lambda: give_names(api, made, names), emit)
        done = True
    finally:
        commits.clear(kept=made if done else "")
    return made


@dataclass(slots=True, kw_only=True)
class _Commits:
    """One commit, asked for again when its answer was lost: each time with a mark of its own, by which it is found.

    The mark of what shall have names is a name. With its last name an image goes, so that one that gets none must not
    have this one either: its mark is the comment in its history.
    """

    api: Api
    container: str
    config: ImageConfig
    named: bool
    lease: Callable[[], str]
    asked: list[str] = field(default_factory=list)
    answered: bool = False

    def made(self) -> str:
        """The image that a lost answer told of, or else a new one."""
        found = next((image for mark in self.asked for image in self._found(mark)), "")
        if found:
            return found
        mark = self.lease() if self.named else f"s2ictl {secrets.token_hex(8)}"
        self.asked.append(mark)
        told = {"repo": UNFINISHED, "tag": mark} if self.named else {"comment": mark}
        asked, document = {"container": self.container, **told}, dockerapi.commit_document(self.config)
        committing = answer(self.api, "POST", "commit", asked, silence=WORK, json=document)
        with door("commit the container", CommitContainerFailed), committing as given:
            image = str(given.json()["Id"])
        self.answered = len(self.asked) == 1
        return image

    def clear(self, *, kept: str) -> None:
        """Take the marks away; a commit that was cut off on our side only may just be on its way."""
        if kept and self.answered and not self.named:
            return
        for wait in (0.0, *(() if self.answered else _SETTLE)):
            time.sleep(wait)
            for mark in self.asked:
                with suppress(S2IError):
                    self._clear(mark, kept)

    def _clear(self, mark: str, kept: str) -> None:
        if self.named:
            forget(self.api, f"{UNFINISHED}:{mark}")
            return
        for image in self._found(mark):
            if image != kept:
                remove(self.api, image)

    def _found(self, mark: str) -> list[str]:
        if self.named:
            known = inspect(self.api, f"{UNFINISHED}:{mark}")
            return [known.id] if known else []
        with door("look for the image"):
            nameless = [image["Id"] for image in listed(self.api, dangling="true")]
            return [image for image in nameless if self._comment(image) == mark]

    def _comment(self, image: str) -> str:
        with Forgiven(404):  # somebody else's, and gone again
            return str(ask(self.api, "GET", f"images/{image}/json")["Comment"])
        return ""


def give_names(api: Api, image: str, names: tuple[Reference, ...]) -> None:
    """Give all names; what a name meant before is put back when a later one fails."""
    given: list[tuple[Reference, str]] = []
    try:
        for name in names:
            before = inspect(api, str(name))
            given.append((name, before.id if before else ""))
            with door(f"name the image {name}", CommitContainerFailed):
                _tag(api, image, name)
    except BaseException:
        for name, before_it in reversed(given):
            with suppress(S2IError):
                _put_back(api, name, before_it)
        raise


def _put_back(api: Api, name: Reference, image: str) -> None:
    if image:
        with door(f"name the image {name}"):
            _tag(api, image, name)
    else:
        forget(api, str(name))


def _tag(api: Api, image: str, name: Reference) -> None:
    ask(api, "POST", f"images/{image}/tag", {"repo": name.name, "tag": name.tag})


def forget(api: Api, name: str) -> None:
    """Take a name away, and with its last one the image."""
    with door(f"forget {name}"), Forgiven(404):
        ask(api, "DELETE", f"images/{name}", {"noprune": 1})


def size(api: Api, image: str) -> int:
    with door("inspect the image", CommitContainerFailed):
        return int(ask(api, "GET", f"images/{image}/json")["Size"])


def remove(api: Api, image: str) -> None:
    """Forget the image of this id, when no name leads to it any more and nothing uses it."""
    with door("remove the image", CommitContainerFailed), Forgiven(404, 409):
        if not ask(api, "GET", f"images/{image}/json")["RepoTags"]:
            ask(api, "DELETE", f"images/{image}")
