"""The whole line: a pushed commit becomes the text that an address answers. Nothing in it is a fake.

A private repository on a real forge → a signed delivery, verified and stored → a build at exactly that commit in a
real engine → a push into a password-protected registry → a rollout by digest → the NodePort answers.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import pytest

from s2ictl import documents
from tests import testbed
from tests.cluster import images, places
from tests.engine import tiny
from tests.parts import need

ROOT = Path(__file__).parent.parent.parent
S2ICTL = (sys.executable, "-m", "s2ictl")
BUILDER = "s2ictl-line/httpd:1"
KILLS = 20

ASSEMBLE = 'mkdir -p /opt/app/www && cp /tmp/src/index.html /opt/app/www/ && echo "assembled"'
RUN = "httpd -f -p 8080 -h /opt/app/www & trap 'kill $!; exit 0' TERM; wait"


@dataclass(slots=True, kw_only=True)
class Line:
    """One app from the forge to the cluster, and the server between them."""

    directory: Path
    environ: dict[str, str]
    forge: testbed.Forge
    cluster: testbed.Cluster
    registry: testbed.Registry
    namespace: str
    port: int
    repository: str
    server: subprocess.Popen[bytes] | None = field(default=None)

    # ------------------------------------------------------------------------------------------------- the server

    def start(self) -> None:
        apps, state = self.directory / "apps", self.directory / "state"
        with (self.directory / "serve.log").open("ab") as log:
            self.server = subprocess.Popen(
                [*S2ICTL, "serve", f"--apps={apps}", f"--state={state}", f"--listen=127.0.0.1:{self.port}"],
                cwd=ROOT,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_for(self.is_ready, "the server to be ready", self.log)

    def is_ready(self) -> bool:
        assert self.server is not None
        assert self.server.poll() is None, self.log()
        try:
            return fetch(f"http://127.0.0.1:{self.port}/readyz") is not None
        except OSError:
            return False

    def end(self, number: signal.Signals) -> int:
        assert self.server is not None
        self.server.send_signal(number)
        return self.server.wait(timeout=60)

    def log(self) -> str:
        return (self.directory / "serve.log").read_text(errors="replace")[-6000:]

    # ------------------------------------------------------------------------------------------------- the forge

    def api(self, method: str, path: str, body: object = None) -> Any:
        request = urllib.request.Request(
            f"{self.forge.url}/api/v1{path}",
            data=json.dumps(body).encode() if body is not None else None,
            method=method,
            headers={"Authorization": f"token {self.forge.token}", "Content-Type": "application/json"},
        )
        with direct().open(request, timeout=30) as answer:
            content = answer.read()
        return json.loads(content) if content else None

    def push(self, text: str) -> str:
        """Commit a new text and push it as a person would; answers the commit."""
        clone = self.directory / "clone"
        (clone / "index.html").write_text(text + "\n")
        self.git("add", "index.html")
        self.git("commit", "--quiet", "-m", f"Say {text}")
        self.git("push", "--quiet", self.address_with_login(), "HEAD:main")
        return self.git("rev-parse", "HEAD").strip()

    def git(self, *words: str) -> str:
        clone = self.directory / "clone"
        clone.mkdir(exist_ok=True)
        said = subprocess.run(
            ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.com", *words],
            cwd=clone,
            env={"PATH": self.environ["PATH"], "HOME": self.environ["HOME"], "GIT_TERMINAL_PROMPT": "0"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert said.returncode == 0, said.stderr
        return said.stdout

    def address_with_login(self) -> str:
        scheme, _, rest = self.repository.partition("://")
        return f"{scheme}://{self.forge.username}:{self.forge.password}@{rest}"

    # ---------------------------------------------------------------------------------------------- what came of it

    def builds(self) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = json.loads(self.s2ictl("builds", "list", "--all", "-o", "json"))
        return listed

    def state_of(self, commit: str) -> str:
        return next((build["state"] for build in self.builds() if build["commit"] == commit), "unknown")

    def wait_for_success(self, commit: str) -> None:
        """Wait until the commit is built and rolled out; a build that failed says why at once."""

        def done() -> bool:
            state = self.state_of(commit)
            assert state not in ("failed", "dead"), self.log() + self.build_log(commit)
            return state == "succeeded"

        wait_for(done, f"the build of {commit}", self.log)

    def build_log(self, commit: str) -> str:
        build = next(build["id"] for build in self.builds() if build["commit"] == commit)
        return self.s2ictl("builds", "logs", build)

    def s2ictl(self, *words: str) -> str:
        command = [*S2ICTL, *words, f"--state={self.directory / 'state'}"]
        said = subprocess.run(command, cwd=ROOT, env=self.environ, capture_output=True, text=True, check=True)
        return said.stdout

    def deployment(self) -> Any:
        with places.opened(self.cluster) as cluster:
            return cluster.get("Deployment", "shop", namespace=self.namespace)

    def images(self) -> set[str]:
        """Every image that the cluster has been told to run and still knows of."""
        with places.opened(self.cluster) as cluster:
            sets: Any = cluster.find("ReplicaSet", namespace=self.namespace, labels={"app.kubernetes.io/name": "shop"})
        return {each["spec"]["template"]["spec"]["containers"][0]["image"] for each in sets}

    def commit_of(self, image: str) -> str:
        """The commit that an image in the closed registry was made of, by its own label."""
        login = f"--creds={self.registry.username}:{self.registry.password}"
        words = ["skopeo", "inspect", "--config", "--tls-verify=false", login, f"docker://{image}"]
        said = subprocess.run(words, capture_output=True, text=True, check=True)
        return str(json.loads(said.stdout)["config"]["Labels"]["io.openshift.s2i.build.commit.id"])

    def address(self) -> str:
        with places.opened(self.cluster) as cluster:
            service: Any = cluster.get("Service", "shop", namespace=self.namespace)
        return f"http://{self.cluster.node_ip}:{service['spec']['ports'][0]['nodePort']}/"


def direct() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def fetch(url: str) -> str | None:
    try:
        with direct().open(url, timeout=5) as answer:
            text: str = answer.read().decode()
            return text
    except urllib.error.HTTPError:
        return None


def wait_for(condition: Callable[[], bool], what: str, explain: Callable[[], str], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}\n{explain()}"
        time.sleep(0.2)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def builder(engine_facts: testbed.Engine) -> Iterator[str]:
    api = docker.APIClient(base_url=engine_facts.docker_host, version="auto")
    scripts = {"assemble": tiny.script(ASSEMBLE), "run": tiny.script(RUN)}
    instructions = (
        "USER 1001",
        "WORKDIR /opt/app",
        "ENV PATH=/bin",
        "EXPOSE 8080",
        f"LABEL io.openshift.s2i.scripts-url=image://{tiny.SCRIPTS}",
    )
    need("skopeo")
    try:
        with tiny.imported(api, BUILDER, tiny.rootfs(scripts), *instructions):
            yield BUILDER
    finally:
        tiny.remove_named(api, "s2ictl-line")
        api.close()


@pytest.fixture
def line(
    builder: str,
    engine_facts: testbed.Engine,
    registry_facts: testbed.Registry,
    cluster_facts: testbed.Cluster,
    forge_facts: testbed.Forge,
    tmp_path: Path,
) -> Iterator[Line]:
    with places.opened(cluster_facts) as cluster, places.namespace(cluster) as namespace:
        cluster.apply(images.pull_secret("registry-id", namespace, registry_facts))
        line = Line(
            directory=tmp_path,
            environ=environment(tmp_path, engine_facts, cluster_facts),
            forge=forge_facts,
            cluster=cluster_facts,
            registry=registry_facts,
            namespace=namespace,
            port=free_port(),
            repository=f"{forge_facts.url}/{forge_facts.username}/{namespace}.git",
        )
        with registered(line, builder):
            line.start()
            try:
                yield line
            finally:
                line.end(signal.SIGTERM)


def environment(directory: Path, engine: testbed.Engine, cluster: testbed.Cluster) -> dict[str, str]:
    """A user who knows this engine and this cluster, and has no login anywhere: the chosen Secret has it."""
    home = directory / "home"
    home.mkdir()
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "DOCKER_HOST": engine.docker_host,
        "KUBECONFIG": str(cluster.kubeconfig),
    }


@contextmanager
def registered(line: Line, builder: str) -> Iterator[None]:
    """A private repository with a signed hook, and the app's file that names both."""
    secret = secrets.token_hex(16)
    line.environ |= {"HOOK_SECRET": secret, "FORGE_TOKEN": line.forge.token}
    app = {
        "name": "shop",
        "image": f"{line.registry.closed}/{line.namespace}",
        "source": line.repository,
        "registry-secret": f"{line.namespace}/registry-id",
        "build": {"builder": builder},
        "deploy": {"namespace": line.namespace, "port": 8080, "expose": "nodeport"},
        "webhook": {"provider": "gitea", "branches": ["main"], "secret-env": "HOOK_SECRET"},
        "forge": {"url": line.forge.url, "username": line.forge.username, "token-env": "FORGE_TOKEN"},
    }
    (line.directory / "apps").mkdir()
    (line.directory / "apps/shop.yaml").write_text(documents.dump(app))
    line.api("POST", "/user/repos", {"name": line.namespace, "private": True, "default_branch": "main"})
    try:
        line.git("init", "--quiet", "--initial-branch=main")
        line.api("POST", f"/repos/{line.forge.username}/{line.namespace}/hooks", hook(line, secret))
        yield
    finally:
        line.api("DELETE", f"/repos/{line.forge.username}/{line.namespace}")


