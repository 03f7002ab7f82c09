"""The store with the engine's own helper: what it unpacks is what a container sees, and nothing of it stays that was
not whole, be it wrong, too much, or of somebody who was killed."""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from s2ictl import images, oci
from s2ictl.engines.embedded.wardens import Warden, warden
from s2ictl.errors import LimitReached, PullBuilderImageFailed
from s2ictl.images import Store
from s2ictl.models import Reference
from tests.cli import shell
from tests.embedded.rooms import PATIENCE, is_root, remains, tar_of
from tests.fakes.carried import saved
from tests.fakes.published import NAME, published

REPOSITORY = Path(__file__).parents[2]
ROUNDS = 8
CHANCE = random.Random(11)  # noqa: S311  (the same each time)

# Loads an image of which the first layer is large, unpacks it and forgets it, again and again.
BUSY = """
import os, sys
from pathlib import Path
from s2ictl import images
from s2ictl.engines.embedded.wardens import warden

place, archive = map(Path, sys.argv[1:])
while True:
    with (
        warden(place, rootless=os.geteuid() != 0) as helper,
        images.opened(place, unpacker=lambda: helper) as store,
    ):
        print("again", flush=True)
        image = store.load(iter((archive.read_bytes(),))).id
        with helper.chamber("killed-in-the-store", store.trees(image, lambda _: None)):
            store.remove(image)
"""


@dataclass(frozen=True)
class Stock:
    store: Store
    warden: Warden


@contextmanager
def stocked(place: Path) -> Iterator[Stock]:
    with (
        warden(place, rootless=not is_root()) as helper,
        images.opened(place, unpacker=lambda: helper) as store,
    ):
        yield Stock(store, helper)


@pytest.fixture
def place(daemonless: None, tmp_path: Path) -> Path:
    return tmp_path / "images"


def left(place: Path) -> dict[str, list[str]]:
    """What lies there that is no part of an empty store."""
    parts = ("oci/blobs/sha256", "layers", "locks", "chambers")
    return {part: names for part in parts if (names := sorted(path.name for path in (place / part).iterdir()))}


def quiet(_: object) -> None:
    """Nobody looks on."""


def test_what_a_container_sees_is_all_layers_with_what_they_delete(place: Path) -> None:
    lower = tar_of({"etc/greeting": b"hello", "etc/gone": b"gone", "opt/old": b"old"})
    upper = tar_of({"etc/.wh.gone": b"", "opt/.wh..wh..opq": b"", "opt/new": b"new"})
    with stocked(place) as stock:
        stock.store.pull(published(lower, upper), NAME, quiet)
        with stock.warden.chamber("seen", stock.store.trees(str(NAME), quiet)) as chamber:
            paths = ("/etc/greeting", "/etc/gone", "/opt/old", "/opt/new")
            assert [chamber.read(path, 100) for path in paths] == [b"hello", None, None, b"new"]


