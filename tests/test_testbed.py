"""The real parts come up, do their work, and leave nothing behind.

What is pure is always tested. What brings real parts up is asked for as the layers are: `--engine` for the engine and
the registries, `--cluster` for the node and the forge. Each of those tests has a testbed of its own (another
directory, other ports), and takes a census of the machine before and after.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests import testbed
from tests.testbed import cgroups, compiled, images, kernel, mounts, network, packages, processes
from tests.testbed.cluster import KERNEL_SETTINGS
from tests.testbed.models import from_document, to_document
from tests.testbed.nodes import nameservers, toml

ROOT = Path(__file__).parent.parent
SLOT = 9
NO_ENGINE = "unix:///nonexistent"
BUSYBOX = Path("/bin/busybox")

# ------------------------------------------------------------------------------------------------------ always tested


@pytest.mark.parametrize(
    ("part", "facts"),
    [
        ("engine", testbed.Engine(docker_host="unix:///run/docker.sock", own=False)),
        ("registry", testbed.Registry(open="127.0.0.1:1", closed="127.0.0.1:2", username="u", password="p")),
        ("cluster", testbed.Cluster(kubeconfig=Path("/bed/admin.kubeconfig"), node_ip="10.125.0.1", context="c")),
        ("forge", testbed.Forge(url="http://127.0.0.1:3", username="u", password="p", token="t")),
    ],
)
def test_facts_survive_the_way_through_their_file(part: testbed.Name, facts: testbed.Facts) -> None:
    assert from_document(part, json.loads(json.dumps(to_document(facts)))) == facts


def test_passwords_and_tokens_are_not_shown() -> None:
    shown = f"{testbed.Forge(url='u', username='n', password='secret-1', token='secret-2')}"
    assert "secret" not in shown


def test_a_slot_beyond_the_ten_is_refused() -> None:
    with pytest.raises(testbed.BedError, match="S2ICTL_TESTBED_SLOT is '10'"):
        testbed.Bed.of({"S2ICTL_TESTBED_SLOT": "10"})


def test_a_directory_that_is_a_link_to_elsewhere_is_refused(bed: testbed.Bed, tmp_path: Path) -> None:
    (bed.directory / "link").symlink_to(tmp_path)
    linked = replace(bed, directory=bed.directory / "link")
    with pytest.raises(testbed.Unavailable, match="not a directory of this user's own"):
        linked.claim()


def test_a_directory_too_deep_for_sockets_is_refused(bed: testbed.Bed) -> None:
    with pytest.raises(testbed.BedError, match="is too long"):
        replace(bed, directory=bed.directory / ("deep" * 15)).claim()


def test_down_where_nothing_ever_was_does_nothing(bed: testbed.Bed) -> None:
    nowhere = replace(bed, directory=bed.directory / "nowhere")
    testbed.down(bed=nowhere)
    assert not nowhere.directory.exists()


def test_a_process_that_got_the_same_id_later_is_not_ended(bed: testbed.Bed) -> None:
    crew = processes.Crew(part="registry", directory=bed.make("registry"))
    with subprocess.Popen(["sleep", "60"]) as innocent:
        line = Path(f"/proc/{innocent.pid}/stat").read_text()
        found = processes.parse(Path(f"/proc/{innocent.pid}/stat"))
        assert found
        (crew.directory / "processes").mkdir()
        record = crew.directory / "processes" / "sleep"
        record.write_text(line.replace(f" {found.started} ", f" {found.started - 1} "))
        crew.end()
        assert innocent.poll() is None
        assert not record.exists()
        innocent.kill()


def test_a_process_that_does_not_hear_is_killed(bed: testbed.Bed) -> None:
    crew = processes.Crew(part="registry", directory=bed.make("registry"))
    crew.start("deaf", ["sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 0.05; done"])
    assert processes.eventually(lambda: "deaf" in crew.last_words("deaf"), patience=10)
    crew.end(patience=0.2)
    assert not crew.alive("deaf")
    assert not list((crew.directory / "processes").iterdir())


def test_the_last_words_of_a_server_that_died_are_in_the_error(bed: testbed.Bed) -> None:
    crew = processes.Crew(part="registry", directory=bed.make("registry"))
    crew.start("brief", ["sh", "-c", "echo the port is taken; exit 1"])
    with pytest.raises(testbed.DidNotComeUp, match="brief died\nbrief: the port is taken"):
        crew.wait(lambda: False, "brief", what="the server")


def test_what_was_not_finished_vanishes(tmp_path: Path) -> None:
    def interrupted() -> None:
        with compiled.unfinished(tmp_path / "servers-1") as directory:
            (directory / "half").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_what_was_finished_stands_under_its_name(tmp_path: Path) -> None:
    with compiled.unfinished(tmp_path / "servers-1") as directory:
        (directory / "server").touch()
    assert [path.relative_to(tmp_path) for path in tmp_path.rglob("server")] == [Path("servers-1/server")]


def test_versions_are_compared_as_numbers() -> None:
    assert compiled.numbers("go1.26.10") > compiled.numbers("1.26.2") > compiled.numbers("go1.9")
    assert compiled.numbers("") == ()


def test_a_package_that_nobody_has_is_missing() -> None:
    assert packages.missing(["s2ictl-no-such-package"]) == ["s2ictl-no-such-package"]


def test_only_our_rules_and_chains_are_taken_back() -> None:
    saved = """\
