"""Builders as they are typed, on real containers: a new one works as it is written, and any image tells of itself."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import testbed
from tests.cli import Ran, Shell, shell
from tests.engine import tiny

FOREIGN, SILENT, PLAIN = "builders-test/foreign:1", "builders-test/silent:1", "builders-test/plain:1"
LABELS = ("LABEL io.openshift.s2i.scripts-url=image:///usr/libexec/s2i io.k8s.display-name=Foreign", "USER user")
USAGE = tiny.script("printf 'first \\033[31mred\\n'; echo aside >&2; echo last")


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """A directory to type in, and the engine that is found from there."""

    shell: Shell
    api: Any

    def type(self, *words: str) -> Ran:
        return self.shell.run("builders", *words)

    def created(self, image: str) -> str:
        return str(self.api.inspect_image(image)["Created"])


@pytest.fixture
def desk(engine_facts: testbed.Engine, tmp_path: Path) -> Iterator[Desk]:
    import docker

    passed_on = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
    bundle = os.environ.get("SSL_CERT_FILE", "")
    environ = {**passed_on, **({"SSL_CERT_FILE": bundle} if bundle else {}), "DOCKER_HOST": engine_facts.docker_host}
    with ExitStack() as stack:
        api = docker.APIClient(base_url=engine_facts.docker_host, version="auto")
        stack.callback(api.close)
        stack.callback(tiny.remove_named, api, "s2ictl/builders-test-", "s2ictl/sample-builders-test-")
        for name, scripts, labels in (
            (FOREIGN, {"usage": USAGE}, LABELS),
            (SILENT, {"usage": tiny.script("exit 3")}, LABELS),
            (PLAIN, {}, ()),
        ):
            stack.enter_context(tiny.imported(api, name, tiny.rootfs(scripts), "ENV PATH=/bin", *labels))
        yield Desk(shell=shell(tmp_path, **environ), api=api)


def test_a_new_builder_builds_and_its_sample_answers(desk: Desk) -> None:
    name, image = "builders-test-pages", "s2ictl/builders-test-pages:1.0"
    assert desk.type("create", name).status == 0
    built = desk.type("build", name)
    assert (built.status, built.stdout) == (0, f"{image}\n"), built.stderr

    tested = desk.type("test", name, "-o", "json")
    assert tested.status == 0, tested.stderr
    (trial,) = json.loads(tested.stdout)
    assert trial["answer"].endswith(f"<p>Hello from {name}</p>")
    assert f"{image} is here already, of {desk.created(image)} and of this very folder" in tested.stderr

    (desk.shell.cwd / name / "s2i" / "bin" / "usage").write_bytes(tiny.script("echo another usage"))
    changed = desk.type("test", f"./{name}")
    assert changed.status == 0, changed.stderr
    assert "is made anew: its folder is another now" in changed.stderr
    assert "the base debian:trixie-slim is here already" in changed.stderr
    assert desk.type("usage", name).stdout == "another usage\n"


def test_any_builder_s_usage_is_what_its_script_prints_and_harmless(desk: Desk) -> None:
    said = desk.type("usage", FOREIGN)
    assert (said.status, said.stdout) == (0, "first \\x1b[31mred\nlast\n")
    assert "aside" in said.stderr


def test_where_the_script_fails_the_labels_speak(desk: Desk) -> None:
    said = desk.type("usage", SILENT, "-o", "json")
    answer = json.loads(said.stdout)
    assert (said.status, answer["image"], answer["by"]) == (0, SILENT, "labels")
    assert "label         io.k8s.display-name=Foreign" in answer["usage"].splitlines()
    assert "/usr/libexec/s2i/usage does not say it: " in said.stderr


def test_any_image_with_the_labels_is_shown(desk: Desk) -> None:
    shown = json.loads(desk.type("show", FOREIGN, "-o", "json").stdout)
    assert shown == {
        "name": "",
        "version": "",
        "image": FOREIGN,
        "base": "",
        "detects": [],
        "env": {"PATH": "/bin"},
        "user": "user",
        "assemble-user": "",
        "workdir": "",
        "scripts": "/usr/libexec/s2i",
        "destination": "/tmp",
        "ports": [],
        "labels": {"io.k8s.display-name": "Foreign", "io.openshift.s2i.scripts-url": "image:///usr/libexec/s2i"},
    }


@pytest.mark.parametrize("word", ["show", "usage"])
def test_an_image_that_is_no_builder_or_is_not_there_is_exit_6(word: str, desk: Desk) -> None:
    plain = desk.type(word, PLAIN)
    assert (plain.status, plain.stdout) == (6, "")
    assert f"{PLAIN} is not labelled as a builder" in plain.stderr
    missing = desk.type(word, "builders-test/missing:1", "--pull-policy", "never")
    assert (missing.status, missing.stdout) == (6, "")
    assert "there is no builder image builders-test/missing:1" in missing.stderr