def test_trees_of_other_users_are_measured_and_go_with_their_image(place: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, kind, owner in (("locked", tarfile.DIRTYPE, 1234), ("locked/file", tarfile.REGTYPE, 77)):
            member = tarfile.TarInfo(path)
            member.type, member.mode, member.uid, member.gid = kind, 0, owner, owner
            member.size = 3000 if kind == tarfile.REGTYPE else 0
            tar.addfile(member, io.BytesIO(bytes(3000)))
    with stocked(place) as stock:
        image = stock.store.load(iter((saved([buffer.getvalue()]),))).id
        stock.store.trees(image, quiet)
        (tree,) = (each for each in images.kept(place) if each.kind == "tree")
        assert tree.size == 3000
        stock.store.remove(image)
    assert left(place) == {}


def test_trees_are_shown_and_pruned_by_a_command(daemonless: None, tmp_path: Path) -> None:
    here = shell(tmp_path, DOCKER_HOST=f"unix://{tmp_path}/none.sock", PATH=os.environ["PATH"])
    place = here.home / ".local/state/s2ictl/images"
    with stocked(place) as stock:
        image = stock.store.load(iter((saved([tar_of({"locked/file": bytes(3000)})], names=["base:1"]),))).id
        stock.store.trees(image, quiet)
    rows = json.loads(here.run("cache", "info", "-o", "json").stdout)
    assert [(row["kind"], row["what"]) for row in rows] == [("image", "base:1"), ("image", "layers, unpacked: 1")]
    assert rows[1]["size"] == 3000
    pruned = here.run("cache", "prune", "--all")
    assert (pruned.status, left(place)) == (0, {}), pruned.stderr


@pytest.mark.parametrize("wrong", ["another tar", "no tar", "climbing"])
def test_a_layer_that_is_not_what_it_should_be_is_refused_and_nothing_of_it_stays(wrong: str, place: Path) -> None:
    tar = tar_of({"../../../../../climbed": b"out"})
    base = {
        "another tar": published(tar_of({"it": b"1"}), plain=(tar_of({"it": b"2"}),)),
        "no tar": published(b"this is no tar at all" * 100),
        "climbing": published(tar),
    }[wrong]
    with stocked(place) as stock:
        stock.store.pull(base, NAME, quiet)
        with pytest.raises(PullBuilderImageFailed):
            stock.store.trees(str(NAME), quiet)
    assert left(place) == {}
    assert list(place.parent.rglob("climbed")) == []


def wanted(store: Store, base: oci.Base) -> None:
    store.pull(base, NAME, quiet)
    store.trees(str(NAME), quiet)


@pytest.fixture
def small(daemonless: None, tmp_path: Path) -> Iterator[Path]:
    """A place with room for little."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", tmp_path], check=True)
    try:
        yield tmp_path / "images"
    finally:
        subprocess.run(["umount", tmp_path], check=True)


@pytest.mark.skipif(not is_root(), reason="an ordinary user mounts nothing")
@pytest.mark.parametrize(
    "base",
    [published(tar_of({"it": CHANCE.randbytes(5 << 20)})), published(tar_of({"it": bytes(20 << 20)}))],
    ids=["while it is fetched", "while it is unpacked"],
)
def test_where_there_is_no_room_it_is_said_and_what_was_there_before_is_all_that_stays(
    base: oci.Base, small: Path
) -> None:
    with stocked(small) as stock:
        stock.store.pull(published(tar_of({"before": b"b"})), Reference.parse("before"), quiet)
        stock.store.trees("before", quiet)
    before, free = left(small), os.statvfs(small).f_bavail
    with stocked(small) as stock:
        with pytest.raises(LimitReached) as failure:
            wanted(stock.store, base)
        if stock.store.held(str(NAME)):
            stock.store.forget(str(NAME))
    assert failure.value.exit_code == 11
    assert left(small) == before
    assert os.statvfs(small).f_bavail >= free


def test_killed_at_any_moment_it_works_for_the_next_and_nothing_is_left_behind(place: Path, tmp_path: Path) -> None:
    archive = tmp_path / "saved"
    archive.write_bytes(saved([tar_of({f"file {number}": CHANCE.randbytes(50_000) for number in range(60)})]))
    for number in range(ROUNDS):
        process = subprocess.Popen(
            [sys.executable, "-c", BUSY, str(place), str(archive)],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            stdout=subprocess.PIPE,
        )
        with process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline()
                time.sleep(CHANCE.uniform(0, 0.3))  # any moment is as good as another: nothing is waited for
            finally:
                process.kill()
        with stocked(place) as stock:
            image = stock.store.load(iter((archive.read_bytes(),))).id
            assert len(stock.store.trees(image, quiet)) == 1, f"round {number}"
            stock.store.remove(image)
        until = time.monotonic() + PATIENCE  # the dead one's helper clears up by itself
        while (remaining := remains(place, mark="killed-in-the-store")) and time.monotonic() < until:
            time.sleep(0.02)
        assert (left(place), remaining) == ({}, []), f"round {number}"
