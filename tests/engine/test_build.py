"""The build story as it is typed, on real containers and a real registry: what it answers and what it leaves."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import s2ictl
from s2ictl.models import Reference
from s2ictl.registry import Repository
from s2ictl.transport import Transport
from tests import testbed
from tests.cli import Ran, Shell, shell
from tests.engine import grounds, tiny
from tests.engine.grounds import Ground, on_docker
from tests.engine.proxy import Proxy, running

BUILDER = "build-story/builder:1"
LABELS = ("LABEL io.openshift.s2i.scripts-url=image:///usr/libexec/s2i", "USER user", "ENV PATH=/bin")
ASSEMBLE = tiny.script("echo assembling; mv /tmp/src/* /opt/app/")
RUN = tiny.script('cat /opt/app/hello.txt; echo "$GREETING"')
ROOT = Path(s2ictl.__file__).parent.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """A directory with a source in it, and the engine that a build would find from there."""

    shell: Shell
    ground: Ground

    def type(self, *words: str) -> Ran:
        return self.shell.run(*words)

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        """A build in a process of its own, whose assemble runs and does not end."""
        self.brings("assemble", "echo running; sleep 300")
        # Whoever runs the tests behind a shell's & has them ignore Ctrl-C.
        heard = ["env", "--default-signal=INT"]
        command = [*heard, sys.executable, "-m", "s2ictl", "build", ".", BUILDER, "build-story/stopped:1"]
        environ = {**self.shell.environ, "PYTHONPATH": str(ROOT)}
        said = self.shell.home / "said"
        with said.open("wb") as file:
            process = subprocess.Popen(command, cwd=self.shell.cwd, env=environ, stderr=file)
        try:
            _wait_for("running\n", said, process)
            yield process
        finally:
            try:
                process.wait(timeout=20)
            finally:
                process.kill()
                process.wait()

    def brings(self, script: str, text: str) -> Path:
        """Put a script into the source."""
        path = self.shell.cwd / ".s2i" / "bin" / script
        path.parent.mkdir(parents=True)
        path.write_bytes(tiny.script(text))
        return path

    def containers(self) -> list[str]:
        return self.ground.standing(BUILDER)

    def output_of(self, image: str) -> str:
        return grounds.output_of(self.ground, image)


@pytest.fixture
def desk(ground: Ground, api: Any, tmp_path: Path) -> Iterator[Desk]:
    filesystem = tiny.rootfs({"assemble": ASSEMBLE, "run": RUN})
    with ExitStack() as stack:
        stack.enter_context(tiny.imported(api, BUILDER, filesystem, *LABELS))
        stack.callback(
            tiny.remove_named, api, "build-story/app", "build-story/canary", "/build-story/", "build-story/next"
        )
        ground.take(BUILDER)
        made = shell(tmp_path, **ground.environ)
        (made.cwd / "hello.txt").write_text("hello\n")
        yield Desk(shell=made, ground=ground)


def test_a_directory_becomes_an_image_that_runs(desk: Desk) -> None:
    done = desk.type("build", ".", BUILDER, "build-story/app:1", "-e", "GREETING=hi")
    assert (done.status, done.stdout) == (0, "build-story/app:1\n")
    assert done.stderr.splitlines()[-1] == "Build completed successfully"
    assert desk.output_of("build-story/app:1") == "hello\nhi\n"


def test_without_a_name_the_answer_is_the_image_s_id(desk: Desk) -> None:
    image = desk.type("build", ".", BUILDER).stdout.strip()
    assert desk.output_of(image) == "hello\n\n"
    desk.ground.forget(image)


def test_a_commit_is_in_the_labels_and_uncommitted_work_is_not_in_the_image(desk: Desk) -> None:
    commit = committed(desk.shell.cwd)
    (desk.shell.cwd / "hello.txt").write_text("later\n")
    answer = json.loads(desk.type("build", ".", BUILDER, "build-story/app:git", "-o", "json").stdout)
    labels = grounds.facts_of(desk.ground, "build-story/app:git").labels
    assert (answer["commit"], labels["io.openshift.s2i.build.commit.id"]) == (commit, commit)
    assert labels["io.openshift.s2i.build.commit.message"] == "Say hello"
    assert desk.output_of("build-story/app:git") == "hello\n\n"


def committed(directory: Path) -> str:
    def git(*words: str) -> str:
        who = ["-c", "user.name=T", "-c", "user.email=t@example.com"]
        done = subprocess.run(["git", *who, *words], cwd=directory, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init", "--quiet", "--initial-branch=main")
    git("add", ".")
    git("commit", "--quiet", "--message", "Say hello")
    return git("rev-parse", "HEAD")


def test_a_push_is_answered_with_the_digest_and_written_where_asked(
    desk: Desk, registry_facts: testbed.Registry
) -> None:
    name = f"{registry_facts.open}/build-story/pushed:1"
    done = desk.type("build", ".", BUILDER, name, "--push", "--force", "--result-file", "result.json")
    result = json.loads((desk.shell.cwd / "result.json").read_text())
    assert done.stdout == f"{name}@{result['digest']}\n"
    steps = [step["name"] for step in result["steps"] if step["name"] != "keep"]  # the builder's layers, but once
    assert steps == ["fetch", "choose builder", "assemble", "deliver"]


def test_several_tags_are_one_push_of_the_layers_and_one_digest(desk: Desk, registry_facts: testbed.Registry) -> None:
    with running(Proxy(upstream=registry_facts.open)) as proxy:
        names = [f"{proxy.address}/build-story/tags:{tag}" for tag in ("1.4", "1", "latest")]
        tags = [word for name in names for word in ("--tag", name)]
        done = desk.type("build", ".", "--builder", BUILDER, *tags, "--push", "--force", "-o", "json")
        said = json.loads(done.stdout)
        assert (said["tags"], said["image"]) == (names, f"{names[0]}@{said['digest']}")
        # Ours; the builder's, unless the registry is known to have it; the configuration, if sent as layers are.
        assert sum(step.method == "PATCH" for step in proxy.seen) in (1, 2, 3)
        with Transport({}, emit=lambda _: None) as transport:
            found = [
                Repository(Reference.parse(name), transport=transport, logins=no_login).resolve() for name in names
            ]
    assert found == [said["digest"]] * 3


def no_login(_: str) -> None:
    """The registry is open."""


def test_a_refused_push_says_that_no_login_was_found(desk: Desk, registry_facts: testbed.Registry) -> None:
    done = desk.type("build", ".", BUILDER, f"{registry_facts.closed}/build-story/closed:1", "--push")
    assert (done.status, done.stdout) == (4, "")
    assert f"no login for {registry_facts.closed} was found" in done.stderr
    assert "Build completed successfully" not in done.stderr


def test_a_failed_assemble_is_exit_7_with_its_last_lines(desk: Desk) -> None:
    desk.brings("assemble", "echo no luck; exit 42")
    done = desk.type("build", ".", BUILDER, "build-story/failed:1")
    assert (done.status, done.stdout) == (7, "")
    assert "error: assemble ended with 42 (AssembleFailed)" in done.stderr
    assert "why:  no luck" in done.stderr
    assert desk.containers() == []


def test_no_canary_of_the_user_s_mirrors_is_in_the_image(desk: Desk) -> None:
    mirrored = Desk(
        shell=Shell(
            cwd=desk.shell.cwd,
            home=desk.shell.home,
            environ={**desk.shell.environ, "PIP_INDEX_URL": "https://u:canary-1@mirror/simple", "MINE": "canary-2"},
        ),
        ground=desk.ground,
    )
    desk.brings("assemble", 'test -n "$PIP_INDEX_URL" && test "$MINE" = "canary""-2"')
    done = mirrored.type("build", ".", BUILDER, "build-story/canary:1", "--build-env", "MINE")
    assert done.status == 0, done.stderr
    content = grounds.saved(desk.ground, "build-story/canary:1")
    assert b"canary-1" not in content
    assert b"canary-2" not in content


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_build_that_is_stopped_leaves_nothing(desk: Desk, number: signal.Signals, status: int) -> None:
    with desk.running() as process:
        process.send_signal(number)
    assert process.returncode == status
    assert desk.containers() == []


@on_docker
def test_what_a_killed_build_left_is_swept_by_the_next(desk: Desk) -> None:
    with desk.running() as process:
        process.kill()
    assert len(desk.containers()) == 1
    (desk.shell.cwd / ".s2i" / "bin" / "assemble").unlink()
    assert desk.type("build", ".", BUILDER, "build-story/next:1").status == 0
    assert desk.containers() == []


def _wait_for(text: str, said: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while text not in said.read_text():
        assert time.monotonic() < deadline, said.read_text()
        assert process.poll() is None, said.read_text()
        time.sleep(0.05)
