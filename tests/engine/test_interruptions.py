"""Builds that are cut off at any moment and in any way, and what remains of them: nothing.

A build goes through all its steps here (fetched over http, detected scripts, assembled, pushed; incremental, with
secrets and injected files, onto a runtime image), and is ended at a moment drawn from a fixed seed. `make test` does
twenty of them, `make soak` two hundred.
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
BUILDER, RUNTIME = "interrupted/builder:1", "interrupted/runtime:1"
USER = ("USER user", "ENV PATH=/bin", 'CMD ["true"]')
LABELS = (*USER, "LABEL io.openshift.s2i.scripts-url=image:///usr/libexec/s2i")
SCRIPTS = {
    "assemble": "for i in 1 2 3 4 5 6 7 8; do echo part $i; sleep 0.1; done; mv /tmp/src/* /opt/app/",
    "save-artifacts": "sleep 0.3; tar -cf - -C /opt/app big.txt",
    "run": "true",
}
KINDS = {
    "pushed": ("--push", "--build-env", "A=b"),
    "incremental": ("--incremental", "--rm"),
    "handed": ("--secret", "id=token,src=token.txt", "--inject", "keys:/etc/keys"),
    "runtime": ("--runtime-image", RUNTIME, "--runtime-artifact", "/opt/app/big.txt:."),
}
EXPECTED = {  # before its first line has run, Python ends as signals end whoever knows nothing of them
    "INT": {0, 130, -signal.SIGINT},
    "TERM": {0, 143, -signal.SIGTERM},
    "HUP": {0, 143, -signal.SIGHUP},
    "INT INT": {0, 130, -signal.SIGINT},
    "TERM INT": {0, 130, 143, -signal.SIGTERM},
    "KILL": {0, -signal.SIGKILL},
    "pipe": {0, 141},
    "engine": {0, 8, 10},
}
WAYS = tuple(EXPECTED)
# What nobody had the time to take away is the next build's to take away, by the name that it has.
LEAVES_IT_TO_THE_NEXT = ("INT INT", "TERM INT", "KILL", "engine")
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

    def start(self, name: str, kind: str, **how: Any) -> subprocess.Popen[bytes]:
        # The incremental ones go on from each other: whose name is taken over at the end has to go.
        tag = f"{self.registry}/interrupted/{'again' if kind == 'incremental' else name}"
        words = ("build", self.source, BUILDER, tag, "--force", *KINDS[kind])  # or there would be nothing to interrupt
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

    def build(self, name: str, kind: str) -> float:
        """A build that nobody interrupts; answers how long it took."""
        began = time.monotonic()
        with self.start(name, kind, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            _, stderr = process.communicate(timeout=60)
        assert process.returncode == 0, stderr.decode()
        return time.monotonic() - began

    def interrupt(self, name: str, kind: str, way: str, *, after: float, again: float) -> tuple[int, str]:
        """Begin a build, end it so after so many seconds, and answer how it ended and what it said."""
        with self.start(name, kind, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            assert process.stderr is not None
            with suppress(subprocess.TimeoutExpired):
                process.wait(after)
            match way:
                case "pipe":
                    process.stderr.close()
                case "engine":
                    self.engine.kill()
                case _:
                    for number, each in enumerate(way.split()):
                        time.sleep(again * number)
                        process.send_signal(signal.Signals[f"SIG{each}"])
            said = "" if process.stderr.closed else process.stderr.read().decode()
            return process.wait(timeout=60), said

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
    (root / "token.txt").write_text("canary")
    (root / "keys").mkdir()
    (root / "keys" / "key.pem").write_text("canary")
    shop = gitservers.repository(root / "git" / "shop", files)
    with ExitStack() as stack:
        engine = stack.enter_context(own_engine())
        api = engine.api()
        stack.callback(api.close)
        scripts = {name: tiny.script(text) for name, text in SCRIPTS.items()}
        stack.enter_context(tiny.imported(api, BUILDER, tiny.rootfs(scripts), *LABELS))
        stack.enter_context(tiny.imported(api, RUNTIME, tiny.rootfs({}), *USER))
        server = stack.enter_context(gitservers.web(root / "git"))
        yield Field(engine=engine, api=api, source=f"{server.url}/{shop.name}", registry=registry_facts.open, root=root)


def test_an_interrupted_build_leaves_nothing(field: Field, soak: bool) -> None:
    whole = {kind: field.build(f"whole-{kind}", kind) for kind in KINDS}
    moments = random.Random(4)  # noqa: S311  (the same moments in every run)
    before = field.census()
    assert before == Census(containers=(), volumes=(), nameless=(), files=(), processes=())
    for number in range(200 if soak else 20):
        way, kind = WAYS[number % len(WAYS)], list(KINDS)[(number + number // len(WAYS)) % len(KINDS)]
        after, again = moments.uniform(0.05, whole[kind]), moments.uniform(0.0, 0.3)
        status, said = field.interrupt(f"n{number}", kind, way, after=after, again=again)
        run = f"{number}: {way} of {kind} after {after:.3f} and {again:.3f} s ended with {status}\n{said}"
        assert status in EXPECTED[way], run
        assert "Traceback" not in said or status < 0, run
        if way == "engine":
            field.engine.start()
        if way in LEAVES_IT_TO_THE_NEXT:
            field.build(f"next{number}", kind)
        assert field.census() == before, run
    for tag in field.tags():
        facts = field.api.inspect_image(tag)
        assert "io.openshift.s2i.build.commit.id" in facts["Config"]["Labels"], tag
