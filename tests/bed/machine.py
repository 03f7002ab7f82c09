"""The machine as a testbed finds it, and a census of it: what must be the same before and after."""

from __future__ import annotations

import http.client
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from tests import testbed
from tests.testbed import cgroups, images, kernel, network, processes, user
from tests.testbed.cluster import KERNEL_SETTINGS

ROOT = Path(__file__).parent.parent
BUSYBOX = Path("/bin/busybox")
ACCOUNTS = (Path("/etc/passwd"), Path("/etc/group"), *filter(Path.exists, user.LISTS))

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
    users: frozenset[str]


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
        users=frozenset(line for file in ACCOUNTS for line in file.read_text().splitlines() if ours_in(line, bed)),
    )


def ours_in(account: str, bed: testbed.Bed) -> bool:
    return account.startswith(f"{user.name_of(bed)}:") and os.geteuid() == 0


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
