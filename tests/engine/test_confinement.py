"""What a container is given and may use up, on a real engine; and the ends that a command can come to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from s2ictl import oci
from s2ictl.engines import endpoints
from s2ictl.engines.client import CONNECT, Answer, Api
from s2ictl.engines.connection import connected
from s2ictl.engines.docker import Docker
from s2ictl.engines.images import STALL
from s2ictl.errors import (
    AssembleFailed,
    InvalidUsage,
    PullBuilderImageFailed,
    PullUnauthorized,
    Refused,
    S2IError,
    Unreachable,
)
from s2ictl.events import Event, Line
from s2ictl.leases import this_host
from s2ictl.models import Confinement, Volume
from s2ictl.wire import Request
from tests import testbed
from tests.engine import tiny
from tests.engine.grounds import on_docker
from tests.engine.world import Real, built
from tests.fakes.engine import Script
from tests.fakes.engine_contract import NAME, ask, assembly
from tests.fakes.images import small_image
from tests.fakes.registry import FakeRegistry, Fault, running

# -------------------------------------------------------------------------------------------------------- confinement


def test_the_command_has_the_volumes_hosts_network_and_limits_that_were_given(world: Real, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("from outside")
    tmp_path.chmod(0o755)
    given = Confinement(
        volumes=(Volume(source=str(tmp_path), target="/cache", read_only=True),),
        network="none",
        hosts=("git.example.com:10.0.0.7",),
        cap_drop=("chown", "CAP_KILL"),
        memory=64 << 20,
        cpus=0.5,
    )
    script = """cat /cache/cache; echo; touch /cache/x 2>/dev/null || echo read-only; grep git /etc/hosts
    ls /sys/class/net; cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/cpu/cpu.cfs_quota_us"""
    said = built(world, script, confinement=given)
    assert [" ".join(line.split()) for line in said] == [
        "from outside",
        "read-only",
        "10.0.0.7 git.example.com",
        "lo",
        str(64 << 20),
        "50000",
    ]


@pytest.mark.parametrize(
    ("given", "error", "why"),
    [
        (Confinement(network="contract-nowhere"), InvalidUsage, "no network contract-nowhere"),
        (Confinement(cpus=4096), Refused, "cannot set the limits"),
        (Confinement(memory=4096), Refused, "cannot set the limits"),
        (Confinement(volumes=(Volume(source="/nowhere/at/all", target="/x"),)), InvalidUsage, "cannot have what"),
    ],
)
def test_what_the_engine_cannot_give_is_said_before_anything_runs(
    world: Real, given: Confinement, error: type[S2IError], why: str
) -> None:
    with pytest.raises(error, match=why):
        built(world, "true", confinement=given)


# ----------------------------------------------------------------------------------------------------- ends of its own


def test_a_command_that_runs_out_of_memory_is_told_the_limit_and_the_flag(world: Real) -> None:
    with pytest.raises(AssembleFailed) as failure:
        built(world, "head -c 200000000 /dev/zero | tail >/dev/null", confinement=Confinement(memory=24 << 20))
    assert failure.value.message == "assemble ran out of memory: the limit was 24 MiB"
    assert failure.value.hint == "allow more with --memory"


@on_docker
def test_a_command_that_somebody_kills_is_not_the_engine_s_death(world: Real) -> None:
    def kill(event: Event) -> None:
        if isinstance(event, Line):
            (container,) = world.api.containers(filters={"name": "s2ictl-contract-"})
            world.api.kill(container["Id"])

    base = world.builder(Script(text="echo running; sleep 60"))
    with pytest.raises(AssembleFailed, match="assemble ended with 137: it was killed from outside"):
        world.engine.assemble(assembly(base), kill)


def test_a_builder_that_is_gone_again_is_a_missing_builder(world: Real) -> None:
    gone = replace(world.builder(Script(text="true")), id=f"sha256:{'0' * 64}")
    with pytest.raises(PullBuilderImageFailed, match=r"could not create a container|there is no image"):
        world.engine.assemble(assembly(gone), lambda _: None)


def test_an_image_that_is_named_by_nobody_is_forgotten_and_a_named_one_is_not(world: Real) -> None:
    first = world.engine.assemble(assembly(world.builder(Script(text="true"))), lambda _: None).id
    world.engine.remove(first)
    assert ask(world, NAME) is not None
    second = world.engine.assemble(assembly(world.builder(Script(text="echo x >/opt/app/x"))), lambda _: None).id
    world.engine.remove(first)
    assert world.engine.held(first) is None
    assert world.engine.held(second) is not None


# -------------------------------------------------------------------------------------------------------------- pulls


@pytest.fixture
def shelf(world: Real) -> Iterator[FakeRegistry]:
    """A registry that has an image which the engine has not, and goes wrong as it is told."""
    image = small_image(layer=tiny.rootfs({"run": b""}))
    with running(FakeRegistry()) as registry:
        registry.put("engine/pulled", image.layer)
        registry.put("engine/pulled", image.config)
        registry.tag("engine/pulled", "1", oci.MANIFEST, image.manifest)
        yield registry


class Hasty(Api):
    """Whose patience with a registry lasts no longer than a moment."""

    @contextmanager
    def exchange(self, request: Request, *, silence: float | None) -> Iterator[Answer]:
        with super().exchange(request, silence=0.2 if silence == STALL else silence) as answer:
            yield answer


@pytest.fixture
def waits() -> list[float]:
    """How long the clients below would have slept."""
    return []


@pytest.fixture
def engine(engine_facts: testbed.Engine, waits: list[float]) -> Iterator[Docker]:
    with connected({"DOCKER_HOST": engine_facts.docker_host}) as api:
        yield Docker(api, host=this_host(), sleep=waits.append)


@pytest.fixture
def hasty(engine_facts: testbed.Engine, waits: list[float]) -> Iterator[Docker]:
    located = endpoints.located({"DOCKER_HOST": engine_facts.docker_host})
    with closing(Hasty(partial(endpoints.dial, located, seconds=CONNECT))) as api:
        api.greet()
        yield Docker(api, host=this_host(), sleep=waits.append)


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 429, "times": 3},
        {"status": 500, "times": 3},
        {"status": 503, "times": 3},
        {"action": "reset", "times": 2},
    ],
    ids=str,
)
def test_a_pull_is_tried_again_while_what_it_meets_is_likely_to_pass(
    engine: Docker, waits: list[float], shelf: FakeRegistry, fault: dict[str, Any]
) -> None:
    for method in ("GET", "HEAD"):
        shelf.faults.append(Fault(method=method, path="/v2/engine/pulled/manifests/.*", **fault))
    facts = engine.facts(f"{shelf.host}/engine/pulled:1", pull="always", login=None, emit=lambda _: None)
    assert facts is not None
    assert 1 <= len(waits) <= 4


def test_a_registry_that_falls_silent_is_asked_again_and_then_given_up(
    hasty: Docker, waits: list[float], shelf: FakeRegistry
) -> None:
    shelf.faults.append(Fault(method="HEAD", path="/v2/engine/pulled/manifests/.*", action="stall", times=99))
    with pytest.raises(Unreachable, match="could not pull"):
        hasty.facts(f"{shelf.host}/engine/pulled:1", pull="always", login=None, emit=lambda _: None)
    assert len(waits) == 4


def test_a_layer_that_is_cut_short_is_fetched_anew(world: Real, shelf: FakeRegistry) -> None:
    shelf.faults.append(Fault(method="GET", path="/v2/engine/pulled/blobs/.*", action="truncate"))
    facts = world.engine.facts(f"{shelf.host}/engine/pulled:1", pull="always", login=None, emit=lambda _: None)
    assert facts is not None


@pytest.mark.parametrize(("status", "outcome"), [(401, PullUnauthorized), (403, PullUnauthorized), (500, S2IError)])
def test_a_pull_that_will_never_succeed_is_given_up(
    engine: Docker, waits: list[float], shelf: FakeRegistry, status: int, outcome: type[S2IError]
) -> None:
    for method in ("GET", "HEAD"):
        shelf.faults.append(Fault(method=method, path="/v2/engine/pulled/manifests/.*", status=status, times=99))
    with pytest.raises(outcome):
        engine.facts(f"{shelf.host}/engine/pulled:1", pull="always", login=None, emit=lambda _: None)
    assert len(waits) == (4 if status == 500 else 0)
