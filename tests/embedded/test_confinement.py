"""What a container sees and may, tried from inside of a real one by a program that means harm."""

from __future__ import annotations

import io
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from s2ictl.engines.embedded import networks
from s2ictl.engines.embedded.machine import Machine
from s2ictl.engines.embedded.spec import Container, Mount, document
from s2ictl.engines.embedded.surroundings import surroundings
from s2ictl.engines.embedded.wardens import Chamber
from s2ictl.engines.outcomes import Ended
from s2ictl.models import Confinement
from tests.embedded.rooms import IMAGE, PATIENCE, Rooms, first_layer, is_root, read_all, runtime

SYSTEM = ("/usr", "/lib", "/lib64", sys.base_prefix)  # of this machine, for the Python that tries things
HARM = Path(__file__).with_name("harm.py")
OUTSIDE = "198.51.100"


@dataclass(frozen=True)
class Ran:
    stdout: str
    stderr: str
    ended: Ended | None


def container(rooms: Rooms, chamber: Chamber, *command: str, **given: Any) -> Container:
    here = surroundings({}, rooms.directory)
    wanted: dict[str, Any] = {
        "root": chamber.root,
        "hostname": "s2ictl",
        "command": command,
        "env": (("PATH", "/bin"), ("HOME", "/")),
        "workdir": "/",
        "uid": 0,
        "gid": 0,
        "mounts": tuple(Mount(source=path, target=path, read_only=True) for path in SYSTEM if Path(path).is_dir()),
        "confinement": Confinement(),
        "network": "",
        "cgroup": f"{here.cgroups}/{chamber.name}" if here.cgroups else "",
        "limits": here.limits,
        "architecture": here.architecture,
        "rootless": not is_root(),
        **given,
    }
    return Container(**wanted)


def ran(chamber: Chamber, asked: Container, spec: bytes = b"") -> Ran:
    with chamber.running(spec or document(asked), runtime(), asked.cgroup) as process:
        return Ran(
            stdout=read_all(process.stdout).decode(),
            stderr=read_all(process.stderr).decode(),
            ended=process.ended(PATIENCE),
        )


def chamber_of(rooms: Rooms) -> AbstractContextManager[Chamber]:
    return rooms.chamber(name())


def name() -> str:
    """Another for each: control groups are the whole machine's."""
    return f"chamber-{secrets.token_hex(4)}"


def harmed(rooms: Rooms, what: str, **given: Any) -> Any:
    """What became of each attempt, by its name."""
    with chamber_of(rooms) as chamber:
        python = sys.executable if Path(sys.base_prefix) == Path(sys.prefix) else f"{sys.base_prefix}/bin/python3"
        done = ran(chamber, container(rooms, chamber, python, "-I", "-S", "-c", HARM.read_text(), what, **given))
    assert done.ended == Ended(status=0), done.stderr
    return json.loads(done.stdout)


# ------------------------------------------------------------------------------------------------- what it may do


def test_calls_that_reach_the_machine_are_refused(rooms: Rooms) -> None:
    assert harmed(rooms, "calls") == {
        "mount": "EPERM",
        "umount": "EPERM",
        "unshare a user namespace": "EPERM",
        "unshare a mount namespace": "EPERM",
        "clone into a user namespace": "EPERM",
        "clone3": "ENOSYS",
        "setns": "EPERM",
        "pivot_root": "EPERM",
        "keyctl": "EPERM",
        "add_key": "EPERM",
        "bpf": "EPERM",
        "perf_event_open": "EPERM",
        "userfaultfd": "EPERM",
        "io_uring_setup": "EPERM",
        "open_by_handle_at": "EPERM",
        "reboot": "EPERM",
        "kexec_load": "EPERM",
        "init_module": "EPERM",
        "settimeofday": "EPERM",
        "swapon": "EPERM",
        "syslog": "EPERM",
        "a socket out of a virtual machine": "EPERM",
        "a raw socket": "EPERM",
        "a block device": "EPERM",
        "a character device": "EPERM",
        "sethostname": "EPERM",
    }


