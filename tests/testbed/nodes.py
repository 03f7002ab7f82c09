"""What the servers of a node are told, as data: their commands and the documents that they read when they start.

Nothing of the node listens on the machine's outer addresses, and each of its files is below its directory.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from tests.testbed.certificates import Authority, Pair

CONTEXT = "s2ictl-testbed"
PAUSE_IMAGE = "localhost/pause:1"
POD_NETWORK = "s2ictl-testbed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """Everything that the commands and configurations of the servers are made of."""

    directory: Path
    programs: Path
    slot: int
    ip: str
    pods: IPv4Network
    bridge: str

    @property
    def name(self) -> str:
        return self.bridge

    @property
    def services(self) -> IPv4Network:
        return IPv4Network(f"10.126.{self.slot}.0/24")

    @property
    def authority(self) -> Authority:
        return Authority(directory=self.directory / "pki")

    @property
    def api(self) -> str:
        return f"{self.ip}:6443"

    @property
    def containerd(self) -> str:
        return f"{self.directory}/containerd/containerd.sock"

    def port(self, offset: int) -> int:
        """A port on loopback of this node's own servers, outside of the range that pods reach."""
        return 24500 + 10 * self.slot + offset

    def at(self, *names: str) -> str:
        return str(self.directory.joinpath(*names))


def kubeconfig(node: Node, pair: Pair) -> dict[str, Any]:
    """Whole in itself, so that it may be copied anywhere."""
    cluster = {
        "server": f"https://{node.api}",
        "certificate-authority-data": encoded(node.authority.own.certificate),
    }
    user = {"client-certificate-data": encoded(pair.certificate), "client-key-data": encoded(pair.key)}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": CONTEXT, "cluster": cluster}],
        "users": [{"name": CONTEXT, "user": user}],
        "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": CONTEXT}}],
        "current-context": CONTEXT,
    }


def etcd(node: Node) -> list[str]:
    return [
        "etcd",
        f"--data-dir={node.at('etcd')}",
        f"--listen-client-urls=http://127.0.0.1:{node.port(0)}",
        f"--advertise-client-urls=http://127.0.0.1:{node.port(0)}",
        f"--listen-peer-urls=http://127.0.0.1:{node.port(1)}",
        f"--initial-advertise-peer-urls=http://127.0.0.1:{node.port(1)}",
        f"--initial-cluster=default=http://127.0.0.1:{node.port(1)}",
    ]


def apiserver(node: Node) -> list[str]:
    ca, server, admin = node.authority.own, node.authority.pair("server"), node.authority.pair("admin")
    accounts = node.authority.directory / "service-accounts.key"
    return [
        f"{node.programs}/kube-apiserver",
        f"--etcd-servers=http://127.0.0.1:{node.port(0)}",
        f"--bind-address={node.ip}",
        f"--advertise-address={node.ip}",
        "--secure-port=6443",
        f"--tls-cert-file={server.certificate}",
        f"--tls-private-key-file={server.key}",
        f"--client-ca-file={ca.certificate}",
        f"--cert-dir={node.at('apiserver')}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        f"--service-account-key-file={accounts}",
        f"--service-account-signing-key-file={accounts}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-cluster-ip-range={node.services}",
        f"--kubelet-client-certificate={admin.certificate}",
        f"--kubelet-client-key={admin.key}",
        "--kubelet-preferred-address-types=InternalIP",
        "--allow-privileged",
    ]


def controller_manager(node: Node) -> list[str]:
    return [
        f"{node.programs}/kube-controller-manager",
        f"--kubeconfig={node.at('kube-controller-manager.kubeconfig')}",
        f"--service-account-private-key-file={node.authority.directory}/service-accounts.key",
        f"--root-ca-file={node.authority.own.certificate}",
        f"--cert-dir={node.at('controllers')}",
        "--use-service-account-credentials",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
        f"--secure-port={node.port(2)}",
    ]


def scheduler(node: Node) -> list[str]:
    return [
        f"{node.programs}/kube-scheduler",
        f"--kubeconfig={node.at('kube-scheduler.kubeconfig')}",
        f"--cert-dir={node.at('scheduler')}",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
        f"--secure-port={node.port(3)}",
    ]


def kubelet(node: Node) -> list[str]:
    return [
        f"{node.programs}/kubelet",
        f"--config={node.at('kubelet.json')}",
        f"--kubeconfig={node.at('kubelet.kubeconfig')}",
        f"--root-dir={node.at('kubelet')}",
        f"--cert-dir={node.at('kubelet-certificates')}",
        f"--hostname-override={node.name}",
        f"--node-ip={node.ip}",
    ]