*filter
:FORWARD ACCEPT [0:0]
:DOCKER - [0:0]
-A FORWARD -i s2ibed0 -m comment --comment s2ibed0 -j ACCEPT
-A FORWARD -j DOCKER
-A FORWARD -m comment --comment "not of s2ibed0" -j ACCEPT
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-NODEPORTS - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
COMMIT
"""
    commented = "--comment s2ibed0 "
    assert (
        network.undoing(saved, lambda rule: commented in rule, "KUBE-")
        == """\
*filter
-D FORWARD -i s2ibed0 -m comment --comment s2ibed0 -j ACCEPT
COMMIT
*nat
:KUBE-SERVICES - [0:0]
:KUBE-NODEPORTS - [0:0]
-D PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-X KUBE-SERVICES
-X KUBE-NODEPORTS
COMMIT
"""
    )


def test_where_no_rule_is_ours_nothing_is_restored() -> None:
    assert network.undoing("*filter\n:FORWARD DROP [0:0]\n-A FORWARD -j ACCEPT\nCOMMIT\n", lambda _: False, "") == ""


def test_mount_points_with_blanks_are_found() -> None:
    assert mounts.unescape(r"/var/tmp/a\040b") == "/var/tmp/a b"


def test_tables_of_toml() -> None:
    assert toml({"": {"version": 2}, "grpc": {"address": "/a"}}) == 'version = 2\n\n[grpc]\naddress = "/a"\n'


def test_resolvers_of_a_machine() -> None:
    assert nameservers("# local\nsearch example.com\nnameserver 10.0.0.1\nnameserver ::1\n") == ["10.0.0.1", "::1"]


def test_a_published_name_is_a_function_or_a_value() -> None:
    assert [name for name in testbed.__all__ if not hasattr(testbed, name)] == []


# ---------------------------------------------------------------------------------------------- a machine and a census


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """What a part may leave on a machine."""

    processes: frozenset[str]
    mounts: frozenset[str]
    devices: frozenset[str]
    rules: frozenset[str]
    groups: frozenset[str]
    settings: frozenset[str]


def census(bed: testbed.Bed) -> Census:
    settings = filter(kernel.exists, ("net.ipv4.ip_forward", *KERNEL_SETTINGS))
    ours = may_be_ours(bed)
    return Census(
        processes=frozenset(line for line in command_lines() if str(bed.directory) in line),
        mounts=frozenset(line for line in mount_lines() if str(bed.directory) in line or is_shared(line)),
        devices=frozenset(device.name for device in devices() if ours(device.name) and ours(bridge_of(device))),
        rules=frozenset(filter(ours, rules_and_chains())),
        groups=frozenset(str(group) for group in root_groups() if ours(group.name)),
        settings=frozenset(f"{setting}={kernel.at(setting).read_text().strip()}" for setting in settings),
    )


def may_be_ours(bed: testbed.Bed) -> Callable[[str], bool]:
    """Other testbeds and other engines come and go while this runs."""
    bridges = {network.bridge(bed, "engine").name, network.bridge(bed, "cluster").name}
    others = re.compile(r"\b(s2i(?:bed|node)\d|docker0)\b|^docker$")
    return lambda text: not (found := others.findall(text)) or bool(bridges & set(found))


def command_lines() -> Iterator[str]:
    for _, words in processes.commands():
        yield " ".join(words)


def mount_lines() -> list[str]:
    return Path("/proc/self/mounts").read_text().splitlines()


def is_shared(mount: str) -> bool:
    """Whether a mount lies where a part of ours might leave one by mistake."""
    return mount.split(" ")[1].startswith(("/run/", "/var/lib/", "/sys/"))


def devices() -> Iterator[Path]:
    return Path("/sys/class/net").iterdir()


def bridge_of(device: Path) -> str:
    with suppress(OSError):
        return (device / "master").readlink().name
    return ""


def rules_and_chains() -> Iterator[str]:
    for family in network.FAMILIES if os.geteuid() == 0 else ():
        for line in network.saved(family).splitlines():
            if line.startswith("-A ") or " - [" in line:
                yield line.partition(" [")[0]


def root_groups() -> Iterator[Path]:
    for root in cgroups.hierarchies():
        yield from (group for group in root.iterdir() if group.is_dir())


@contextmanager
def leaving_nothing(bed: testbed.Bed) -> Iterator[None]:
    """Take everything down at the end, and compare the machine with what it was."""
    before = census(bed)
    try:
        yield
    finally:
        testbed.down(bed=bed)
    if any("KUBE-" in rule for rule in before.rules):
        # The node of another testbed, whose pods come and go.
        assert replace(census(bed), rules=before.rules) == before
    else:
        assert census(bed) == before
    assert [found.state for found in testbed.status(bed=bed)] == ["down"] * len(testbed.PARTS)


@pytest.fixture
def bed() -> Iterator[testbed.Bed]:
    """A testbed of this test's own: a short path, since sockets lie in it."""
    directory = Path(tempfile.mkdtemp(prefix="s2ibed-", dir="/var/tmp"))
    silent: Callable[[str], None] = lambda _: None  # noqa: E731
    yield replace(testbed.Bed.of(os.environ, say=silent), directory=directory, slot=SLOT, docker_host=NO_ENGINE)
    assert not mounts.below(directory)
    shutil.rmtree(directory)


