"""`cache info` and `cache prune`: what lies on this machine; what an engine keeps is tests/engine/test_caches.py."""

from __future__ import annotations

import fcntl
import json
import os
import time
from hashlib import sha256
from pathlib import Path

import pytest

from s2ictl import images, oci, shelf
from s2ictl.models import ImageFacts, Reference
from tests.cli import Shell, shell
from tests.fakes.carried import config_of, packed, saved
from tests.fakes.published import picture
from tests.fakes.unpacker import Unpacking

DAY = 24 * 3600


def called(path: str) -> str:
    """The path with a name as ours are, for a word: what is called otherwise is not ours."""
    shelf, _, word = path.partition("/")
    stem, dot, end = word.partition(".")
    digits = sha256(stem.encode()).hexdigest()
    return f"{shelf}/{digits if shelf in ('lfs', 'images') else digits[:32]}{dot}{end}"


def lies(here: Shell, path: str, *, size: int = 10, days: float = 0.0) -> Path:
    """A file of ours that was used so many days ago, or a mirror with one file."""
    return puts(here, called(path), size=size, days=days)


def puts(here: Shell, path: str, *, size: int = 10, days: float = 0.0) -> Path:
    place = here.home / ".cache" / "s2ictl" / path
    file = place / "objects" / "pack" if path.startswith("git/") else place
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(bytes(size))
    moment = time.time() - days * DAY
    os.utime(place, (moment, moment))
    return place


@pytest.fixture
def here(tmp_path: Path) -> Shell:
    return shell(tmp_path, DOCKER_HOST=f"unix://{tmp_path}/none.sock")


def left(here: Shell) -> list[str]:
    cache = here.home / ".cache" / "s2ictl"
    return sorted(
        str(path.relative_to(cache)) for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock"
    )


def test_where_there_is_nothing_nothing_is_shown_and_nothing_made(here: Shell) -> None:
    ran = here.run("cache", "info")
    assert (ran.status, ran.stdout) == (0, "KIND  APP  BUILDER  WHAT  SIZE  USED\n")
    assert list(here.home.iterdir()) == []


def test_what_lies_together_is_one_row(here: Shell) -> None:
    lies(here, "git/aa.1", size=1000)
    lies(here, "git/bb.2", size=500)
    lies(here, "lfs/abcd", size=70)
    lies(here, "digests/cc")
    lies(here, "images/dd.json")
    puts(here, "git/empty-sha1")
    shown = json.loads(here.run("cache", "info", "-o", "json").stdout)
    assert [(row["kind"], row["what"], row["size"]) for row in shown] == [
        ("knowledge", "directories: 1", 10),
        ("source", "repositories: 2", 1500),
        ("knowledge", "images: 1", 10),
        ("source", "large files: 1", 70),
    ]


def test_an_engine_that_is_not_there_is_said_and_in_nobody_s_way(here: Shell) -> None:
    assert "this is what lies on this machine" in here.run("cache", "info").stderr


def test_what_was_used_this_month_stays_unless_it_is_chosen(here: Shell) -> None:
    lies(here, "git/old.1", days=31)
    lies(here, "git/new.1", days=29)
    lies(here, "digests/old", days=31)
    assert here.run("cache", "prune").status == 0
    assert left(here) == [f"{called('git/new.1')}/objects/pack"]
    assert here.run("cache", "prune", "--older-than", "7d").status == 0
    assert left(here) == []


def test_a_dry_run_says_what_would_go_and_lets_it_stay(here: Shell) -> None:
    lies(here, "lfs/abcd", size=2000, days=40)
    ran = here.run("cache", "prune", "--dry-run", "-o", "json")
    assert json.loads(ran.stdout)["freed"] == 2000
    assert ran.stderr.endswith("would free 2.0 kB\n")
    assert left(here) == [called("lfs/abcd")]


def test_all_is_all_but_what_a_build_may_be_reading(here: Shell) -> None:
    lies(here, "git/read.1")
    lies(here, "git/rests.1", days=0.1)
    lies(here, "digests/any")
    ran = here.run("cache", "prune", "--all")
    assert "in use, and stays: repositories: 1" in ran.stderr
    assert left(here) == [f"{called('git/read.1')}/objects/pack"]


