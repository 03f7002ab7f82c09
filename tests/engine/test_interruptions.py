"""Builds that are cut off at any moment and in any way, and what remains of them: nothing.

A build goes through all its steps here (fetched over http, detected scripts, assembled, pushed), and is ended at a
moment drawn from a fixed seed. `make test` does twenty of them, `make soak` two hundred.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import s2ictl
from tests import testbed
from tests.engine import gitservers, tiny
from tests.engine.ownengine import OwnEngine, own_engine

ROOT = Path(s2ictl.__file__).parent.parent
BUILDER = "interrupted/builder:1"
LABELS = ("LABEL io.openshift.s2i.scripts-url=image:///usr/libexec/s2i", "USER user", "ENV PATH=/bin")
ASSEMBLE = tiny.script("for i in 1 2 3 4 5 6 7 8; do echo part $i; sleep 0.1; done; mv /tmp/src/* /opt/app/")
WAYS = ("INT", "TERM", "KILL", "pipe", "engine")
MARK = "S2ICTL_TEST_INTERRUPTED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """Everything that a build could leave behind, on the engine and on this machine."""

    containers: tuple[str, ...]
    volumes: tuple[str, ...]
    nameless: tuple[str, ...]
    files: tuple[str, ...]
    processes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A place to build in, again and again: an engine, a forge, a registry, and directories that can be counted."""

    engine: OwnEngine
    api: Any
    source: str
    registry: str
    root: Path

    def start(self, name: str, **how: Any) -> subprocess.Popen[bytes]:
        words = ("build", self.source, BUILDER, f"{self.registry}/interrupted/{name}", "--push", "--build-env", "A=b")
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.root / "home"),
            "PYTHONPATH": str(ROOT),
            "TMPDIR": str(self.root / "tmp"),
            "S2ICTL_CACHE": str(self.root / "cache"),
            "S2ICTL_STATE": str(self.root / "state"),
            "DOCKER_HOST": self.engine.docker_host,
            MARK: str(self.root),
        }
        return subprocess.Popen([sys.executable, "-m", "s2ictl", *words], cwd=self.root, env=environ, **how)

    def build(self, name: str) -> str:
        """A build that nobody interrupts; answers the reference that it gives."""
        with self.start(name, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            stdout, stderr = process.communicate(timeout=60)
        assert process.returncode == 0, stderr.decode()
        return stdout.decode().strip()

    def interrupt(self, name: str, way: str, after: float) -> int:
        """Begin a build, end it so after so many seconds, and answer how it ended."""
        with self.start(name, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            assert process.stderr is not None
            with suppress(subprocess.TimeoutExpired):
                process.wait(after)
            match way:
                case "pipe":
                    process.stderr.close()
                case "engine":
                    self.engine.kill()
                case _:
                    process.send_signal(signal.Signals[f"SIG{way}"])
            if not process.stderr.closed:
                process.stderr.read()
            return process.wait(timeout=60)

    def census(self) -> Census:
        return Census(
            containers=tuple(name for each in self.api.containers(all=True) for name in each["Names"]),
            volumes=tuple(volume["Name"] for volume in self.api.volumes()["Volumes"] or ()),
            nameless=tuple(image["Id"] for image in self.api.images(filters={"dangling": True})),
            files=tuple(sorted(map(str, _left_over(self.root)))),
            processes=tuple(_descendants(str(self.root))),
        )

    def tags(self) -> set[str]:
        return {name for image in self.api.images() for name in image["RepoTags"] or () if "/interrupted/" in name}


def _left_over(root: Path) -> Iterator[Path]:
    yield from (root / "tmp").iterdir()
    for pattern in (".new-*", "**/tmp_*", "**/refs/**/*.lock", "**/shallow.lock", "**/.askpass-*"):
        yield from (root / "cache").glob(pattern)
        yield from (root / "cache" / "git").glob(pattern)


def _descendants(mark: str) -> Iterator[str]:
    """The command lines of processes that were started with our mark in their environment."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                if f"{MARK}={mark}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                    yield (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")


@pytest.fixture(scope="module")
def field(registry_facts: testbed.Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    root = tmp_path_factory.mktemp("interrupted")
    for name in ("home", "tmp", "cache", "state"):
        (root / name).mkdir()
    files = {f"src/{number}.txt": f"{number}\n" * 200 for number in range(100)} | {"big.txt": "0123456789" * 400_000}
    shop = gitservers.repository(root / "git" / "shop", files)
    with ExitStack() as stack:
        engine = stack.enter_context(own_engine())
        api = engine.api()
        stack.callback(api.close)
        stack.enter_context(
            tiny.imported(api, BUILDER, tiny.rootfs({"assemble": ASSEMBLE, "run": tiny.script("true")}), *LABELS)
        )
        server = stack.enter_context(gitservers.web(root / "git"))
        yield Field(engine=engine, api=api, source=f"{server.url}/{shop.name}", registry=registry_facts.open, root=root)


def test_an_interrupted_build_leaves_nothing(field: Field, soak: bool) -> None:
    began = time.monotonic()
    field.build("whole")
    whole = time.monotonic() - began
    moments = random.Random(4)  # noqa: S311  (the same moments in every run)
    before = field.census()
    assert before == Census(containers=(), volumes=(), nameless=(), files=(), processes=())
    for number in range(200 if soak else 20):
        way, after = WAYS[number % len(WAYS)], moments.uniform(0.05, whole)
        status = field.interrupt(f"n{number}", way, after)
        assert status in EXPECTED[way], (number, way, after)
        if way == "engine":
            field.engine.start()
        if way in ("engine", "KILL"):
            # What a process that was killed left, or an engine that was gone kept, the next build takes away.
            field.build(f"next{number}")
        assert field.census() == before, (number, way, after, status)
    for tag in field.tags():
        facts = field.api.inspect_image(tag)
        assert "io.openshift.s2i.build.commit.id" in facts["Config"]["Labels"], tag


EXPECTED = {
    "INT": {0, 130},
    "TERM": {0, 143},
    "KILL": {0, -signal.SIGKILL},
    "pipe": {0, 141},
    "engine": {0, 8, 10},
}
