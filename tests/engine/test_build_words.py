"""What `build` and `rebuild` do beside the image, as it is typed and on a real engine: run it, tell of it, write it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests import testbed
from tests.cli import Shell, shell
from tests.engine import tiny
from tests.fakes.receiver import receiving

BUILDER = "build-words/builder:1"
APP = "build-words/app:1"
INSTRUCTIONS = ("LABEL io.openshift.s2i.scripts-url=image:///usr/libexec/s2i", "USER 1001", "ENV PATH=/bin")
ASSEMBLE = tiny.script("mv /tmp/src/* /opt/app/; cat /run/secrets/* >/opt/app/seen 2>/dev/null; true")
RUN = tiny.script('echo "$GREETING from $(cat /opt/app/hello.txt)"; echo "and more" >&2')


@pytest.fixture(scope="module")
def api(engine_facts: testbed.Engine) -> Iterator[Any]:
    import docker

    client = docker.APIClient(base_url=engine_facts.docker_host, version="auto")
    with ExitStack() as stack:
        stack.callback(client.close)
        stack.callback(tiny.remove_named, client, "build-words/")
        stack.enter_context(
            tiny.imported(client, BUILDER, tiny.rootfs({"assemble": ASSEMBLE, "run": RUN}), *INSTRUCTIONS)
        )
        yield client


@pytest.fixture
def typed(engine_facts: testbed.Engine, api: Any, tmp_path: Path) -> Shell:
    made = shell(tmp_path, DOCKER_HOST=engine_facts.docker_host, FIRST="canary-1")
    (made.cwd / "hello.txt").write_text("hello\n")
    return made


def test_run_shows_what_the_image_prints_and_ends_with_it(typed: Shell) -> None:
    done = typed.run("build", ".", BUILDER, APP, "-e", "GREETING=hi", "--run")
    assert (done.status, done.stdout) == (0, f"{APP}\n"), done.stderr
    after = done.stderr.partition("Build completed successfully\n")[2]
    assert ("hi from hello" in after, "and more" in after) == (True, True)


def test_whoever_waits_is_told_of_both_ends(typed: Shell) -> None:
    with receiving() as receiver:
        url = f"http://{receiver.host}/done"
        assert typed.run("build", ".", BUILDER, APP, "--label", "team=shop", "--callback-url", url).status == 0
        assert typed.run("build", ".", "build-words/none:1", APP, "-p", "never", "--callback-url", url).status == 6
    good, bad = (json.loads(told.body) for told in receiver.told)
    assert (good["success"], good["image"], good["labels"]["team"]) == (True, APP, "shop")
    assert (bad["success"], bad["reason"], bad["exit"]) == (False, "PullBuilderImageFailed", 6)


def test_every_build_is_remembered_with_the_number_that_it_answers(typed: Shell) -> None:
    answer = json.loads(typed.run("build", ".", BUILDER, APP, "-o", "json").stdout)
    assert typed.run("build", ".", "build-words/none:1", APP, "-p", "never").status == 6
    listed = json.loads(typed.run("builds", "list", "-o", "json").stdout)
    assert [(each["app"], each["kind"], each["state"]) for each in listed] == [
        ("app", "build", "failed"),
        ("app", "build", "succeeded"),
    ]
    assert answer["build"] == listed[1]["id"]
    assert {step["name"]: step["cached"] for step in answer["steps"]}["choose builder"] is True


def test_the_recipe_is_written_instead_of_an_image(typed: Shell, api: Any) -> None:
    done = typed.run("build", ".", BUILDER, "build-words/unmade:1", "--as-dockerfile", "out/Dockerfile")
    assert (done.status, done.stdout) == (0, f"{typed.cwd / 'out' / 'Dockerfile'}\n"), done.stderr
    assert f"FROM {BUILDER.partition(':')[0]}" in (typed.cwd / "out" / "Dockerfile").read_text()
    assert api.images("build-words/unmade") == []


def test_a_secret_is_seen_by_assemble_and_is_in_nothing_after_it(typed: Shell, api: Any) -> None:
    script = typed.cwd / ".s2i" / "bin" / "assemble"
    script.parent.mkdir(parents=True)
    script.write_bytes(tiny.script('test "$(cat /run/secrets/one)$(cat /run/secrets/two)" = canary"-1"canary"-2"'))
    (typed.cwd / ".s2iignore").write_text("token\n")
    (typed.cwd / "token").write_text("canary-2")
    done = typed.run("build", ".", BUILDER, APP, "--secret", "id=one,env=FIRST", "--secret", "id=two,src=token")
    assert done.status == 0, done.stderr
    content = b"".join(api.get_image(APP))
    assert (b"canary-1" in content, b"canary-2" in content) == (False, False)


def test_rebuild_makes_the_image_again_of_its_source_as_it_is_now(typed: Shell, api: Any) -> None:
    assert typed.run("build", ".", BUILDER, APP, "-e", "GREETING=hi", "--label", "team=shop").status == 0
    (typed.cwd / "hello.txt").write_text("later\n")
    planned = typed.run("rebuild", APP, "--dry-run")
    assert f"builder   {BUILDER}" in planned.stdout.replace("docker.io/", ""), planned.stderr
    done = typed.run("rebuild", APP, "build-words/again:1", "--run")
    assert (done.status, done.stdout) == (0, "build-words/again:1\n"), done.stderr
    assert "hi from later" in done.stderr
    assert api.inspect_image("build-words/again:1")["Config"]["Labels"]["team"] == "shop"
    assert json.loads(typed.run("builds", "list", "-o", "json").stdout)[0]["kind"] == "rebuild"


def test_an_image_that_is_nowhere_cannot_be_rebuilt(typed: Shell) -> None:
    done = typed.run("rebuild", "build-words/none:1", "-p", "never")
    assert (done.status, done.stdout) == (5, "")
    assert "error: there is no image build-words/none:1 (ImageNotFound)" in done.stderr


def test_what_the_flags_say_of_the_container_is_so_in_it(typed: Shell, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "note").write_text("shared")
    (typed.cwd / "settings").write_text("injected")
    script = typed.cwd / ".s2i" / "bin" / "assemble"
    script.parent.mkdir(parents=True)
    script.write_bytes(tiny.script(CHECKS))
    words = (
        *("--volume", f"{shared}:/shared:ro", "--add-host", "db:192.0.2.7", "--network", "none", "--cap-drop", "chown"),
        *(
            "--memory",
            "64m",
            "--cpus",
            "0.5",
            "--timeout",
            "1m",
            "-i",
            "settings:/opt/conf/",
            "--build-env",
            "HOW=by hand",
        ),
        *("-u", "1000-1999", "-E", "vars", "-d", "/opt/app/work", "--exclude", "[.]log$"),
    )
    (typed.cwd / "vars").write_text("FROM_FILE=1\n")
    (typed.cwd / "noise.log").write_text("x")
    done = typed.run("build", ".", BUILDER, APP, *words)
    assert done.status == 0, done.stderr


CHECKS = """
set -e
test "$(cat /shared/note)" = shared
! touch /shared/more 2>/dev/null
grep -q "192.0.2.7.*db" /etc/hosts
test "$(cat /opt/conf/settings)" = injected
test "$HOW" = "by hand"
test "$FROM_FILE" = 1
test "$(id -u)" = 1001
test -f /opt/app/work/src/hello.txt
! test -e /opt/app/work/src/noise.log
test "$(cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null)" = 67108864
"""