@pytest.fixture
def engine_layer(request: pytest.FixtureRequest) -> None:
    if not request.config.getoption("--engine"):
        pytest.skip("brings up real parts: asked for by --engine")


@pytest.fixture
def cluster_layer(request: pytest.FixtureRequest) -> None:
    if not request.config.getoption("--cluster"):
        pytest.skip("brings up real parts: asked for by --cluster")


@contextmanager
def available() -> Iterator[None]:
    try:
        yield
    except testbed.Unavailable as reason:
        pytest.skip(str(reason))


def program(bed: testbed.Bed, *words: str) -> subprocess.Popen[str]:
    """`python -m tests.testbed` in a process (and a group) of its own."""
    environ = {
        "S2ICTL_TESTBED": str(bed.directory),
        "S2ICTL_TESTBED_SLOT": str(bed.slot),
        "DOCKER_HOST": bed.docker_host,
    }
    # A shell's background job ignores interruptions, and so would all that it starts.
    hearing = ("env", "--default-signal=INT")
    return subprocess.Popen(
        [*hearing, sys.executable, "-m", "tests.testbed", *words],
        cwd=ROOT,
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def busybox_image(bed: testbed.Bed, name: str) -> Path:
    testbed.need("busybox-static")
    archive = bed.directory / "busybox.tar"
    images.write_image(archive, name, files={"bin/busybox": BUSYBOX}, entrypoint=["/bin/busybox"])
    return archive


def answer(address: str, path: str) -> bytes | None:
    """What a web server says at a path; None while it says nothing."""
    client = http.client.HTTPConnection(address, timeout=5)
    with closing(client), suppress(OSError, http.client.HTTPException):
        client.request("GET", path)
        response = client.getresponse()
        return response.read() if response.status == 200 else None
    return None


def skopeo(*words: str | Path) -> subprocess.CompletedProcess[str]:
    testbed.need("skopeo")
    return subprocess.run(["skopeo", *words], capture_output=True, text=True, check=False)


class Listener:
    """A web server on loopback that keeps what is posted to it."""

    def __init__(self, port: int = 0) -> None:
        self.deliveries: list[tuple[dict[str, str], bytes]] = []
        deliveries = self.deliveries

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._reply(b"here\n")

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                deliveries.append((dict(self.headers), body))
                self._reply(b"")

            def _reply(self, body: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        self.server = HTTPServer(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"

    def __enter__(self) -> Listener:
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


# ------------------------------------------------------------------------------------------------------- the registries


@pytest.mark.usefixtures("engine_layer")
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


@pytest.mark.usefixtures("engine_layer")
def test_what_is_up_is_not_brought_up_again(bed: testbed.Bed) -> None:
    with leaving_nothing(bed), available():
        first = testbed.up("registry", bed=bed)
        running = census(bed).processes
        assert testbed.up("registry", bed=bed) == first == testbed.facts("registry", bed=bed)
        assert census(bed).processes == running


@pytest.mark.usefixtures("engine_layer")
def test_two_processes_at_once_bring_up_one(bed: testbed.Bed) -> None:
    with leaving_nothing(bed), available():
        both = [program(bed, "up", "registry") for _ in range(2)]
        said = [process.communicate(timeout=120)[0] for process in both]
        assert [process.returncode for process in both] == [0, 0], said
        assert len(census(bed).processes) == 2


@pytest.mark.usefixtures("engine_layer")
def test_what_was_killed_is_broken_and_brought_up_anew(bed: testbed.Bed) -> None:
    with leaving_nothing(bed), available():
        first = testbed.up("registry", bed=bed)
        processes.end(processes.left_behind(bed.directory, "docker-registry"), patience=0)
        assert testbed.facts("registry", bed=bed) is None
        assert [found.state for found in testbed.status(bed=bed)] == ["down", "broken", "down", "down"]
        second = testbed.up("registry", bed=bed)
        assert (second.open, second.password != first.password) == (first.open, True)


@pytest.mark.usefixtures("engine_layer")
def test_a_port_that_somebody_listens_on_is_named(bed: testbed.Bed) -> None:
    taken = pytest.raises(testbed.Unavailable, match=rf"127\.0\.0\.1:{bed.port(1)}: Address already in use")
    with leaving_nothing(bed), Listener(bed.port(1)), taken:
        testbed.up("registry", bed=bed)


# ----------------------------------------------------------------------------------------------------------- the engine


@pytest.mark.usefixtures("engine_layer")
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


@pytest.mark.usefixtures("engine_layer")
def test_a_users_engine_is_reported_and_left_alone(bed: testbed.Bed) -> None:
    with leaving_nothing(bed), available():
        theirs = testbed.up("engine", bed=bed)
        ours = replace(bed, directory=bed.directory / "ours", slot=SLOT - 1, docker_host=theirs.docker_host)
        with leaving_nothing(ours):
            assert testbed.up("engine", bed=ours) == testbed.Engine(docker_host=theirs.docker_host, own=False)
        assert testbed.facts("engine", bed=bed) == theirs


@pytest.mark.usefixtures("engine_layer")
def test_another_testbed_in_the_same_slot_is_refused_and_harms_nothing(bed: testbed.Bed) -> None:
    with leaving_nothing(bed), available():
        testbed.up("engine", bed=bed)
        before = census(bed)
        with pytest.raises(testbed.Unavailable, match=f"belongs to {bed.directory}"):
            testbed.up("engine", bed=replace(bed, directory=bed.directory / "other"))
        assert census(bed) == before
        assert testbed.facts("engine", bed=bed) is not None


@pytest.mark.usefixtures("engine_layer")
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


@pytest.mark.usefixtures("engine_layer")
def test_a_killed_up_is_taken_back_by_down(bed: testbed.Bed) -> None:
    with available():
        packages.need("engine", *testbed.engine.PACKAGES)
    with leaving_nothing(bed):
        killed = program(bed, "up", "engine")
        assert processes.eventually(lambda: (bed.at("engine") / "processes").exists(), patience=30)
        killed.kill()
        killed.communicate()


# ----------------------------------------------------------------------------------------------- the node and the forge


@pytest.mark.usefixtures("cluster_layer")
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


@pytest.mark.usefixtures("cluster_layer")
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
