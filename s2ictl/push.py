"""STORY: an image that is there already → its registry → digest. It lies in the engine, in a layout, or in a file."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from s2ictl import layouts, oci, tarballs
from s2ictl.engines import Listing
from s2ictl.errors import ImageNotFound, InvalidUsage, PullBuilderImageFailed
from s2ictl.events import Emit, step
from s2ictl.layouts import Laid, Layout, Stored
from s2ictl.models import Image, Reference
from s2ictl.names import by_repository
from s2ictl.registry import OpenRepository
from s2ictl.values import dataclass
from s2ictl.workshop import Workshop, deliver

_NEAR = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """Something that is said of an image, such as a list of what it is made of: its media type, and its bytes."""

    kind: str
    name: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PushRequest:
    """Flags become one value before anything happens: `names` are the final ones."""

    image: Reference | Laid
    names: tuple[Reference, ...]
    attachments: tuple[Attachment, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stock:
    """Where images are had, opened when the first one is wanted from there."""

    workshop: Workshop
    listing: Listing


def push(
    requests: tuple[PushRequest, ...], *, stock: Callable[[], Stock], repository: OpenRepository, emit: Emit
) -> tuple[Image, ...]:
    """Send each image to its registry, once it is known that all of them are there; answers their digests."""
    check(requests)
    found = [(request, _found(request.image, stock)) for request in requests]
    return tuple(_pushed(request, identity, stock, repository, emit) for request, identity in found)


def check(requests: tuple[PushRequest, ...]) -> None:
    """Refuse what can be seen in the names alone."""
    meant: dict[Reference, str] = {}
    for request in requests:
        for name in request.names:
            other = meant.setdefault(name, str(request.image))
            if other != str(request.image):
                raise InvalidUsage(
                    f"{other} and {request.image} would both be {name}", hint="give each a name of its own"
                )


def _found(image: Reference | Laid, stock: Callable[[], Stock]) -> str:
    """The id by which the engine knows the image; "" of one that lies elsewhere, and is there."""
    if isinstance(image, Laid):
        _look(image)
        return ""
    facts = stock().workshop.engine.held(str(image))
    if facts is None:
        raise _absent(image, stock().listing.names())
    return facts.id


def _look(laid: Laid) -> None:
    try:
        with _opened(laid) as stored:
            layouts.first(stored, laid.tag)
    except PullBuilderImageFailed as error:  # it is nobody's builder here
        raise ImageNotFound(error.message, detail=error.detail, hint=error.hint) from error


def _pushed(
    request: PushRequest, identity: str, stock: Callable[[], Stock], repository: OpenRepository, emit: Emit
) -> Image:
    with step("deliver", ", ".join(map(str, request.names)), emit):
        if isinstance(request.image, Laid):
            image = _brought(request.image, request.names, repository, emit)
        else:
            image = _sent(request, identity, stock().workshop, emit)
    for attachment in request.attachments:
        with step("attach", f"{attachment.name} ({attachment.kind})", emit):
            _attach(attachment, image, repository)
    return image


def _sent(request: PushRequest, identity: str, workshop: Workshop, emit: Emit) -> Image:
    """By the engine, under names that it has been given where it had them not."""
    given = tuple(name for name in request.names if name != request.image)
    if given:
        workshop.engine.name(identity, given)
    return Image(names=request.names, id=identity, digest=deliver(request.names, workshop, emit))


def _brought(laid: Laid, names: tuple[Reference, ...], repository: OpenRepository, emit: Emit) -> Image:
    """By our own client, byte for byte."""
    with _opened(laid) as stored:
        picture = layouts.picture(stored, laid.tag)
        for place, tags in by_repository(names).items():
            oci.deliver(picture, repository(place), tags, emit=emit)
    return Image(names=names, id=picture.id, digest=picture.digest)


def _attach(attachment: Attachment, image: Image, repository: OpenRepository) -> None:
    for place in by_repository(image.names):
        repository(place.at(image.digest)).attach(
            image.digest, kind=attachment.kind, content=attachment.content, title=attachment.name
        )


@contextmanager
def _opened(laid: Laid) -> Iterator[Stored]:
    if laid.kind == "oci":
        yield Layout(laid.path)
        return
    with tarballs.opened(laid.path) as tarball:
        yield tarball


def _absent(image: Reference, names: tuple[str, ...]) -> ImageNotFound:
    """It is not there; what its name may have been meant to be is said."""
    same = [name for name in names if _last_part(name.rpartition(":")[0]) == _last_part(image.repository)]
    near = list(dict.fromkeys([*same, *difflib.get_close_matches(str(image), names, n=_NEAR, cutoff=0.7)]))[:_NEAR]
    return ImageNotFound(
        f"there is no image {image} in the engine",
        detail=f"there is {', '.join(near)}" if near else "",
        hint="check its name and its tag; oci:DIR and tar:FILE name images outside of the engine",
    )


def _last_part(path: str) -> str:
    return path.rpartition("/")[2]
