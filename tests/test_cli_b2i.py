"""The words of `s2ictl b2i`, typed against a registry in this process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from s2ictl import oci
from s2ictl.artifacts import LARGEST
from s2ictl.cli.wrapping import ready_at
from s2ictl.events import Emit
from s2ictl.models import AppConfig, BuildRequest, DeployConfig, ReadinessConfig, Source
from s2ictl.planning import B2IRequest, plan_of
from tests.cli import Shell, shell
from tests.fakes.artifacts import boot, packed, war
from tests.fakes.images import LAYER, program, small_image
from tests.fakes.registry import FakeRegistry, Fault, running

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


def test_an_image_on_a_base_of_somebody_elses_is_answered_in_full(stocked: FakeRegistry, here: Shell) -> None:
    base = ("--base", f"{stocked.host}/base:1")
    ran = here.run("b2i", "dynamic", *base, "--tag", f"{stocked.host}/shop:1", "--push", "-o", "json")
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
        "read     app: a program for linux/amd64, linked statically\n"
        "road     append: no container is needed\n"
        "append   /opt/app-root/bin/app to scratch for linux/amd64\n"
        f"deliver  {registry.host}/shop:1\n"
        f"deliver  oci:{here.cwd}/out:1\n"
    )
    assert (ran.status, ran.stderr, registry.asked, (here.cwd / "out").exists()) == (0, "", [], False)


def test_what_the_flags_do_not_say_stands_in_s2i_yaml(registry: FakeRegistry, here: Shell) -> None:
    (here.cwd / "s2i.yaml").write_text(f"name: shop\nimage: {registry.host}/shop:1\ndeploy: {{namespace: prod}}\n")
    ran = here.run("b2i", "app", "--deploy", "--port", "8080", "--dry-run")
    assert ran.stdout.splitlines()[3:] == [f"deliver  {registry.host}/shop:1", "deploy   prod/deployment/shop"]


def test_the_answer_is_written_to_a_file_as_well(here: Shell) -> None:
    ran = here.run("b2i", "app", "--to", "oci:out", "-o", "json", "--result-file", "result.json")
    assert ran.stdout == (here.cwd / "result.json").read_text()


def test_a_result_that_cannot_be_written_is_said_before_the_work(here: Shell) -> None:
    (here.cwd / "taken").mkdir()
    ran = here.run("b2i", "app", "--to", "oci:out", "--result-file", "taken")
    assert (ran.status, "--result-file taken is a directory" in ran.stderr) == (2, True)
    assert sorted(path.name for path in here.cwd.iterdir()) == ["app", "dynamic", "taken"]


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
        f"error: could not push {registry.host}/shop:1 (PushUnauthorized)",
        f"  why:  the registry answered 401; no login for {registry.host} was found",
        f"  try:  s2ictl login {registry.host}, or name a secret with --registry-secret",
    ]


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ((), 10, "; --push, --to oci:DIR and --to tar:FILE need none"),
        (("--push",), 2, "a push needs a name for the image"),
        (("--push", "--tag", "shop"), 12, "shop:latest names no registry to push to"),
        (("--push", "--tag", "Shop"), 2, "is not an image name"),
        (("--to", "zip:x"), 2, "is no place for an image"),
        (("--to", "oci:"), 2, "is no place for an image"),
        (("--to", "oci:out:1"), 2, "has a colon in its path"),
        (("--to", "oci:out", "--env", "A"), 2, "is not NAME=VALUE"),
        (("--to", "oci:out", "--env", "=x"), 2, "is not NAME=VALUE"),
        (("--to", "oci:out", "--env", "1A=x"), 2, "is not NAME=VALUE"),
        (("--to", "oci:out", "--label", "a b=x"), 2, "is not NAME=VALUE"),
        (("--to", "oci:out", "--port", "0"), 2, "is no port"),
        (("--to", "oci:out", "--port", "65536"), 2, "is no port"),
        (("--to", "oci:out", "--port", "08080"), 2, "is no port"),
        (("--to", "oci:out", "--port", "80/icmp"), 2, "is no port"),
        (("--to", "oci:out", "--port", "http-port=80"), 2, "names a port on the cluster, and --deploy is not given"),
        (("--to", "oci:out", "--args", "'"), 2, "cannot be taken apart"),
        (("--to", "oci:out", "--user", "root"), 2, "is not numeric"),
        (("--to", "oci:out", "--base", "oci:absent"), 6, "is not an OCI layout"),
        (("--to", "oci:out", "--base", "127.0.0.1:1/base"), 10, "connection refused"),
        (("--push", "--tag", "127.0.0.1:1/shop:1", "--base", "127.0.0.1:1/shop:1"), 12, "would replace its own base"),
        (("tomcat", "--builder", "jar", "--to", "oci:out"), 2, "two values for the builder: tomcat and jar"),
    ],
)
def test_what_cannot_be_done_is_said_and_leaves_nothing(
    words: tuple[str, ...], status: int, said: str, here: Shell
) -> None:
    ran = here.run("b2i", "app", *words)
    assert (ran.status, ran.stdout, said in ran.stderr, DONE in ran.stderr) == (status, "", True, False)
    assert sorted(path.name for path in here.cwd.iterdir()) == ["app", "dynamic"]


def test_without_an_engine_a_base_of_ours_is_missed_with_what_to_do(here: Shell) -> None:
    ran = here.run("b2i", "dynamic", "--to", "oci:out")
    assert (ran.status, "the base s2ictl/binary:13 is not on this machine" in ran.stderr) == (6, True)
    assert "s2ictl builders build binary --push" in ran.stderr
    assert "--base debian:13-slim" in ran.stderr


def test_a_program_for_another_machine_than_the_base_is_refused(stocked: FakeRegistry, here: Shell) -> None:
    (here.cwd / "arm").write_bytes(program(machine=183))
    ran = here.run("b2i", "arm", "--base", f"{stocked.host}/base:1", "--to", "oci:out")
    assert (ran.status, "is not for linux/arm64" in ran.stderr) == (6, True)


def test_the_epoch_of_the_environment_dates_the_image(tmp_path: Path) -> None:
    here = shell(tmp_path, SOURCE_DATE_EPOCH="86400")
    (here.cwd / "app").write_bytes(program())
    ran = here.run("b2i", "app", "--to", "oci:out")
    manifest = json.loads((here.cwd / "out/blobs/sha256" / ran.stdout.strip().rpartition(":")[2]).read_bytes())
    config = json.loads((here.cwd / "out/blobs/sha256" / manifest["config"]["digest"][7:]).read_bytes())
    assert config["created"] == "1970-01-02T00:00:00Z"
    assert shell(tmp_path, SOURCE_DATE_EPOCH="soon").run("b2i", "app", "--to", "oci:x").status == 2


# ------------------------------------------------------------------------------------------- where the artifact is from


def test_an_artifact_comes_by_standard_input_and_has_no_name(here: Shell) -> None:
    ran = here.run("b2i", "-", "--tag", "shop:1", "--to", "oci:out", "-o", "json", stdin=program())
    assert (ran.status, json.loads(ran.stdout)["image"].partition("@")[0]) == (0, f"oci:{here.cwd}/out:1"), ran.stderr
    assert "append  /opt/app-root/bin/app" in ran.stderr


def test_an_artifact_is_fetched_and_must_be_the_one_that_was_meant(here: Shell, registry: FakeRegistry) -> None:
    digest = registry.put("files", program())
    url = f"http://{registry.host}/v2/files/blobs/{digest}#sha256="
    good = here.run("b2i", f"{url}{digest.removeprefix('sha256:')}", "--to", "oci:out")
    bad = here.run("b2i", f"{url}{'0' * 64}", "--to", "oci:other")
    assert (good.status, bad.status, (here.cwd / "other").exists()) == (0, 5, False), (good.stderr, bad.stderr)


@pytest.mark.parametrize(
    ("given", "status", "says"),
    [
        (Fault(method="GET", path="/a.jar", status=404), 5, "it answered 404"),
        (Fault(method="GET", path="/a.jar", status=200, body=b"<html>Log in</html>"), 5, "it is an HTML or XML page"),
        (
            Fault(method="GET", path="/a.jar", status=200, headers={"Content-Length": str(9 << 30)}),
            11,
            f"is larger than {LARGEST} bytes",
        ),
        (
            Fault(method="GET", path="/a.jar", status=302, headers={"Location": "file:///etc/passwd"}),
            12,
            "redirects to file:///etc/passwd, which is not followed",
        ),
        (
            Fault(method="GET", path="/a.jar", status=302, headers={"Location": "/a.jar"}, times=9),
            12,
            "redirects more than 5 times",
        ),
    ],
)
def test_what_an_address_gives_in_the_place_of_an_artifact_is_said_and_not_kept(
    given: Fault, status: int, says: str, tmp_path: Path, registry: FakeRegistry
) -> None:
    registry.faults.append(replace(given))
    (tmp_path / "tmp").mkdir()
    here = shell(tmp_path, TMPDIR=str(tmp_path / "tmp"))
    ran = here.run("b2i", f"http://{registry.host}/a.jar", "--to", "oci:out")
    assert (ran.status, ran.stdout, says in ran.stderr) == (status, "", True), ran.stderr
    kept = {path for path in tmp_path.rglob("*") if path.is_file() and here.home / ".local" not in path.parents}
    assert kept == set()


def test_a_dry_run_does_not_fetch_the_artifact(here: Shell, registry: FakeRegistry) -> None:
    ran = here.run("b2i", f"http://{registry.host}/shop.war", "--tag", f"{registry.host}/shop:1", "--push", "--dry-run")
    assert ran.stdout == (
        f"fetch    http://{registry.host}/shop.war\n"
        "decide   by what it turns out to be\n"
        f"deliver  {registry.host}/shop:1\n"
    )
    assert (ran.status, registry.asked) == (0, [])


def test_s2i_yaml_may_name_the_artifact(here: Shell) -> None:
    (here.cwd / "deploy").mkdir()
    (here.cwd / "deploy/s2i.yaml").write_text(
        "name: shop\nimage: team/shop:1\nsource: ../app\nbuild: {env: {A: '1'}}\n"
    )
    ran = here.run("-f", "deploy/s2i.yaml", "b2i", "--to", "oci:out", "-o", "name")
    assert (ran.status, ran.stdout.partition("@")[0]) == (0, f"oci:{here.cwd}/out:1"), ran.stderr


def test_without_a_word_and_a_file_no_artifact_is_named(here: Shell) -> None:
    ran = here.run("b2i", "--to", "oci:out")
    assert (ran.status, "no artifact is named" in ran.stderr) == (2, True)


# -------------------------------------------------------------------------------------------------------- what is shown


def test_a_dry_run_shows_the_road_that_a_builder_asks_for(here: Shell) -> None:
    (here.cwd / "shop.war").write_bytes(packed(war()))
    ran = here.run("b2i", "shop.war", "registry.example.com/their/tomcat:8.5", "shop:1", "--dry-run")
    assert ran.stdout == (
        "read     shop.war: a war for jakarta servlets, Java 17\n"
        "road     container: registry.example.com/their/tomcat:8.5 assembles it in a container\n"
        "engine   docker, as S2ICTL_ENGINE says\n"
        "assemble by registry.example.com/their/tomcat:8.5\n"
        "deliver  shop:1\n"
    )


@pytest.mark.parametrize(
    ("artifact", "word", "builder", "base"),
    [
        ("shop.war", "kubesphere/tomcat85-java11-centos7:v3.2.0", "tomcat", "s2ictl/tomcat:10.1"),
        ("shop.jar", "java-8-centos7", "jar", "s2ictl/jar:21"),
        ("app", "kubesphere/s2i-binary:v3.2.0", "binary", "scratch"),
    ],
)
def test_a_name_of_kubesphere_s_means_who_takes_what_is_finished(
    artifact: str, word: str, builder: str, base: str, here: Shell
) -> None:
    (here.cwd / "shop.war").write_bytes(packed(war()))
    (here.cwd / "shop.jar").write_bytes(packed(boot()))
    ran = here.run("b2i", artifact, word, "shop:1", "--dry-run")
    assert ran.stderr.startswith(f"{word} is another platform's; the builder {builder} stands in here: ")
    assert f" to {base} for linux/amd64\ndeliver  shop:1\n" in ran.stdout


def test_an_image_without_a_name_goes_into_the_engine(here: Shell) -> None:
    assert here.run("b2i", "app", "--dry-run").stdout.splitlines()[-1] == "deliver  the engine"


def test_a_container_that_failed_is_kept_only_where_there_is_one(here: Shell) -> None:
    without, with_one = (
        here.run("b2i", "app", "--keep", "--dry-run", *words) for words in ((), ("--engine", "docker"))
    )
    assert (without.status, "--keep is for a container" in without.stderr, with_one.status) == (2, True, 0)


def test_a_dry_run_shows_the_layers_and_everything_as_json(here: Shell) -> None:
    (here.cwd / "shop.jar").write_bytes(packed(boot()))
    words = ("b2i", "shop.jar", "--layered", "--platform", "linux/amd64,linux/arm64", "--to", "tar:x.tar", "--dry-run")
    assert here.run(*words).stdout == (
        "read     shop.jar: a jar that starts, Spring Boot 3.4.1, tomcat, Java 21\n"
        "road     append: no container is needed\n"
        "append   /deployments/shop to s2ictl/jar:21 for linux/amd64, linux/arm64\n"
        "layer    dependencies\n"
        "layer    application\n"
        f"deliver  tar:{here.cwd}/x.tar\n"
    )
    shown = json.loads(here.run(*words, "-o", "json").stdout)
    assert shown.pop("artifact").startswith("sha256:")
    assert shown == {
        "dry-run": True,
        "engine": "append",
        "builder": "",
        "base": "s2ictl/jar:21",
        "path": "/deployments/shop",
        "platforms": ["linux/amd64", "linux/arm64"],
        "context-path": None,
        "to": [f"tar:{here.cwd}/x.tar"],
        "deploy": "",
    }


@pytest.mark.parametrize(
    ("artifact", "readiness", "probe"),
    [
        ("shop.war", None, ReadinessConfig(path="/shop/")),
        ("ROOT.war", None, None),
        ("shop.war", ReadinessConfig(delay=30), ReadinessConfig(path="/shop/", delay=30)),
        ("shop.war", ReadinessConfig(path="/up"), ReadinessConfig(path="/up")),
        ("shop.war", ReadinessConfig(kind="tcp"), ReadinessConfig(kind="tcp")),
        ("app", None, None),
    ],
)
def test_a_war_is_ready_when_its_address_answers_unless_it_is_told_otherwise(
    artifact: str, readiness: ReadinessConfig | None, probe: ReadinessConfig | None, here: Shell, emit: Emit
) -> None:
    for name in ("shop.war", "ROOT.war"):
        (here.cwd / name).write_bytes(packed(war()))
    build = BuildRequest(source=Source(kind="archive", location=artifact), builder="", names=())
    request = B2IRequest(path=here.cwd / artifact, build=build)
    plan = plan_of(request, named=lambda *_: None, prefix="s2ictl", platform="linux/amd64", emit=emit)
    asked = DeployConfig(readiness=readiness)
    ready = ready_at(AppConfig(name="shop", deploy=asked), plan)
    assert ready.deploy == DeployConfig(readiness=probe)
