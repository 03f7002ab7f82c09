"""The store when several processes use it at once, and when one is killed at any moment: real processes, real locks."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from s2ictl import images
from s2ictl.images.trees import chain_ids
from s2ictl.models import Reference
from tests.fakes.carried import packed, saved
from tests.fakes.unpacker import Unpacking

REPOSITORY = Path(__file__).parents[1]
ROUNDS = 12

# Takes images in and unpacks them, and says each time what it begins with.
BUSY = """
import itertools, sys
from pathlib import Path
from s2ictl import images
from s2ictl.models import Reference
from tests.fakes.unpacker import Unpacking

place, *archives = map(Path, sys.argv[1:])
for number, archive in enumerate(itertools.cycle(archives)):
    with images.opened(place, unpacker=lambda: Unpacking(place)) as store:
        print(number, flush=True)
        image = store.load(iter((archive.read_bytes(),)), (Reference.parse(f"app:{number % 2}"),)).id
        store.trees(image, lambda _: None)
        if number % 3 == 2:
            store.forget(f"app:{number % 2}")
"""

# Unpacks one image; whoever is the first waits until the other waits for him.
PATIENT = """
import sys, time
from pathlib import Path
from s2ictl import images
from tests.fakes.unpacker import Unpacking

place, waiting, made, image = map(Path, sys.argv[1:])

class Slow(Unpacking):
    def unpack(self, tar, *, on, to):
        while not waiting.exists():
            time.sleep(0.01)
        with made.open("a") as log:
            log.write(f"{to}\\n")
        return super().unpack(tar, on=on, to=to)

with images.opened(place, unpacker=lambda: Slow(place)) as store:
    print("ready", flush=True)
    sys.stdin.readline()
    print(*store.trees(str(image), lambda _: waiting.touch()))
"""


def archive(tmp_path: Path, name: str, *layers: bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(saved(layers, settings={"Labels": {"is": name}}))
    return path


@contextmanager
def running(program: str, *words: object) -> Iterator[subprocess.Popen[str]]:
    """A process of this Python, which is gone when the context ends; it has said its first line."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, words)],
        cwd=REPOSITORY,
        env={"PYTHONPATH": str(REPOSITORY), "PATH": os.environ["PATH"]},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline()
            yield process
        finally:
            process.kill()


def there(place: Path) -> dict[str, set[str]]:
    return {part: {path.name for path in (place / part).iterdir()} for part in ("oci/blobs/sha256", "layers", "locks")}


def named(place: Path) -> dict[str, set[str]]:
    """What the index leads to, and so all that may be there."""
    blobs, trees = set(), set()
    for entry in json.loads((place / "oci/index.json").read_bytes())["manifests"]:
        manifest = json.loads((place / "oci/blobs/sha256" / entry["digest"][7:]).read_bytes())
        config = json.loads((place / "oci/blobs/sha256" / manifest["config"]["digest"][7:]).read_bytes())
        blobs |= {each["digest"][7:] for each in (entry, manifest["config"], *manifest["layers"])}
        trees |= set(chain_ids(config["rootfs"]["diff_ids"]))
    return {"oci/blobs/sha256": blobs, "layers": trees, "locks": trees}


def test_of_two_that_want_the_same_trees_one_makes_them_and_the_other_waits(tmp_path: Path) -> None:
    place, waiting, made = tmp_path / "images", tmp_path / "waiting", tmp_path / "made"
    file = archive(tmp_path, "it", packed({"one": b"1"}), packed({"two": b"2"}))
    with images.opened(place, unpacker=lambda: Unpacking(place)) as store:
        image = store.load(iter((file.read_bytes(),)), (Reference.parse("it"),)).id
    words = (PATIENT, place, waiting, made, image)
    with running(*words) as one, running(*words) as other:
        for process in (one, other):
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        said = [process.communicate(timeout=60)[0] for process in (one, other)]
    assert said[0] == said[1] != ""
    top, bottom = said[0].split()
    assert made.read_text().split() == [f"{bottom}.partial", f"{top}.partial"]
    assert there(place)["layers"] == {top, bottom}


