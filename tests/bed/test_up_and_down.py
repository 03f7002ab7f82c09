"""The real parts come up, do their work, and leave nothing behind.

Each test has a testbed of its own (another directory, other ports), and takes a census of the machine before and after.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from tests import testbed
from tests.bed.machine import BUSYBOX, ROOT, Listener, answer, busybox_image, census, leaving_nothing, program, skopeo
from tests.parts import available
from tests.testbed import network, packages, processes

# ------------------------------------------------------------------------------------------------------- the registries


def test_the_open_registry_takes_from_all_and_the_closed_from_its_user(bed: testbed.Bed) -> None:
    with leaving_nothing(bed), available():
        facts = testbed.up("registry", bed=bed)
        archive = f"docker-archive:{busybox_image(bed, 'busybox:1')}"
        login = f"{facts.username}:{facts.password}"
        plain = ("--dest-tls-verify=false",)
        assert skopeo("copy", *plain, archive, f"docker://{facts.open}/busybox:1").returncode == 0
        assert skopeo("copy", *plain, archive, f"docker://{facts.closed}/busybox:1").returncode != 0
        credentials = ("--dest-creds", login)
        assert skopeo("copy", *plain, *credentials, archive, f"docker://{facts.closed}/busybox:1").returncode == 0
        plain, credentials = ("--tls-verify=false",), ("--creds", login)
        assert skopeo("inspect", *plain, *credentials, f"docker://{facts.closed}/busybox:1").returncode == 0
        assert skopeo("delete", *plain, *credentials, f"docker://{facts.closed}/busybox:1").returncode == 0


def test_what_is_up_is_not_brought_up_again(bed: testbed.Bed) -> None:
    with leaving_nothing(bed), available():
        first = testbed.up("registry", bed=bed)
        running = census(bed).processes
        assert testbed.up("registry", bed=bed) == first == testbed.facts("registry", bed=bed)
        assert census(bed).processes == running


def test_two_processes_at_once_bring_up_one(bed: testbed.Bed) -> None:
    with leaving_nothing(bed), available():
        both = [program(bed, "up", "registry") for _ in range(2)]
        said = [process.communicate(timeout=120)[0] for process in both]
        assert [process.returncode for process in both] == [0, 0], said
        assert len(census(bed).processes) == 2


def test_what_was_killed_is_broken_and_brought_up_anew(bed: testbed.Bed) -> None:
    with leaving_nothing(bed), available():
        first = testbed.up("registry", bed=bed)
        processes.end(processes.left_behind(bed.directory, "docker-registry"), patience=0)
        assert testbed.facts("registry", bed=bed) is None
        assert [found.state for found in testbed.status(bed=bed)] == ["down", "broken", "down", "down", "down"]
        second = testbed.up("registry", bed=bed)
        assert (second.open, second.password != first.password) == (first.open, True)


def test_a_port_that_somebody_listens_on_is_named(bed: testbed.Bed) -> None:
    taken = pytest.raises(testbed.Unavailable, match=rf"127\.0\.0\.1:{bed.port(1)}: Address already in use")
    with leaving_nothing(bed), Listener(bed.port(1)), taken:
        testbed.up("registry", bed=bed)


# ------------------------------------------------------------------------------------------------------------- the user


def test_the_user_runs_what_we_run_and_may_not_see_what_is_ours(bed: testbed.Bed) -> None:
    with leaving_nothing(bed), available():
        who = testbed.up("user", bed=bed)
        assert testbed.up("user", bed=bed) == who
        code = "import os, s2ictl; print(os.getuid() != 0, os.access('.', os.W_OK))"
        assert said_by(bed, who, sys.executable, "-c", code) == "True True\n"
        assert said_by(bed, who, "sh", "-c", f"ls {bed.directory} || echo hidden") == "hidden\n"


def test_the_user_has_more_ids_than_one_in_a_namespace_of_his(bed: testbed.Bed) -> None:
    with leaving_nothing(bed), available():
        who = testbed.up("user", bed=bed)
        assert said_by(bed, who, "unshare", "--map-auto", "--map-root-user", "stat", "-c", "%u", "/") == "65534\n"


def test_what_the_user_still_runs_ends_with_him(bed: testbed.Bed) -> None:
    with leaving_nothing(bed), available():
        who = testbed.up("user", bed=bed)
        command = testbed.as_user(who, "sh", "-c", "echo asleep; exec sleep 60", bed=bed)
        with subprocess.Popen(command, env=who.environ(), stdout=subprocess.PIPE, text=True) as sleeper:
            assert sleeper.stdout is not None
            assert sleeper.stdout.readline() == "asleep\n"
            testbed.down("user", bed=bed)
            assert sleeper.wait() == -signal.SIGTERM


def said_by(bed: testbed.Bed, who: testbed.User, *words: str) -> str:
    command = testbed.as_user(who, *words, bed=bed)
    environ = who.environ(PYTHONPATH=str(ROOT))
    return subprocess.run(command, cwd=who.home, env=environ, check=True, stdout=subprocess.PIPE, text=True).stdout


# ----------------------------------------------------------------------------------------------------------- the engine


def test_a_container_reaches_names_the_outside_and_this_machine_and_is_reached(bed: testbed.Bed) -> None:
    import docker

    with leaving_nothing(bed), available(), Listener(bed.port(50)):
        facts = testbed.up("engine", bed=bed)
        with closing(docker.DockerClient(base_url=facts.docker_host)) as client:
            client.images.load(busybox_image(bed, "busybox:1").read_bytes())
            outside = client.containers.run("busybox:1", ["wget", "-qO-", debian_release()], remove=True)
            assert b"Codename:" in outside
            here = f"http://{network.bridge(bed, 'engine').address}:{bed.port(50)}/"
            assert client.containers.run("busybox:1", ["wget", "-qO-", here], remove=True) == b"here\n"
            server = client.containers.run(
                "busybox:1", ["httpd", "-f", "-p", "80", "-h", "/"], detach=True, ports={"80/tcp": ("127.0.0.1", None)}
            )
            server.reload()
            port = server.ports["80/tcp"][0]["HostPort"]
            assert processes.eventually(
                lambda: answer(f"127.0.0.1:{port}", "/bin/busybox") == BUSYBOX.read_bytes(), patience=10
            )


def debian_release() -> str:
    """A file of the archive that this machine's apt is configured with."""
    command = ["apt-get", "indextargets", "--format", "$(SITE)/dists/$(RELEASE)/Release", "Created-By: Packages"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0]


