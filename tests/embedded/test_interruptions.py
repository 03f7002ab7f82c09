"""An interrupted build leaves nothing on a machine without an engine, whenever and however it is interrupted.

Whoever builds may be killed, and so may the helper process that holds the mounts for him: what he then has no time to
take away, the other takes away, or the kernel, or the next build.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

from s2ictl import oci
from s2ictl.models import Reference
from s2ictl.registry import Repository
from s2ictl.transport import Transport
from tests import testbed
from tests.engine import gitservers, tiny
from tests.fakes.images import picture_of, small_image
from tests.interruptions import ENDED, FILES, MARK, SCRIPTS, Site, command_of, planned, prepare, processes
from tests.parts import available
from tests.testbed.processes import eventually

WAYS = {**ENDED, "warden": {0, 8, 10}}
# Of whoever was killed himself the warden takes away the container; half a file is the next build's to take away, and
# so is all that a warden leaves that was killed.
LEAVES_IT_TO_THE_WARDEN = ("KILL", "INT INT", "TERM INT")
LEAVES_IT_TO_THE_NEXT = (*LEAVES_IT_TO_THE_WARDEN, "warden")


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """Everything that a build could leave behind on this machine."""

    files: tuple[str, ...]
    chambers: tuple[str, ...]
    processes: tuple[str, ...]
    groups: tuple[str, ...]


NOTHING = Census(files=(), chambers=(), processes=(), groups=())


def census(site: Site) -> Census:
    """A mount, in whatever namespace, is one that a process sees: without the one there is not the other."""
    store = site.root / "state" / "images"
    return Census(
        files=tuple(sorted(map(str, (*site.left_over(), *store.glob("layers/*.partial"), *store.glob("oci/**/.*"))))),
        chambers=tuple(sorted(chamber.name for chamber in store.glob("chambers/*"))),
        processes=tuple(command_of(process) for process in processes() if _is_of(site, process)),
        groups=tuple(sorted(str(group) for group in _groups() if any(f"-{pid}-" in group.name for pid in site.pids))),
    )


def _groups() -> Iterator[Path]:
    for root in (Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").iterdir()):
        yield from (root / "s2ictl").glob("*")


def _is_of(site: Site, process: Path) -> bool:
    """Whether it was started by a build of the site, sees a mount of one, or has one of its files."""
    if int(process.name) == os.getpid():
        return False
    place = str(site.root)
    with suppress(OSError):
        if place in (process / "mountinfo").read_text() or place.encode() in (process / "environ").read_bytes():
            return True
        links = (process / "cwd", process / "root", *(process / "fd").iterdir())
        return any(place in _leads_to(link) for link in links)
    return False


def _leads_to(link: Path) -> str:
    with suppress(OSError):
        return str(link.readlink())
    return ""


def kill_the_warden(build: subprocess.Popen[bytes]) -> None:
    """Kill the helper process of a build, if it has one by now."""
    for process in processes():
        with suppress(OSError):
            parent = next(line for line in (process / "status").read_text().splitlines() if line.startswith("PPid:"))
            if int(parent.split()[1]) == build.pid and "warden" in command_of(process):
                os.kill(int(process.name), signal.SIGKILL)


# ----------------------------------------------------------------------------------------------------- places to build


@contextmanager
def building(root: Path, git: Path, registry: str, become: Callable[..., list[str]]) -> Iterator[Site]:
    """A site of whoever this is, with the images that its builds stand on in the registry."""
    builder, runtime = (f"{registry}/interrupted/{name}:1" for name in ("builder", "runtime"))
    scripts = {name: tiny.script(text) for name, text in SCRIPTS.items()}
    publish(builder, tiny.rootfs(scripts), {"io.openshift.s2i.scripts-url": f"image://{tiny.SCRIPTS}"})
    publish(runtime, tiny.rootfs({}), {})
    kinds = {
        "pushed": ("--push",),
        "kept": ("--cache", "/opt/app/downloads"),
        "incremental": ("--incremental", "--rm"),
        "handed": ("--secret", "id=token,src=token.txt", "--inject", "keys:/etc/keys"),
        "runtime": ("--runtime-image", runtime, "--runtime-artifact", "/opt/app/big.txt:."),
    }
    marked = ("--build-env", f"{MARK}={root}")  # a container's processes show no path of ours
    shop = gitservers.repository(git / "shop", FILES)
    with gitservers.web(git) as server:
        yield Site(
            root=root,
            source=f"{server.url}/{shop.name}",
            builder=builder,
            registry=registry,
            environ={"S2ICTL_ENGINE": "embedded", "DOCKER_HOST": "unix:///nonexistent"},
            kinds={kind: (*words, *marked) for kind, words in kinds.items()},
            become=become,
        )


def publish(name: str, layer: bytes, labels: Mapping[str, str]) -> None:
    settings = {
        "User": "user",
        "Env": ["PATH=/bin"],
        "Cmd": ["true"],
        "WorkingDir": "/opt/app",
        "Labels": labels,
    }
    picture = picture_of(small_image(layer=layer, settings=settings))
    with Transport({}, emit=lambda _: None) as transport:
        repository = Repository(Reference.parse(name), transport=transport, logins=lambda _: None)
        oci.deliver(picture, repository, ("1",), emit=lambda _: None)


@pytest.fixture(scope="module")
def as_root(registry_facts: testbed.Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    root = tmp_path_factory.mktemp("interrupted")
    prepare(root)
    git = tmp_path_factory.mktemp("git")
    with building(root, git, registry_facts.open, lambda *words: list(words)) as site:
        yield site


@pytest.fixture(scope="module")
def as_somebody(
    registry_facts: testbed.Registry, user_facts: testbed.User, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """In the home of an ordinary user, who may nothing else; what he leaves there is taken away with his rights."""
    root = user_facts.home / tmp_path_factory.mktemp("interrupted").name
    become = partial(testbed.as_user, user_facts)
    subprocess.run(become("mkdir", root), check=True)
    prepare(root)
    subprocess.run(["chown", "-R", user_facts.name, root], check=True)
    with building(root, tmp_path_factory.mktemp("git"), registry_facts.open, become) as site:
        yield site
    subprocess.run(["rm", "-rf", root], check=True)


@pytest.fixture(params=["as_root", "as_somebody"])
def site(request: pytest.FixtureRequest) -> Site:
    with available():
        testbed.need_daemonless()
    found: Site = request.getfixturevalue(request.param)
    return found


# ------------------------------------------------------------------------------------------------------------ the tests


def test_what_is_counted_is_there_while_a_build_runs(site: Site) -> None:
    with site.start("control", "pushed", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as build:
        assert build.stderr is not None
        for line in build.stderr:
            if b"part 1" in line:
                break
        running = census(site)
        build.send_signal(signal.SIGTERM)
        build.stderr.read()
    assert {"assemble", "s2ictl"} <= {word for command in running.processes for word in re.findall(r"\w+", command)}
    assert len(running.chambers) == 1, running
    assert bool(running.groups) == (site.root.stat().st_uid == 0), running
    assert census(site) == NOTHING


def test_an_interrupted_build_leaves_nothing(site: Site, soak: bool) -> None:
    for each in planned(site, tuple(WAYS), count=200 if soak else 24):
        assert census(site) == NOTHING
        status, said = site.interrupt(each, kill_the_warden if each.way == "warden" else each.strike)
        run = f"{each} ended with {status}\n{said}"
        assert status in WAYS[each.way], run
        assert "Traceback" not in said or status < 0, run
        if each.way in LEAVES_IT_TO_THE_WARDEN:
            assert eventually(lambda: replace(census(site), files=()) == NOTHING, patience=10), f"{run}\n{census(site)}"
        if each.way in LEAVES_IT_TO_THE_NEXT:
            site.build(f"next{each.number}", each.kind)
        assert census(site) == NOTHING, run
