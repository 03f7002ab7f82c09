"""`build --deploy` and `b2i --deploy`: one command from source or artifact to an address, on the real parts."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest

from s2ictl import documents
from s2ictl.cluster import Cluster
from tests import testbed
from tests.cli import Ran, Shell, shell
from tests.cluster import places
from tests.cluster.test_deploy import text_at
from tests.engine import tiny

BUILDER = "s2ictl-build-deploy/httpd:1"
ASSEMBLE = "mkdir -p /opt/app/www && cp /tmp/src/index.html /opt/app/www/"
RUN = "httpd -f -p 8080 -h /opt/app/www & trap 'kill $!; exit 0' TERM; wait"
INSTRUCTIONS = (
    f"LABEL io.openshift.s2i.scripts-url=image://{tiny.SCRIPTS}",
    "USER 1001",
    "WORKDIR /opt/app",
    "ENV PATH=/bin",
    "EXPOSE 8080",
)
DONE = "Build completed successfully"


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """A directory with a page in it, and a namespace of its own on the real cluster."""

    shell: Shell
    cluster: Cluster
    namespace: str
    registry: testbed.Registry

    @property
    def image(self) -> str:
        return f"{self.registry.open}/{self.namespace}"

    @property
    def private(self) -> str:
        return f"{self.registry.closed}/{self.namespace}"

    def run(self, *words: str) -> Ran:
        return self.shell.run(*words)

    def deploy(self, image: str, *flags: str) -> Ran:
        return self.run("build", ".", BUILDER, image, "--deploy", "-n", self.namespace, "--name", "shop", *flags)

    def writes(self, text: str) -> None:
        (self.shell.cwd / "index.html").write_text(text + "\n")

    def deployment(self, name: str = "shop") -> Any:
        return self.cluster.get("Deployment", name, namespace=self.namespace)

    def has_secret(self, host: str) -> None:
        """Put the login of the closed registry into the namespace, as if it were the one for `host`."""
        auth = base64.b64encode(f"{self.registry.username}:{self.registry.password}".encode())
        content = json.dumps({"auths": {host: {"auth": auth.decode()}}}).encode()
        self.cluster.apply(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "hub", "namespace": self.namespace},
                "type": "kubernetes.io/dockerconfigjson",
                "data": {".dockerconfigjson": base64.b64encode(content).decode()},
            }
        )


@pytest.fixture(scope="module")
def cluster(cluster_facts: testbed.Cluster) -> Iterator[Cluster]:
    with places.opened(cluster_facts) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def builder(engine_facts: testbed.Engine) -> Iterator[None]:
    api = docker.APIClient(base_url=engine_facts.docker_host, version="auto")
    filesystem = tiny.rootfs({"assemble": tiny.script(ASSEMBLE), "run": tiny.script(RUN)})
    with tiny.imported(api, BUILDER, filesystem, *INSTRUCTIONS):
        yield
        tiny.remove_named(api, "/s2ictl-test-")
    api.close()


@pytest.fixture
def desk(
    builder: None,
    cluster: Cluster,
    engine_facts: testbed.Engine,
    cluster_facts: testbed.Cluster,
    registry_facts: testbed.Registry,
    tmp_path: Path,
) -> Iterator[Desk]:
    made = shell(tmp_path, DOCKER_HOST=engine_facts.docker_host, KUBECONFIG=str(cluster_facts.kubeconfig))
    with places.namespace(cluster, **{"pod-security.kubernetes.io/enforce": "restricted"}) as namespace:
        desk = Desk(shell=made, cluster=cluster, namespace=namespace, registry=registry_facts)
        desk.writes("one")
        yield desk


def test_one_command_takes_source_to_an_address_that_answers(desk: Desk) -> None:
    ran = desk.deploy(f"{desk.image}:1", "--expose", "nodeport", "-o", "json", "--result-file", "result.json")
    assert ran.status == 0, ran.stderr
    result = json.loads(ran.stdout)
    assert text_at(result["address"]) == "one"
    assert result["image"] == f"{desk.image}:1@{result['digest']}"
    assert (result["builder"], f"{result['build']}\n") == (
        BUILDER,
        desk.shell.run("builds", "list", "-o", "name").stdout,
    )
    assert json.loads((desk.shell.cwd / "result.json").read_text()) == result
    container = desk.deployment()["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == f"{desk.image}@{result['digest']}"
    lines = ran.stderr.splitlines()
    assert lines.index(DONE) < next(number for number, line in enumerate(lines) if line.startswith("apply"))
    assert [step["name"] for step in result["steps"]] == [
        *("fetch", "choose builder", "keep", "assemble", "deliver", "apply", "roll out", "try the address")
    ]


def test_the_next_build_takes_over_the_same_address(desk: Desk) -> None:
    first = desk.deploy(f"{desk.image}:1", "--expose", "nodeport")
    desk.writes("two")
    second = desk.deploy(f"{desk.image}:1", "--expose", "nodeport", "-q")
    assert (second.status, second.stdout, second.stderr) == (0, first.stdout, "")
    assert text_at(second.stdout) == "two"


def test_where_nothing_is_exposed_the_answer_is_the_deployment(desk: Desk) -> None:
    ran = desk.run("build", ".", BUILDER, f"{desk.image}/front:1", "--deploy", "-n", desk.namespace, "--no-wait")
    assert (ran.status, ran.stdout) == (0, f"{desk.namespace}/deployment/front\n"), ran.stderr


def test_the_chosen_secret_pushes_and_pulls(desk: Desk) -> None:
    desk.has_secret(desk.registry.closed)
    ran = desk.deploy(f"{desk.private}:1", "--registry-secret", "hub", "--expose", "nodeport")
    assert (ran.status, desk.registry.password in ran.stdout + ran.stderr) == (0, False), ran.stderr
    assert text_at(ran.stdout) == "one"
    assert desk.deployment()["spec"]["template"]["spec"]["imagePullSecrets"] == [{"name": "hub"}]


def test_a_name_without_a_registry_is_completed_by_the_secret(desk: Desk) -> None:
    desk.has_secret(desk.registry.closed)
    ran = desk.deploy(f"team/{desk.namespace}:1", "--registry-secret", "hub", "-o", "json")
    assert ran.status == 0, ran.stderr
    assert json.loads(ran.stdout)["tags"] == [f"{desk.registry.closed}/team/{desk.namespace}:1"]


def test_a_secret_that_does_not_know_the_registry_stops_it_before_the_build(desk: Desk) -> None:
    desk.has_secret("registry.example.com")
    ran = desk.deploy(f"{desk.private}:1", "--registry-secret", "hub")
    first = f"error: the secret {desk.namespace}/hub has no login for {desk.private} (Unauthorized)"
    assert (ran.status, ran.stdout, first in ran.stderr, "fetch" in ran.stderr) == (4, "", True, False), ran.stderr


def test_what_the_flags_do_not_say_stands_in_the_file(desk: Desk) -> None:
    app = {
        "name": "shop",
        "image": f"{desk.image}:file",
        "build": {"builder": BUILDER},
        "deploy": {"namespace": desk.namespace, "expose": "nodeport", "replicas": 2, "readiness": {"path": "/"}},
    }
    (desk.shell.cwd / "s2i.yaml").write_text(documents.dump(app))
    built = desk.run("build", "--deploy", "--replicas", "1")
    assert (built.status, text_at(built.stdout)) == (0, "one"), built.stderr
    deployed = desk.run("deploy", "shop")
    assert (deployed.status, deployed.stdout) == (0, built.stdout), deployed.stderr
    spec = desk.deployment()["spec"]
    assert (spec["replicas"], spec["template"]["spec"]["containers"][0]["readinessProbe"]["httpGet"]["path"]) == (
        2,
        "/",
    )


def test_a_rollout_that_fails_is_exit_9_and_the_build_was_good(desk: Desk) -> None:
    scripts = desk.shell.cwd / ".s2i" / "bin"
    scripts.mkdir(parents=True)
    (scripts / "run").write_text("#!/bin/sh\necho no luck\nexit 3\n")
    ran = desk.deploy(f"{desk.image}:1")
    assert (ran.status, ran.stdout, DONE in ran.stderr) == (9, "", True), ran.stderr
    assert "| no luck" in ran.stderr


def test_an_artifact_takes_the_same_road(desk: Desk) -> None:
    (desk.shell.cwd / "busybox").write_bytes(tiny.busybox().read_bytes())
    program = ("--args", "httpd -f -p 8080", "--port", "8080")
    flags = ("--deploy", "-n", desk.namespace, "--name", "shop", "--expose", "nodeport", "-o", "json")
    ran = desk.run("b2i", "busybox", "-t", f"{desk.image}:b", *program, *flags)
    assert (ran.status, DONE in ran.stderr) == (0, True), ran.stderr
    result = json.loads(ran.stdout)
    assert result["address"].startswith("http://")
    container = desk.deployment()["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == f"{desk.image}@{result['digest']}"