def test_eight_at_once_lose_no_image_and_leave_nothing_else(tmp_path: Path) -> None:
    place, shared = tmp_path / "images", packed({"shared": b"s" * 5000})
    program = """
import sys
from pathlib import Path
from s2ictl import images
from s2ictl.models import Reference
from tests.fakes.unpacker import Unpacking
place, archive, name = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
print("ready", flush=True)
sys.stdin.readline()
for _ in range(5):
    with images.opened(place, unpacker=lambda: Unpacking(place)) as store:
        store.load(iter((archive.read_bytes(),)), (Reference.parse(name),))
        store.trees(name, lambda _: None)
"""
    files = [archive(tmp_path, str(number), shared, packed({str(number): b"x"})) for number in range(8)]
    processes = []
    for number, file in enumerate(files):
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(place), str(file), f"app:{number}"],
            cwd=REPOSITORY,
            env={"PYTHONPATH": str(REPOSITORY)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            process.communicate("go\n", timeout=60)
        assert [process.returncode for process in processes] == [0] * 8
    finally:
        for process in processes:
            process.kill()
    with images.opened(place, unpacker=lambda: Unpacking(place)) as store:
        assert store.names() == tuple(f"app:{number}" for number in range(8))
    assert there(place) == named(place)


def test_killed_at_any_moment_it_works_for_the_next_and_nothing_is_left_behind(tmp_path: Path) -> None:
    place, chance = tmp_path / "images", random.Random(7)  # noqa: S311  (the same moments each time)
    shared = packed({"shared": chance.randbytes(200_000)})
    files = [archive(tmp_path, str(number), shared, packed({"own": chance.randbytes(300_000)})) for number in range(3)]
    for number in range(ROUNDS):
        with running(BUSY, place, *files):
            time.sleep(chance.uniform(0, 0.12))  # any moment is as good as another: nothing is waited for
        with images.opened(place, unpacker=lambda: Unpacking(place)) as store:
            for name in store.names():
                assert store.held(name) is not None, f"round {number}"
            image = store.load(iter((files[0].read_bytes(),)), (Reference.parse("mine"),)).id
            assert len(store.trees(image, lambda _: None)) == 2
        left, wanted = there(place), named(place)
        assert left["oci/blobs/sha256"] == wanted["oci/blobs/sha256"], f"round {number}"
        assert left["locks"] == left["layers"] <= wanted["layers"], f"round {number}"
        assert {path.name for path in tmp_path.iterdir()} == {"images", "0", "1", "2"}


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_tree_that_somebody_was_killed_over_is_made_by_the_next(moment: str, tmp_path: Path) -> None:
    place = tmp_path / "images"
    file = archive(tmp_path, "it", packed({"one": b"1"}))
    program = f"""
import os, signal, sys
from pathlib import Path
from s2ictl import images
from tests.fakes.unpacker import Unpacking
place, archive = map(Path, sys.argv[1:])
class Dying(Unpacking):
    def unpack(self, tar, *, on, to):
        size = super().unpack(tar, on=on, to=to) if {moment == "after"} else (self.store / "layers" / to).mkdir()
        print("now", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
with images.opened(place, unpacker=lambda: Dying(place)) as store:
    store.trees(store.load(iter((archive.read_bytes(),))).id, lambda _: None)
"""
    with running(program, place, file) as process:
        assert process.wait(60) == -9
    assert [name.endswith(".partial") for name in there(place)["layers"]] == [True]
    with images.opened(place, unpacker=lambda: Unpacking(place)) as store:
        (tree,) = store.trees(store.load(iter((file.read_bytes(),)), (Reference.parse("it"),)).id, lambda _: None)
    assert (place / "layers" / tree / "one").read_bytes() == b"1"
    assert there(place) == named(place)
