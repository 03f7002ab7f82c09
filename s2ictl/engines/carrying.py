"""Whole images out of the engine and into it, as the tar that every engine writes and takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from s2ictl.engines import images, verdicts
from s2ictl.engines.client import Api, ApiError
from s2ictl.engines.connection import WORK, answer, door
from s2ictl.errors import CommitContainerFailed, ImageNotFound, S2IError

_LOADED = "Loaded image"  # what the engine says at the end, before an id or a name


@contextmanager
def save(api: Api, image: str) -> Iterator[Iterator[bytes]]:
    """The image with all its layers, as it comes; one that is cut off ends in an error, and never as if it were all."""
    with door(f"save {image}", CommitContainerFailed):
        try:
            with answer(api, "GET", f"images/{image}/get", {}, silence=WORK) as given:
                yield _told_apart(given.iter_content(), image)
        except ApiError as error:
            if error.status != 404:
                raise
            raise ImageNotFound(f"there is no image {image} in the engine", hint="check its name or its id") from error


def _told_apart(chunks: Iterator[bytes], image: str) -> Iterator[bytes]:
    """The same; whoever writes them down would take a connection that is lost for trouble with his own file."""
    with door(f"save {image}", CommitContainerFailed):
        yield from chunks


def load(api: Api, image: Iterator[bytes]) -> str:
    """Take in what such a tar holds; answers the id of the image."""
    with (
        door("load the image", CommitContainerFailed),
        answer(api, "POST", "images/load", {"quiet": 1}, data=image, silence=WORK) as given,
    ):
        said = list(given.records())
    loaded, failed = _told(said)
    if failed:
        raise verdicts.full("load the image", failed) if verdicts.is_full(failed) else _not_loaded(failed)
    known = images.inspect(api, loaded) if loaded else None
    if known is None:
        raise _not_loaded(f"it did not say which one it has taken in: {str(said)[-200:]}")
    return known.id


def _told(records: Iterable[Mapping[str, Any]]) -> tuple[str, str]:
    """The name or id of what was loaded last, and the first error."""
    loaded = ""
    for record in records:
        if "error" in record:
            return "", str(record["error"])
        what, _, name = str(record.get("stream") or "").strip().partition(": ")
        if what.startswith(_LOADED):
            loaded = name.removeprefix("ID: ") if what == _LOADED else name
    return loaded, ""


def _not_loaded(because: str) -> S2IError:
    return CommitContainerFailed("could not load the image", detail=verdicts.bounded(because))
