"""Finished artifacts into a registry: beside the older tool and a push, and beside a bare upload of the bytes."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench import ground
from tests.bench.goals import Goal, Measured, beside
from tests.bench.timing import S2ICTL, Times, alternate, weighed
from tests.engine import tiny
from tests.fakes.images import program

PEER, PUSHER, UPLOADER = "s2i", "docker", "curl"
ABSENT = f"`{PEER}`, `{PUSHER}` and `{UPLOADER}` are not all on PATH, so there is nothing to compare with"
OF_AN_UPLOAD, LARGEST = 1.5, 60
CLASS = b"\xca\xfe\xba\xbe\x00\x00\x00\x41" + bytes(16)  # begins as a class for Java 21 does; nobody runs it

# An upload in one piece, as the protocol has it for whoever knows the digest.
_UPLOAD = """
set -e
answer=$(curl -sSf -X POST -D - -o /dev/null "http://$REGISTRY/v2/bench/curl/blobs/uploads/")
place=$(printf '%s' "$answer" | tr -d '\\r' | sed -n 's/^[Ll]ocation: //p')
curl -sSf -o /dev/null -H 'Content-Type: application/octet-stream' -T "$ARTIFACT" "$place&digest=$(cat "$DIGEST")"
"""
_PEER = """
set -e
s2i build --copy --pull-policy never -q "$DIRECTORY" "$BUILDER" "$REGISTRY/bench/theirs:1" >/dev/null
docker push -q "$REGISTRY/bench/theirs:1" >/dev/null
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A finished artifact of so many bytes, and the part of the other tool's time that it may take."""

    name: str
    file: str
    size: int
    turns: int
    limit: float

    def make(self, place: Path) -> None:
        """Lay it down anew; its bytes are random, so that nobody has them yet and nothing makes them fewer."""
        noise = os.urandom(self.size)
        if self.file.endswith("binary"):
            place.write_bytes(program() + noise)
            place.chmod(0o755)
            return
        with zipfile.ZipFile(place, "w") as archive:
            if self.file.endswith("war"):
                archive.writestr("WEB-INF/web.xml", "<web-app/>")
                archive.writestr("WEB-INF/classes/App.class", CLASS)
            else:
                archive.writestr("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\r\nMain-Class: App\r\n\r\n")
                archive.writestr("App.class", CLASS)
            archive.writestr("noise.bin", noise)


KINDS = (
    Kind(name="20 MB jar", file="app.jar", size=20_000_000, turns=9, limit=0.12),
    Kind(name="200 MB war", file="app.war", size=200_000_000, turns=5, limit=0.10),
    Kind(name="15 MB program", file="binary", size=15_000_000, turns=9, limit=0.12),
)


def measured() -> Iterator[Measured]:
    able = all(map(shutil.which, (PEER, PUSHER, UPLOADER)))
    with ground.engine() as host, ground.registry() as registry, ground.client(host) as api, ground.builder(api):
        base = f"{registry}/bench/base:1"
        _push_base(api, base)
        for kind in KINDS:
            with tempfile.TemporaryDirectory(prefix="s2ictl-bench-") as directory:
                bench = Bench(kind=kind, place=Path(directory), registry=registry, base=base, host=host, able=able)
                yield from bench.measured(remove=partial(tiny.remove_named, api, f"{registry}/bench/theirs"))
        tiny.remove_named(api, base)


def _push_base(api: Any, name: str) -> None:
    """What the artifacts are put upon: small, and in the registry already, as a base is after the first time."""
    settings = ("ENV PATH=/bin", "ENV CATALINA_HOME=/opt/tomcat", "USER 1001", "WORKDIR /opt/app")
    with tiny.imported(api, name, tiny.rootfs({"run": tiny.script("true")}), *settings):
        api.push(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """One kind of artifact, which is another one at each turn."""

    kind: Kind
    place: Path
    registry: str
    base: str
    host: str
    able: bool

    def measured(self, *, remove: Callable[[], None]) -> Iterator[Measured]:
        print(f"\nb2i of a {self.kind.name} into a registry, {self.kind.turns} turns each, base present")
        self._renew()
        times = alternate(self._commands(), self.kind.turns, self._environment(), after=partial(self._turned, remove))
        print(*times, sep="\n")
        yield from self._compared({each.name: each for each in times})
        goal = Goal(what=f"memory for b2i of a {self.kind.name}", unit="MB", limit=LARGEST)
        weight = weighed(self._ours(), self._environment()).largest
        yield Measured(goal=goal, value=weight, why=f"{weight - LARGEST:,.0f} MB more than the limit")

    def _commands(self) -> dict[str, Sequence[str]]:
        commands: dict[str, Sequence[str]] = {"s2ictl": self._ours()}
        if self.able:
            commands |= {PEER: ("sh", "-c", _PEER), UPLOADER: ("sh", "-c", _UPLOAD)}
        return commands

    def _ours(self) -> Sequence[str]:
        base = "scratch" if self.kind.file == "binary" else self.base
        name = f"{self.registry}/bench/ours:1"
        return (
            *S2ICTL,
            "b2i",
            "-q",
            str(self._artifact),
            "--base",
            base,
            "--tag",
            name,
            "--push",
            "--engine",
            "append",
        )

    @property
    def _artifact(self) -> Path:
        return self.place / "source" / self.kind.file

    def _turned(self, remove: Callable[[], None]) -> None:
        remove()
        self._renew()

    def _renew(self) -> None:
        self._artifact.parent.mkdir(exist_ok=True)
        self.kind.make(self._artifact)
        with self._artifact.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        (self.place / "digest").write_text(f"sha256:{digest}")

    def _environment(self) -> Mapping[str, str]:
        return {
            "DOCKER_HOST": self.host,
            "S2ICTL_STATE": str(self.place / "state"),
            "REGISTRY": self.registry,
            "BUILDER": ground.BUILDER,
            "DIRECTORY": str(self._artifact.parent),
            "ARTIFACT": str(self._artifact),
            "DIGEST": str(self.place / "digest"),
        }

    def _compared(self, times: Mapping[str, Times]) -> Iterator[Measured]:
        for name, limit in ((PEER, self.kind.limit), (UPLOADER, OF_AN_UPLOAD)):
            what = f"b2i of a {self.kind.name}, beside " + ("a bare upload" if name == UPLOADER else f"{name} and push")
            goal = Goal(what=what, unit="ratio", limit=limit)
            if name not in times:
                yield Measured(goal=goal, value=None, why=ABSENT)
                continue
            ours, theirs = times["s2ictl"].median, times[name].median
            yield Measured(goal=goal, value=ours / theirs, why=beside(ours, theirs, limit=limit))
