"""What befalls a build from outside: whoever reads it leaves, others want its name, the clock jumps."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

import s2ictl
from tests import testbed
from tests.cli import Shell, shell
from tests.engine import tiny
from tests.parts import need

ROOT = Path(s2ictl.__file__).parent.parent
BUILDER, APP = "build-faults/builder:1", "build-faults/app:1"
LABELS = ("LABEL io.openshift.s2i.scripts-url=image:///usr/libexec/s2i", "USER user", "ENV PATH=/bin")
SCRIPTS = {"assemble": tiny.script("mv /tmp/src/* /opt/app/"), "run": tiny.script("true")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """A source, and where builds of it are started as processes of their own."""

    shell: Shell
    api: Any
    builder: str

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-m", "s2ictl", "build", ".", BUILDER, APP]

    @property
    def environ(self) -> dict[str, str]:
        return {**self.shell.environ, "PYTHONPATH": str(ROOT)}

    def brings(self, assemble: str) -> None:
        """Have the source bring a script of its own."""
        path = self.shell.cwd / ".s2i" / "bin" / "assemble"
        path.parent.mkdir(parents=True)
        path.write_bytes(tiny.script(assemble))

    def start(self, *words: str, **environ: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        everything = {**self.environ, **environ}
        command = [*self.command, *words]
        return subprocess.Popen(command, cwd=self.shell.cwd, env=everything, stdout=pipe, stderr=pipe, text=True)

    def containers(self) -> list[str]:
        return [each["Id"] for each in self.api.containers(all=True, filters={"ancestor": self.builder})]

    def made(self) -> list[str]:
        """All images that were ever committed from a container of the builder, and are still there."""
        return [each["Id"] for each in self.api.images(all=True) if each["ParentId"] == self.builder]


@pytest.fixture
def desk(engine_facts: testbed.Engine, api: Any, tmp_path: Path) -> Iterator[Desk]:
    with ExitStack() as stack:
        builder = stack.enter_context(tiny.imported(api, BUILDER, tiny.rootfs(SCRIPTS), *LABELS))
        stack.callback(tiny.remove_named, api, APP)
        made = shell(tmp_path, DOCKER_HOST=engine_facts.docker_host)
        (made.cwd / "hello.txt").write_text("hello\n")
        yield Desk(shell=made, api=api, builder=builder)


def test_a_reader_who_has_seen_enough_ends_the_build_and_nothing_is_left(desk: Desk) -> None:
    desk.brings("while true; do echo and so on; sleep 0.05; done")
    script = '{ "$@"; echo $? >status; } 2>&1 | head -1'
    command = ["sh", "-c", script, "sh", *desk.command]
    said = subprocess.run(command, cwd=desk.shell.cwd, env=desk.environ, stdout=subprocess.PIPE, text=True, timeout=60)
    assert (said.stdout, (desk.shell.cwd / "status").read_text()) == (
        "docker: as S2ICTL_ENGINE says\n",
        "141\n",
    )
    assert (desk.containers(), desk.made()) == ([], [])


def test_builds_of_one_name_at_once_all_end_well_and_leave_one_image(desk: Desk, soak: bool) -> None:
    builds = [desk.start("--rm", "--force") for _ in range(20 if soak else 6)]
    said = [build.communicate(timeout=120) for build in builds]
    assert [(build.returncode, out) for build, (out, _) in zip(builds, said, strict=True)] == [
        (0, f"{APP}\n") for _ in builds
    ], said
    assert desk.made() == [desk.api.inspect_image(APP)["Id"]]
    assert desk.containers() == []


# Neither what is usual for it nor a namespace will do: the one disturbs sleeping too, the other has no time of day.
CLOCK = r"""
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
static time_t ahead(void) {
    long seconds = 0;
    FILE *file = fopen(getenv("AHEAD"), "r");
    if (file && fscanf(file, "%ld", &seconds) != 1) seconds = 0;
    if (file) fclose(file);
    return seconds;
}
int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = syscall(SYS_clock_gettime, clock, now);
    if (clock == CLOCK_REALTIME) now->tv_sec += ahead();
    return result;
}
time_t time(time_t *also) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return also ? *also = now.tv_sec : now.tv_sec;
}
"""
TEN_YEARS = 10 * 365 * 24 * 3600


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that gives whoever loads it a time of day that jumps."""
    need("gcc", "libc6-dev")
    library = tmp_path_factory.mktemp("clock") / "clock.so"
    command = ["gcc", "-shared", "-fPIC", "-o", str(library), "-x", "c", "-"]
    subprocess.run(command, input=CLOCK, text=True, check=True)
    return library


@pytest.mark.parametrize("jump", [3600, -3600, TEN_YEARS, -TEN_YEARS])
def test_a_clock_that_jumps_changes_no_duration_and_hinders_no_build(desk: Desk, clock: Path, jump: int) -> None:
    ahead = desk.shell.home / "ahead"
    ahead.write_text("0")
    desk.brings("echo running; sleep 1")
    began = time.monotonic()
    with desk.start("--result-file", "result.json", LD_PRELOAD=str(clock), AHEAD=str(ahead)) as process:
        assert process.stderr is not None
        while "running" not in process.stderr.readline():
            assert process.poll() is None
        ahead.write_text(str(jump))
        process.communicate(timeout=60)
    spent = time.monotonic() - began
    assert process.returncode == 0
    result = json.loads((desk.shell.cwd / "result.json").read_text())
    assert 1 < result["seconds"] < spent
    assert all(0 <= step["seconds"] < spent for step in result["steps"])
    shown = json.loads(desk.shell.run("builds", "show", "last", "-o", "json").stdout)
    kept = datetime.fromisoformat(shown["finished"]) - datetime.fromisoformat(shown["started"])
    assert 0 <= kept.total_seconds() <= spent + 1
    assert desk.containers() == []
