"""What an engine keeps for later builds: volumes with the downloads of an app, and images of its dependencies.

A volume of ours is known by its labels and not by its name alone, so that nobody else's is ever written to or removed.
Package managers are not made for two machines at one directory, and each container is one of those to them. So whoever
made his container first has the volume until that has ended: the engine's own clock decides, for all who build on it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from typing import Any

from s2ictl.archives import tar_beginning
from s2ictl.engines import Kept, dockerapi
from s2ictl.engines import kept as words
from s2ictl.engines.client import Api
from s2ictl.engines.connection import WORK, Forgiven, answer, ask, door
from s2ictl.engines.containers import Container, created
from s2ictl.errors import CommitContainerFailed, Conflict, LimitReached, PullBuilderImageFailed, S2IError
from s2ictl.events import Emit, Notice
from s2ictl.leases import Host, is_abandoned, name_for
from s2ictl.models import Assembly, Cache, Member

_LOOKING = "cachelook"  # who only looks when a cache was used last holds nobody up
_ALIVE = ("created", "running", "paused", "restarting")
_PLACE = "/caches"
_PAUSE = 0.2
_WITHOUT = "build without them: --no-cache"

# ------------------------------------------------------------------------------------------------------- for one build


def claimed(api: Api, assembly: Assembly, emit: Emit) -> Assembly:
    """The assembly with the caches that it can have; one of somebody else's making is refused."""
    if not assembly.caches:
        return assembly
    with door("ask for the caches"):
        filters = {"name": [cache.name for cache in assembly.caches]}
        volumes = ask(api, "GET", "volumes", {"filters": filters}).get("Volumes") or ()
    found = {volume["Name"]: volume for volume in volumes}
    usable = tuple(
        cache for cache in assembly.caches if _is_usable(api, cache, found.get(cache.name), assembly.user, emit)
    )
    return replace(assembly, caches=usable)


def _is_usable(api: Api, cache: Cache, volume: Mapping[str, Any] | None, user: str, emit: Emit) -> bool:
    if volume is None:
        return True
    wanted, labels = words.labels(cache, user), volume.get("Labels") or {}
    if {**labels, words.USER: user} != {**labels, **wanted}:
        raise Conflict(
            f"the engine has a volume {cache.name} that is not the cache of {cache.app}",
            detail="it has not the labels that s2ictl gives its own",
            hint=f"docker volume rm {cache.name}, or {_WITHOUT}",
        )
    # What another user has left there this one could not write to.
    if labels.get(words.USER) == user or _removed(api, f"volumes/{cache.name}"):
        return True
    text = f"the downloads at {cache.target} are used by another user's build, and not by this one"
    emit(Notice(text=text, level="warning"))
    return False


def roots(caches: Iterable[Cache], uid: int, gid: int, *, now: float) -> Iterator[bytes]:
    """What stands before an upload, by which each cache is the command's user's, and was used just now.

    Where the image has no such directory the engine makes it, for root; and its own clock of when a volume was used
    last is none: it says when it was made, and that only in some of its versions.
    """
    members = (Member(path=each.target.strip("/"), kind="directory", mode=0o755, mtime=int(now)) for each in caches)
    entries = [(member, lambda _: b"") for member in members]
    return tar_beginning(entries, uid=uid, gid=gid) if entries else iter(())


