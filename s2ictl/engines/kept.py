"""What an engine keeps for later builds, in the API's words: the volumes of caches, and images of dependencies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from s2ictl.engines import Kept
from s2ictl.models import Cache

APP, BUILDER, TARGET, USER = (f"io.s2ictl.cache.{word}" for word in ("app", "builder", "target", "user"))
DEPENDENCIES = "s2ictl/dependencies:"

Document = Mapping[str, Any]


def labels(cache: Cache, user: str) -> dict[str, str]:
    return {APP: cache.app, BUILDER: cache.builder, TARGET: cache.target, USER: user}


def mounts(caches: Iterable[Cache], user: str) -> list[dict[str, object]]:
    """The engine makes a volume that is not there, with the labels by which it is known again."""
    return [
        {
            "Type": "volume",
            "Source": cache.name,
            "Target": cache.target,
            "VolumeOptions": {"Labels": labels(cache, user)},
        }
        for cache in caches
    ]


def looking(image: str, places: Mapping[str, str]) -> dict[str, object]:
    """A container that is only looked into: nothing of the image's is put into the volumes."""
    told = {"Type": "volume", "ReadOnly": True, "VolumeOptions": {"NoCopy": True}}
    given = [{**told, "Source": volume, "Target": place} for volume, place in places.items()]
    return {"Image": image, "Entrypoint": ["/"], "Cmd": [], "HostConfig": {"Mounts": given, "NetworkMode": "none"}}


def is_cache(volume: Document) -> bool:
    return {APP, BUILDER, TARGET} <= set(volume.get("Labels") or {})


def cache(volume: Document, *, used: str) -> Kept:
    """A volume as it is listed; a size that the engine does not know is 0."""
    said = volume["Labels"]
    return Kept(
        kind="cache",
        app=said[APP],
        builder=said[BUILDER],
        name=volume["Name"],
        what=said[TARGET],
        size=max(int((volume.get("UsageData") or {}).get("Size") or 0), 0),
        # A new one is filled from a directory of the image, and has its time.
        used=max(moment(used), moment(volume.get("CreatedAt") or "")),
    )


def dependencies_name(image: Document) -> str:
    """The name that makes an image one of dependencies; "" when it has none."""
    return next((name for name in image.get("RepoTags") or () if name.startswith(DEPENDENCIES)), "")


def dependencies(image: Document, parent: Document, *, tagged: str) -> Kept:
    """An image of dependencies with what goes when it goes: layers that an app's image stands on do not."""
    shared = int(image.get("SharedSize", -1))
    size = int(image["Size"]) - (shared if shared >= 0 else int(parent.get("Size", 0)))
    name = dependencies_name(image)
    return Kept(
        kind="dependencies",
        app="",
        builder=next(iter(parent.get("RepoTags") or ()), ""),
        name=name,
        what=name.removeprefix(DEPENDENCIES)[:12],
        size=max(size, 0),
        used=max(moment(tagged), moment(datetime.fromtimestamp(int(image["Created"]), UTC).isoformat())),
    )


def moment(text: str) -> str:
    """A time as we write it; "" for what is none."""
    seconds = instant(text)
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z") if seconds else ""


def instant(text: str) -> float:
    """A time of the engine's, in whatever zone it lives; 0 for what is none, as its own zero of year 1."""
    try:
        return max(datetime.fromisoformat(text).timestamp(), 0.0)
    except (ValueError, OverflowError):
        return 0.0