def hook(line: Line, secret: str) -> dict[str, Any]:
    url = f"http://127.0.0.1:{line.port}/hooks/shop"
    config = {"url": url, "content_type": "json", "secret": secret}
    return {"type": "gitea", "active": True, "events": ["push"], "config": config}


# ------------------------------------------------------------------------------------------------------------- tests


def test_a_pushed_commit_becomes_the_text_that_the_address_answers(line: Line) -> None:
    first = line.push("The first text")
    line.wait_for_success(first)
    assert fetch(line.address()) == "The first text\n"

    second = line.push("The second text")
    line.wait_for_success(second)
    assert fetch(line.address()) == "The second text\n"

    build = next(build for build in line.builds() if build["commit"] == second)
    container = line.deployment()["spec"]["template"]["spec"]["containers"][0]
    image = f"{line.registry.closed}/{line.namespace}"
    assert container["image"].startswith(image)
    assert container["image"].endswith(f"@{build['digest']}")
    assert [build["attempts"] for build in line.builds()] == [1, 1]


def test_a_delivery_with_another_secret_builds_nothing(line: Line) -> None:
    hooks = f"/repos/{line.forge.username}/{line.namespace}/hooks"
    (right,) = line.api("GET", hooks)
    line.api("DELETE", f"{hooks}/{right['id']}")
    line.api("POST", hooks, hook(line, "another secret, long enough"))
    line.push("Nobody sees this")
    wait_for(lambda: "refused" in line.log(), "the refusal", line.log, 20)
    assert line.builds() == []


def test_twenty_kills_lose_nothing_and_build_nothing_twice(line: Line) -> None:
    """Each commit's delivery is accepted, and the server dies by SIGKILL somewhere between that and its rollout."""
    commits = []
    rolled_out: set[str] = set()
    moment = random.Random(20)  # noqa: S311
    for number in range(KILLS):
        commit = line.push(f"Text {number}")
        commits.append(commit)
        wait_for(lambda commit=commit: line.state_of(commit) != "unknown", "the delivery", line.log)  # type: ignore[misc]
        time.sleep(moment.uniform(0, 2.5))
        line.end(signal.SIGKILL)
        line.start()
        rolled_out |= line.images()
    line.wait_for_success(commits[-1])
    rolled_out |= line.images()

    builds = line.builds()
    assert Counter(build["commit"] for build in builds) == Counter(commits), "an accepted delivery has exactly one job"
    assert {build["state"] for build in builds} <= {"succeeded", "superseded"}
    assert fetch(line.address()) == f"Text {KILLS - 1}\n"
    assert max(Counter(map(line.commit_of, rolled_out)).values()) == 1, "one rollout for one commit"