def test_what_the_kernel_tells_of_the_machine_cannot_be_written(rooms: Rooms) -> None:
    refused = {"EROFS"} if is_root() else {"EROFS", "EACCES"}
    written = harmed(rooms, "writing")
    assert "/proc/sys/kernel/core_pattern" in written
    assert {path: error for path, error in written.items() if error not in refused} == {}


def test_what_it_tells_of_others_cannot_be_read(rooms: Rooms) -> None:
    assert {path: told for path, told in harmed(rooms, "reading").items() if told} == {}


@pytest.mark.parametrize("uid", [0, 1001])
def test_no_process_but_its_own_is_seen_and_the_first_gives_nothing_away(rooms: Rooms, uid: int) -> None:
    closed = dict.fromkeys(("root", "cwd", "fd", "environ", "mem", "ns"), "EACCES")
    assert harmed(rooms, "processes", uid=uid) == {**closed, "others": [], "traced": "EPERM", "beyond": "ESRCH"}


def test_root_has_few_capabilities_and_anybody_else_none(rooms: Rooms) -> None:
    few = "0000000000000000", "00000000800400fb", "00000000800400fb", "00000000800400fb", "0000000000000000"
    names = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
    held = {"NoNewPrivs": "1", "Seccomp": "2"}
    assert harmed(rooms, "rights") == {**dict(zip(names, few, strict=True)), **held}
    assert harmed(rooms, "rights", uid=1001) == {**dict.fromkeys(names, "0" * 16), **held}


def test_what_it_has_in_memory_is_written_to_no_file_when_it_crashes(rooms: Rooms) -> None:
    with chamber_of(rooms) as chamber:
        done = ran(chamber, container(rooms, chamber, "/bin/sh", "-c", "ulimit -Hc; kill -SEGV $$"))
        left = chamber.mode("/core")
    assert (done.stdout, done.ended, left) == ("0\n", Ended(status=139), None)


def test_a_program_of_root_s_gives_nobody_his_rights(rooms: Rooms) -> None:
    rooms.warden.unpack(iter([_layer(_program("bin/busybox-of-root", 0o6755))]), on=IMAGE, to="rights")
    with rooms.warden.chamber(name(), ("rights", *IMAGE)) as chamber:
        done = ran(chamber, container(rooms, chamber, "/bin/busybox-of-root", "id", uid=1001, gid=1001, groups=(10,)))
    assert done == Ran(stdout="uid=1001 gid=1001 groups=10\n", stderr="", ended=Ended(status=0))


@pytest.mark.skipif("os.geteuid() != 0", reason="an ordinary user's layers have no devices")
@pytest.mark.parametrize("cgroup", [{}, {"cgroup": ""}], ids=["with a cgroup", "without"])
def test_a_device_of_an_image_s_cannot_be_opened(rooms: Rooms, cgroup: dict[str, str]) -> None:
    disk = tarfile.TarInfo("disk")
    disk.type, disk.mode = tarfile.BLKTYPE, 0o666
    disk.devmajor, disk.devminor = os.major(_disk()), os.minor(_disk())
    rooms.warden.unpack(iter([_layer((disk, b""))]), on=IMAGE, to="devices")
    with rooms.warden.chamber(name(), ("devices", *IMAGE)) as chamber:
        done = ran(chamber, container(rooms, chamber, "/bin/cat", "/disk", **cgroup))
    assert done == Ran(stdout="", stderr="cat: can't open '/disk': Permission denied\n", ended=Ended(status=1))


def _disk() -> int:
    """The number of what this directory lies on."""
    return Path(__file__).stat().st_dev


def _program(name: str, mode: int) -> tuple[tarfile.TarInfo, bytes]:
    with tarfile.open(fileobj=io.BytesIO(first_layer())) as tar:
        file = tar.extractfile("bin/busybox")
        assert file is not None
        content = file.read()
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), mode
    return member, content


