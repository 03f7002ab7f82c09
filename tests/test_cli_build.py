"""`build` and `detect` as they are typed, as far as no engine is needed."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from s2ictl.cli.workshop import package_sources
from tests.cli import Ran, Shell, shell
from tests.fakes.apiserver import Said, answering

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


# ------------------------------------------------------------------------------------------------------- s2i.yaml


FILE = """
name: shop
image: r.io/team/shop
build: {builder: b:1, env: {A: file, B: file}, context-dir: app}
deploy: {namespace: prod, port: 8080}
"""


def lines_of(done: Ran) -> dict[str, str]:
    """The lines of a dry run by their first word."""
    assert done.status == 0, done.stderr
    return {line[:10].strip(): line[10:] for line in done.stdout.splitlines()}


def test_what_the_flags_do_not_say_stands_in_s2i_yaml(typed: Shell) -> None:
    (typed.cwd / "s2i.yaml").write_text(FILE)
    assert lines_of(typed.run("build", "--deploy", "--dry-run")) == {
        "fetch": ". app",
        "builder": "b:1",
        "stays": "B",
        "push": "r.io/team/shop:latest",
        "deploy": "prod/deployment/shop",
    }


def test_a_flag_beats_the_file(typed: Shell) -> None:
    (typed.cwd / "s2i.yaml").write_text(FILE)
    words = ("--context-dir", "other", "-b", "c:1", "-t", "r.io/x:2", "-e", "A=flag", "--name", "front", "-n", "test")
    done = typed.run("build", *words, "--deploy", "--dry-run", "-o", "json")
    answer = json.loads(done.stdout)
    assert {name: answer[name] for name in ("context-dir", "builder", "tags", "deploy")} == {
        "context-dir": "other",
        "builder": "c:1",
        "tags": ["r.io/x:2"],
        "deploy": "test/deployment/front",
    }


def test_another_source_keeps_the_file_but_for_what_belongs_to_its_own_source(typed: Shell) -> None:
    (typed.cwd / "s2i.yaml").write_text(
        "source: https://git.example.com/x.git#main:app\n" + FILE.replace(", context-dir: app", "")
    )
    assert lines_of(typed.run("build", "--dry-run"))["fetch"] == "https://git.example.com/x.git at main app"
    assert lines_of(typed.run("build", "elsewhere", "--dry-run"))["fetch"] == "elsewhere"
    assert lines_of(typed.run("build", "elsewhere", "--dry-run"))["builder"] == "b:1"


def test_a_relative_source_starts_from_its_file(typed: Shell) -> None:
    inner = typed.cwd / "inner"
    (inner / "src").mkdir(parents=True)
    (inner / "s2i.yaml").write_text("name: shop\nsource: ./src\nbuild: {builder: b:1}\n")
    done = typed.run("build", "-f", "inner/s2i.yaml")
    assert done.status == 10, done.stderr  # as far as the engine: ./src of the current directory is not there
    assert lines_of(typed.run("build", "-f", "inner/s2i.yaml", "--dry-run"))["fetch"] == "./src"


def test_of_several_apps_none_is_taken_for_a_source_as_typed(typed: Shell) -> None:
    (typed.cwd / "s2i.yaml").write_text("apps:\n  - {name: a, image: r.io/a}\n  - {name: b, image: r.io/b}\n")
    done = typed.run("build", ".", "b:1", "--dry-run")
    assert done.stdout == "fetch     .\nbuilder   b:1\n"
    assert "s2i.yaml has several apps (a, b): none of them is taken for a source as typed" in done.stderr
    refused = typed.run("build")
    assert (refused.status, "it has a, b" in refused.stderr) == (2, True)


# ------------------------------------------------------------------------------------------------------- where it goes


def test_a_secret_that_does_not_know_the_registry_stops_the_build(tmp_path: Path) -> None:
    content = base64.b64encode(json.dumps({"auths": {"r.io": {"auth": "dTpw"}}}).encode()).decode()
    secret = Said(body={"kind": "Secret", "metadata": {}, "data": {".dockerconfigjson": content}})
    with answering(secret) as server:
        (tmp_path / "kubeconfig").write_text(kubeconfig(server.url))
        typed = shell(tmp_path, DOCKER_HOST=NOWHERE, KUBECONFIG=str(tmp_path / "kubeconfig"))
        done = typed.run("build", ".", "b:1", "other.io/app", "--push", "--registry-secret", "prod/hub")
    assert (done.status, done.stdout) == (4, "")
    assert "error: the secret prod/hub has no login for other.io (Unauthorized)" in done.stderr
    assert "it has one for r.io" in done.stderr


def kubeconfig(server: str) -> str:
    document = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c"}}],
        "clusters": [{"name": "c", "cluster": {"server": server}}],
    }
    return json.dumps(document)


def test_the_app_is_called_as_the_last_part_of_its_image(typed: Shell) -> None:
    done = typed.run("build", ".", "b:1", "r.io/team/shop:1", "--deploy", "--dry-run")
    assert lines_of(done)["deploy"] == "default/deployment/shop"


def test_a_dry_run_leaves_the_registry_to_a_secret_that_it_does_not_ask(typed: Shell) -> None:
    done = typed.run("build", ".", "b:1", "shop:1", "--deploy", "--registry-secret", "prod/hub", "--dry-run")
    assert lines_of(done)["push"] == "shop:1"


@pytest.mark.parametrize(
    ("links", "passed"),
    [
        ("https://u:p@mirror/wheels", "https://u:p@mirror/wheels"),
        ("/opt/wheels file:///opt/wheels ./wheels", ""),
        ("/opt/wheels http://mirror/wheels", "http://mirror/wheels"),
    ],
)
def test_of_the_places_of_wheels_only_addresses_reach_assemble(links: str, passed: str) -> None:
    given = {"PIP_FIND_LINKS": links, "PIP_NO_INDEX": "1", "PIP_DEFAULT_TIMEOUT": "9", "HOME": "/root"}
    found = {name: secret.reveal() for name, secret in package_sources(given)}
    assert found == {"PIP_NO_INDEX": "1", "PIP_DEFAULT_TIMEOUT": "9"} | ({"PIP_FIND_LINKS": passed} if passed else {})


def test_a_source_that_is_not_there_is_exit_5(typed: Shell) -> None:
    assert typed.run("detect", "./missing").status == 5