def proxy(node: Node) -> list[str]:
    return [
        f"{node.programs}/kube-proxy",
        f"--kubeconfig={node.at('kube-proxy.kubeconfig')}",
        f"--hostname-override={node.name}",
        f"--cluster-cidr={node.pods}",
        "--proxy-mode=iptables",
        # NodePorts on loopback would need packets for it to be accepted from every device of the machine.
        "--iptables-localhost-nodeports=false",
        f"--nodeport-addresses={node.ip}/32",
        f"--healthz-bind-address=127.0.0.1:{node.port(4)}",
        f"--metrics-bind-address=127.0.0.1:{node.port(5)}",
        # The limits of connection tracking stay the machine's own.
        "--conntrack-max-per-core=0",
        "--conntrack-tcp-timeout-established=0s",
        "--conntrack-tcp-timeout-close-wait=0s",
    ]


def kubelet_configuration(node: Node) -> dict[str, Any]:
    pair = node.authority.pair("kubelet")
    certificate = str(node.authority.own.certificate)
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": node.ip,
        "healthzPort": node.port(6),
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": certificate},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(pair.certificate),
        "tlsPrivateKeyFile": str(pair.key),
        "containerRuntimeEndpoint": f"unix://{node.containerd}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{node.bridge}",
        "failSwapOn": False,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "makeIPTablesUtilChains": False,
        "podLogsDir": node.at("pod-logs"),
        "volumePluginDir": node.at("volume-plugins"),
        # Pods ask the machine's resolvers; without any here the kubelet would warn at every pod.
        "resolvConf": str(resolver()),
        "clusterDNS": nameservers(resolver().read_text()),
        "registryPullQPS": 0,
        "serializeImagePulls": False,
        "eventRecordQPS": 0,
    }


def resolver() -> Path:
    """What pods ask for names: a resolver on this machine's loopback is none that they reach."""
    beyond = Path("/run/systemd/resolve/resolv.conf")
    return beyond if beyond.exists() else Path("/etc/resolv.conf")


def nameservers(resolv_conf: str) -> list[str]:
    fields = [line.split() for line in resolv_conf.splitlines()]
    return [words[1] for words in fields if words[:1] == ["nameserver"]]


def containerd_configuration(node: Node) -> dict[str, dict[str, Any]]:
    """Tables of containerd's configuration by their names; everything that it writes is below our directory."""
    return {
        "": {"version": 2, "root": node.at("containerd", "root"), "state": node.at("containerd", "state")},
        "grpc": {"address": node.containerd},
        'plugins."io.containerd.internal.v1.opt"': {"path": node.at("containerd", "opt")},
        'plugins."io.containerd.grpc.v1.cri"': {
            "sandbox_image": PAUSE_IMAGE,
            "netns_mounts_under_state_dir": True,
            # A lower score needs CAP_SYS_RESOURCE, which not every machine's root has.
            "restrict_oom_score_adj": True,
        },
        'plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc': {"runtime_type": "io.containerd.runc.v2"},
        'plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options': {"Root": node.at("containerd", "runc")},
        'plugins."io.containerd.grpc.v1.cri".cni': {"bin_dir": "/usr/lib/cni", "conf_dir": node.at("cni")},
        'plugins."io.containerd.grpc.v1.cri".registry': {"config_path": node.at("certs.d")},
    }


def toml(tables: dict[str, dict[str, Any]]) -> str:
    """TOML of plain tables, whose strings, numbers and booleans are written as JSON writes them."""
    return "\n".join(
        "\n".join(
            [
                *([f"[{name}]"] if name else []),
                *(f"{key} = {json.dumps(value)}" for key, value in table.items()),
                "",
            ]
        )
        for name, table in tables.items()
    )


def pod_network(node: Node) -> dict[str, Any]:
    addresses = {
        "type": "host-local",
        "dataDir": node.at("pod-addresses"),
        "ranges": [[{"subnet": str(node.pods), "gateway": node.ip}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {
        "type": "bridge",
        "bridge": node.bridge,
        "isGateway": True,
        "hairpinMode": True,
        "ipam": addresses,
    }
    return {"cniVersion": "0.4.0", "name": POD_NETWORK, "plugins": [bridge]}


def registry_hosts(registry_address: str) -> dict[str, dict[str, Any]]:
    """Let the node pull from a registry without TLS; loopback is so by itself."""
    where = f"http://{registry_address}"
    return {"": {"server": where}, f'host."{where}"': {"capabilities": ["pull", "resolve"]}}


def encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