def _layer(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for member, content in members:
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def test_no_cgroup_can_be_written_to(rooms: Rooms) -> None:
    groups = "find /sys/fs/cgroup -name tasks -o -name cgroup.procs"
    look = f"for group in $({groups}); do (echo 0 >$group) 2>/dev/null && echo $group; done; true"
    with chamber_of(rooms) as chamber:
        done = ran(chamber, container(rooms, chamber, "/bin/sh", "-c", look))
    assert done == Ran(stdout="", stderr="", ended=Ended(status=0))


# --------------------------------------------------------------------------------------------- what it may use up


@pytest.mark.skipif("os.geteuid() != 0", reason="an ordinary user has no limits on version 1 of cgroups")
def test_memory_over_the_limit_is_told_as_such(rooms: Rooms) -> None:
    with chamber_of(rooms) as chamber:
        limited = Confinement(memory=32 << 20)
        done = ran(chamber, container(rooms, chamber, "/bin/tail", "/dev/zero", confinement=limited))
    assert done.ended == Ended(status=137, out_of_memory=True)


@pytest.mark.skipif("os.geteuid() != 0", reason="an ordinary user has no limits on version 1 of cgroups")
def test_processes_have_an_end(rooms: Rooms) -> None:
    bomb = "i=0; while [ $i -lt 200 ]; do sleep 60 & i=$((i+1)); done"
    with chamber_of(rooms) as chamber:
        asked = container(rooms, chamber, "/bin/sh", "-c", bomb)
        told = json.loads(document(asked))
        assert told["linux"]["resources"]["pids"] == {"limit": 4096}
        told["linux"]["resources"]["pids"]["limit"] = 50  # as many would only take long
        done = ran(chamber, asked, json.dumps(told).encode())
    assert "can't fork: Resource temporarily unavailable" in done.stderr
    assert done.ended is not None
    assert done.ended.status == 2


@pytest.mark.skipif("os.geteuid() != 0", reason="an ordinary user has no limits on version 1 of cgroups")
def test_it_sees_the_limits_that_it_has(rooms: Rooms) -> None:
    limited = Confinement(memory=64 << 20, cpus=0.5)
    assert harmed(rooms, "limits", confinement=limited) == {"memory": 64 << 20, "cpu": 50_000, "pids": 4096}


# --------------------------------------------------------------------------------------------------- what it reaches

HELPERS = [path for name in ("pasta", "slirp4netns") if (path := shutil.which(name))]


@contextmanager
def listening(*addresses: str) -> Iterator[int]:
    """The port on which this machine says hello to whoever reaches it by one of these."""
    with ExitStack() as opened:
        port = 0
        for address in addresses:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            listener = opened.enter_context(socket.create_server((address, port), family=family))
            port = listener.getsockname()[1]
            Thread(target=_greet, args=(listener,), daemon=True).start()
            opened.callback(listener.shutdown, socket.SHUT_RDWR)
        yield port


def _greet(listener: socket.socket) -> None:
    while True:
        try:
            visitor, _ = listener.accept()
        except OSError:
            return
        with visitor:
            visitor.sendall(b"hello")


def reached(rooms: Rooms, network: networks.Network, *addresses: str, port: int) -> dict[str, str]:
    with chamber_of(rooms) as chamber:
        place = chamber.network(network.helper) if network.is_own else ""
        command = (f"{sys.base_prefix}/bin/python3", "-I", "-S", "-c", HARM.read_text(), "reaching", str(port))
        done = ran(chamber, container(rooms, chamber, *command, *addresses, network=place))
    assert done.ended == Ended(status=0), done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


def network(asked: str, helper: str = "") -> networks.Network:
    machine = Machine(rootless=not is_root(), architecture="x86_64", network_helper=helper)
    return networks.chosen(asked, machine, b"nameserver 127.0.0.53\n")


LOOPBACKS = ("127.0.0.1", "::1")
NAMED = ("10.0.2.2", "10.0.2.3", "fd00::2", "fd00::3")  # what slirp4netns calls this machine, or its resolver


def test_the_machine_s_own_network_is_the_machine_s(rooms: Rooms) -> None:
    with listening(*LOOPBACKS) as port:
        assert reached(rooms, network("host"), *LOOPBACKS, port=port) == dict.fromkeys(LOOPBACKS, "hello")


def test_without_a_network_there_is_a_loopback_of_its_own_and_nothing_else(rooms: Rooms) -> None:
    with listening(*LOOPBACKS) as port:
        found = reached(rooms, network("none"), *LOOPBACKS, *NAMED, port=port)
    assert found == {**dict.fromkeys(LOOPBACKS, "ECONNREFUSED"), **dict.fromkeys(NAMED, "ENETUNREACH")}


@pytest.mark.skipif("os.geteuid() != 0", reason="the device that a helper needs is root's")
@pytest.mark.parametrize("helper", HELPERS, ids=lambda path: Path(path).name)
def test_an_isolated_network_leads_out_and_never_to_the_machine_s_loopback(rooms: Rooms, helper: str) -> None:
    with outside() as (address, far_port), listening(*LOOPBACKS) as port:
        assert reached(rooms, network("", helper), address, port=far_port) == {address: "hello"}
        ways = (*LOOPBACKS, *(NAMED if helper.endswith("slirp4netns") else ()))
        found = reached(rooms, network("", helper), *ways, port=port)
    assert {way: told for way, told in found.items() if told == "hello"} == {}


@contextmanager
def outside() -> Iterator[tuple[str, int]]:
    """Somebody else's machine: a network namespace at the other end of a cable."""
    mark = secrets.token_hex(4)
    name, near = f"s2ictl-{mark}", f"s2i{mark}"
    listen = (
        "import socket; s = socket.create_server(('0.0.0.0', 0)); print(s.getsockname()[1], flush=True)\n"
        "while True:\n    c, _ = s.accept(); c.sendall(b'hello'); c.close()"
    )
    with ExitStack() as made:
        _ip("netns", "add", name)
        made.callback(_ip, "netns", "del", name)
        _ip("link", "add", near, "type", "veth", "peer", "name", "far", "netns", name)
        made.callback(_ip, "link", "del", near)  # with its namespace it would go some time later
        for words in (("addr", "add", f"{OUTSIDE}.1/24", "dev", near), ("link", "set", near, "up")):
            _ip(*words)
        for words in (("addr", "add", f"{OUTSIDE}.2/24", "dev", "far"), ("link", "set", "far", "up")):
            _ip("-n", name, *words)
        command = ["ip", "netns", "exec", name, sys.executable, "-c", listen]
        server = made.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        made.callback(server.kill)
        assert server.stdout is not None
        yield f"{OUTSIDE}.2", int(server.stdout.readline())


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


@pytest.mark.parametrize("asked", ["none", "host"])
def test_a_port_of_the_container_is_led_to_a_loopback_port_of_the_machine(rooms: Rooms, asked: str) -> None:
    with chamber_of(rooms) as chamber, listening("127.0.0.1") as free:
        place = chamber.network(()) if asked == "none" else ""
        inner = 8080 if place else free
        serve = f"while :; do echo hello | nc -l -p {inner} >/dev/null; done" if place else "exec sleep 60"
        asked_for = container(rooms, chamber, "/bin/busybox", "sh", "-c", serve, network=place)
        with chamber.running(document(asked_for), runtime(), asked_for.cgroup):
            port = chamber.forward(inner)
            assert port != inner
            assert _answer_of(port).strip() == b"hello"


def _answer_of(port: int) -> bytes:
    """What is said there; until somebody listens inside, it is nothing."""
    for _ in range(2000):
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as asking:
            said = b""
            while block := asking.recv(100):
                said += block
        if said:
            return said
    raise AssertionError("nobody answers")
