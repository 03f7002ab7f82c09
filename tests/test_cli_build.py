"""`build` and `detect` as they are typed, as far as no engine is needed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli import Ran, Shell, shell

NOWHERE = "unix:///nonexistent/docker.sock"


@pytest.fixture
def typed(tmp_path: Path) -> Shell:
    made = shell(tmp_path, DOCKER_HOST=NOWHERE)
    (made.cwd / "app.py").write_text("print('hello')\n")
    return made


def test_a_dry_run_shows_what_would_be_done_and_contacts_nothing(typed: Shell) -> None:
    done = typed.run("build", ".", "b:1", "app:1", "-e", "A=1", "--build-env", "B=secret", "--dry-run")
    assert done == Ran(
        status=0,
        stdout="fetch     .\nbuilder   b:1\nstays     A\nhands on  B\ntag       app:1\n",
        stderr="",
    )


def test_positionals_and_flags_mean_the_same(typed: Shell) -> None:
    words = ("build", "--source", ".", "--builder", "b:1", "--tag", "app:1", "--dry-run")
    assert typed.run(*words) == typed.run("build", ".", "b:1", "app:1", "--dry-run")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("build", "a", "--source", "b"), "two values for the source: a and b"),
        (("build", ".", "b:1", "--builder", "c:1"), "two values for the builder: b:1 and c:1"),
        (("build", "-E", "missing.env"), "--environment-file missing.env is not readable"),
        (("build", "-e", "NOVALUE"), "--env 'NOVALUE' is not NAME=VALUE"),
        (("build", "-e", "1A=x"), "--env '1A' is not NAME=VALUE"),
        (("build", "--build-env", "NOT_SET"), "--build-env NOT_SET names a variable that is not set here"),
        (("build", "--label", "=x"), "--label '' is not NAME=VALUE"),
        (("build", "--push"), "a push needs a name for the image"),
        (("build", "--timeout", "soon"), "'soon' is not a duration"),
        (("build", "-t", f"a@sha256:{'a' * 64}"), "names a digest, which cannot be chosen"),
        (("build", "--git-username", "me"), "--git-username needs its password"),
        (("build", "--pull-policy", "sometimes"), "sometimes"),
        (("build", "--ca-bundle", "missing.pem", ".", "b:1"), "could not read the CA bundle"),
    ],
)
def test_a_wrong_word_is_exit_2_with_one_clear_line(typed: Shell, words: tuple[str, ...], message: str) -> None:
    done = typed.run(*words)
    assert (done.status, done.stdout) == (2, "")
    assert message in done.stderr.splitlines()[0]


def test_a_push_without_a_registry_is_refused_before_anything_runs(typed: Shell) -> None:
    done = typed.run("build", ".", "b:1", "app:1", "--push")
    assert done.status == 12
    assert "app:1 names no registry to push to" in done.stderr


def test_without_an_engine_the_build_says_what_to_do(typed: Shell) -> None:
    done = typed.run("build", ".", "b:1", "app:1")
    assert done.status == 10
    assert done.stderr.splitlines()[0] == (
        "error: could not reach the container engine: its socket does not exist (Unreachable)"
    )
    assert "DOCKER_HOST" in done.stderr


def test_a_variable_that_sounds_secret_is_pointed_out(typed: Shell) -> None:
    done = typed.run("build", ".", "b:1", "-e", "DB_PASSWORD=x", "--dry-run")
    assert "DB_PASSWORD stays in the image, readable for everybody who has it; --build-env does not" in done.stderr


def test_the_user_s_mirrors_reach_assemble_and_are_not_shown(typed: Shell, tmp_path: Path) -> None:
    mirrored = shell(tmp_path, DOCKER_HOST=NOWHERE, PIP_INDEX_URL="https://u:canary@mirror/simple")
    done = mirrored.run("build", ".", "b:1", "--dry-run")
    assert "hands on  PIP_INDEX_URL" in done.stdout
    assert "canary" not in done.stdout + done.stderr


def test_the_environment_file_is_read_and_the_flag_counts_more(typed: Shell) -> None:
    (typed.cwd / "vars").write_text("A=file\nB=file\n")
    done = typed.run("build", ".", "b:1", "-E", "vars", "-e", "A=flag", "--dry-run")
    assert [line for line in done.stdout.splitlines() if line.startswith("stays")] == ["stays     A", "stays     B"]


def test_detect_says_which_builder_and_why(typed: Shell) -> None:
    assert typed.run("detect").stdout == "python  (app.py: a Python application)\n"
    answer = json.loads(typed.run("detect", ".", "-o", "json").stdout)
    assert (answer["kind"], answer["builder"], answer["because"]) == (
        "source",
        "python",
        "app.py: a Python application",
    )


def test_detect_of_nothing_names_what_was_looked_for(typed: Shell) -> None:
    (typed.cwd / "app.py").rename(typed.cwd / "notes.txt")
    done = typed.run("detect")
    assert (done.status, done.stdout) == (5, "")
    assert "requirements.txt" in done.stderr


def test_a_source_that_is_not_there_is_exit_5(typed: Shell) -> None:
    assert typed.run("detect", "./missing").status == 5
