"""What the README shows of the cluster is what a reader sees, on a real node; and its Role is enough."""

from __future__ import annotations

import json
import re
from importlib import import_module
from pathlib import Path
from typing import Any

from s2ictl import documents
from tests import testbed
from tests.cli import shell
from tests.cluster import images, places
from tests.engine.readme import ROOT, reader


def test_what_the_readme_shows_is_what_is_printed(
    engine_facts: testbed.Engine,
    registry_facts: testbed.Registry,
    cluster_facts: testbed.Cluster,
    tmp_path: Path,
) -> None:
    kubeconfig = str(cluster_facts.kubeconfig)
    person = reader(tmp_path, engine_facts, registry_facts, KUBECONFIG=kubeconfig)
    assert person.type("engine", "cluster") == []


def test_the_role_of_the_readme_is_enough(
    registry_facts: testbed.Registry, cluster_facts: testbed.Cluster, tmp_path: Path
) -> None:
    with places.opened(cluster_facts) as cluster, places.namespace(cluster) as namespace:
        image = f"{registry_facts.closed}/{namespace}:1"
        login = f"{registry_facts.username}:{registry_facts.password}"
        images.push(image, images.serving("hello"), login=login)
        cluster.apply(images.pull_secret("registry-id", namespace, registry_facts))
        here = shell(tmp_path, KUBECONFIG=str(bound_to_the_role(cluster_facts, namespace, tmp_path)))
        flags = ("--name", "shop", "--expose", "nodeport", "--registry-secret", "registry-id", "-q")
        deployed = here.run("deploy", image, *flags)
        assert (deployed.status, deployed.stdout[:7]) == (0, "http://"), deployed.stderr
        assert here.run("status", "-o", "name", "-q").stdout == f"{namespace}/shop\n"
        assert here.run("delete", "shop", "--yes", "-q").status == 0


def bound_to_the_role(facts: testbed.Cluster, namespace: str, directory: Path) -> Path:
    """A kubeconfig for a service account that has the README's Role and nothing else."""
    client: Any = import_module("kubernetes.client")
    config: Any = import_module("kubernetes.config")
    utils: Any = import_module("kubernetes.utils")
    with config.new_client_from_config(str(facts.kubeconfig), context=facts.context) as api:
        metadata = {"name": "s2ictl", "namespace": namespace}
        for each in (readme_role(namespace), account(metadata), binding(metadata)):
            utils.create_from_dict(api, each, namespace=namespace)
        asked = client.AuthenticationV1TokenRequest(spec=client.V1TokenRequestSpec(audiences=[]))
        answer = client.CoreV1Api(api).create_namespaced_service_account_token("s2ictl", namespace, asked)
    known = documents.load(facts.kubeconfig.read_text(), "kubeconfig").value
    context = {"cluster": known["contexts"][0]["context"]["cluster"], "user": "s2ictl", "namespace": namespace}
    file = directory / "kubeconfig"
    file.touch(mode=0o600)
    file.write_text(
        json.dumps(
            {
                "current-context": "s2ictl",
                "clusters": known["clusters"],
                "users": [{"name": "s2ictl", "user": {"token": answer.status.token}}],
                "contexts": [{"name": "s2ictl", "context": context}],
            }
        )
    )
    return file


def readme_role(namespace: str) -> dict[str, object]:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"^```yaml\n(apiVersion: rbac.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    role: dict[str, object] = documents.load(text.replace("namespace: prod", f"namespace: {namespace}"), "README").value
    return role


def account(metadata: dict[str, str]) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}


def binding(metadata: dict[str, str]) -> dict[str, object]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": metadata,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "s2ictl"},
        "subjects": [{"kind": "ServiceAccount", "name": "s2ictl"}],
    }
