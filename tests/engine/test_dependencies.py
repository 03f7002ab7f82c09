"""Lock files installed in a layer of their own, as it is typed: what runs, what is found again, what is pushed."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import s2ictl
from s2ictl.models import ImageFacts
from tests import testbed
from tests.cli import Ran, Shell, shell
from tests.engine import grounds, tiny
from tests.engine.grounds import Ground

HOME = "dependencies-story"
BUILDER, APP = f"{HOME}/builder:1", f"{HOME}/app:1"
ROOT = Path(s2ictl.__file__).parent.parent
LABELS = (
    "LABEL io.openshift.s2i.scripts-url=image:///usr/libexec/s2i",
    'LABEL "io.s2ictl.builder.dependencies"="*.lock package.json"',
    "USER user",
    "ENV PATH=/bin",
    "WORKDIR /opt/app",
)
INSTALL = """
echo installing $(ls -A /tmp/src) at $SOURCE_DATE_EPOCH for $MODE
mkdir /opt/app/installed && cat /tmp/src/*.lock >/opt/app/installed/all
"""
ASSEMBLE = """
test -e /opt/app/installed/all || { echo installing here; mkdir /opt/app/installed; }
echo assembling; cp /tmp/src/app.txt /opt/app/
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    shell: Shell
    ground: Ground

    def builder(self, install: str = INSTALL, assemble: str = ASSEMBLE) -> None:
        scripts = {"dependencies": install, "assemble": assemble, "run": "cat app.txt installed/all"}
        scripts["assemble-runtime"] = "true"
        filesystem = tiny.rootfs({name: tiny.script(text) for name, text in scripts.items()})
        grounds.made(self.ground, BUILDER, filesystem, *LABELS)

    def write(self, path: str, text: str) -> None:
        (self.shell.cwd / path).write_text(text)

    def build(self, *words: str, status: int = 0) -> Ran:
        done = self.shell.run("build", ".", BUILDER, APP, *words)
        assert done.status == status, done.stderr
        return done

    def layers(self, name: str = APP) -> list[str]:
        return list(self.facts(name).layers)

    def facts(self, name: str = APP) -> ImageFacts:
        return grounds.facts_of(self.ground, name)

    def installed(self, name: str = APP) -> str:
        """The image of the dependencies that an app stands on."""
        return f"s2ictl/dependencies:{self.facts(name).labels['io.s2ictl.dependencies']}"


@pytest.fixture
def desk(ground: Ground, api: Any, tmp_path: Path) -> Iterator[Desk]:
    made = shell(tmp_path, **ground.environ)
    desk = Desk(shell=made, ground=ground)
    with ExitStack() as stack:
        before = {name for image in api.images("s2ictl/dependencies") for name in image["RepoTags"] or ()}
        stack.callback(_forget_installed, api, before, marker := str(uuid.uuid4()))
        stack.callback(tiny.remove_named, api, f"{HOME}/", f"/{HOME}/")
        desk.builder()
        desk.write("a.lock", f"{marker}\n")
        desk.write("package.json", "{}")
        desk.write("app.txt", "hello\n")
        (made.cwd / "lib").mkdir()
        desk.write("lib/b.lock", "not in the root")
        yield desk


def _forget_installed(api: Any, before: set[str], marker: str) -> None:
    """Those of this test: others make some at the same time."""
    for image in api.images("s2ictl/dependencies"):
        for name in set(image["RepoTags"] or ()) - before:
            if marker.encode() in b"".join(api.get_image(name)):
                api.remove_image(name)


def ran(done: Ran) -> list[str]:
    """What the scripts have said."""
    lines = (line.removeprefix("  | ") for line in done.stderr.splitlines())
    return [line for line in lines if line.startswith(("installing", "assembling"))]


def test_the_result_is_builder_dependencies_application_and_a_small_change_makes_the_last_anew(desk: Desk) -> None:
    first = desk.build("-o", "json")
    assert ran(first) == ["installing a.lock package.json at 315532800 for", "assembling"]
    layers = desk.layers()
    assert len(layers) == len(desk.layers(BUILDER)) + 2
    assert desk.layers(desk.installed()) == layers[:-1]
    desk.write("app.txt", "changed\n")
    second = desk.build("-o", "json")
    assert ran(second) == ["assembling"]
    assert (desk.layers()[:-1], desk.layers()[-1] != layers[-1]) == (layers[:-1], True)
    steps = [(step["name"], step["cached"]) for step in json.loads(second.stdout)["steps"]]
    assert ("dependencies", True) in steps
    assert grounds.output_of(desk.ground, APP).startswith("changed\n")


def test_another_lock_file_is_installed_and_one_below_is_not_looked_at(desk: Desk) -> None:
    desk.build()
    desk.write("lib/b.lock", "changed")
    assert ran(desk.build()) == ["assembling"]
    desk.write("c.lock", "more\n")
    assert ran(desk.build())[0].startswith("installing a.lock c.lock package.json")


def test_without_a_cache_they_are_installed_anew_and_alike(desk: Desk) -> None:
    desk.build()
    name = desk.installed()
    assert len(ran(desk.build("--no-cache"))) == 2
    assert desk.installed() == name
    assert ran(desk.build("--force")) == ["assembling"]


def test_what_the_result_says_of_itself_is_the_builder_s_and_the_user_s_word(desk: Desk) -> None:
    desk.build("-e", "MODE=prod")
    builder, installed, result = map(desk.facts, (BUILDER, desk.installed(), APP))
    assert (installed.env, installed.user, installed.command) == (builder.env, "user", builder.command)
    assert result.env == (*builder.env, "MODE=prod")
    assert result.command == ("/usr/libexec/s2i/run",)
    assert result.labels["io.openshift.s2i.build.image"] == f"docker.io/{BUILDER}"
    assert installed.labels.keys() - builder.labels.keys() == {"io.s2ictl.dependencies"}


def test_variables_and_secrets_of_the_build_are_there_and_in_no_layer(desk: Desk) -> None:
    desk.builder(install='test "$(cat /run/secrets/npm)$TOKEN" = ca""naryca""nary && mkdir /opt/app/installed')
    secret = desk.shell.home / "secret"
    secret.write_text("canary")
    desk.build("--secret", f"id=npm,src={secret}", "--build-env", "TOKEN=canary")
    for name in (desk.installed(), APP):
        assert b"canary" not in grounds.saved(desk.ground, name)
    desk.ground.forget(desk.installed())


def test_the_first_of_two_containers_stands_on_them(desk: Desk) -> None:
    words = (
        "--runtime-image",
        BUILDER,
        "--runtime-artifact",
        "/opt/app/installed:.",
        "--runtime-artifact",
        "/opt/app/app.txt",
    )
    done = desk.build(*words)
    assert len(ran(done)) == 2
    assert len(desk.layers()) == len(desk.layers(BUILDER)) + 1
    desk.write("app.txt", "changed\n")
    assert ran(desk.build(*words)) == ["assembling"]
    assert grounds.output_of(desk.ground, APP).startswith("changed\n")


def test_a_script_that_fails_ends_the_build_and_leaves_nothing(desk: Desk) -> None:
    desk.builder(install="echo installing; echo no such package >&2; exit 3")
    done = desk.build(status=7)
    assert "dependencies ended with 3 (AssembleFailed)" in done.stderr
    assert "try:  build it by hand with --keep" in done.stderr
    assert desk.ground.standing(BUILDER) == []
    assert APP not in desk.ground.engine.names()


def test_two_builds_that_need_the_same_install_it_once(desk: Desk) -> None:
    desk.builder(install=f"sleep 1{INSTALL}")
    command = [sys.executable, "-m", "s2ictl", "build", ".", BUILDER]
    environ = {**desk.shell.environ, "PYTHONPATH": str(ROOT)}
    both = [
        subprocess.Popen(
            [*command, f"{HOME}/app:{tag}"], cwd=desk.shell.cwd, env=environ, stderr=subprocess.PIPE, text=True
        )
        for tag in ("1", "2")
    ]
    said = [process.communicate(timeout=60)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert "".join(said).count("installing a.lock") == 1
    assert desk.layers(f"{HOME}/app:1")[:-1] == desk.layers(f"{HOME}/app:2")[:-1]


def test_a_push_sends_the_application_s_layer_alone(desk: Desk, registry_facts: testbed.Registry) -> None:
    name = f"{registry_facts.open}/{HOME}/app:1"
    assert desk.shell.run("build", ".", BUILDER, name, "--push").status == 0
    desk.write("app.txt", "changed\n")
    done = desk.shell.run("-v", "build", ".", BUILDER, name, "--push")
    assert (done.status, ran(done)) == (0, ["assembling"])
    assert desk.ground.engine.facts(name, pull="always", login=None, emit=lambda _: None)
    assert desk.layers(name)[:-1] == desk.layers(desk.installed(name))


# ---------------------------------------------------------------------------------------------- the same once more


TOUCHED = "cp /tmp/src/app.txt /opt/app/ && find /opt/app -exec touch -h -d @$SOURCE_DATE_EPOCH {} +"
TOUCHED_TOO = "mkdir /opt/app/installed && find /opt/app -exec touch -h -d @$SOURCE_DATE_EPOCH {} +"


def test_what_is_the_same_twice_is_said_to_be(desk: Desk) -> None:
    desk.builder(install=TOUCHED_TOO, assemble=TOUCHED)
    done = desk.build("--check-reproducible")
    assert f"the same again: {len(desk.layers())} layers, the last is {desk.layers()[-1]}" in done.stderr
    assert done.stderr.splitlines()[-1] == "Build completed successfully"
    desk.ground.forget(desk.installed())


@pytest.mark.parametrize("script", ["install", "assemble"])
def test_what_differs_is_told_and_keeps_its_name(desk: Desk, script: str) -> None:
    drifting = "; cat /proc/sys/kernel/random/uuid >/opt/app/drift; touch -d @$SOURCE_DATE_EPOCH /opt/app/drift"
    scripts = {"install": TOUCHED_TOO, "assemble": TOUCHED}
    scripts[script] += f"{drifting} /opt/app"
    desk.builder(**scripts)
    done = desk.build("--check-reproducible", status=7)
    assert "two builds of the same are not alike: 1 path differs (NotReproducible)" in done.stderr
    assert "/opt/app/drift: content" in done.stderr
    assert len(desk.layers()) == len(desk.layers(BUILDER)) + 2
    desk.ground.forget(desk.installed())
