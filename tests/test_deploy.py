"""The story of a deployment, on a cluster in memory and a clock that passes only where somebody waits."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from s2ictl.deploy import Belonging, Clock, belongings, delete, deploy, look_up, status
from s2ictl.errors import Conflict, ImageNotFound, InvalidUsage, RecordNotFound, RolloutFailed
from s2ictl.events import Event, Notice
from s2ictl.manifests import objects_of
from s2ictl.models import App, AppStatus, ImageFacts, Port, Probe, Reference, Rollout
from tests.fakes.cluster import MADE, FakeCluster, refused, rolls_out, stuck

DIGEST = f"sha256:{'ab' * 32}"
IMAGE = f"registry.example.com/shop@{DIGEST}"
APP = App(
    name="shop",
    namespace="default",
    image=Reference.parse(f"registry.example.com/shop:1.4@{DIGEST}"),
    ports=(Port(container=8080, service=80),),
    expose="nodeport",
    readiness=Probe(kind="http"),
    user="1001",
)


@dataclass(slots=True)
class Scene:
    """One deployment: what happens to it, and what answers at its address."""

    cluster: FakeCluster = field(default_factory=lambda: FakeCluster(controller=rolls_out))
    answers: Callable[[str], int | None] = lambda _: 200
    events: list[Event] = field(default_factory=list)

    def deploy(self, app: App = APP, **how: Any) -> Rollout:
        time = self.cluster.time
        return deploy(
            app,
            cluster=self.cluster,
            try_address=self.answers,
            emit=self.events.append,
            clock=Clock(now=time.now, sleep=time.sleep),
            **how,
        )

    def fails(self, app: App = APP, **how: Any) -> RolloutFailed:
        with pytest.raises(RolloutFailed) as caught:
            self.deploy(app, **how)
        return caught.value

    def notices(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Notice)]


def broken(**pod_status: Any) -> Scene:
    return Scene(cluster=FakeCluster(controller=stuck(**pod_status)))


def waiting(reason: str, message: str = "", **more: Any) -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": message}}
    return {"containerStatuses": [{"name": "shop", "image": IMAGE, "state": state, **more}]}


def test_a_deployment_ends_with_the_address_that_answered() -> None:
    address = "http://10.0.0.7:30080/"
    scene = Scene(answers={address: 200}.get)
    assert scene.deploy() == Rollout(image=IMAGE, address=address, namespace="default", name="shop", ready=1, wanted=1)
    assert scene.notices() == ["deployment/shop created", "service/shop created"]


def test_the_same_digest_again_changes_nothing() -> None:
    scene = Scene()
    scene.deploy()
    before = scene.cluster.get("Deployment", "shop", namespace="default")
    scene.events.clear()
    scene.deploy()
    assert scene.cluster.get("Deployment", "shop", namespace="default") == before
    assert scene.notices() == ["deployment/shop unchanged", "service/shop unchanged"]


def test_another_build_of_the_same_digest_restarts_nothing() -> None:
    scene = Scene()
    scene.deploy(replace(APP, build="7b02", commit="a" * 40))
    before = scene.cluster.stored["Deployment", "default", "shop"]
    scene.deploy(replace(APP, build="9c11", commit="b" * 40, image=replace(APP.image, tag="1.5")))
    after = scene.cluster.stored["Deployment", "default", "shop"]
    assert (after.generation, after.leaves["metadata", "annotations", "s2ictl/build"]) == (before.generation, "9c11")


def test_nothing_is_waited_for_when_nobody_waits() -> None:
    scene = Scene(cluster=FakeCluster())
    assert scene.deploy(wait=False).address == ""
    assert scene.cluster.time.now() == 1000.0


def test_an_app_that_is_not_exposed_has_no_address() -> None:
    assert Scene().deploy(replace(APP, expose="none")).address == ""


def test_a_named_node_address_is_asked_in_place_of_the_nodes_own() -> None:
    assert Scene().deploy(node_address="node.example.com").address == "http://node.example.com:30080/"


def test_an_address_that_answers_late_is_waited_for() -> None:
    answers = iter([None, None, 503, 404])
    assert Scene(answers=lambda _: next(answers)).deploy().address == "http://10.0.0.7:30080/"


def test_an_address_that_never_answers_is_a_failure_that_says_what_may_stand_between() -> None:
    error = Scene(answers=lambda _: None).fails()
    assert error.message == (
        "default/deployment/shop is rolled out, but http://10.0.0.7:30080/ does not answer from here"
    )
    assert "--node-address" in error.hint


def test_a_load_balancer_that_gives_no_address_is_named() -> None:
    error = Scene().fails(replace(APP, expose="loadbalancer"))
    assert error.message == "default/service/shop was given no address"


def test_the_pull_secret_is_made_before_the_deployment_that_names_it() -> None:
    scene = Scene()
    scene.deploy(pull_secret=b'{"auths":{}}')
    assert scene.cluster.applied == [("Secret", "shop-registry"), ("Deployment", "shop"), ("Service", "shop")]
    secret = scene.cluster.get("Secret", "shop-registry", namespace="default")
    assert secret is not None
    assert secret["data"] == {".dockerconfigjson": base64.b64encode(b'{"auths":{}}').decode()}


def test_a_missing_namespace_is_made_only_when_asked_for() -> None:
    scene = Scene()
    app = replace(APP, namespace="prod")
    assert scene.fails(app).message == "there is no namespace prod"
    assert scene.deploy(app, create_namespace=True).namespace == "prod"


# ------------------------------------------------------------------------------------------------ somebody else's


def test_an_object_of_somebody_else_is_left_alone_and_nothing_is_changed() -> None:
    scene = Scene()
    foreign = objects_of(APP)[1]
    foreign["metadata"]["labels"] = {"app": "theirs"}
    scene.cluster.apply(foreign, manager="helm")
    with pytest.raises(Conflict) as caught:
        scene.deploy()
    assert caught.value.message == "default/service/shop is somebody else's"
    assert caught.value.detail == "it was written by helm; nothing was changed"
    assert scene.cluster.applied == [("Service", "shop")]


def test_a_field_that_was_changed_by_hand_stops_the_deployment_before_it_begins() -> None:
    scene = Scene()
    scene.deploy(replace(APP, replicas=1))
    scene.cluster.apply(objects_of(replace(APP, replicas=4))[0], manager="kubectl-edit", force=True)
    scene.cluster.applied.clear()
    with pytest.raises(Conflict, match="partly somebody else's"):
        scene.deploy(replace(APP, replicas=2))
    assert scene.cluster.applied == []
    assert scene.deploy(replace(APP, replicas=2), force_conflicts=True).wanted == 2


def test_replicas_that_are_no_longer_asked_for_stay_as_they_are() -> None:
    scene = Scene()
    scene.deploy(replace(APP, replicas=3))
    assert scene.deploy().wanted == 3
    assert scene.deploy().wanted == 3
    assert scene.deploy(replace(APP, replicas=2)).wanted == 2


# ------------------------------------------------------------------------------------------------ what goes wrong


def test_an_image_that_the_registry_does_not_give_is_named_soon_and_the_old_version_serves() -> None:
    scene = broken(**waiting("ImagePullBackOff", "rpc error: registry.example.com/shop: not found"))
    error = scene.fails()
    assert error.message == (f"default/deployment/shop could not be rolled out: pod/shop-new-1: pulling {IMAGE} failed")
    assert error.detail == "rpc error: registry.example.com/shop: not found\nthe version before keeps serving"
    assert error.exit_code == 9
    assert scene.cluster.time.now() < 1015


def test_a_pull_that_fails_for_another_reason_is_given_three_tries() -> None:
    scene = broken(**waiting("ErrImagePull", "i/o timeout"))
    scene.fails()
    assert 1035 <= scene.cluster.time.now() < 1045


def test_a_refused_pull_is_tried_again_since_the_secret_may_be_newer_and_says_how_a_node_gets_a_login() -> None:
    scene = broken(**waiting("ErrImagePull", "401 Unauthorized"))
    assert "--registry-secret" in scene.fails().hint
    assert 1020 <= scene.cluster.time.now() < 1030


def test_a_crashing_app_is_shown_with_its_last_words() -> None:
    ended = {"terminated": {"exitCode": 3}}
    scene = broken(**waiting("CrashLoopBackOff", lastState=ended, restartCount=2))
    scene.cluster.said["shop-new-1"] = ("starting", "no database")
    error = scene.fails()
    assert error.message.endswith("pod/shop-new-1: its container ends again and again, with status 3")
    assert error.detail == "2 restarts\n| starting\n| no database\nthe version before keeps serving"


def test_a_crash_or_two_may_be_nothing() -> None:
    scene = broken(**waiting("CrashLoopBackOff", restartCount=1))
    assert "was not ready after 20 s" in scene.fails(timeout=20).message


def test_a_pod_that_fits_nowhere_is_said() -> None:
    full = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "1 Insufficient memory."}
    error = broken(conditions=[full]).fails()
    assert error.message.endswith("pod/shop-new-1: no node takes it")
    assert error.detail.startswith("1 Insufficient memory.")


def test_a_pod_that_fits_nowhere_is_waited_for_while_an_autoscaler_is_at_work() -> None:
    full = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "full"}
    scene = broken(conditions=[full])
    event = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "scaling", "namespace": "default"}}
    scene.cluster.put(event | {"involvedObject": {"name": "shop-new-1"}, "reason": "TriggeredScaleUp"})
    assert "was not ready after 100 s" in scene.fails(timeout=100).message


@pytest.mark.parametrize(
    ("message", "hint"),
    [
        ('pods "shop-1" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true', "numeric user"),
        ('pods "shop-1" is forbidden: exceeded quota: small, requested: pods=1', "quota"),
    ],
)
def test_a_pod_that_may_not_even_be_made_is_said_in_the_clusters_words(message: str, hint: str) -> None:
    error = Scene(cluster=FakeCluster(controller=refused(message))).fails()
    assert error.message.endswith("deployment/shop: the cluster refuses to make its pods")
    assert error.detail == message
    assert hint in error.hint


def test_a_rollout_without_any_sign_ends_with_the_time_that_was_given() -> None:
    error = Scene(cluster=FakeCluster()).fails(timeout=30)
    assert error.message == "default/deployment/shop was not ready after 30 s"
    assert error.detail == "0 of 1 replicas are ready"


def test_a_deployment_that_vanishes_is_not_waited_for() -> None:
    def vanishes(cluster: FakeCluster, deployment: dict[str, Any]) -> None:
        cluster.delete("Deployment", "shop", namespace="default")

    error = Scene(cluster=FakeCluster(controller=vanishes)).fails()
    assert error.message == "deployment/shop was deleted while it was rolled out"


def test_a_root_image_is_deployed_with_a_notice() -> None:
    scene = Scene()
    scene.deploy(replace(APP, user=""))
    assert scene.notices()[0].startswith("the image runs as root, so runAsNonRoot is left out")


def test_a_privileged_port_of_an_ordinary_user_is_noticed() -> None:
    scene = Scene()
    scene.deploy(replace(APP, ports=(Port(container=80, service=80),)))
    assert scene.notices()[0].startswith("port 80 is below 1024")


def test_what_cannot_be_is_refused_before_the_cluster_is_asked() -> None:
    scene = Scene()
    with pytest.raises(InvalidUsage, match="cannot be the name of an app"):
        scene.deploy(replace(APP, name="My_App"))
    assert scene.cluster.applied == []


# -------------------------------------------------------------------------------------------- status and delete


def test_status_shows_every_app_with_its_address() -> None:
    scene = Scene()
    scene.deploy(replace(APP, build="7b02", commit="a" * 40))
    shop = AppStatus(
        name="shop",
        namespace="default",
        image=IMAGE,
        ready=1,
        wanted=1,
        address="http://10.0.0.7:30080/",
        build="7b02",
        commit="a" * 40,
        deployed=MADE,
    )
    assert status(scene.cluster, namespace="default") == (shop,)
    assert status(scene.cluster, namespace="", name="shop") == (shop,)


def test_status_of_an_unknown_app_is_an_error_and_of_none_is_empty() -> None:
    assert status(FakeCluster(), namespace="default") == ()
    with pytest.raises(RecordNotFound, match="there is no app shop in namespace default"):
        status(FakeCluster(), namespace="default", name="shop")


def test_delete_removes_all_that_deploy_made_and_nothing_else() -> None:
    scene = Scene()
    scene.deploy(pull_secret=b"{}")
    scene.deploy(replace(APP, name="other"))
    things = belongings("shop", cluster=scene.cluster, namespace="default")
    assert things == (
        Belonging(kind="Deployment", name="shop", namespace="default"),
        Belonging(kind="Service", name="shop", namespace="default"),
        Belonging(kind="Secret", name="shop-registry", namespace="default"),
    )
    delete(things, cluster=scene.cluster, timeout=5, emit=scene.events.append)
    assert {name for _, _, name in scene.cluster.stored} == {"other", "other-new", "other-new-1"}


def test_delete_does_not_touch_what_somebody_else_made() -> None:
    cluster = FakeCluster()
    foreign = objects_of(APP)[0]
    foreign["metadata"]["labels"] = {}
    cluster.apply(foreign, manager="helm")
    with pytest.raises(Conflict, match="shop is somebody else's"):
        belongings("shop", cluster=cluster, namespace="default")


def test_delete_of_nothing_is_an_error() -> None:
    with pytest.raises(RecordNotFound, match="there is no app shop in namespace default"):
        belongings("shop", cluster=FakeCluster(), namespace="default")


# ------------------------------------------------------------------------------------------------------ the image


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeRegistry:
    digest: str = ""

    def resolve(self) -> str:
        return self.digest

    def facts(self, platform: str) -> ImageFacts | None:
        return ImageFacts(id="sha256:1", platform=platform)


def test_an_image_is_deployed_by_the_digest_that_its_registry_has_now() -> None:
    name = Reference.parse("registry.example.com/shop:1.4")
    found = look_up(name, FakeRegistry(digest=DIGEST), platform="linux/amd64")
    assert found == (name.at(DIGEST), ImageFacts(id="sha256:1", platform="linux/amd64"))


def test_an_image_that_is_in_no_registry_is_not_found() -> None:
    with pytest.raises(ImageNotFound) as caught:
        look_up(Reference.parse("registry.example.com/shop:1.4"), FakeRegistry(), platform="linux/amd64")
    assert caught.value.hint == "send it there first: s2ictl push registry.example.com/shop:1.4"
