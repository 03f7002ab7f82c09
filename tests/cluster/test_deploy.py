"""From an image in a registry to an address that answers, on a real node."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from s2ictl import documents
from s2ictl.cli.rollout import try_address
from s2ictl.cluster import Cluster
from s2ictl.deploy import deploy
from s2ictl.errors import RolloutFailed
from s2ictl.models import App, Port, Probe, Reference
from tests import testbed
from tests.cli import Ran, shell
from tests.cluster import images, places


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A namespace of its own on the real cluster, and the words typed there."""

    cluster: Cluster
    namespace: str
    registry: testbed.Registry
    kubeconfig: Path
    directory: Path

    def push(self, tag: str, run: str, *, user: str = "1001") -> str:
        """Push a version of the app to the open registry; answers its name."""
        name = f"{self.registry.open}/{self.namespace}:{tag}"
        images.push(name, run, user=user)
        return name

    def run(self, *arguments: str, **environ: str) -> Ran:
        place = shell(self.directory, KUBECONFIG=str(self.kubeconfig), **environ)
        return place.run(*arguments, "-n", self.namespace)

    def deploy(self, image: str, *flags: str, **environ: str) -> Ran:
        return self.run("deploy", image, "--name", "shop", "--expose", "nodeport", *flags, **environ)

    def generation(self) -> int:
        deployment = self.cluster.get("Deployment", "shop", namespace=self.namespace)
        assert deployment is not None
        return int(deployment["metadata"]["generation"])


@pytest.fixture(scope="module")
def cluster(cluster_facts: testbed.Cluster) -> Iterator[Cluster]:
    with places.opened(cluster_facts) as cluster:
        yield cluster


@pytest.fixture
def stage(
    cluster: Cluster, cluster_facts: testbed.Cluster, registry_facts: testbed.Registry, tmp_path: Path
) -> Iterator[Stage]:
    # Every pod of these tests keeps the strictest of Kubernetes' own policies, or it would not be made.
    with places.namespace(cluster, **{"pod-security.kubernetes.io/enforce": "restricted"}) as namespace:
        yield Stage(
            cluster=cluster,
            namespace=namespace,
            registry=registry_facts,
            kubeconfig=cluster_facts.kubeconfig,
            directory=tmp_path,
        )


def text_at(address: str) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(address.strip(), timeout=5) as answer:
        content: bytes = answer.read()
    return content.decode().strip()


def test_an_image_becomes_an_address_that_answers(stage: Stage, cluster_facts: testbed.Cluster) -> None:
    ran = stage.deploy(stage.push("1", images.serving("one")))
    assert (ran.status, ran.stdout.startswith(f"http://{cluster_facts.node_ip}:")) == (0, True), ran.stderr
    assert text_at(ran.stdout) == "one"


def test_the_next_version_takes_over_the_same_address(stage: Stage) -> None:
    first = stage.deploy(stage.push("1", images.serving("one")))
    second = stage.deploy(stage.push("2", images.serving("two")))
    assert (second.stdout, text_at(second.stdout)) == (first.stdout, "two")


def test_the_same_digest_twice_changes_nothing(stage: Stage) -> None:
    image = stage.push("1", images.serving("one"))
    first = stage.deploy(image)
    generation = stage.generation()
    again = stage.deploy(image)
    assert (again.stdout, stage.generation()) == (first.stdout, generation)
    assert "deployment/shop unchanged\nservice/shop unchanged\n" in again.stderr


def test_an_image_that_is_in_no_registry_changes_nothing(stage: Stage) -> None:
    ran = stage.deploy(f"{stage.registry.open}/nowhere:1")
    assert (ran.status, ran.stdout) == (5, "")
    assert stage.cluster.get("Deployment", "shop", namespace=stage.namespace) is None