def test_a_users_engine_is_reported_and_left_alone(bed: testbed.Bed) -> None:
    with leaving_nothing(bed), available():
        theirs = testbed.up("engine", bed=bed)
        ours = replace(bed, directory=bed.directory / "ours", slot=bed.slot - 1, docker_host=theirs.docker_host)
        with leaving_nothing(ours):
            assert testbed.up("engine", bed=ours) == testbed.Engine(docker_host=theirs.docker_host, own=False)
        assert testbed.facts("engine", bed=bed) == theirs


def test_another_testbed_in_the_same_slot_is_refused_and_harms_nothing(bed: testbed.Bed) -> None:
    with leaving_nothing(bed), available():
        testbed.up("engine", bed=bed)
        before = census(bed)
        with pytest.raises(testbed.Unavailable, match=f"belongs to {bed.directory}"):
            testbed.up("engine", bed=replace(bed, directory=bed.directory / "other"))
        assert census(bed) == before
        assert testbed.facts("engine", bed=bed) is not None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_up_leaves_nothing(bed: testbed.Bed, number: signal.Signals) -> None:
    with available():
        packages.need("engine", *testbed.engine.PACKAGES)
    with leaving_nothing(bed):
        interrupted = program(bed, "up", "engine")
        assert processes.eventually(lambda: (bed.at("engine") / "processes").exists(), patience=30)
        os.killpg(interrupted.pid, number)
        said, _ = interrupted.communicate(timeout=60)
        assert interrupted.returncode == 128 + number, said
        assert not bed.at("engine").exists()


def test_a_killed_up_is_taken_back_by_down(bed: testbed.Bed) -> None:
    with available():
        packages.need("engine", *testbed.engine.PACKAGES)
    with leaving_nothing(bed):
        killed = program(bed, "up", "engine")
        assert processes.eventually(lambda: (bed.at("engine") / "processes").exists(), patience=30)
        killed.kill()
        killed.communicate()


