"""What a build on real containers leaves in the ledger, when it ends and when it is killed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import s2ictl
from tests import testbed
from tests.cli import Shell, shell
from tests.engine import tiny

BUILDER = "kept-records/builder:1"
LABELS = (
    f"LABEL io.openshift.s2i.scripts-url=image://{tiny.SCRIPTS}",
    "USER user",
    "ENV PATH=/bin",
    "WORKDIR /opt/app",
)
SCRIPTS = {
    "assemble": tiny.script("echo assembling; mv /tmp/src/* /opt/app/"),
    "run": tiny.script("exec cat hello.txt"),
}


@pytest.fixture
def typed(engine_facts: testbed.Engine, api: Any, tmp_path: Path) -> Iterator[Shell]:
    with ExitStack() as stack:
        stack.enter_context(tiny.imported(api, BUILDER, tiny.rootfs(SCRIPTS), *LABELS))
        stack.callback(tiny.remove_named, api, "kept-records/app", "/kept-records/")
        made = shell(tmp_path, DOCKER_HOST=engine_facts.docker_host)
        (made.cwd / "hello.txt").write_text("hello\n")
        yield made


def _shown(typed: Shell) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(typed.run("builds", "show", "last", "-o", "json").stdout)
    return found


def test_a_build_is_shown_again_with_its_image_its_output_and_its_steps(typed: Shell, api: Any) -> None:
    made = json.loads(typed.run("build", ".", BUILDER, "kept-records/app:1", "--force", "-o", "json").stdout)
    shown, log = _shown(typed), typed.run("builds", "logs", "last").stdout.splitlines()
    assert (shown["id"], shown["app"], shown["state"], shown["tags"]) == (
        *(made["build"], "app", "succeeded", ["kept-records/app:1"]),
    )
    assert shown["image"] == made["id"] == api.inspect_image("kept-records/app:1")["Id"]
    assert [(step["name"], step["seconds"]) for step in shown["steps"] if step["name"] in ("fetch", "assemble")] == [
        (step["name"], step["seconds"]) for step in made["steps"] if step["name"] in ("fetch", "assemble")
    ]
    assert "  | assembling" in log
    assert log[-1] == "Build completed successfully"


def test_a_build_that_was_killed_at_work_is_dead_and_its_log_says_how_far_it_came(typed: Shell) -> None:
    (typed.cwd / ".s2i" / "bin").mkdir(parents=True)
    (typed.cwd / ".s2i" / "bin" / "assemble").write_bytes(tiny.script("echo running; sleep 300"))
    command = [sys.executable, "-m", "s2ictl", "build", ".", BUILDER, "kept-records/app:1", "-q"]
    environ = {**typed.environ, "PYTHONPATH": str(Path(s2ictl.__file__).parent.parent)}
    with subprocess.Popen(command, cwd=typed.cwd, env=environ) as process:
        _until_it_says(typed, "  | running")
        assert _shown(typed)["state"] == "running"
        process.kill()
    shown = _shown(typed)
    assert (shown["state"], shown["reason"]) == ("dead", "its process ended without a word")
    assert [(step["name"], step["failed"]) for step in shown["steps"]][-1] == ("assemble", True)
    (typed.cwd / ".s2i" / "bin" / "assemble").unlink()
    assert typed.run("build", ".", BUILDER, "kept-records/app:1", "--force").status == 0  # and its container is swept


def _until_it_says(typed: Shell, line: str) -> None:
    deadline = time.monotonic() + 20
    while line not in typed.run("builds", "logs", "last").stdout.splitlines():
        assert time.monotonic() < deadline
        time.sleep(0.1)
