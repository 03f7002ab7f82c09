"""The engine on this machine's own overlays and runtime: what it alone does, or does otherwise than a daemon."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from s2ictl.engines.embedded.engine import Embedded
from s2ictl.engines.embedded.machine import Machine, explored
from s2ictl.engines.embedded.opening import Elsewhere, open_embedded
from s2ictl.errors import AssembleFailed, CommitContainerFailed, PullBuilderImageFailed, RolloutFailed, Unreachable
from s2ictl.events import Event, Line, Notice
from s2ictl.leases import this_host
from s2ictl.models import (
    BuildSecret,
    Cache,
    ImageFacts,
    Login,
    Reference,
    Runtime,
    RuntimeArtifact,
    Secret,
)
from tests.engine import tiny
from tests.fakes import carried
from tests.fakes.engine_contract import NAME, archive, assembly

EPOCH = 1_700_000_000
CACHE = Cache(app="shop", builder="contract/builder:1", target="/opt/app/dl", name="s2ictl-cache-turns")
TOKEN = BuildSecret(id="token", content=Secret("canary-77"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Works:
    engine: Embedded
    machine: Machine
    store: Path
    said: list[Event] = field(default_factory=list)

    def builder(self, script: str, **settings: Any) -> ImageFacts:
        """A builder that assembles by this script, as the user 1001."""
        root = tiny.rootfs({"assemble": tiny.script(script), "run": tiny.script("exec sleep 60")})
        said = {"Env": ["PATH=/bin"], "User": "user", "WorkingDir": "/opt/app", **settings}
        facts = self.engine.held(self.engine.load(iter((carried.saved([root], settings=said),))))
        assert facts is not None
        return facts

    def built(self, script: str, **changes: Any) -> ImageFacts:
        made = self.engine.assemble(assembly(self.builder(script), **changes), self.said.append)
        facts = self.engine.held(made.id)
        assert facts is not None
        return facts

    @property
    def lines(self) -> list[str]:
        return [event.text for event in self.said if isinstance(event, Line)]

    def shown(self, image: ImageFacts, *command: str) -> list[str]:
        told: list[Event] = []
        with suppress(RolloutFailed):  # of what it does not find, it tells
            self.engine.output(image.id, command=command, emit=told.append)
        return [event.text for event in told if isinstance(event, Line)]


@contextmanager
def works_in(store: Path) -> Iterator[Works]:
    machine = explored(os.environ, store=store)
    assert machine.lacks == ()
    elsewhere = Elsewhere(repository=_nowhere)
    with open_embedded(store, machine, platform="linux/amd64", host=this_host(), elsewhere=elsewhere) as engine:
        yield Works(engine=engine, machine=machine, store=store)


def _nowhere(name: Reference, login: Login | None) -> Any:
    raise Unreachable(f"no test asks for {name}")


@pytest.fixture
def works(daemonless: None, tmp_path: Path) -> Iterator[Works]:
    with works_in(tmp_path / "images") as works:
        yield works


# ------------------------------------------------------------------------------------------------------------ the layer


def test_a_script_that_moves_the_source_renames_it(works: Works) -> None:
    works.built("stat -c %i /tmp/src/hello.txt; mv /tmp/src/* /opt/app/; stat -c %i /opt/app/hello.txt; id -u")
    before, after, user = works.lines
    assert (before == after, user) == (True, "1001")


def test_what_assemble_removes_is_gone_from_the_image_and_what_it_leaves_is_there(works: Works) -> None:
    made = works.built("rm /etc/group; cp /tmp/src/hello.txt /opt/app/", user="0:0")
    there = works.shown(made, "/bin/ls", "-d", "/etc/group", "/etc/passwd", "/opt/app/hello.txt", "/tmp/src")
    assert [line for line in there if "No such" not in line] == ["/etc/passwd", "/opt/app/hello.txt"]


def test_the_same_in_another_store_and_at_another_time_is_the_same_image(works: Works, tmp_path: Path) -> None:
    text = "cp /tmp/src/hello.txt .; mkdir -p deep/er; echo x >deep/er/x; ln deep/er/x y; ln -s y z"
    first = works.built(text, epoch=EPOCH, caches=(CACHE,), secrets=(TOKEN,))
    with works_in(tmp_path / "other") as other:
        assert other.built(text, epoch=EPOCH).id == first.id


def test_a_layer_that_leads_astray_stays_in_its_container(works: Works, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("canary")
    makes = f"ln -s / out; ln -s {tmp_path} there; mkdir -p in && ln -s ../../../../../.. in/up; mkfifo fifo"
    last = assembly(works.builder("true"), command=(), programs=(), leftovers=())
    artifacts = (RuntimeArtifact(source=f"/opt/app/out{tmp_path}/outside", target=""),)
    runtime = Runtime(assembly=last, artifacts=artifacts, root="/opt/app")
    with pytest.raises(AssembleFailed, match="assemble left nothing at"):
        works.built(f"{makes}; true", runtime=runtime)
    made = works.built(f"{makes}; true")
    assert works.shown(made, "/bin/cat", "/opt/app/out/etc/group") == ["root:x:0:"]
    assert (tmp_path / "outside").read_text() == "canary"


def test_artifacts_may_be_named_from_the_root(works: Works) -> None:
    last = assembly(works.builder("true"), command=(), programs=(), leftovers=(), user="0:0")
    runtime = Runtime(assembly=last, artifacts=(RuntimeArtifact.parse("/et*/passwd:."),), root="/opt/app")
    made = works.built("true", runtime=runtime)
    assert works.shown(made, "/bin/stat", "-c", "%n %a %u", "/opt/app/passwd") == ["/opt/app/passwd 644 0"]


# --------------------------------------------------------------------------------------------- what assemble alone sees


def test_a_secret_and_a_hidden_variable_are_nowhere_on_the_disk_while_the_command_has_them(works: Works) -> None:
    found: list[bool] = []

    def look(event: Event) -> None:
        if isinstance(event, Line):
            found.append(any(b"canary-" in file.read_bytes() for file in works.store.rglob("*") if file.is_file()))

    script = "cat /run/secrets/token; echo; echo $TOKEN >/dev/null; echo $TOKEN | wc -c; sleep 0.2"
    described = assembly(works.builder(script), secrets=(TOKEN,), build_env=(("TOKEN", Secret("canary-88")),))
    works.engine.assemble(described, look)
    assert found == [False, False]


def test_resolvers_and_hosts_are_the_container_s_also_where_the_image_s_lead_nowhere(works: Works) -> None:
    root = tiny.rootfs(
        {"assemble": tiny.script("grep -c localhost /etc/hosts; test -f /etc/resolv.conf && echo there")}
    )
    links = {"etc/resolv.conf": "../run/systemd/resolve/stub-resolv.conf", "etc/hosts": "/etc/alternatives/hosts"}
    layers = [root, carried.packed({}, links)]
    base = works.engine.held(works.engine.load(iter((carried.saved(layers, settings={"Env": ["PATH=/bin"]}),))))
    assert base is not None
    with works.engine.layered(assembly(base, programs=(), epoch=EPOCH), works.said.append) as left:
        content = b"".join(left.chunks())
    assert (works.lines[1], int(works.lines[0]) > 0) == ("there", True)
    assert not any(place in content for place in (b"resolve", b"alternatives"))


def test_mount_points_are_there_for_the_command_alone(works: Works) -> None:
    made = works.built(
        "ls -d /run/secrets /var/cache/dl", caches=(replace(CACHE, target="/var/cache/dl"),), secrets=(TOKEN,)
    )
    assert works.lines == ["/run/secrets", "/var/cache/dl"]
    assert works.shown(made, "/bin/find", "/", "-xdev", "-name", "run", "-o", "-xdev", "-name", "var") == [
        "/usr/libexec/s2i/run"
    ]


# --------------------------------------------------------------------------------------------------------------- caches


def test_builds_of_one_app_use_its_cache_one_after_the_other(works: Works) -> None:
    base = works.builder("echo begins >>dl/log; sleep 0.3; echo ends >>dl/log")

    def build(number: int) -> None:
        name = Reference.parse(f"contract/side-{number}:1")
        with works_in(works.store) as own:
            own.engine.assemble(assembly(base, caches=(CACHE,), names=(name,)), lambda _: None)

    builds = [threading.Thread(target=build, args=(number,)) for number in range(3)]
    for each in builds:
        each.start()
    for each in builds:
        each.join()
    works.built("cat dl/log", caches=(CACHE,))
    assert works.lines == ["begins", "ends"] * 3


def test_a_cache_is_free_again_when_its_build_was_killed(works: Works, tmp_path: Path) -> None:
    base = works.builder("echo half >dl/half; echo running; sleep 60")
    program = f"""