# ----------------------------------------------------------------------------------------------- the node and the forge


def test_an_image_of_the_closed_registry_answers_on_its_node_port(bed: testbed.Bed) -> None:
    import kubernetes

    with leaving_nothing(bed), available():
        registry = testbed.up("registry", bed=bed)
        image = f"{registry.closed}/team/busybox:1"
        login = f"{registry.username}:{registry.password}"
        archive = busybox_image(bed, "busybox:1")
        assert (
            skopeo(
                *("copy", "--dest-tls-verify=false", "--dest-creds", login),
                *(f"docker-archive:{archive}", f"docker://{image}"),
            ).returncode
            == 0
        )
        facts = testbed.up("cluster", bed=bed)
        open_client: Any = kubernetes.config.new_client_from_config
        create: Any = kubernetes.utils.create_from_dict
        with open_client(str(facts.kubeconfig), facts.context) as client:
            for document in served_by_busybox(image, registry):
                create(client, document)
            core: Any = kubernetes.client.CoreV1Api(client)
            port = core.read_namespaced_service("web", "default").spec.ports[0].node_port
        address = f"{facts.node_ip}:{port}"
        assert processes.eventually(lambda: answer(address, "/bin/busybox") == BUSYBOX.read_bytes(), patience=60)


def served_by_busybox(image: str, registry: testbed.Registry) -> Sequence[dict[str, Any]]:
    """The login, the pods that pull with it, and the port of the node."""
    login = {"username": registry.username, "password": registry.password}
    labels = {"app": "web"}
    container = {"name": "web", "image": image, "args": ["httpd", "-f", "-p", "80", "-h", "/"]}
    pod = {"imagePullSecrets": [{"name": "closed"}], "containers": [container], "terminationGracePeriodSeconds": 1}
    return (
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "closed"},
            "type": "kubernetes.io/dockerconfigjson",
            "stringData": {".dockerconfigjson": json.dumps({"auths": {registry.closed: login}})},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web"},
            "spec": {
                "replicas": 2,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web"},
            "spec": {"type": "NodePort", "selector": labels, "ports": [{"port": 80}]},
        },
    )


def test_a_push_on_the_forge_is_delivered_and_signed(bed: testbed.Bed) -> None:
    with leaving_nothing(bed), available(), Listener() as listener:
        facts = testbed.up("forge", bed=bed)
        ask(facts, "/user/repos", {"name": "shop", "private": True, "auto_init": True})
        hook = {"url": listener.url, "content_type": "json", "secret": "between us"}
        repository = f"/repos/{facts.username}/shop"
        ask(facts, f"{repository}/hooks", {"type": "gitea", "active": True, "events": ["push"], "config": hook})
        ask(facts, f"{repository}/contents/app.py", {"content": "cHJpbnQoKQo=", "message": "the application"})
        assert processes.eventually(lambda: bool(listener.deliveries), patience=30)
        headers, body = listener.deliveries[0]
        assert headers["X-Gitea-Event"] == "push"
        assert headers["X-Gitea-Signature"] == hmac.new(b"between us", body, hashlib.sha256).hexdigest()
        clone = ["git", "clone", "--quiet", with_login(facts, "shop"), str(bed.directory / "clone")]
        subprocess.run(clone, check=True, capture_output=True)
        assert (bed.directory / "clone" / "app.py").read_text() == "print()\n"


def ask(forge: testbed.Forge, path: str, document: dict[str, Any]) -> None:
    client = http.client.HTTPConnection(forge.url.removeprefix("http://"), timeout=30)
    headers = {"Authorization": f"token {forge.token}", "Content-Type": "application/json"}
    with closing(client):
        client.request("POST", f"/api/v1{path}", json.dumps(document), headers)
        response = client.getresponse()
        assert response.status == 201, response.read()


def with_login(forge: testbed.Forge, repository: str) -> str:
    where = forge.url.removeprefix("http://")
    return f"http://{forge.username}:{forge.token}@{where}/{forge.username}/{repository}.git"
