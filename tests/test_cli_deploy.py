"""The words `deploy`, `status` and `delete`: without a cluster, and with a server that was told what to answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from s2ictl.cli.deploy import answer_of
from s2ictl.cli.rollout import try_address
from s2ictl.manifests import objects_of
from s2ictl.models import App, Port, Probe, Reference, Rollout
from tests.cli import Ran, shell
from tests.fakes.apiserver import Said, answering

IMAGE = "registry.example.com/shop:1.4"


def run(directory: Path, *arguments: str) -> Ran:
    return shell(directory).run(*arguments)


def dry(directory: Path, *flags: str) -> Ran:
    return run(directory, "deploy", IMAGE, "--name", "shop", "--dry-run", *flags)


def test_a_dry_run_prints_the_objects_and_needs_no_cluster(tmp_path: Path) -> None:
    ran = dry(tmp_path, "--port", "8080", "-n", "prod", "-o", "name")
    assert (ran.status, ran.stdout) == (0, "prod/deployment/shop\nprod/service/shop\n")


def test_every_flag_of_the_app_stands_in_its_objects(tmp_path: Path) -> None:
    flags = "--port 8080 --service-port 80 --port-name http-1 --expose nodeport --replicas 2 --readiness-path /ready"
    times = "--readiness-delay 1m --readiness-timeout 5s --alias A --description B -e C=D=E"
    ran = dry(tmp_path, *flags.split(), *times.split(), "-o", "json")
    deployment, service = json.loads(ran.stdout)
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert deployment["spec"]["replicas"] == 2
    assert container["readinessProbe"] == {
        "httpGet": {"path": "/ready", "port": 8080},
        "timeoutSeconds": 5,
        "periodSeconds": 2,
        "initialDelaySeconds": 60,
    }
    assert container["env"] == [{"name": "C", "value": "D=E"}]
    assert service["spec"]["ports"] == [{"name": "http-1", "port": 80, "targetPort": 8080, "protocol": "TCP"}]
    assert service["spec"]["type"] == "NodePort"
    assert service["metadata"]["annotations"] == {"kubesphere.io/alias-name": "A", "kubesphere.io/description": "B"}


def test_a_dry_run_says_what_it_does_not_know(tmp_path: Path) -> None:
    ran = dry(tmp_path)
    assert "containerPort: 8080" in ran.stdout
    assert "8080 stands for it" in ran.stderr


def test_a_dry_run_shows_no_secret(tmp_path: Path) -> None:
    ran = dry(tmp_path, "--port", "80", "--pull-secret-from-login")
    assert ".dockerconfigjson: <redacted>" in ran.stdout


def test_a_secret_of_the_same_namespace_is_named_and_one_of_another_is_copied(tmp_path: Path) -> None:
    same = dry(tmp_path, "--port", "80", "-n", "prod", "--registry-secret", "prod/hub", "-o", "name").stdout
    other = dry(tmp_path, "--port", "80", "-n", "prod", "--registry-secret", "ops/hub", "-o", "name").stdout
    assert (same.split()[0], other.split()[0]) == ("prod/deployment/shop", "prod/secret/shop-registry")


@pytest.mark.parametrize(
    ("flags", "first_line"),
    [
        (("--port", "80/icmp"), "error: '80/icmp' is not a port (InvalidUsage)"),
        (("--port", "80", "-n", "*"), "error: '*' cannot be a namespace (InvalidUsage)"),
        (("--port", "80", "--replicas", "-1"), "error: -1 replicas cannot be (InvalidUsage)"),
        (("--env", "A"), "error: --env 'A' is not NAME=VALUE (InvalidUsage)"),
        (("--timeout", "soon"), "error: 'soon' is not a duration (InvalidUsage)"),
        (
            ("--readiness", "tcp", "--readiness-path", "/x"),
            "error: --readiness tcp asks no path (InvalidUsage)",
        ),
        (
            ("--registry-secret", "hub", "--pull-secret-from-login"),
            "error: --registry-secret and --pull-secret-from-login are two answers to one question (InvalidUsage)",
        ),
    ],
)
def test_wrong_words_are_refused_with_one_clear_line(flags: tuple[str, ...], first_line: str, tmp_path: Path) -> None:
    ran = dry(tmp_path, *flags)
    assert (ran.status, ran.stdout, ran.stderr.splitlines()[0]) == (2, "", first_line)


def test_an_app_of_the_file_is_deployed_as_the_file_says_and_a_flag_beats_it(tmp_path: Path) -> None:
    here = shell(tmp_path)
    (here.cwd / "s2i.yaml").write_text(
        "name: shop\nimage: r.io/shop:1\nregistry-secret: hub\n"
        "deploy: {namespace: prod, port: 8080, service-port: 80, expose: nodeport, readiness: {path: /up, delay: 30s}}"
    )
    ran = here.run("deploy", "shop", "--expose", "none", "--readiness-timeout", "5s", "--dry-run", "-o", "json")
    deployment, service = json.loads(ran.stdout)
    pod = deployment["spec"]["template"]["spec"]
    probe = pod["containers"][0]["readinessProbe"]
    assert (deployment["metadata"]["namespace"], deployment["metadata"]["name"]) == ("prod", "shop")
    assert (pod["containers"][0]["image"], pod["imagePullSecrets"]) == ("r.io/shop:1", [{"name": "hub"}])
    assert (probe["httpGet"]["path"], probe["initialDelaySeconds"], probe["timeoutSeconds"]) == ("/up", 30, 5)
    assert service["spec"]["type"] == "ClusterIP"
    assert service["spec"]["ports"] == [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]


def test_any_other_name_is_an_image_whatever_stands_in_the_file(tmp_path: Path) -> None:
    here = shell(tmp_path)
    (here.cwd / "s2i.yaml").write_text("name: shop\nimage: r.io/shop:1\ndeploy: {namespace: prod}\n")
    ran = here.run("deploy", "r.io/other:1", "--dry-run", "-o", "name")
    assert ran.stdout == "default/deployment/other\ndefault/service/other\n"


def test_a_namespace_of_the_cluster_itself_is_refused(tmp_path: Path) -> None:
    assert dry(tmp_path, "--port", "80", "-n", "kube-system").status == 12


@pytest.mark.parametrize("arguments", [("deploy", IMAGE, "--name", "shop"), ("status",), ("delete", "shop", "--yes")])
def test_without_a_cluster_each_word_says_what_is_missing(arguments: tuple[str, ...], tmp_path: Path) -> None:
    ran = run(tmp_path, *arguments)
    assert (ran.status, ran.stdout) == (10, "")
    assert ran.stderr.startswith("error: no cluster is configured (Unreachable)\n")


def test_the_answer_is_the_address_or_the_deployment() -> None:
    rollout = Rollout(image=IMAGE, address="http://10.0.0.7:30080/", namespace="prod", name="shop", ready=1, wanted=1)
    assert answer_of(rollout).text == "http://10.0.0.7:30080/"
    assert answer_of(Rollout(image=IMAGE, address="", namespace="prod", name="shop", ready=0, wanted=1)).text == (
        "prod/deployment/shop"
    )


def test_an_address_where_nothing_listens_has_no_status() -> None:
    assert try_address("http://127.0.0.1:1/") is None


# ---------------------------------------------------------------------------------- with a server that was told what


DEPLOYMENT: dict[str, Any] = objects_of(
    App(
        name="shop",
        namespace="prod",
        image=Reference.parse(f"registry.example.com/shop@sha256:{'ab' * 32}"),
        ports=(Port(container=8080, service=80),),
        expose="none",
        readiness=Probe(kind="tcp"),
        build="7b02",
        commit="c0ffee" * 6,
    )
)[0]
NOTHING = Said(status=404, body={"message": "not found"})


def told(directory: Path, arguments: tuple[str, ...], *answers: Said) -> tuple[Ran, list[str]]:
    """What a word prints, and what it asked the server."""
    with answering(*answers) as server:
        file = directory / "kubeconfig"
        cluster = [{"name": "c", "cluster": {"server": server.url}}]
        context = [{"name": "here", "context": {"cluster": "c", "namespace": "prod"}}]
        file.write_text(json.dumps({"current-context": "here", "contexts": context, "clusters": cluster}))
        file.chmod(0o600)
        ran = shell(directory, KUBECONFIG=str(file)).run(*arguments)
        return ran, [f"{asked.method} {asked.path.rpartition('/namespaces/')[2]}" for asked in server.asked]


def listed(*items: dict[str, Any]) -> Said:
    return Said(body={"metadata": {}, "items": items})


def test_status_is_a_table_of_the_apps(tmp_path: Path) -> None:
    shown = DEPLOYMENT | {"metadata": DEPLOYMENT["metadata"] | {"creationTimestamp": "2020-01-01T00:00:00Z"}}
    ran, _ = told(tmp_path, ("status",), listed(shown), listed(), listed())
    head, row = ran.stdout.splitlines()
    assert head.split() == ["NAMESPACE", "NAME", "IMAGE", "READY", "ADDRESS", "BUILD", "COMMIT", "AGE"]
    assert row.split()[:-1] == [
        *("prod", "shop", "registry.example.com/shop@abababababab", "0/1", "-", "7b02", "c0ffeec0ffee")
    ]


def test_delete_removes_only_after_a_yes(tmp_path: Path) -> None:
    found = (Said(body=DEPLOYMENT), NOTHING, NOTHING)
    ran, asked = told(tmp_path, ("delete", "shop"), *found)
    assert (ran.status, ran.stdout) == (2, "")
    assert "nobody can be asked whether to remove prod/deployment/shop" in ran.stderr
    assert {question.split()[0] for question in asked} == {"GET"}


def test_a_dry_delete_only_shows_what_would_go(tmp_path: Path) -> None:
    ran, asked = told(tmp_path, ("delete", "shop", "--dry-run"), Said(body=DEPLOYMENT), NOTHING, NOTHING)
    assert (ran.status, ran.stdout) == (0, "prod/deployment/shop\n")
    assert asked == ["GET prod/deployments/shop", "GET prod/services/shop", "GET prod/secrets/shop-registry"]


def test_delete_waits_until_the_object_is_gone(tmp_path: Path) -> None:
    answers = (Said(body=DEPLOYMENT), NOTHING, NOTHING, Said(body=DEPLOYMENT), NOTHING)
    ran, asked = told(tmp_path, ("delete", "shop", "--yes"), *answers)
    assert (ran.status, ran.stdout) == (0, "prod/deployment/shop\n")
    assert asked[3:] == ["DELETE prod/deployments/shop", "GET prod/deployments/shop"]


def test_delete_of_an_app_that_is_not_there_is_code_5(tmp_path: Path) -> None:
    ran, _ = told(tmp_path, ("delete", "shop", "--yes"), NOTHING, NOTHING, NOTHING)
    assert (ran.status, ran.stderr.splitlines()[1]) == (
        5,
        "error: there is no app shop in namespace prod (RecordNotFound)",
    )
