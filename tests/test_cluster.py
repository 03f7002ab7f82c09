"""The fake cluster keeps the contract of the real one; and how the real client bears with a server that misbehaves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from s2ictl.cluster import Cluster, open_cluster
from s2ictl.errors import ClusterForbidden, Conflict, Refused, S2IError, Unauthorized, Unreachable
from s2ictl.events import Event, Notice
from s2ictl.models import ClusterAccess
from tests.fakes.apiserver import ApiServer, Said, answering
from tests.fakes.cluster import FakeCluster
from tests.fakes.cluster_contract import *  # noqa: F403  (the tests themselves)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fake:
    cluster: FakeCluster = field(default_factory=FakeCluster)
    namespace: str = "default"


@pytest.fixture
def world() -> Fake:
    return Fake()


# -------------------------------------------------------------------------------------------- the client on the wire

POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "prod", "resourceVersion": "7"}}


@dataclass(slots=True)
class Wire:
    """The real client, a server that was told what to answer, and everything that came of it."""

    server: ApiServer
    cluster: Cluster
    slept: list[float]
    events: list[Event]


def access_to(url: str, directory: Path) -> ClusterAccess:
    file = directory / "kubeconfig"
    document = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {"token": "hunter2"}}],
    }
    file.write_text(json.dumps(document))
    return ClusterAccess(kubeconfig=str(file), context="here", server=url, namespace="prod")


@contextmanager
def wire(directory: Path, *answers: Said) -> Iterator[Wire]:
    events: list[Event] = []
    slept: list[float] = []
    with answering(*answers) as server:
        access = access_to(server.url, directory)
        with open_cluster(access, environ={}, emit=events.append, sleep=slept.append) as cluster:
            yield Wire(server=server, cluster=cluster, slept=slept, events=events)


def refusal(code: int, message: str, *causes: dict[str, str], **more: Any) -> Said:
    return Said(status=code, body={"kind": "Status", "code": code, "message": message, "details": {"causes": causes}})


def test_an_object_is_asked_for_by_name_and_with_the_login(tmp_path: Path) -> None:
    with wire(tmp_path, Said(body=POD)) as line:
        assert line.cluster.get("Pod", "a", namespace="prod") == POD
        [asked] = line.server.asked
        assert (asked.method, asked.path) == ("GET", "/api/v1/namespaces/prod/pods/a")
        assert asked.headers["authorization"] == "Bearer hunter2"


def test_the_cluster_is_named_before_anything_is_asked(tmp_path: Path) -> None:
    with wire(tmp_path) as line:
        assert line.events == [Notice(text=f"cluster here at {line.server.url}")]


def test_an_apply_is_one_patch_by_our_field_manager(tmp_path: Path) -> None:
    with wire(tmp_path, Said(body=POD)) as line:
        line.cluster.apply(POD, dry_run=True)
        [asked] = line.server.asked
        assert (asked.method, asked.headers["content-type"]) == ("PATCH", "application/apply-patch+yaml")
        assert asked.query == {"fieldManager": "s2ictl", "force": "false", "dryRun": "All"}
        assert json.loads(asked.body) == POD


def test_warnings_of_the_server_are_passed_on(tmp_path: Path) -> None:
    warning = ("Warning", '299 - "would violate PodSecurity \\"restricted\\"", 299 - "is deprecated"')
    with wire(tmp_path, Said(body=POD, headers=(warning,))) as line:
        line.cluster.apply(POD)
        assert line.events[1:] == [
            Notice(text='pod/a: would violate PodSecurity "restricted"', level="warning"),
            Notice(text="pod/a: is deprecated", level="warning"),
        ]


def test_a_busy_server_is_asked_again_when_it_says_so(tmp_path: Path) -> None:
    busy = Said(status=429, body={"message": "too many requests"}, headers=(("Retry-After", "3"),))
    with wire(tmp_path, busy, Said(status=503, body=b""), Said(body=POD)) as line:
        assert line.cluster.get("Pod", "a", namespace="prod") == POD
        assert line.slept == [3.0, 1.0]


def test_a_server_that_restarts_is_waited_for_once_it_has_answered(tmp_path: Path) -> None:
    with wire(tmp_path, Said(body=POD), Said(status=0), Said(body=POD)) as line:
        assert [line.cluster.get("Pod", "a", namespace="prod") for _ in range(2)] == [POD, POD]
        assert line.slept == [0.5]


def test_a_server_that_never_answered_is_not_waited_for(tmp_path: Path) -> None:
    with wire(tmp_path) as line, pytest.raises(Unreachable) as caught:
        line.cluster.get("Pod", "a", namespace="prod")
    assert line.slept == []
    assert "kubectl cluster-info" in caught.value.hint


def test_an_address_where_nothing_listens_is_unreachable(tmp_path: Path) -> None:
    opened = open_cluster(access_to("http://127.0.0.1:1", tmp_path), environ={}, emit=lambda _: None)
    with opened as cluster, pytest.raises(Unreachable, match="connection refused"):
        cluster.get("Pod", "a", namespace="prod")


def test_what_is_not_a_kubernetes_api_is_said_to_be_none(tmp_path: Path) -> None:
    answer = Said(body=b"<html>please log in</html>")
    with wire(tmp_path, answer) as line, pytest.raises(Unreachable, match="what answers is not a Kubernetes API"):
        line.cluster.get("Pod", "a", namespace="prod")


def test_long_lists_are_read_page_by_page(tmp_path: Path) -> None:
    first = Said(body={"metadata": {"continue": "more"}, "items": [POD]})
    with wire(tmp_path, first, Said(body={"metadata": {}, "items": [POD]})) as line:
        assert line.cluster.find("Pod", namespace="", labels={"a": "b"}) == (POD, POD)
        assert [asked.query["continue"] for asked in line.server.asked] == ["", "more"]
        assert line.server.asked[0].path == "/api/v1/pods"


def test_a_conflict_among_our_own_managers_is_applied_over(tmp_path: Path) -> None:
    cause = {"reason": "FieldManagerConflict", "message": 'conflict with "s2ictl" using apps/v1', "field": ".spec.x"}
    with wire(tmp_path, refusal(409, "conflict", cause), Said(body=POD)) as line:
        assert line.cluster.apply(POD) == POD
        assert [asked.query["force"] for asked in line.server.asked] == ["false", "true"]


def test_a_conflict_with_ourselves_and_another_is_a_conflict(tmp_path: Path) -> None:
    causes = [
        {"reason": "FieldManagerConflict", "message": f'conflict with "{owner}"', "field": f".spec.{owner}"}
        for owner in ("s2ictl", "hpa")
    ]
    with wire(tmp_path, refusal(409, "conflict", *causes)) as line, pytest.raises(Conflict) as caught:
        line.cluster.apply(POD)
    assert caught.value.detail == ".spec.s2ictl is owned by s2ictl, .spec.hpa is owned by hpa"


LIST = Said(body={"apiVersion": "v1", "metadata": {"resourceVersion": "70"}, "items": [POD]})


def test_a_watch_gives_changes_until_the_server_ends_it(tmp_path: Path) -> None:
    later = replace_version(POD, "71")
    stream = b"".join(json.dumps({"type": "MODIFIED", "object": each}).encode() + b"\n" for each in (POD, later))
    gone = json.dumps({"type": "ERROR", "object": {"code": 410}}).encode() + b"\n"
    with wire(tmp_path, LIST, Said(body=stream + gone)) as line:
        assert list(line.cluster.watch("Pod", "a", namespace="prod", seconds=5)) == [POD, POD, later]
        assert line.server.asked[1].query == {
            "fieldSelector": "metadata.name=a",
            "resourceVersion": "70",
            "watch": "true",
            "timeoutSeconds": "5",
        }


@pytest.mark.parametrize("broken", [Said(status=0), Said(status=410, body={"message": "too old"}), Said(status=503)])
def test_a_watch_that_breaks_off_only_ends(broken: Said, tmp_path: Path) -> None:
    with wire(tmp_path, LIST, broken) as line:
        assert list(line.cluster.watch("Pod", "a", namespace="prod", seconds=5)) == [POD]


def test_a_watch_that_is_not_allowed_is_an_error(tmp_path: Path) -> None:
    said = 'pods is forbidden: User "ci" cannot watch resource "pods" in API group "" in the namespace "prod"'
    with wire(tmp_path, LIST, refusal(403, said)) as line, pytest.raises(ClusterForbidden) as caught:
        list(line.cluster.watch("Pod", "a", namespace="prod", seconds=5))
    assert caught.value.message == "not allowed to watch pods in namespace prod"


def test_a_log_that_may_not_be_read_hides_nothing(tmp_path: Path) -> None:
    with wire(tmp_path, refusal(403, "no"), Said(body=b"one\ntwo\n")) as line:
        assert line.cluster.logs("a", namespace="prod", container="c", lines=5) == ()
        assert line.cluster.logs("a", namespace="prod", container="c", lines=5) == ("one", "two")


# ------------------------------------------------------------------------------------------------------------ log in


def opening(access: ClusterAccess) -> S2IError:
    with pytest.raises(S2IError) as caught, open_cluster(access, environ={}, emit=lambda _: None):
        pass
    return caught.value


def test_a_kubeconfig_that_trusts_everybody_is_refused_with_the_flag_that_allows_it(tmp_path: Path) -> None:
    access = replace(access_to("http://127.0.0.1:1", tmp_path), verified=False)
    error = opening(access)
    assert (type(error), "--insecure-skip-tls-verify" in error.hint) == (Refused, True)
    with open_cluster(access, environ={}, emit=lambda _: None, allow_unverified=True):
        pass


def test_a_login_plugin_that_is_not_there_is_named(tmp_path: Path) -> None:
    access = replace(access_to("https://127.0.0.1:1", tmp_path), plugin="s2ictl-no-such-plugin")
    document = json.loads(Path(access.kubeconfig).read_text())
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": access.plugin}
    document["users"][0]["user"] = {"exec": plugin}
    Path(access.kubeconfig).write_text(json.dumps(document))
    error = opening(access)
    assert (type(error), error.message) == (
        Unauthorized,
        "s2ictl-no-such-plugin gave no login for https://127.0.0.1:1",
    )
    assert "No such file or directory" in error.detail


def test_a_certificate_file_that_is_missing_is_named(tmp_path: Path) -> None:
    access = access_to("https://127.0.0.1:1", tmp_path)
    document = json.loads(Path(access.kubeconfig).read_text())
    document["clusters"][0]["cluster"]["certificate-authority"] = "nowhere.crt"
    Path(access.kubeconfig).write_text(json.dumps(document))
    assert f"File does not exist: {tmp_path}/nowhere.crt" in opening(access).detail


def test_a_kubeconfig_that_others_may_read_is_noticed(tmp_path: Path) -> None:
    events: list[Event] = []
    access = replace(access_to("http://127.0.0.1:1", tmp_path), exposed=(tmp_path / "kubeconfig",))
    with open_cluster(access, environ={}, emit=events.append):
        pass
    text = f"{tmp_path}/kubeconfig holds a login and can be read by others: chmod 600 {tmp_path}/kubeconfig"
    assert events[0] == Notice(text=text, level="warning")


def test_inside_a_pod_the_service_account_is_the_login(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("pod-token")
    (tmp_path / "ca.crt").write_text("not looked at before a connection is made")
    access = ClusterAccess(kubeconfig="", context="in-cluster", server="https://10.0.0.1:443", namespace="prod")
    environ = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    with open_cluster(access, environ=environ, emit=lambda _: None, pod=tmp_path):
        pass


def replace_version(manifest: dict[str, Any], version: str) -> dict[str, Any]:
    return manifest | {"metadata": manifest["metadata"] | {"resourceVersion": version}}
