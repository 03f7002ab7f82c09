"""Where an image goes: registries, layouts, tars and an engine, each told in its own way, one digest in all of them.

Most builds stay in the engine, and ask here only for words: what writes images is loaded when one is written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from s2ictl.errors import CommitContainerFailed
from s2ictl.events import Emit
from s2ictl.models import BuildRequest, Reference, Target
from s2ictl.names import by_repository
from s2ictl.values import dataclass

if TYPE_CHECKING:
    from s2ictl import oci
    from s2ictl.engines import Carrier
    from s2ictl.shelf import Shelf

REGISTRY = Target(kind="registry")
ENGINE = Target(kind="docker")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """How targets are reached. `carrier` is the engine, opened when an image is to go there; it has the lowest layers
    `held` already. `platform` is that of this machine, for what can hold only one."""

    repository: Callable[[Reference], oci.Target]
    carrier: Callable[[], Carrier]
    platform: str
    held: Sequence[str] = ()


def destinations(request: BuildRequest) -> tuple[Target, ...]:
    """All places that are named for the image, the registry among them."""
    return (*((REGISTRY,) if request.push else ()), *request.targets)


def targets_of(request: BuildRequest) -> tuple[Target, ...]:
    """The same, or the engine of this machine where nothing else is said."""
    return destinations(request) or (ENGINE,)


def check(targets: Sequence[Target]) -> None:
    """Refuse what could not be written, before there is anything to write."""
    for target in targets:
        match target:
            case Target(kind="oci", path=Path() as directory):
                from s2ictl import layouts

                layouts.check(directory)
            case Target(kind="tar", path=Path() as file):
                from s2ictl import tarballs

                tarballs.check(file)


def places(targets: Sequence[Target], names: tuple[Reference, ...]) -> tuple[str, ...]:
    """Every place where the image will be had, by the name under which another tool finds it there."""
    return tuple(dict.fromkeys(place for target in targets for place in _places(target, names)))


def shown(targets: Sequence[Target], names: tuple[Reference, ...]) -> tuple[str, ...]:
    """The same for people: an image without a name is in the engine as well."""
    return places(targets, names) or ("the engine",)


def _places(target: Target, names: tuple[Reference, ...]) -> tuple[str, ...]:
    if target.kind == "oci":
        return tuple(f"{target}:{tag}" for tag in _tags(names)) or (str(target),)
    return (str(target),) if target.kind == "tar" else tuple(map(str, names))


def _tags(names: tuple[Reference, ...]) -> tuple[str, ...]:
    """A layout knows an image by its tag alone."""
    return tuple(dict.fromkeys(name.tag for name in names))


def put(
    picture: oci.Picture, targets: Sequence[Target], names: tuple[Reference, ...], ways: Ways, *, emit: Emit
) -> str:
    """Have the image in every target under all its names; answers its digest, which is the same in all of them.

    What stays on this machine comes first: where a registry fails, the rest is there.
    """
    from s2ictl import layouts, oci

    for target in sorted(targets, key=lambda target: target.kind == "registry"):
        match target:
            case Target(kind="oci", path=Path() as directory):
                with layouts.writable(directory) as layout:
                    oci.deliver(picture, layout, _tags(names), emit=emit)
            case Target(kind="tar", path=Path() as file):
                from s2ictl import tarballs

                tarballs.write(file, picture, names, platform=ways.platform, emit=emit)
            case Target(kind="docker"):
                _load(picture, names, ways)
            case Target(kind="registry"):
                for name, tags in by_repository(names).items():
                    oci.deliver(picture, ways.repository(name), tags, emit=emit)
    return picture.digest


def carried(
    image: str, targets: Sequence[Target], names: tuple[Reference, ...], ways: Ways, *, shelf: Shelf, emit: Emit
) -> str:
    """The same with an image of the engine, which is read and packed once for all of them."""
    with ways.carrier().save(image) as saved, shelf.passing(saved) as picture:
        return put(picture, targets, names, ways, emit=emit)


def _load(picture: oci.Picture, names: tuple[Reference, ...], ways: Ways) -> None:
    """Into the engine, and of the base only what it does not have: that is most of an image."""
    from s2ictl.tarballs import loadable

    carrier = ways.carrier()
    if ways.held:
        try:
            carrier.load(loadable(picture, names, platform=ways.platform, held=ways.held))
        except CommitContainerFailed:
            """Not every engine looks for a layer before it reads it, and one that had it may have lost it since."""
        else:
            return
    carrier.load(loadable(picture, names, platform=ways.platform))