def wait_for_turn(
    container: Container,
    assembly: Assembly,
    host: Host,
    emit: Emit,
    *,
    wait: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Go on when no older container that is still to run, or runs, has one of these caches."""
    deadline, waiting = clock() + assembly.timeout, False
    while assembly.caches and _older(container, assembly.caches, host):
        if not waiting:
            emit(Notice(text=f"another build uses the downloads of {assembly.caches[0].app}; it is waited for"))
            waiting = True
        if clock() > deadline:
            raise LimitReached(
                f"another build has been using the downloads of {assembly.caches[0].app} for {assembly.timeout:.0f} s",
                hint=_WITHOUT,
            )
        wait(_PAUSE)


def _older(container: Container, caches: tuple[Cache, ...], host: Host) -> bool:
    others = [each["Id"] for each in _holders(container.api, caches) if _counts(each, host)]
    if not set(others) - {container.id}:
        return False
    made = [(_made(replace(container, id=each)), each) for each in others]  # the list tells whole seconds only
    return min((each for each in made if each[0]), default=(0.0, container.id))[1] != container.id


def _holders(api: Api, caches: tuple[Cache, ...]) -> list[Mapping[str, Any]]:
    filters = {"volume": [cache.name for cache in caches], "status": list(_ALIVE)}
    with door("ask who uses the caches"):
        return list(ask(api, "GET", "containers/json", {"filters": filters}) or ())


def _counts(container: Mapping[str, Any], host: Host) -> bool:
    """Whether it will let go by itself: not one whose maker has died, which is swept by whoever comes next.

    Somebody else's that has not begun may never begin.
    """
    names = [name.lstrip("/") for name in container.get("Names") or ()]
    if container.get("State") == "created" and not any(name.startswith("s2ictl-") for name in names):
        return False
    return not any(name.startswith(f"s2ictl-{_LOOKING}-") or is_abandoned(name, host) for name in names)


def _made(container: Container) -> float:
    """When it was made, by the engine's clock; 0 for one that is gone again."""
    with suppress(S2IError):
        return words.instant(container.facts()["Created"])
    return 0.0


def made_anew(api: Api, host: Host, error: S2IError, assembly: Assembly, emit: Emit) -> bool:
    """Whether what went wrong were caches that are broken, and are gone now: the engine makes them again."""
    if not assembly.caches or not isinstance(error, CommitContainerFailed | PullBuilderImageFailed):
        return False
    if not _is_seen(api, host, {}, assembly.image_id):  # no cache is to blame for what is no image
        return False
    broken = [cache for cache in assembly.caches if not _is_seen(api, host, {cache.name: _PLACE}, assembly.image_id)]
    for cache in broken:
        emit(Notice(text=f"the downloads at {cache.target} are damaged; they are fetched again", level="warning"))
    return bool(broken) and all(_removed(api, f"volumes/{cache.name}") for cache in broken)


def _is_seen(api: Api, host: Host, places: Mapping[str, str], image: str) -> bool:
    """Whether a container of the image can be made with these volumes, and what they hold be looked at."""
    try:
        with _looked_into(api, host, places, image) as container:
            for place in places.values():
                _used(container, place)
    except PullBuilderImageFailed:
        return False
    return True


# -------------------------------------------------------------------------------------------------------- all of them


def kept(api: Api, host: Host) -> tuple[Kept, ...]:
    """All that is kept for later builds, of every app."""
    with door("ask what takes up room"), answer(api, "GET", "system/df", {}, silence=WORK) as given:
        told: Mapping[str, Any] = given.json()
    images = told.get("Images") or ()
    volumes = [volume for volume in told.get("Volumes") or () if words.is_cache(volume)]
    used = _last_used(api, host, volumes, next((image["Id"] for image in images), ""))
    caches = (words.cache(volume, used=used.get(volume["Name"], "")) for volume in volumes)
    dependencies = (_dependencies(api, image, images) for image in images if words.dependencies_name(image))
    return tuple(sorted((*caches, *dependencies), key=lambda each: (each.kind, each.app, each.builder, each.what)))


def forget(api: Api, kept: Kept) -> bool:
    """Let go of it; False when a container has it."""
    if kept.kind == "cache":
        return _removed(api, f"volumes/{kept.name}")
    return _removed(api, f"images/{kept.name}")


def _dependencies(api: Api, image: Mapping[str, Any], images: Iterable[Mapping[str, Any]]) -> Kept:
    parent = next((each for each in images if each["Id"] == image.get("ParentId")), {})
    with door("inspect the image"), Forgiven(404):
        facts = ask(api, "GET", f"images/{image['Id']}/json")
        return words.dependencies(image, parent, tagged=(facts.get("Metadata") or {}).get("LastTagTime") or "")
    return words.dependencies(image, parent, tagged="")


def _last_used(api: Api, host: Host, volumes: Sequence[Mapping[str, Any]], image: str) -> Mapping[str, str]:
    """When each volume was used last: the time of its root, seen through a container that is never started."""
    if not (volumes and image):
        return {}
    places = {volume["Name"]: f"{_PLACE}/{number}" for number, volume in enumerate(volumes)}
    used: dict[str, str] = {}
    with suppress(S2IError), _looked_into(api, host, places, image) as container:
        used.update((volume, _used(container, place)) for volume, place in places.items())
    return used


def _looked_into(api: Api, host: Host, places: Mapping[str, str], image: str) -> AbstractContextManager[Container]:
    return created(api, name_for(_LOOKING, host, seconds=WORK), words.looking(image, places), image=image)


def _used(container: Container, place: str) -> str:
    looking = answer(container.api, "HEAD", f"containers/{container.id}/archive", {"path": place}, silence=WORK)
    with door("look into a cache", PullBuilderImageFailed), looking as given:
        return dockerapi.mtime_of(given.headers)


def _removed(api: Api, what: str) -> bool:
    """Remove it; False when a container has it."""
    removing = answer(api, "DELETE", what, {}, silence=WORK, passing=(404, 409))
    with door(f"remove {what}"), removing as given:
        return int(given.status_code) != 409
