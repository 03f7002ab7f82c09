"""`--to` as it is typed: where the image goes, and what is refused before anybody builds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from s2ictl.cli.flags import ResultFlags, targets
from s2ictl.errors import InvalidUsage
from s2ictl.models import Target
from tests.cli import Shell, shell

NOWHERE = "unix:///nonexistent/docker.sock"
CWD = Path("/work")


@pytest.fixture
def typed(tmp_path: Path) -> Shell:
    made = shell(tmp_path, DOCKER_HOST=NOWHERE)
    (made.cwd / "app.py").write_text("print('hello')\n")
    return made


def test_every_place_counts_once_and_push_is_to_the_registry() -> None:
    said = ["registry", "oci:out", "tar:/srv/out.tar", "docker", "oci:/work/out"]
    assert targets(ResultFlags(push=True, to=said), CWD) == (
        Target(kind="registry"),
        Target(kind="oci", path=CWD / "out"),
        Target(kind="tar", path=Path("/srv/out.tar")),
        Target(kind="docker"),
    )


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("", "--to  is no place for an image"),
        ("podman", "--to podman is no place for an image"),
        ("docker:", "--to docker: is no place for an image"),
        ("registry:x", "--to registry:x is no place for an image"),
        ("oci", "--to oci is no place for an image"),
        ("oci:", "--to oci: is no place for an image"),
        ("tar:-", "--to tar:- would mix the image with the answer"),
        ("oci:out:1", "--to oci:out:1 has a colon in its path"),
        ("tar:out.tar:1", "--to tar:out.tar:1 has a colon in its path"),
    ],
)
def test_what_is_no_place_is_a_wrong_word(said: str, why: str) -> None:
    with pytest.raises(InvalidUsage) as failure:
        targets(ResultFlags(to=[said]), CWD)
    assert failure.value.message == why


def test_a_dry_run_says_where_it_would_be_had(typed: Shell) -> None:
    words = ("build", ".", "b:1", "r.io/app:1", "--to", "oci:out", "--to", "tar:out.tar", "--to", "registry")
    done = typed.run(*words, "--dry-run")
    here = typed.cwd
    assert done.stdout.splitlines()[2:] == [
        "push      r.io/app:1",
        f"write     oci:{here}/out:1",
        f"write     tar:{here}/out.tar",
        "engine    docker, as S2ICTL_ENGINE says",
    ]
    said = json.loads(typed.run(*words, "--dry-run", "-o", "json").stdout)
    assert (said["push"], said["to"]) == (True, [f"oci:{here}/out:1", f"tar:{here}/out.tar"])


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("oci:.", "exists and is not an OCI layout"),
        ("tar:.", "exists and is no file"),
        ("tar:nowhere/out.tar", "lies in a directory that is not there"),
    ],
)
def test_what_stands_in_the_way_is_said_before_any_engine_is_asked(said: str, why: str, typed: Shell) -> None:
    done = typed.run("build", ".", "b:1", "app:1", "--to", said)
    assert (done.status, done.stdout) == (2, "")
    assert why in done.stderr.splitlines()[0]


def test_a_recipe_goes_nowhere(typed: Shell) -> None:
    done = typed.run("build", ".", "b:1", "app:1", "--to", "tar:out.tar", "--as-dockerfile", "Dockerfile")
    assert done.status == 2
    assert "--as-dockerfile makes no image, so --to has nothing to do" in done.stderr
