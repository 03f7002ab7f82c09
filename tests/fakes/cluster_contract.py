"""What every cluster does, the fake one and the real one: imported by a test file that has a fixture `world`."""

from __future__ import annotations

import base64
import time
from typing import Protocol

import pytest

from s2ictl.cluster import Cluster, read_secret
from s2ictl.errors import Conflict, RecordNotFound, RolloutFailed
from s2ictl.manifests import namespace_of, objects_of
from s2ictl.models import App, Manifest, Port, Probe, Reference

STRANGER = "kubectl-edit"


class World(Protocol):
    """A cluster, and a namespace in it that is the test's alone."""

    @property
    def cluster(self) -> Cluster: ...

    @property
    def namespace(self) -> str: ...


def app(world: World, **changes: object) -> App:
    described: dict[str, object] = {
        "name": "shop",
        "namespace": world.namespace,
        "image": Reference.parse("registry.example.com/shop:1"),
        "ports": (Port(container=8080, service=80),),
        "expose": "nodeport",
        "readiness": Probe(kind="tcp"),
        "replicas": 0,
    }
    return App(**(described | changes))  # type: ignore[arg-type]


def deployment_of(world: World, **changes: object) -> Manifest:
    return objects_of(app(world, **changes))[0]


def service_of(world: World, **changes: object) -> Manifest:
    return objects_of(app(world, **changes))[1]


def test_what_is_not_there_is_none_to_get_and_false_to_delete(world: World) -> None:
    assert world.cluster.get("Deployment", "shop", namespace=world.namespace) is None
    assert not world.cluster.delete("Deployment", "shop", namespace=world.namespace)


def test_an_applied_object_can_be_read_again(world: World) -> None:
    # A Service, since no controller writes to it: a real Deployment has changed by the time it is read.
    applied = world.cluster.apply(service_of(world))
    assert world.cluster.get("Service", "shop", namespace=world.namespace) == applied
    assert applied["metadata"]["labels"] == service_of(world)["metadata"]["labels"]


def test_applying_the_same_twice_changes_nothing(world: World) -> None:
    once, again = (world.cluster.apply(service_of(world)) for _ in range(2))
    assert once == again


def test_a_dry_run_answers_the_object_and_keeps_nothing(world: World) -> None:
    assert world.cluster.apply(deployment_of(world), dry_run=True)["spec"]["replicas"] == 0
    assert world.cluster.get("Deployment", "shop", namespace=world.namespace) is None


def test_a_field_of_somebody_else_is_a_conflict_that_names_field_and_owner(world: World) -> None:
    world.cluster.apply(deployment_of(world, replicas=0), manager=STRANGER)
    with pytest.raises(Conflict) as caught:
        world.cluster.apply(deployment_of(world, replicas=1))
    assert caught.value.message == f"deployment/shop in namespace {world.namespace} is partly somebody else's"
    assert caught.value.detail == ".spec.replicas is owned by kubectl-edit"
    assert "--force-conflicts" in caught.value.hint


def test_force_takes_the_field(world: World) -> None:
    world.cluster.apply(service_of(world), manager=STRANGER)
    taken = world.cluster.apply(service_of(world, ports=(Port(container=9090, service=80),)), force=True)
    assert taken["spec"]["ports"][0]["targetPort"] == 9090


def test_our_own_managers_are_never_in_each_others_way(world: World) -> None:
    world.cluster.apply(deployment_of(world, alias="old"), manager="s2ictl-other")
    annotations = world.cluster.apply(deployment_of(world, alias="new"))["metadata"]["annotations"]
    assert annotations["kubesphere.io/alias-name"] == "new"


def test_a_field_that_is_no_longer_applied_is_removed(world: World) -> None:
    world.cluster.apply(deployment_of(world, alias="The shop", description="sells"))
    annotations = world.cluster.apply(deployment_of(world, alias="The shop"))["metadata"]["annotations"]
    ours = {name: value for name, value in annotations.items() if name.startswith("kubesphere.io/")}
    assert ours == {"kubesphere.io/alias-name": "The shop"}


def test_a_node_port_stays_when_the_service_is_applied_again(world: World) -> None:
    first = world.cluster.apply(service_of(world))["spec"]["ports"][0]["nodePort"]
    again = world.cluster.apply(service_of(world, ports=(Port(container=9090, service=80),)))["spec"]["ports"][0]
    assert (again["nodePort"], again["targetPort"]) == (first, 9090)


def test_a_service_that_is_exposed_no_longer_has_no_node_port(world: World) -> None:
    world.cluster.apply(service_of(world))
    assert "nodePort" not in world.cluster.apply(service_of(world, expose="none"))["spec"]["ports"][0]


def test_objects_are_found_by_label(world: World) -> None:
    world.cluster.apply(service_of(world))
    world.cluster.apply(service_of(world, name="other"))
    labels = {"app.kubernetes.io/instance": "other"}
    found = world.cluster.find("Service", namespace=world.namespace, labels=labels)
    assert [each["metadata"]["name"] for each in found] == ["other"]


def test_what_is_deleted_is_soon_gone(world: World) -> None:
    world.cluster.apply(service_of(world))
    assert world.cluster.delete("Service", "shop", namespace=world.namespace)
    deadline = time.monotonic() + 10
    while world.cluster.get("Service", "shop", namespace=world.namespace) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_watch_begins_with_the_object_as_it_is_and_ends_in_time(world: World) -> None:
    applied = world.cluster.apply(service_of(world))
    began = time.monotonic()
    seen = list(world.cluster.watch("Service", "shop", namespace=world.namespace, seconds=1))
    assert seen == [applied]
    assert time.monotonic() - began < 5


def test_watching_what_is_not_there_ends_at_once(world: World) -> None:
    assert list(world.cluster.watch("Service", "shop", namespace=world.namespace, seconds=1)) == []


def test_a_missing_namespace_is_a_failed_rollout_that_names_the_flag(world: World) -> None:
    with pytest.raises(RolloutFailed, match="there is no namespace s2ictl-nowhere") as caught:
        world.cluster.apply(deployment_of(world, namespace="s2ictl-nowhere"))
    assert "--create-namespace" in caught.value.hint


def test_a_namespace_can_be_applied(world: World) -> None:
    name = f"{world.namespace}-made"
    world.cluster.apply(namespace_of(name))
    made = world.cluster.get("Namespace", name)
    world.cluster.delete("Namespace", name, namespace="")
    assert made is not None


def test_a_secret_is_read_as_bytes(world: World) -> None:
    secret = objects_of(app(world), b'{"auths":{}}')[0]
    assert secret["data"][".dockerconfigjson"] == base64.b64encode(b'{"auths":{}}').decode()
    world.cluster.apply(secret)
    assert read_secret(world.cluster, world.namespace, "shop-registry") == (
        "kubernetes.io/dockerconfigjson",
        {".dockerconfigjson": b'{"auths":{}}'},
    )


def test_a_missing_secret_is_named(world: World) -> None:
    with pytest.raises(RecordNotFound, match=f"there is no Secret login in namespace {world.namespace}"):
        read_secret(world.cluster, world.namespace, "login")


def test_the_log_of_a_pod_that_is_not_there_is_empty(world: World) -> None:
    assert world.cluster.logs("shop-1", namespace=world.namespace, container="shop", lines=5) == ()
