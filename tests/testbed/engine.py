"""A Docker engine: the user's own where it answers, else a dockerd that shares nothing with one.

Its bridge, its rules and its cgroup are made here and not by dockerd, so that the machine's docker0 and chains are
neither made nor removed.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import socket
import subprocess
from pathlib import Path

from tests.testbed import cgroups, containers, network, packages
from tests.testbed.bed import Bed, write_whole
from tests.testbed.models import Engine
from tests.testbed.processes import Crew

# The product makes its base image with mmdebstrap where none can be pulled.
PACKAGES = ("docker.io", "iproute2", "iptables", "mmdebstrap")


def up(bed: Bed) -> Engine:
    """Report the user's engine, or start our own."""
    if answers(bed.docker_host):
        return Engine(docker_host=bed.docker_host, own=False)
    containers.root_only("engine")
    packages.need("engine", *PACKAGES, say=bed.say)
    directory = bed.make("engine")
    bridge = network.connect(bed, "engine")
    crew, address = crew_of(bed), f"unix://{directory}/docker.sock"
    # A configuration of our own keeps the machine's out.
    write_whole(directory / "daemon.json", json.dumps({"deprecated-key-path": f"{directory}/key.json"}) + "\n")
    crew.start("dockerd", dockerd(directory, address, bridge))
    crew.wait(lambda: answers(address), "dockerd", what="the Docker API")
    return Engine(docker_host=address, own=True)


def ready(bed: Bed, facts: Engine) -> bool:
    """Whether the API answers."""
    return answers(facts.docker_host)


def down(bed: Bed) -> None:
    """End our own engine with all its containers."""
    if not (bed.at("engine").exists() and network.is_ours(bed, "engine")):
        return
    group = network.bridge(bed, "engine").name
    # The daemon would ask each container to end, and wait ten seconds for those that do not hear.
    cgroups.end(group)
    crew_of(bed).end()
    containers.sweep(bed.at("engine"), cgroup=group)
    network.disconnect(bed, "engine")


def crew_of(bed: Bed) -> Crew:
    return Crew(part="engine", directory=bed.at("engine"))


def dockerd(directory: Path, address: str, bridge: network.Bridge) -> list[str]:
    """The command of the daemon."""
    return [
        "dockerd",
        f"--config-file={directory}/daemon.json",
        f"--data-root={directory}/data",
        f"--exec-root={directory}/exec",
        f"--pidfile={directory}/dockerd.pid",
        f"--host={address}",
        f"--bridge={bridge.name}",
        f"--cgroup-parent=/{bridge.name}",
        "--exec-opt=native.cgroupdriver=cgroupfs",
        "--storage-driver=overlay2",
        "--iptables=false",
        "--ip-forward=false",
        "--ip-masq=false",
        "--userland-proxy=true",
        "--oom-score-adjust=0",  # a lower one needs CAP_SYS_RESOURCE, which containers of machines do not have
        "--shutdown-timeout=3",
    ]


def answers(docker_host: str) -> bool:
    """Whether an engine answers there; any other way than its local socket is known to the docker program alone."""
    if docker_host.startswith("unix://"):
        return pings(docker_host.removeprefix("unix://"))
    if not shutil.which("docker"):
        return False
    with contextlib.suppress(subprocess.TimeoutExpired):
        command = ["docker", "--host", docker_host, "version"]
        return subprocess.run(command, capture_output=True, timeout=10, check=False).returncode == 0
    return False


def pings(path: str) -> bool:
    with contextlib.suppress(OSError, http.client.HTTPException), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(path)
        client = http.client.HTTPConnection("localhost")
        client.sock = connection
        client.request("GET", "/_ping")
        return client.getresponse().status == 200
    return False
