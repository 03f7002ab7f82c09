"""What an engine keeps, in its own words; the real one is tests/engine/test_caches.py."""

from __future__ import annotations

import io
import tarfile
from typing import Any

import pytest

from s2ictl.engines import Kept, kept
from s2ictl.engines.caches import roots
from s2ictl.models import Cache

CACHE = Cache(app="shop", builder="s2ictl/python:3.13", target="/opt/cache/pip", name="s2ictl-cache-1")
LABELS = {
    "io.s2ictl.cache.app": "shop",
    "io.s2ictl.cache.builder": "s2ictl/python:3.13",
    "io.s2ictl.cache.target": "/opt/cache/pip",
    "io.s2ictl.cache.user": "1001",
}
VOLUME = {"Name": "s2ictl-cache-1", "CreatedAt": "2026-11-01T10:00:00Z", "Labels": LABELS, "UsageData": {"Size": 7}}


def test_the_volume_of_a_cache_is_known_again_by_its_labels() -> None:
    assert kept.mounts((CACHE,), "1001") == [
        {
            "Type": "volume",
            "Source": "s2ictl-cache-1",
            "Target": "/opt/cache/pip",
            "VolumeOptions": {"Labels": LABELS},
        }
    ]
    assert [kept.is_cache(volume) for volume in (VOLUME, {**VOLUME, "Labels": None}, {"Name": "x"})] == [
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("volume", "seen", "size", "used"),
    [
        (VOLUME, "2026-11-21T17:58:59.600499371Z", 7, "2026-11-21T17:58:59Z"),
        (VOLUME, "2020-01-01T00:00:00Z", 7, "2026-11-01T10:00:00Z"),  # the time of the image's directory
        (VOLUME, "", 7, "2026-11-01T10:00:00Z"),
        ({**VOLUME, "CreatedAt": "2026-11-01T12:00:00+02:00"}, "", 7, "2026-11-01T10:00:00Z"),
        ({**VOLUME, "CreatedAt": "0001-01-01T00:00:00Z"}, "no time", 7, ""),
        ({**VOLUME, "UsageData": {"Size": -1}}, "", 0, "2026-11-01T10:00:00Z"),
        ({**VOLUME, "UsageData": None}, "", 0, "2026-11-01T10:00:00Z"),
    ],
)
def test_a_cache_was_used_last_when_its_root_was_or_when_it_was_made(
    volume: dict[str, Any], seen: str, size: int, used: str
) -> None:
    assert kept.cache(volume, used=seen) == Kept(
        kind="cache",
        app="shop",
        builder="s2ictl/python:3.13",
        name="s2ictl-cache-1",
        what="/opt/cache/pip",
        size=size,
        used=used,
    )


PARENT = {"Id": "p", "Size": 100, "RepoTags": ["s2ictl/python:3.13"]}
IMAGE = {
    "Id": "i",
    "ParentId": "p",
    "Size": 130,
    "SharedSize": 100,
    "Created": 1_700_000_000,
    "RepoTags": ["mine:1", "s2ictl/dependencies:0123456789abcdef0123456789abcdef"],
}


@pytest.mark.parametrize(
    ("image", "parent", "size", "builder"),
    [
        (IMAGE, PARENT, 30, "s2ictl/python:3.13"),
        ({**IMAGE, "SharedSize": 130}, PARENT, 0, "s2ictl/python:3.13"),  # an app's image stands on it
        ({**IMAGE, "SharedSize": -1}, PARENT, 30, "s2ictl/python:3.13"),
        (IMAGE, {}, 30, ""),
        (IMAGE, {**PARENT, "RepoTags": None}, 30, ""),
    ],
)
def test_dependencies_take_up_what_goes_with_them(
    image: dict[str, Any], parent: dict[str, Any], size: int, builder: str
) -> None:
    assert kept.dependencies(image, parent, tagged="0001-01-01T00:00:00Z") == Kept(
        kind="dependencies",
        app="",
        builder=builder,
        name="s2ictl/dependencies:0123456789abcdef0123456789abcdef",
        what="0123456789ab",
        size=size,
        used="2023-11-14T22:13:20Z",
    )


def test_an_image_of_another_name_is_nobody_s_dependencies() -> None:
    assert [kept.dependencies_name({"RepoTags": tags}) for tags in (None, [], ["x/s2ictl/dependencies:1"])] == [""] * 3


def test_the_roots_of_caches_stand_before_an_upload_and_are_the_user_s() -> None:
    second = Cache(app="shop", builder="b", target="/var/cache", name="s2ictl-cache-2")
    tar = b"".join(roots((CACHE, second), 1001, 0, now=1_700_000_000.9))
    with tarfile.open(fileobj=io.BytesIO(tar + bytes(1024))) as read:
        found = [(each.name, each.isdir(), each.uid, each.gid, oct(each.mode), each.mtime) for each in read]
    assert found == [
        (".", True, 0, 0, "0o755", 0),
        ("opt/cache/pip", True, 1001, 0, "0o755", 1_700_000_000),
        ("var/cache", True, 1001, 0, "0o755", 1_700_000_000),
    ]
    assert list(roots((), 1001, 0, now=0.0)) == []
