"""The samples of our own builders: a first build, a second with what the first has left, and what a push then sends."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s2ictl.builders import Folder, load_all, shelf
from s2ictl.dependencies import image_of
from s2ictl.labels import DEPENDENCIES
from tests.bench import ground
from tests.bench.goals import Goal, Measured, beside
from tests.bench.timing import ROOT, S2ICTL, timed
from tests.engine import tiny

AGAIN = 0.4
# What adds a line to a program and changes nothing of what it does.
COMMENTS = {".py": "# changed", ".js": "// changed", ".java": "// changed", ".go": "// changed", ".html": "<!-- -->"}
_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


def measured() -> Iterator[Measured]:
    with ground.engine() as host, ground.registry() as registry, ground.client(host) as api:
        for folder in load_all(shelf(ROOT / "s2ictl")):
            with tempfile.TemporaryDirectory(prefix="s2ictl-bench-") as directory:
                bench = Bench(
                    folder=folder,
                    directory=Path(directory),
                    repository=f"{registry}/bench/{folder.name}-{os.urandom(4).hex()}",
                    environment={"DOCKER_HOST": host, "S2ICTL_STATE": f"{directory}/state"},
                    api=api,
                )
                yield from bench.measured()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """One builder's sample, in a directory that no build has seen: so its caches are empty."""

    folder: Folder
    directory: Path
    repository: str
    environment: Mapping[str, str]
    api: Any

    def measured(self) -> Iterator[Measured]:
        print(f"\nsample of {self.folder.name}")
        try:
            self._build("known", 0)  # the builder itself is made here, where it is not here yet
            first = self._build("sample", 1)
            whole = self._pushed(1)
            change(self.directory / "sample")
            second = self._build("sample", 2)
            later = self._pushed(2)
        finally:
            self._forget()
        print(f"first {first * 1000:,.0f} ms, second {second * 1000:,.0f} ms")
        yield again(self.folder, first, second)
        yield from sent(self.folder, whole, later)

    def _forget(self) -> None:
        """Leave nothing behind: neither the images nor what was kept for the next build of these directories."""
        images = [image for image in self.api.images(name=self.repository) if image["RepoTags"]]
        kept = {image["Labels"][DEPENDENCIES] for image in images if DEPENDENCIES in (image["Labels"] or {})}
        tiny.remove_named(self.api, f"{self.repository}:", *(str(image_of(digest)) for digest in kept))
        for name in ("known", "sample"):
            timed((*S2ICTL, "cache", "prune", "-q", "--app", str(self.directory / name)), self.environment)

    def _build(self, name: str, tag: int) -> float:
        """Build the sample in the directory of this name; a value that is nobody else's keeps earlier benches out."""
        place = self.directory / name
        if not place.is_dir():
            shutil.copytree(self.folder.path / "sample", place)
        words = ("build", "--copy", "-q", str(place), self.folder.name, f"{self.repository}:{tag}")
        return timed((*S2ICTL, *words, "--env", f"BENCH={self.repository}-{name}"), self.environment)

    def _pushed(self, tag: int) -> dict[str, int]:
        """The layers of an image in the registry, with their sizes there."""
        for said in self.api.push(self.repository, str(tag), stream=True, decode=True):
            if "error" in said:
                raise SystemExit(f"could not push {self.repository}:{tag}: {said['error']}")
        host, _, path = self.repository.partition("/")
        asked = urllib.request.Request(f"http://{host}/v2/{path}/manifests/{tag}", headers={"Accept": _MANIFEST})
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return {layer["digest"]: layer["size"] for layer in json.load(answer)["layers"]}


def change(source: Path) -> None:
    """Add a line to the first program of a source."""
    program = next(path for path in sorted(source.rglob("*")) if path.suffix in COMMENTS)
    with program.open("a") as file:
        file.write(f"{COMMENTS[program.suffix]}\n")


def again(folder: Folder, first: float, second: float) -> Measured:
    """The second build beside the first; a builder that downloads nothing has nothing to gain."""
    limit = AGAIN if folder.blueprint.caches else None
    goal = Goal(what=f"second build of {folder.name}'s sample, beside the first", unit="ratio", limit=limit)
    return Measured(goal=goal, value=second / first, why=beside(second, first, limit=AGAIN))


def sent(folder: Folder, whole: Mapping[str, int], later: Mapping[str, int]) -> Iterator[Measured]:
    """What the registry lacks after a change of one line, of all that the image has: its application, and no more."""
    new = {digest: size for digest, size in later.items() if digest not in whole}
    what = f"a changed line of {folder.name}'s sample"
    why = f"{len(new)} of its {len(later)} layers are others now"
    yield Measured(goal=Goal(what=f"layers pushed after {what}", unit="", limit=1), value=len(new), why=why)
    goal = Goal(what=f"bytes of them, of {sum(later.values()):,}", unit="bytes")
    yield Measured(goal=goal, value=sum(new.values()))
