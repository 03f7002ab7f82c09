"""What an App becomes, as data; and what is refused before any cluster is asked."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2ictl.errors import InvalidUsage, LimitReached, Refused
from s2ictl.manifests import check, image_of, objects_of, origin_of, ports_of, redacted
from s2ictl.models import App, ImageFacts, Port, Probe, Reference

DIGEST = f"sha256:{'ab' * 32}"
APP = App(
    name="shop",
    namespace="prod",
    image=Reference.parse(f"registry.example.com/team/shop:1.4@{DIGEST}"),
    ports=(Port(container=8080, service=80, name="http-1"),),
    expose="nodeport",
    readiness=Probe(kind="http", path="/ready", delay=30, timeout=10),
    alias="The shop",
    description="sells things",
    env=(("MODE", "prod"),),
    user="1001:0",
    build="7b02",
    commit="c0ffee",
    built="2026-11-21T12:00:00Z",
)
LABELS = {
    "app.kubernetes.io/name": "shop",
    "app.kubernetes.io/instance": "shop",
    "app.kubernetes.io/managed-by": "s2ictl",
}
SELECTOR = {"app.kubernetes.io/name": "shop", "app.kubernetes.io/instance": "shop"}
SAID = {"kubesphere.io/alias-name": "The shop", "kubesphere.io/description": "sells things"}


def test_an_app_becomes_a_deployment_and_a_service() -> None:
    container = {
        "name": "shop",
        "image": f"registry.example.com/team/shop@{DIGEST}",
        "ports": [{"name": "http-1", "containerPort": 8080, "protocol": "TCP"}],
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "env": [{"name": "MODE", "value": "prod"}],
        "readinessProbe": {
            "httpGet": {"path": "/ready", "port": 8080},
            "timeoutSeconds": 10,
            "periodSeconds": 2,
            "initialDelaySeconds": 30,
        },
    }
    pod = {
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }
    head = {"name": "shop", "namespace": "prod", "labels": LABELS | {"app.kubernetes.io/version": "1.4"}}
    build = {"s2ictl/build": "7b02", "s2ictl/commit": "c0ffee", "s2ictl/built": "2026-11-21T12:00:00Z"}
    port = {"name": "http-1", "port": 80, "targetPort": 8080, "protocol": "TCP"}
    assert objects_of(APP) == (
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": head | {"annotations": SAID | build},
            "spec": {"selector": {"matchLabels": SELECTOR}, "template": {"metadata": {"labels": LABELS}, "spec": pod}},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": head | {"annotations": SAID},
            "spec": {"type": "NodePort", "selector": SELECTOR, "ports": [port]},
        },
    )


def spec_of(app: App) -> dict[str, Any]:
    spec: dict[str, Any] = objects_of(app)[0]["spec"]
    return spec


def test_another_build_of_the_same_digest_leaves_the_spec_as_it_is() -> None:
    later = replace(APP, image=replace(APP.image, tag="1.5"), build="9c11", commit="bada55", built="", alias="")
    assert spec_of(later) == spec_of(APP)


def test_replicas_are_written_only_when_asked_for() -> None:
    assert "replicas" not in spec_of(APP)
    assert spec_of(replace(APP, replicas=0))["replicas"] == 0


def test_a_container_without_a_probe_has_to_live_for_a_moment() -> None:
    spec = spec_of(replace(APP, readiness=Probe(kind="none")))
    assert "readinessProbe" not in spec["template"]["spec"]["containers"][0]
    assert spec["minReadySeconds"] == 3


@pytest.mark.parametrize("user", ["", "0", "0:0", "root", "app", "app:1001", "-1"])
def test_only_a_numeric_user_other_than_root_is_promised(user: str) -> None:
    context = spec_of(replace(APP, user=user))["template"]["spec"]["securityContext"]
    assert context == {"seccompProfile": {"type": "RuntimeDefault"}}


def test_a_made_pull_secret_stands_before_a_named_one() -> None:
    named = spec_of(replace(APP, pull_secret="hub"))["template"]["spec"]["imagePullSecrets"]
    secret, deployment, _ = objects_of(replace(APP, pull_secret="hub"), b"{}")
    made = deployment["spec"]["template"]["spec"]["imagePullSecrets"]
    assert (named, made, secret["metadata"]["name"]) == (
        [{"name": "hub"}],
        [{"name": "shop-registry"}],
        "shop-registry",
    )


def test_the_data_of_a_secret_is_shown_to_nobody() -> None:
    secret, deployment, _ = objects_of(APP, b"hunter2")
    assert redacted(secret)["data"] == {".dockerconfigjson": "<redacted>"}
    assert redacted(deployment) == deployment


def test_an_image_without_a_digest_is_named_as_it_was_written() -> None:
    assert image_of(replace(APP, image=Reference.parse("shop:1"))) == "shop:1"


def test_a_tag_that_cannot_be_a_label_is_left_out() -> None:
    labels = objects_of(replace(APP, image=Reference.parse(f"shop:{'a' * 64}")))[1]["metadata"]["labels"]
    assert labels == LABELS


# ------------------------------------------------------------------------------------------------------------- ports


def facts(*exposed: str, **labels: str) -> ImageFacts:
    return ImageFacts(id="sha256:1", exposed=exposed, labels={key.replace("_", "."): v for key, v in labels.items()})


@pytest.mark.parametrize(
    ("asked", "known", "ports"),
    [
        (("8080",), facts("9090/tcp"), (Port(container=8080, service=8080),)),
        ((), facts("9090/tcp", "53/udp"), (Port(container=9090, service=9090),)),
        (
            (),
            ImageFacts(id="1", labels={"io.openshift.expose-services": "8080:web,8443:HTTPS!"}),
            (Port(container=8080, service=8080, name="web"), Port(container=8443, service=8443, name="port-8443")),
        ),
        (
            ("web=8080", "admin=9090"),
            facts(),
            (Port(container=8080, service=8080, name="web"), Port(container=9090, service=9090, name="admin")),
        ),
        ((), facts(), ()),
    ],
)
def test_ports_are_those_asked_for_or_the_images_own(
    asked: tuple[str, ...], known: ImageFacts, ports: tuple[Port, ...]
) -> None:
    assert ports_of(asked, known) == ports


def test_one_port_may_have_another_name_and_number_outside() -> None:
    assert ports_of((), facts("8080/tcp"), service_port=80, name="http-1") == (
        Port(container=8080, service=80, name="http-1"),
    )


@pytest.mark.parametrize(
    "text",
    [
        "0",
        "65536x",
        "-1",
        "80/icmp",
        "80-70",
        "8080:80:1",
        "08080",
        "",
        "=80",
        "web=",
        "\uff18\uff10",
        "1e3",
        "99999999",
    ],
)
def test_what_is_not_a_port_is_refused(text: str) -> None:
    with pytest.raises(InvalidUsage, match="is not a port"):
        ports_of((text,), facts())


def test_a_service_port_for_several_ports_is_refused() -> None:
    with pytest.raises(InvalidUsage, match="are for one port, and there are 2"):
        ports_of(("1", "2"), facts(), service_port=80)


def test_the_commit_is_read_from_the_labels_of_the_image() -> None:
    labels = {"io.openshift.s2i.build.commit.id": "c0ffee", "org.opencontainers.image.created": "2026"}
    assert origin_of(ImageFacts(id="1", labels=labels)) == ("c0ffee", "2026")


# ------------------------------------------------------------------------------------------------------------ checks


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "My_App"}, "'My_App' cannot be the name of an app"),
        ({"name": "-a"}, "'-a' cannot be the name of an app"),
        ({"name": "1.2.3"}, "'1.2.3' cannot be the name of an app"),
        ({"name": "xn--"}, "'xn--' cannot be the name of an app"),
        ({"name": "a" * 64}, "cannot be the name of an app"),
        ({"name": "default"}, "'default' cannot be the name of an app"),
        ({"name": ""}, "'' cannot be the name of an app"),
        ({"name": "shop\n"}, "cannot be the name of an app"),
        ({"namespace": "*"}, "'*' cannot be a namespace"),
        ({"namespace": ""}, "'' cannot be a namespace"),
        ({"pull_secret": "a/b"}, "'a/b' cannot be the name of a Secret"),
        ({"replicas": -1}, "-1 replicas cannot be"),
        ({"replicas": 10**9}, "1000000000 replicas cannot be"),
        ({"env": (("A=B", "c"),)}, "'A=B' cannot be the name of a variable"),
        ({"env": (("A", "1"), ("A", "2"))}, "'A' is set twice"),
        ({"ports": ()}, "no port is known on which the app listens"),
        ({"ports": (Port(container=65536, service=80),)}, "65536 is not a port"),
        ({"ports": (Port(container=80, service=0),)}, "0 is not a port"),
        ({"ports": (Port(container=80, service=80, name="HTTP"),)}, "'HTTP' cannot be the name of a port"),
        ({"ports": (Port(container=80, service=80, name="123"),)}, "'123' cannot be the name of a port"),
        ({"ports": (Port(container=80, service=80, name="a--b"),)}, "'a--b' cannot be the name of a port"),
        (
            {"ports": (Port(container=80, service=80, name="a"), Port(container=81, service=80, name="b"))},
            "two ports have the same service: 80",
        ),
        ({"readiness": Probe(kind="http", path="ready")}, "the path 'ready' does not begin with /"),
        ({"readiness": Probe(kind="tcp", port=70000)}, "70000 is not a port"),
        ({"readiness": Probe(kind="tcp", timeout=0)}, "needs a timeout of at least a second"),
    ],
)
def test_what_a_cluster_would_refuse_is_refused_here(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidUsage, match=re.escape(message)):
        check(replace(APP, **changes))


def test_the_clusters_own_namespaces_are_left_alone() -> None:
    with pytest.raises(Refused, match="namespace kube-system belongs to the cluster itself"):
        check(replace(APP, namespace="kube-system"))


def test_what_a_cluster_cannot_keep_is_a_limit() -> None:
    with pytest.raises(LimitReached):
        check(replace(APP, description="é" * (128 * 1024 + 1)))


@given(name=st.text(), key=st.text(min_size=1), value=st.text())
def test_no_text_of_a_user_becomes_a_field(name: str, key: str, value: str) -> None:
    app = replace(APP, name=name, env=((key, value),), alias=value)
    try:
        deployment = objects_of(app)[0]
    except InvalidUsage:
        return
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", container["name"])
    assert container["env"] == [{"name": key, "value": value}]
    assert set(deployment) == {"apiVersion", "kind", "metadata", "spec"}