def test_a_mirror_that_a_build_holds_stays(here: Shell) -> None:
    held = lies(here, "git/held.1", days=40)
    with (held.parent / f"{held.stem}.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ran = here.run("cache", "prune")
    assert "in use, and stays: repositories: 1" in ran.stderr
    assert left(here) == [f"{called('git/held.1')}/objects/pack"]


def test_one_app_s_caches_are_nothing_of_this_machine(here: Shell) -> None:
    lies(here, "digests/any", days=40)
    assert here.run("cache", "prune", "--app", "shop").status == 0
    assert left(here) == [called("digests/any")]


def test_all_leaves_nothing_to_choose(here: Shell) -> None:
    ran = here.run("cache", "prune", "--all", "--app", "shop")
    assert (ran.status, ran.stdout) == (2, "")
    assert "--all leaves nothing to choose" in ran.stderr


def test_what_is_not_called_as_ours_is_never_shown_nor_removed(here: Shell) -> None:
    others = [
        "git/linux-6.1",
        "images/holidays.jpg",
        "images/dd.json",
        "digests/notes.txt",
        "lfs/model.bin",
        "mail/inbox",
    ]
    for path in others:
        puts(here, path, days=400)
    assert here.run("cache", "info", "-o", "json").stdout.strip() == "[]"
    assert here.run("cache", "prune", "--all").status == 0
    assert left(here) == sorted(path if path != others[0] else f"{path}/objects/pack" for path in others)


def test_each_image_that_was_taken_out_of_an_engine_is_shown_and_goes_by_itself(here: Shell) -> None:
    place = here.home / ".cache/s2ictl/bases"
    layers = [packed({"etc/hello": bytes([number]) * 4000}) for number in range(2)]
    with shelf.opened(place) as kept:
        for number, layer in enumerate(layers):
            facts = ImageFacts(id=oci.digest_of(config_of([layer])))
            kept.keep(facts, iter((saved([layer]),)), name=f"s2ictl/jar:2{number}")
    rows = json.loads(here.run("cache", "info", "-o", "json").stdout)
    assert sorted((row["kind"], row["what"]) for row in rows) == [("base", "s2ictl/jar:20"), ("base", "s2ictl/jar:21")]
    assert sum(row["size"] for row in rows) == sum(path.stat().st_size for path in (place / "blobs/sha256").iterdir())
    assert here.run("cache", "prune").status == 0
    assert len(shelf.kept(place)) == 2
    assert here.run("cache", "prune", "--all").status == 0
    assert (shelf.kept(place), list((place / "blobs/sha256").iterdir())) == ((), [])


def test_images_that_a_build_stands_on_right_now_stay(here: Shell) -> None:
    place = here.home / ".cache/s2ictl/bases"
    with shelf.opened(place) as kept:
        kept.keep(ImageFacts(id=oci.digest_of(config_of([]))), iter((saved([]),)), name="s2ictl/jar:21")
        ran = here.run("cache", "prune", "--all")
    assert "in use, and stays: s2ictl/jar:21" in ran.stderr
    assert len(shelf.kept(place)) == 1


def has_images(here: Shell) -> Path:
    """A store with an image that was pulled, and one that was built here under two names."""
    place = here.home / ".local/state/s2ictl/images"
    with images.opened(place, unpacker=lambda: Unpacking(place)) as store:
        store.load(iter((saved([packed({"base": b"b" * 3000})], names=["base:1"]),)))
        store.keep(picture(packed({"app": b"a" * 2000})), (Reference.parse("app"), Reference.parse("app:2")))
        store.keep(picture(packed({"libraries": b"l"})), (Reference.parse("s2ictl/dependencies:abc"),))
    return place


def names(place: Path) -> tuple[str, ...]:
    with images.opened(place, unpacker=lambda: Unpacking(place)) as store:
        return store.names()


def test_the_images_of_the_engine_without_a_daemon_are_shown(here: Shell) -> None:
    place = has_images(here)
    rows = json.loads(here.run("cache", "info", "-o", "json").stdout)
    assert sorted((row["kind"], row["what"]) for row in rows) == [
        ("dependencies", "s2ictl/dependencies:abc"),
        ("image", "app:latest, app:2"),
        ("image", "base:1"),
    ]
    stored = sum(path.stat().st_size for path in (place / "oci/blobs/sha256").iterdir())
    assert sum(row["size"] for row in rows) == stored


def test_an_image_that_was_built_here_goes_only_by_its_name(here: Shell) -> None:
    place = has_images(here)
    assert here.run("cache", "prune", "--all").status == 0
    assert names(place) == ("app:2", "app:latest")
    ran = here.run("cache", "prune", "--image", "app", "-o", "json")
    assert [row["what"] for row in json.loads(ran.stdout)["removed"]] == ["app:latest, app:2"]
    assert (names(place), list((place / "oci/blobs/sha256").iterdir())) == ((), [])


def test_an_image_is_chosen_by_its_id_and_one_that_is_not_there_is_said(here: Shell) -> None:
    place = has_images(here)
    (image,) = (each for each in images.kept(place) if each.names == ("base:1",))
    assert here.run("cache", "prune", "--image", image.name[7:19]).status == 0
    assert "base:1" not in names(place)
    ran = here.run("cache", "prune", "--image", "base:1", "--image", "app")
    assert (ran.status, "there is no image base:1 on this machine" in ran.stderr) == (5, True)
    assert "app:latest" in names(place)


def test_no_image_is_taken_from_who_uses_any(here: Shell) -> None:
    place = has_images(here)
    with images.opened(place, unpacker=lambda: Unpacking(place)) as store:
        assert store.held("app") is not None
        ran = here.run("cache", "prune", "--image", "app")
    assert "in use, and stays: app:latest, app:2" in ran.stderr
    assert "app:latest" in names(place)


def test_an_image_is_named_alone(here: Shell) -> None:
    ran = here.run("cache", "prune", "--image", "app", "--older-than", "7d")
    assert (ran.status, "--image names what is to go" in ran.stderr) == (2, True)