import sys
from pathlib import Path
from tests.embedded.test_embedded_engine import CACHE, works_in
from tests.fakes.engine_contract import assembly
with works_in(Path({str(works.store)!r})) as works:
    base = works.engine.held({base.id!r})
    works.engine.assemble(assembly(base, caches=(CACHE,)), lambda event: print(getattr(event, "text", ""), flush=True))
"""
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=root) as victim:
        assert victim.stdout is not None
        while "running" not in victim.stdout.readline():
            assert victim.poll() is None
        os.kill(victim.pid, signal.SIGKILL)
    works.built("ls dl", caches=(CACHE,))
    assert works.lines == ["half"]


def test_a_cache_that_a_build_has_closed_is_open_to_the_next(works: Works) -> None:
    for _ in range(2):
        works.built("ls dl; touch dl/file; chmod 0 dl", caches=(CACHE,))
    assert works.lines == ["file"]


def test_a_cache_that_leads_over_the_source_is_refused(works: Works) -> None:
    linked = works.built("ln -s /tmp/src dl")
    with pytest.raises(CommitContainerFailed, match="could not be removed again"):
        works.engine.assemble(assembly(linked, caches=(CACHE,)), works.said.append)


@pytest.mark.parametrize("place", ["/proc/self/fd/7", "/opt/../proc/self/cwd", "/dev/fd/7"])
def test_an_image_cannot_name_what_the_runtime_holds_as_its_working_directory(works: Works, place: str) -> None:
    with pytest.raises(PullBuilderImageFailed, match=f"nothing can run in the working directory {place}"):
        works.engine.assemble(assembly(works.builder("pwd", WorkingDir=place)), works.said.append)


def test_a_cache_is_listed_with_its_size_and_let_go_of(works: Works) -> None:
    works.built("head -c 5000 /dev/zero >dl/file", caches=(CACHE,))
    (kept,) = works.engine.kept()
    assert (kept.kind, kept.app, kept.what, kept.size >= 5000) == ("cache", "shop", "/opt/app/dl", True)
    assert works.engine.forget(kept)
    works.built("ls dl", caches=(CACHE,))
    assert works.lines == []


# ------------------------------------------------------------------------------------------------------- kept, running


def test_a_failed_container_is_kept_as_an_image_that_can_be_looked_into(works: Works) -> None:
    with pytest.raises(AssembleFailed, match="assemble ended with 3"):
        works.built("echo work >/opt/app/work; exit 3", keep=True, secrets=(TOKEN,))
    (name,) = (name for name in works.engine.names() if name.startswith("s2ictl/kept:"))
    (notice,) = (event.text for event in works.said if isinstance(event, Notice) and name in event.text)
    place = Path(notice.partition(" lies in ")[2].partition(";")[0])
    assert (place / "opt/app/work").read_text() == "work\n"
    kept = works.engine.held(name)
    assert kept is not None
    assert works.shown(kept, "/bin/cat", "/tmp/src/hello.txt", "/opt/app/work") == ["hellowork"]


def test_a_result_runs_answers_on_loopback_and_ends_with_the_context(works: Works) -> None:
    served = works.builder("true", Cmd=["/bin/httpd", "-f", "-v", "-p", "8080", "-h", "/etc"])
    with works.engine.run(served.id, ports=(8080,), env={}, owner="run") as running:
        address = f"http://127.0.0.1:{running.ports[8080]}/group"
        assert _answer(address) == b"root:x:0:\n"
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(address, timeout=5)


def _answer(address: str) -> bytes:
    """A program that has just been started does not listen yet."""
    for _ in range(100):
        try:
            with urllib.request.urlopen(address, timeout=5) as response:
                content: bytes = response.read()
                return content
        except OSError:
            threading.Event().wait(0.05)
    raise AssertionError(f"nobody answers at {address}")


def test_names_and_images_outlive_the_engine(works: Works, tmp_path: Path) -> None:
    made = works.built("true")
    with works_in(works.store) as again:
        assert (again.engine.held(str(NAME)), again.engine.names()) == (made, (str(NAME),))


def test_what_was_saved_is_the_same_image_elsewhere(works: Works, tmp_path: Path) -> None:
    made = works.built("echo kept >/opt/app/kept; rm /etc/group 2>/dev/null; true")
    with works_in(tmp_path / "other") as other:
        with works.engine.save(made.id) as saved:
            assert other.engine.load(saved) == made.id
        assert other.shown(made, "/bin/cat", "/opt/app/kept") == ["kept"]


def test_an_upload_is_the_command_s_user_s(works: Works) -> None:
    def upload(uid: int, gid: int) -> Iterator[bytes]:
        return iter((archive({"tmp/src/a": b"x"}, uid=uid, gid=gid),))

    works.built("stat -c '%u:%g %a %n' /tmp/src /tmp/src/a; echo y >>/tmp/src/a", upload=upload)
    assert works.lines == ["1001:0 755 /tmp/src", "1001:0 644 /tmp/src/a"]
