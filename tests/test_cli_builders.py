"""`builders` and `demo`, as far as they go without an engine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from s2ictl.builders import load_all, shelf
from tests.cli import Ran, shell

FOLDERS = load_all(shelf(Path(__file__).parent.parent / "s2ictl"))
NAMES = [folder.name for folder in FOLDERS]
NO_ENGINE = {"DOCKER_HOST": "unix:///nowhere/docker.sock"}


def run(tmp_path: Path, *arguments: str) -> Ran:
    return shell(tmp_path, **NO_ENGINE).run(*arguments)


def test_each_builder_is_listed_with_its_image_and_the_files_that_it_knows(tmp_path: Path) -> None:
    ran = run(tmp_path, "builders", "list")
    head, *rows = [line.split(maxsplit=3) for line in ran.stdout.splitlines()]
    assert head == ["NAME", "VERSION", "IMAGE", "DETECTS"]
    assert rows == [
        [
            folder.name,
            folder.blueprint.version,
            f"s2ictl/{folder.name}:{folder.blueprint.version}",
            ", ".join(sign.file for sign in folder.blueprint.detects),
        ]
        for folder in FOLDERS
    ]


def test_the_list_as_json_says_what_each_file_means(tmp_path: Path) -> None:
    listed = {each["name"]: each for each in json.loads(run(tmp_path, "builders", "list", "-o", "json").stdout)}
    assert list(listed) == NAMES
    assert listed["python"]["base"] == "debian:trixie-slim"
    assert listed["python"]["detects"][0] == {"file": "uv.lock", "means": "dependencies locked by uv"}


def test_the_list_as_names_is_a_line_each(tmp_path: Path) -> None:
    assert run(tmp_path, "builders", "list", "-o", "name") == Ran(status=0, stdout="\n".join(NAMES) + "\n", stderr="")


def test_a_dry_run_says_which_image_would_be_made_of_what(tmp_path: Path) -> None:
    ran = run(tmp_path, "builders", "build", "python", "--dry-run", "-o", "json")
    assert json.loads(ran.stdout) == {
        "builder": "python",
        "image": "s2ictl/python:3.13",
        "base": "debian:trixie-slim",
        "id": "",
        "dry-run": True,
    }


@pytest.mark.parametrize("words", [("demo",), ("builders", "test", "python")])
def test_a_dry_run_of_a_trial_says_what_would_be_asked_and_expected(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert run(tmp_path, *words, "--dry-run") == Ran(
        status=0,
        stdout="BUILDER  PATH  STATUS  CONTAINS\npython   /     200     Hello from Python\n",
        stderr="",
    )


def test_all_means_every_builder(tmp_path: Path) -> None:
    ran = run(tmp_path, "builders", "test", "--all", "--dry-run", "-o", "name")
    assert ran.stdout.splitlines() == NAMES


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (("build", "pyton"), "there is no builder 'pyton'", f"there are: {', '.join(NAMES)}"),
        (("test", "pyton"), "there is no builder 'pyton'", f"there are: {', '.join(NAMES)}"),
        (("test",), "name the builders to test, or say --all", "s2ictl builders test --all"),
        (("test", "python", "--all"), "name the builders to test, or say --all", "s2ictl builders test --all"),
    ],
)
def test_a_wrong_word_is_a_wrong_usage(tmp_path: Path, words: tuple[str, ...], message: str, hint: str) -> None:
    assert run(tmp_path, "builders", *words) == Ran(
        status=2, stdout="", stderr=f"error: {message} (InvalidUsage)\n  try:  {hint}\n"
    )


@pytest.mark.parametrize("words", [("demo",), ("builders", "build", "python"), ("builders", "test", "--all")])
def test_without_an_engine_nothing_is_begun(tmp_path: Path, words: tuple[str, ...]) -> None:
    ran = run(tmp_path, *words)
    assert (ran.status, ran.stdout) == (10, "")
    assert ran.stderr.startswith("error: could not reach the container engine")
