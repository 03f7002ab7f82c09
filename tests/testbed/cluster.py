"""One Kubernetes node, all of it real: etcd, the servers compiled by `compiled`, containerd and runc.

It stands on a bridge address of its own, which is also the gateway of its pods; nothing of it listens on the
machine's outer addresses. What it leaves beyond its directory (a cgroup, a bridge, KUBE- chains, a few files that
the kubelet and the network plugins put at fixed places) is taken back by `down`.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.testbed import cgroups, compiled, containers, images, kernel, network, nodes, packages, registry
from tests.testbed.bed import Bed, write_whole
from tests.testbed.certificates import Pair, authority, rsa_key
from tests.testbed.errors import Unavailable
from tests.testbed.models import Cluster
from tests.testbed.nodes import Node
from tests.testbed.processes import Crew

PACKAGES = ("etcd-server", "containerd", "runc", "containernetworking-plugins", "iproute2", "iptables", "openssl")
SERVERS = ("etcd", "containerd", *compiled.SERVERS)

# The kubelet sets these for a machine that is nothing but a node.
KERNEL_SETTINGS = (
    *("vm.overcommit_memory", "vm.panic_on_oom", "kernel.panic", "kernel.panic_on_oops"),
    *("kernel.keys.root_maxkeys", "kernel.keys.root_maxbytes"),
)
# Where the kubelet and the network plugins write whatever their own directories are.
DEVICE_PLUGINS = Path("/var/lib/kubelet/device-plugins")
CONTAINER_LOGS = Path("/var/log/containers")
NETWORK_RESULTS = Path("/var/lib/cni/results")


def up(bed: Bed) -> Cluster:
    """Start the node and wait until it takes pods."""
    containers.root_only("cluster")
    packages.need("cluster", *PACKAGES, say=bed.say)
    if network.has_chains("KUBE-"):
        raise Unavailable("cluster", "this machine is a Kubernetes node already; two would undo each other's rules")
    programs = compiled.kubernetes(bed)
    directory = bed.make("cluster")
    kernel.claim(bed, "cluster", dict.fromkeys(KERNEL_SETTINGS))
    bridge = network.connect(bed, "cluster")
    node = node_of(bed, programs)
    write_configuration(bed, node)
    cgroups.make(bridge.name)
    start(node)
    return Cluster(kubeconfig=directory / "admin.kubeconfig", node_ip=node.ip, context=nodes.CONTEXT)


def ready(bed: Bed, facts: Cluster) -> bool:
    """Whether everything runs and the API server calls the node ready."""
    node = node_of(bed, Path())
    return crew_of(node).alive(*SERVERS) and takes_pods(node)


def down(bed: Bed) -> None:
    """End the node, its pods, and all that they made on the machine."""
    node = node_of(bed, Path())
    if not (node.directory.exists() and network.is_ours(bed, "cluster")):
        return
    # An API server that lost its watchers may take a minute to leave; there is nothing in it to save.
    crew_of(node).end(patience=3)
    containers.sweep(node.directory, cgroup=node.bridge)
    # After a restart of the machine, the directory may be all that is left of ours beside another testbed's node.
    network.disconnect(bed, "cluster", chains="KUBE-" if network.stand_alone(bed, "cluster") else "")
    remove_strays(node)


def node_of(bed: Bed, programs: Path) -> Node:
    bridge = network.bridge(bed, "cluster")
    return Node(
        directory=bed.at("cluster"),
        programs=programs,
        slot=bed.slot,
        ip=bridge.address,
        pods=bridge.subnet,
        bridge=bridge.name,
    )


def crew_of(node: Node) -> Crew:
    return Crew(part="cluster", directory=node.directory)


def start(node: Node) -> None:
    """Start the servers as they need each other."""
    crew = crew_of(node)
    crew.start("containerd", ["containerd", "--config", node.at("containerd.toml")])
    crew.start("etcd", nodes.etcd(node))
    crew.start("kube-apiserver", nodes.apiserver(node))
    crew.wait(lambda: imported(node), "containerd", what="containerd")
    crew.wait(lambda: ask(node, "/readyz") is not None, "kube-apiserver", "etcd", what="the API server")
    crew.start("kube-controller-manager", nodes.controller_manager(node))
    crew.start("kube-scheduler", nodes.scheduler(node))
    crew.start("kubelet", nodes.kubelet(node))
    crew.start("kube-proxy", nodes.proxy(node))
    crew.wait(lambda: takes_pods(node), *SERVERS, what="the node")


def write_configuration(bed: Bed, node: Node) -> None:
    """Everything that the servers read when they start."""
    pairs = issue_certificates(node)
    for name, pair in pairs.items():
        write_document(node.directory / f"{name}.kubeconfig", nodes.kubeconfig(node, pair))
    write_document(node.directory / "kubelet.json", nodes.kubelet_configuration(node))
    write_whole(node.directory / "containerd.toml", nodes.toml(nodes.containerd_configuration(node)))
    (node.directory / "cni").mkdir()
    write_document(node.directory / "cni" / "10-pods.conflist", nodes.pod_network(node))
    for offset in (registry.OPEN, registry.CLOSED):
        write_plain_http(node, f"{node.ip}:{bed.port(offset)}")
    pause = {"pause": node.programs / "pause"}
    images.write_image(node.directory / "pause.tar", nodes.PAUSE_IMAGE, files=pause, entrypoint=["/pause"])


def issue_certificates(node: Node) -> dict[str, Pair]:
    """One for each who asks the API server; those of the servers besides."""
    ca = authority(node.directory / "pki")
    names = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost")
    addresses = ("127.0.0.1", node.ip, str(node.services[1]))
    alternatives = [f"DNS:{name}" for name in names] + [f"IP:{address}" for address in addresses]
    ca.issue("server", subject="/CN=kube-apiserver", alternatives=alternatives)
    rsa_key(ca.directory / "service-accounts.key")
    itself = f"/O=system:nodes/CN=system:node:{node.name}"
    return {
        "admin": ca.issue("admin", subject="/O=system:masters/CN=admin"),
        "kubelet": ca.issue("kubelet", subject=itself, alternatives=[f"DNS:{node.name}", f"IP:{node.ip}"]),
        "kube-controller-manager": ca.issue("controllers", subject="/CN=system:kube-controller-manager"),
        "kube-scheduler": ca.issue("scheduler", subject="/CN=system:kube-scheduler"),
        "kube-proxy": ca.issue("proxy", subject="/CN=system:kube-proxy"),
    }


def write_plain_http(node: Node, registry_address: str) -> None:
    directory = node.directory / "certs.d" / registry_address
    directory.mkdir(parents=True)
    (directory / "hosts.toml").write_text(nodes.toml(nodes.registry_hosts(registry_address)))


def imported(node: Node) -> bool:
    """Give containerd the image of the container that holds a pod together, once it listens."""
    where = ("--address", node.containerd, "--namespace", "k8s.io")
    command = ["ctr", *where, "images", "import", node.at("pause.tar")]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def takes_pods(node: Node) -> bool:
    """Whether the node is ready, and pods of the default namespace have the account that they run as."""
    found = ask(node, f"/api/v1/nodes/{node.name}")
    conditions = json.loads(found)["status"].get("conditions", []) if found else []
    is_ready = any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
    return is_ready and ask(node, "/api/v1/namespaces/default/serviceaccounts/default") is not None


def ask(node: Node, path: str) -> bytes | None:
    """What the API server says at a path; None when it does not, or refuses."""
    admin = node.authority.pair("admin")
    with contextlib.suppress(OSError, http.client.HTTPException):
        trust = ssl.create_default_context(cafile=node.authority.own.certificate)
        trust.load_cert_chain(admin.certificate, admin.key)
        client = http.client.HTTPSConnection(node.api, context=trust, timeout=5)
        with contextlib.closing(client):
            client.request("GET", path)
            answer = client.getresponse()
            return answer.read() if answer.status == 200 else None
    return None


def remove_strays(node: Node) -> None:
    for path in strays(node):
        path.unlink(missing_ok=True)
    containers.remove_empty(DEVICE_PLUGINS, DEVICE_PLUGINS.parent, CONTAINER_LOGS)
    containers.remove_empty(NETWORK_RESULTS, NETWORK_RESULTS.parent)


def strays(node: Node) -> Iterator[Path]:
    for name in ("kubelet.sock", "kubelet_internal_checkpoint", "DEPRECATION"):
        yield DEVICE_PLUGINS / name
    links = CONTAINER_LOGS.glob("*.log")
    yield from (link for link in links if link.is_symlink() and link.readlink().is_relative_to(node.directory))
    yield from (path for path in NETWORK_RESULTS.glob("*") if f"{node.directory}/" in path.read_text())


def write_document(path: Path, document: dict[str, Any]) -> None:
    write_whole(path, json.dumps(document, indent=2) + "\n")
