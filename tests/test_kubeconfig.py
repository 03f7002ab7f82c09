"""Which cluster the user means, read from files alone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from s2ictl.errors import InvalidConfiguration, Unreachable
from s2ictl.kubeconfig import locate
from s2ictl.models import ClusterAccess


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """A home, and a directory to work in."""

    home: Path
    cwd: Path

    def write(self, name: str, **document: Any) -> Path:
        file = self.cwd / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(document))
        file.chmod(0o600)
        return file

    def locate(self, context: str = "", **environ: str) -> ClusterAccess:
        return locate(environ=environ, home=self.home, cwd=self.cwd, context=context, pod=self.cwd / "namespace")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(home=tmp_path, cwd=tmp_path)


def contexts(*names: str) -> list[dict[str, Any]]:
    return [{"name": name, "context": {"cluster": name, "user": name, "namespace": f"ns-{name}"}} for name in names]


def clusters(*names: str, **more: Any) -> list[dict[str, Any]]:
    return [{"name": name, "cluster": {"server": f"https://{name}:6443", **more}} for name in names]


def test_the_current_context_of_the_users_own_file_counts(desk: Desk) -> None:
    file = desk.write(
        ".kube/config", **{"current-context": "one", "contexts": contexts("one"), "clusters": clusters("one")}
    )
    assert desk.locate() == ClusterAccess(
        kubeconfig=str(file), context="one", server="https://one:6443", namespace="ns-one"
    )


def test_of_several_files_the_first_that_says_a_thing_counts(desk: Desk) -> None:
    first = desk.write("first", **{"current-context": "two", "contexts": contexts("one")})
    second = desk.write(
        "second", **{"current-context": "one", "contexts": contexts("one", "two"), "clusters": clusters("one", "two")}
    )
    found = desk.locate(KUBECONFIG="first:missing:second")
    assert (found.kubeconfig, found.server) == (f"{first}:{second}", "https://two:6443")
    assert desk.locate("one", KUBECONFIG="first:second").server == "https://one:6443"


def test_a_context_that_is_not_there_is_answered_with_those_that_are(desk: Desk) -> None:
    desk.write("config", contexts=contexts("one", "two"), clusters=clusters("one"))
    with pytest.raises(Unreachable) as caught:
        desk.locate("three", KUBECONFIG="config")
    assert caught.value.message == "the kubeconfig has no context 'three'"
    assert caught.value.detail.endswith("has these: one, two")


def test_no_current_context_is_said(desk: Desk) -> None:
    desk.write("config", contexts=contexts("one"), clusters=clusters("one"))
    with pytest.raises(Unreachable, match="the kubeconfig names no current context"):
        desk.locate(KUBECONFIG="config")


def test_without_any_file_there_is_no_cluster(desk: Desk) -> None:
    with pytest.raises(Unreachable) as caught:
        desk.locate()
    assert caught.value.message == "no cluster is configured"
    assert caught.value.detail == f"KUBECONFIG is not set, and {desk.home}/.kube/config does not exist"


def test_a_named_file_that_is_missing_is_not_replaced_by_the_pods_own_cluster(desk: Desk) -> None:
    with pytest.raises(Unreachable) as caught:
        desk.locate(KUBECONFIG="missing", KUBERNETES_SERVICE_HOST="10.0.0.1")
    assert caught.value.detail == f"{desk.cwd}/missing"


def test_inside_a_pod_the_cluster_around_it_is_meant(desk: Desk) -> None:
    (desk.cwd / "namespace").write_text("prod\n")
    assert desk.locate(KUBERNETES_SERVICE_HOST="fd00::1", KUBERNETES_SERVICE_PORT="443") == ClusterAccess(
        kubeconfig="", context="in-cluster", server="https://[fd00::1]:443", namespace="prod"
    )


def test_a_file_that_others_may_read_or_that_trusts_everybody_is_known(desk: Desk) -> None:
    users = [{"name": "one", "user": {"exec": {"command": "aws"}}}]
    file = desk.write(
        "config",
        users=users,
        contexts=contexts("one"),
        clusters=clusters("one", **{"insecure-skip-tls-verify": True}),
    )
    file.chmod(0o644)
    found = desk.locate("one", KUBECONFIG="config")
    assert (found.verified, found.plugin, found.exposed) == (False, "aws", (file,))


@pytest.mark.parametrize(
    "text", ["contexts: [3]", "contexts: [{context: {}}]", "a: [", "contexts: [{name: a, context: 3}]"]
)
def test_a_broken_file_is_named_with_the_place(text: str, desk: Desk) -> None:
    (desk.cwd / "config").write_text(text)
    with pytest.raises(InvalidConfiguration, match=f"{desk.cwd}/config:[12]:"):
        desk.locate(KUBECONFIG="config")