def test_an_image_that_the_node_cannot_pull_is_named_and_the_old_version_keeps_serving(stage: Stage) -> None:
    address = stage.deploy(stage.push("1", images.serving("one"))).stdout
    app = App(
        name="shop",
        namespace=stage.namespace,
        image=Reference.parse(f"{stage.registry.open}/{stage.namespace}@sha256:{'0' * 64}"),
        ports=(Port(container=8080, service=8080),),
        expose="nodeport",
        readiness=Probe(kind="tcp"),
        user="1001",
    )
    with pytest.raises(RolloutFailed) as caught:
        deploy(app, cluster=stage.cluster, try_address=try_address, emit=lambda _: None, timeout=120)
    assert f"pulling {app.image} failed" in caught.value.message
    assert "not found" in caught.value.detail
    assert "the version before keeps serving" in caught.value.detail
    assert text_at(address) == "one"


def test_an_app_that_crashes_is_shown_with_its_last_words(stage: Stage) -> None:
    ran = stage.deploy(stage.push("1", "echo no database; exit 3"), "--timeout", "90s")
    assert ran.status == 9, ran.stderr
    assert "its container ends again and again, with status 3" in ran.stderr
    assert "| no database" in ran.stderr


def test_a_root_image_is_refused_by_the_policy_in_its_own_words(stage: Stage) -> None:
    ran = stage.deploy(stage.push("1", images.serving("one"), user="0"))
    assert ran.status == 9, ran.stderr
    assert 'violates PodSecurity "restricted:latest": runAsNonRoot != true' in ran.stderr


def test_a_private_image_is_pulled_with_the_login_of_this_machine(stage: Stage) -> None:
    registry = stage.registry
    name = f"{registry.closed}/{stage.namespace}:1"
    images.push(name, images.serving("private"), login=f"{registry.username}:{registry.password}")
    entry = {"username": registry.username, "password": registry.password}
    config = json.dumps({"auths": {registry.closed: entry}})
    ran = stage.deploy(name, "--pull-secret-from-login", DOCKER_AUTH_CONFIG=config)
    assert (ran.status, registry.password in ran.stdout + ran.stderr) == (0, False), ran.stderr
    assert text_at(ran.stdout) == "private"
    again = stage.run("deploy", name, "--name", "other", "--registry-secret", "shop-registry")
    assert (again.status, again.stdout) == (0, f"{stage.namespace}/deployment/other\n"), again.stderr


def test_status_and_json_show_what_runs(stage: Stage) -> None:
    image = stage.push("1", images.serving("one"))
    deployed = json.loads(stage.deploy(image, "-o", "json").stdout)
    [shown] = json.loads(stage.run("status", "-o", "json").stdout)
    assert (deployed["ready"], deployed["wanted"], shown["ready"], shown["commit"]) == (1, 1, 1, "c0ffee")
    assert (shown["image"], shown["address"]) == (deployed["image"], deployed["address"])
    assert deployed["image"].startswith(f"{image.removesuffix(':1')}@sha256:")


def test_delete_leaves_nothing(stage: Stage) -> None:
    stage.deploy(stage.push("1", images.serving("one")))
    ran = stage.run("delete", "shop", "--yes")
    assert ran.stdout == f"{stage.namespace}/deployment/shop\n{stage.namespace}/service/shop\n", ran.stderr
    kinds = ("Deployment", "ReplicaSet", "Pod", "Service")
    labels = {"app.kubernetes.io/managed-by": "s2ictl"}
    assert not any(stage.cluster.find(kind, namespace=stage.namespace, labels=labels) for kind in kinds)


def test_replicas_that_somebody_scaled_are_left_alone(stage: Stage) -> None:
    image = stage.push("1", images.serving("one"))
    stage.deploy(image, "--replicas", "2")
    assert json.loads(stage.deploy(image, "-o", "json").stdout)["wanted"] == 2


def test_a_missing_right_is_named_as_verb_and_resource(stage: Stage) -> None:
    nobody = documents.load(stage.kubeconfig.read_text(), "kubeconfig").value | {"users": []}
    file = stage.directory / "nobody.kubeconfig"
    file.write_text(json.dumps(nobody))
    ran = shell(stage.directory, KUBECONFIG=str(file)).run("status", "-n", stage.namespace)
    assert ran.status == 4
    assert f"error: not allowed to list deployments in namespace {stage.namespace} (ClusterForbidden)" in ran.stderr
