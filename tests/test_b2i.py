"""The words of `s2ictl b2i`, typed against a registry in this process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from s2ictl import oci
from tests.cli import Shell, shell
from tests.fakes.images import LAYER, program, small_image
from tests.fakes.registry import FakeRegistry, running

DONE = "Build completed successfully"


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with running(FakeRegistry()) as registry:
        yield registry


@pytest.fixture
def here(tmp_path: Path) -> Shell:
    here = shell(tmp_path)
    (here.cwd / "app").write_bytes(program())
    (here.cwd / "dynamic").write_bytes(program(interpreter=b"/lib/ld.so\0"))
    return here


@pytest.fixture
def stocked(registry: FakeRegistry) -> FakeRegistry:
    image = small_image()
    registry.put("base", image.layer)
    registry.put("base", image.config)
    registry.tag("base", "1", oci.MANIFEST, image.manifest)
    return registry


def test_a_pushed_image_is_answered_by_its_digest(registry: FakeRegistry, here: Shell) -> None:
    ran = here.run("b2i", "app", "--tag", f"{registry.host}/shop:1", "--push")
    digest = oci.digest_of(registry.manifests["shop", "1"][1])
    assert (ran.status, ran.stdout) == (0, f"{registry.host}/shop:1@{digest}\n")
    assert ran.stderr.splitlines()[-1] == DONE


def test_artifact_base_and_tag_stand_in_the_order_of_the_older_tool(stocked: FakeRegistry, here: Shell) -> None:
    ran = here.run("b2i", "dynamic", f"{stocked.host}/base:1", f"{stocked.host}/shop:1", "--push", "-o", "json")
    answer = json.loads(ran.stdout)
    digest = oci.digest_of(stocked.manifests["shop", "1"][1])
    assert {name: answer[name] for name in ("image", "tags", "digest", "builder", "address")} == {
        "image": f"{stocked.host}/shop:1@{digest}",
        "tags": [f"{stocked.host}/shop:1"],
        "digest": digest,
        "builder": f"{stocked.host}/base:1",
        "address": "",
    }
    assert [step["name"] for step in answer["steps"]] == ["read", "base", "append", "deliver"]
    assert stocked.blobs["shop", oci.digest_of(LAYER)] == LAYER
    assert stocked.tried("GET", f"/blobs/{oci.digest_of(LAYER)}") == 0  # it was mounted, and never read


def test_every_tag_and_every_place_gets_the_same_image(registry: FakeRegistry, here: Shell) -> None:
    names = [f"{registry.host}/shop:1", f"{registry.host}/shop:latest", f"{registry.host}/other/shop:1"]
    tags = [word for name in names for word in ("--tag", name)]
    ran = here.run("b2i", "app", *tags, "--push", "--to", "oci:out", "-o", "name")
    digest = oci.digest_of(registry.manifests["shop", "1"][1])
    layouts = [f"oci:{here.cwd}/out:1", f"oci:{here.cwd}/out:latest"]
    assert ran.stdout.splitlines() == [f"{place}@{digest}" for place in (*names, *layouts)]
    assert {oci.digest_of(content) for _, content in registry.manifests.values()} == {digest}


def test_a_layout_may_be_the_base(registry: FakeRegistry, here: Shell) -> None:
    assert here.run("b2i", "app", "--tag", "below:1", "--to", "oci:base").status == 0
    ran = here.run("b2i", "app", "--base", "oci:base:1", "--tag", f"{registry.host}/shop:1", "--to", "registry")
    assert ran.status == 0
    assert len(json.loads(registry.manifests["shop", "1"][1])["layers"]) == 2


def test_a_layout_without_a_name_is_answered_by_its_digest_alone(here: Shell) -> None:
    ran = here.run("b2i", "app", "--to", "oci:out", "-q")
    index = json.loads((here.cwd / "out/index.json").read_bytes())
    assert ran.stdout == f"oci:{here.cwd}/out@{index['manifests'][0]['digest']}\n"
    assert ran.stderr == ""


def test_settings_stand_in_the_image(here: Shell) -> None:
    words = ["--env", "A=1", "--env", "A=2", "--label", "team=shop", "--port", "8080", "--args", "serve 'a b'"]
    ran = here.run("b2i", "app", "--to", "oci:out", *words, "--user", "7:0")
    assert "warning: --env A is given twice; the last one counts" in ran.stderr
    manifest = json.loads((here.cwd / "out/blobs/sha256" / ran.stdout.strip().rpartition(":")[2]).read_bytes())
    config = json.loads((here.cwd / "out/blobs/sha256" / manifest["config"]["digest"][7:]).read_bytes())["config"]
    assert (config["Env"], config["Labels"]["team"], config["ExposedPorts"], config["Cmd"], config["User"]) == (
        ["A=2"],
        "shop",
        {"8080/tcp": {}},
        ["serve", "a b"],
        "7:0",
    )


def test_a_dry_run_says_what_would_be_done_and_asks_nobody(registry: FakeRegistry, here: Shell) -> None:
    ran = here.run("b2i", "app", "--tag", f"{registry.host}/shop:1", "--push", "--to", "oci:out", "--dry-run")
    assert ran.stdout == (
        f"read     app: {len(program())} bytes, linux/amd64, linked statically\n"
        "append   /opt/s2ictl/app/app to scratch\n"
        f"deliver  {registry.host}/shop:1\n"
        f"deliver  oci:{here.cwd}/out:1\n"
    )
    assert (ran.status, ran.stderr, registry.asked, (here.cwd / "out").exists()) == (0, "", [], False)


def test_what_the_flags_do_not_say_stands_in_s2i_yaml(registry: FakeRegistry, here: Shell) -> None:
    (here.cwd / "s2i.yaml").write_text(f"name: shop\nimage: {registry.host}/shop:1\ndeploy: {{namespace: prod}}\n")
    ran = here.run("b2i", "app", "--deploy", "--port", "8080", "--dry-run")
    assert ran.stdout.splitlines()[2:] == [f"deliver  {registry.host}/shop:1", "deploy   prod/deployment/shop"]


def test_the_answer_is_written_to_a_file_as_well(here: Shell) -> None:
    ran = here.run("b2i", "app", "--to", "oci:out", "-o", "json", "--result-file", "result.json")
    assert ran.stdout == (here.cwd / "result.json").read_text()


def test_a_result_that_cannot_be_written_is_said_and_leaves_no_half(here: Shell) -> None:
    (here.cwd / "taken").mkdir()
    ran = here.run("b2i", "app", "--to", "oci:out", "--result-file", "taken")
    assert (ran.status, "could not write the result to" in ran.stderr) == (2, True)
    assert sorted(path.name for path in here.cwd.iterdir()) == ["app", "dynamic", "out", "taken"]


def test_a_login_of_the_docker_config_is_used_and_shown_nowhere(registry: FakeRegistry, here: Shell) -> None:
    registry.auth = "bearer"
    (here.home / ".docker").mkdir()
    entry = {"username": registry.username, "password": registry.password}
    (here.home / ".docker/config.json").write_text(json.dumps({"auths": {registry.host: entry}}))
    ran = here.run("b2i", "app", "--tag", f"{registry.host}/shop:1", "--push", "-vv")
    assert (ran.status, registry.password in ran.stdout + ran.stderr) == (0, False)


def test_a_login_that_is_missing_is_said_with_what_to_do(registry: FakeRegistry, here: Shell) -> None:
    registry.auth = "basic"
    ran = here.run("b2i", "app", "--tag", f"{registry.host}/shop:1", "--push")
    assert ran.status == 4
    assert ran.stderr.splitlines()[-3:] == [
        f"error: could not push {registry.host}/shop (PushUnauthorized)",
        f"  why:  the registry answered 401; no login for {registry.host} was found",
        f"  try:  s2ictl login {registry.host}, or name a secret with --registry-secret",
    ]


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ((), 2, "there is nowhere to put the image"),
        (("--push",), 2, "a push needs a name for the image"),
        (("--push", "--tag", "shop"), 12, "shop:latest names no registry to push to"),
        (("--push", "--tag", "Shop"), 2, "is not an image name"),
        (("--to", "tar:x"), 2, "is no place for an image"),
        (("--to", "oci:"), 2, "is no place for an image"),
        (("--to", "oci:out:1"), 2, "has a colon in its directory"),
        (("--to", "oci:out", "--env", "A"), 2, "is not NAME=VALUE"),
        (("--to", "oci:out", "--env", "=x"), 2, "is not NAME=VALUE"),
        (("--to", "oci:out", "--env", "1A=x"), 2, "is not NAME=VALUE"),
        (("--to", "oci:out", "--label", "a b=x"), 2, "is not NAME=VALUE"),
        (("--to", "oci:out", "--port", "0"), 2, "is no port"),
        (("--to", "oci:out", "--port", "65536"), 2, "is no port"),
        (("--to", "oci:out", "--port", "08080"), 2, "is no port"),
        (("--to", "oci:out", "--port", "80/icmp"), 2, "is no port"),
        (("--to", "oci:out", "--args", "'"), 2, "cannot be taken apart"),
        (("--to", "oci:out", "--user", "root"), 2, "is not numeric"),
        (("--to", "oci:out", "--base", "oci:absent"), 6, "is not an OCI layout"),
        (("--to", "oci:out", "--base", "127.0.0.1:1/base"), 10, "connection refused"),
        (("--push", "--tag", "127.0.0.1:1/shop:1", "--base", "127.0.0.1:1/shop:1"), 12, "would replace its own base"),
        (("base:1", "--base", "base:2", "--to", "oci:out"), 2, "two values for the base: base:1 and base:2"),
    ],
)
def test_what_cannot_be_done_is_said_and_leaves_nothing(
    words: tuple[str, ...], status: int, said: str, here: Shell
) -> None:
    ran = here.run("b2i", "app", *words)
    assert (ran.status, ran.stdout, said in ran.stderr, DONE in ran.stderr) == (status, "", True, False)
    assert sorted(path.name for path in here.cwd.iterdir()) == ["app", "dynamic"]


def test_a_dynamic_program_asks_for_a_base(here: Shell) -> None:
    ran = here.run("b2i", "dynamic", "--to", "oci:out")
    assert (ran.status, "needs a base image: it is linked dynamically" in ran.stderr) == (2, True)


def test_a_program_for_another_machine_than_the_base_is_refused(stocked: FakeRegistry, here: Shell) -> None:
    (here.cwd / "arm").write_bytes(program(machine=183))
    ran = here.run("b2i", "arm", f"{stocked.host}/base:1", "--to", "oci:out")
    assert (ran.status, "is not for linux/arm64" in ran.stderr) == (6, True)


def test_the_epoch_of_the_environment_dates_the_image(tmp_path: Path) -> None:
    here = shell(tmp_path, SOURCE_DATE_EPOCH="86400")
    (here.cwd / "app").write_bytes(program())
    ran = here.run("b2i", "app", "--to", "oci:out")
    manifest = json.loads((here.cwd / "out/blobs/sha256" / ran.stdout.strip().rpartition(":")[2]).read_bytes())
    config = json.loads((here.cwd / "out/blobs/sha256" / manifest["config"]["digest"][7:]).read_bytes())
    assert config["created"] == "1970-01-02T00:00:00Z"
    assert shell(tmp_path, SOURCE_DATE_EPOCH="soon").run("b2i", "app", "--to", "oci:x").status == 2
