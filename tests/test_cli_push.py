"""The words of `s2ictl push`, typed; what needs an engine is in tests/engine/test_pushing.py."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from s2ictl import layouts, oci
from tests.cli import Shell, shell
from tests.fakes.images import blob, small_image
from tests.fakes.registry import FakeRegistry, running

IMAGE = small_image()


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with running(FakeRegistry()) as registry:
        yield registry


@pytest.fixture
def here(tmp_path: Path) -> Shell:
    """A shell where a layout lies, and no engine answers."""
    here = shell(tmp_path, DOCKER_HOST="unix:///nonexistent/docker.sock")
    with layouts.writable(here.cwd / "layout") as layout:
        layout.write(blob(IMAGE.layer))
        layout.write(blob(IMAGE.config, oci.CONFIG))
        layout.tag(IMAGE.manifest, ("1",))
    return here


def test_each_name_is_answered_in_a_line_of_its_own(registry: FakeRegistry, here: Shell) -> None:
    names = [f"{registry.host}/shop:1", f"{registry.host}/shop:latest", f"{registry.host}/also:1"]
    ran = here.run("push", "oci:layout:1", *(word for name in names for word in ("--tag", name)))
    assert (ran.status, ran.stdout) == (0, "".join(f"{name}@{IMAGE.digest}\n" for name in names))
    assert ran.stderr.startswith(f"deliver  {', '.join(names)}\n")


def test_as_json_it_is_one_object_and_the_same_in_the_result_file(registry: FakeRegistry, here: Shell) -> None:
    name = f"{registry.host}/shop:1"
    ran = here.run("push", "oci:layout", "--tag", name, "-o", "json", "--result-file", "result.json")
    said = {
        "image": f"{name}@{IMAGE.digest}",
        "tags": [name],
        "digest": IMAGE.digest,
        "id": oci.digest_of(IMAGE.config),
    }
    assert (ran.status, json.loads(ran.stdout)) == (0, said)
    assert json.loads((here.cwd / "result.json").read_text()) == said


def test_in_a_forge_s_pipeline_later_steps_are_told(registry: FakeRegistry, here: Shell) -> None:
    environ = {**here.environ, "GITHUB_ACTIONS": "true", "GITHUB_OUTPUT": str(here.cwd / "output")}
    there = Shell(cwd=here.cwd, home=here.home, environ=environ)
    assert there.run("push", "oci:layout", "--tag", f"{registry.host}/shop:1").status == 0
    lines = (here.cwd / "output").read_text().splitlines()
    assert [lines[number] for number in (1, 4, 7)] == [
        f"{registry.host}/shop:1@{IMAGE.digest}",
        IMAGE.digest,
        f"{registry.host}/shop:1",
    ]


def test_a_dry_run_says_what_would_be_done_and_asks_nobody(here: Shell) -> None:
    (here.cwd / "sbom.json").write_text("{}")
    words = ("shop:1", "--tag", "r.example.com/shop:1", "--attach", "application/spdx+json=sbom.json", "--dry-run")
    ran = here.run("push", *words)
    assert (ran.status, ran.stderr) == (0, "")
    assert ran.stdout == "push      shop:1 as r.example.com/shop:1\nattach    sbom.json (application/spdx+json)\n"


def test_the_name_itself_is_pushed_beside_its_tags_where_it_names_a_registry(here: Shell) -> None:
    ran = here.run("push", "r.example.com/shop:1", "--tag", "r.example.com/shop:latest", "--dry-run", "-o", "name")
    assert ran.stdout == "r.example.com/shop:1\nr.example.com/shop:latest\n"


def test_a_name_without_a_registry_is_refused_with_both_that_it_could_mean(here: Shell) -> None:
    ran = here.run("push", "shop:1")
    assert (ran.status, ran.stdout) == (12, "")
    assert "it could mean docker.io/USER/shop:1, or REGISTRY/shop:1 at a registry of your own" in ran.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("a.example.com/x:1", "a.example.com/y:1", "--tag", "z"), "--tag z cannot be the name of 2 images"),
        (("oci:layout:1",), "needs a name to be pushed under"),
        (("tar:app.tar",), "needs a name to be pushed under"),
        (("r.example.com/x:1", "--attach", "sbom.json"), "--attach 'sbom.json' is not KIND=FILE"),
        (("r.example.com/x:1", "--attach", "no type=sbom.json"), "is not KIND=FILE"),
        (("r.example.com/x:1", "--attach", "a/b=nothing.json"), "--attach nothing.json is not readable"),
        (("r.example.com/X:1",), "is not an image name"),
        (("r.example.com/x:1", "--result-file", "nowhere/r.json"), "lies in a directory that is not there"),
        (("oci:layout:1", "--tag", f"r.example.com/x@sha256:{'0' * 64}"), "names a digest, which cannot be chosen"),
    ],
)
def test_what_cannot_be_meant_is_wrong_usage(words: tuple[str, ...], said: str, here: Shell) -> None:
    ran = here.run("push", *words)
    assert (ran.status, ran.stdout) == (2, "")
    assert said in ran.stderr


def test_an_attachment_that_is_too_large_is_refused(here: Shell) -> None:
    with (here.cwd / "large").open("wb") as file:
        file.truncate((16 << 20) + 1)
    ran = here.run("push", "oci:layout:1", "--tag", "r.example.com/x:1", "--attach", "a/b=large")
    assert (ran.status, f"large has more than {16 << 20} bytes" in ran.stderr) == (2, True)


def test_without_an_engine_an_image_of_it_is_out_of_reach(here: Shell) -> None:
    ran = here.run("push", "shop:1", "--tag", "r.example.com/shop:1")
    assert (ran.status, ran.stdout) == (10, "")


def test_a_layout_that_is_not_there_is_said_so(here: Shell) -> None:
    ran = here.run("push", "oci:nothing", "--tag", "r.example.com/shop:1")
    assert (ran.status, ran.stdout) == (5, "")
