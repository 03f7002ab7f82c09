"""Engines on real containers: their contract, what they leave behind, and what may not be in an image."""

from __future__ import annotations

import contextlib
import time
import urllib.request
from dataclasses import replace
from typing import Any

import pytest
from docker import errors

from s2ictl.engines.docker import open_docker
from s2ictl.errors import AssembleFailed, PullBuilderImageFailed, PushUnauthorized, Unreachable, WrongPlatform
from s2ictl.events import Event, Line, Notice, Progress
from s2ictl.leases import name_for, this_host
from s2ictl.models import Login, Reference, Secret
from tests import testbed
from tests.engine import tiny
from tests.engine.grounds import on_docker
from tests.engine.world import Real, believed, built, last_layer, saved
from tests.fakes.engine import Script
from tests.fakes.engine_contract import *  # noqa: F403  (the tests themselves)
from tests.fakes.engine_contract import NAME, SCRIPTS, ask, assembly

# ------------------------------------------------------------------------------------ what may not be in the image


def test_neither_the_source_nor_anything_of_ours_stays_in_the_layer(world: Real) -> None:
    built(world, "cp /tmp/src/hello.txt /opt/app/", build_env=(("A", Secret("b")),), ca_bundle=b"PEM")
    assert last_layer(world, str(NAME)) - {"tmp"} == {"opt", "opt/app", "opt/app/hello.txt"}


def test_assemble_may_move_the_source_itself(world: Real) -> None:
    built(world, "mv /tmp/src /opt/app/moved && mkdir /tmp/src")
    assert last_layer(world, str(NAME)) >= {"opt/app/moved/hello.txt"}


def test_a_build_only_variable_reaches_assemble_and_is_nowhere_in_the_saved_image(world: Real) -> None:
    value = 'can\'ary $(id) "77"'
    said = built(world, 'echo "$TOKEN"; ls -A /tmp/.s2ictl 2>/dev/null; true', build_env=(("TOKEN", Secret(value)),))
    assert said == [value]
    assert b"can'ary" not in saved(world, str(NAME))


def test_a_private_ca_reaches_assemble_and_is_nowhere_in_the_saved_image(world: Real) -> None:
    said = built(world, 'cat "$SSL_CERT_FILE" "$PIP_CERT"', ca_bundle=b"canary-ca\n")
    assert said == ["canary-ca", "canary-ca"]
    assert b"canary-ca" not in saved(world, str(NAME))
    assert b"REQUESTS_CA_BUNDLE" not in saved(world, str(NAME))


def test_a_failed_assemble_leaves_no_image(world: Real) -> None:
    with pytest.raises(AssembleFailed):
        world.engine.assemble(assembly(world.builder(Script(text="exit 1"))), lambda _: None)
    assert ask(world, NAME) is None


# ------------------------------------------------------------------------------------------------- odd builders


@on_docker
def test_a_builder_without_a_shell_works_and_is_told_apart(world: Real) -> None:
    said: list[Event] = []
    bare = dict.fromkeys(("assemble", "run"), b"#!/bin/busybox sh\n/bin/busybox cat /tmp/src/hello.txt\n")
    base = world.image(tiny.rootfs(bare, shell=False))
    world.engine.assemble(assembly(base, build_env=(("TOKEN", Secret("canary")),)), said.append)
    assert [event for event in said if not isinstance(event, Progress)] == [
        Notice(
            text="contract/builder:1 has no /bin/sh with rm: /tmp/src stays in the image, and TOKEN did not reach it",
            level="warning",
        ),
        Line(text="hello"),
    ]
    assert b"canary" not in saved(world, str(NAME))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"#!/bin/sh\r\ntrue\r\n", "has Windows line ends"),
        (b"#!/usr/bin/perl6\n", "wants /usr/bin/perl6, which is not there"),
    ],
)
def test_a_script_that_cannot_start_is_a_broken_builder(world: Real, content: bytes, why: str) -> None:
    base = world.image(tiny.rootfs({"assemble": content, "run": content}))
    with pytest.raises(PullBuilderImageFailed, match=why):
        world.engine.assemble(assembly(base), lambda _: None)


def test_a_script_that_is_not_executable_is_a_broken_builder(world: Real) -> None:
    base = world.builder(Script(text="true"))
    with pytest.raises(PullBuilderImageFailed, match="/etc/passwd in contract/builder:1 is not executable"):
        world.engine.assemble(assembly(base, programs=("/etc/passwd",)), lambda _: None)


def test_a_builder_for_another_platform_is_named_as_one(world: Real) -> None:
    world.api.load_image(tiny.foreign("contract/foreign:1", architecture="s390x"))
    world.stack.callback(world.api.remove_image, "contract/foreign:1", force=True)
    world.ground.take("contract/foreign:1")
    with pytest.raises(
        WrongPlatform, match=r"contract/foreign:1 is for linux/s390x, (the engine|this machine) runs linux/"
    ):
        ask(world, Reference.parse("contract/foreign:1"))
    held = world.engine.held("contract/foreign:1")
    assert held is not None
    assert held.platform == "linux/s390x"


# ------------------------------------------------------------------------------------------------ what assemble does


def test_assemble_can_gain_no_privilege(world: Real) -> None:
    said = built(world, "grep -E '^(NoNewPrivs|CapEff):' /proc/self/status")
    assert sorted(" ".join(line.split()) for line in said) == ["CapEff: 0000000000000000", "NoNewPrivs: 1"]


def test_output_without_an_end_of_line_costs_no_memory(world: Real) -> None:
    said = built(world, "head -c 3000000 /dev/zero")
    assert max(map(len, said)) <= 64 * 1024
    assert sum(map(len, said)) == 3_000_000


def test_a_child_that_outlives_assemble_holds_nothing_up(world: Real) -> None:
    assert built(world, "(sleep 60 &); echo done")[-1:] == ["done"]


def test_closing_its_output_is_not_the_end_of_assemble(world: Real) -> None:
    built(world, "exec >/dev/null 2>&1; sleep 1; touch /opt/app/late")
    assert "opt/app/late" in last_layer(world, str(NAME))


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("no-such-program", "assemble ended with 127: it, or a program in it, was not found"),
        ("/etc/group", "assemble ended with 126: it, or a program in it, is not executable"),
        ("kill -9 $$", "assemble ended with 137: it was killed from outside"),
        ("kill -11 $$", "assemble ended with 139: a segmentation fault"),
    ],
)
def test_a_status_is_told_with_its_meaning(world: Real, script: str, message: str) -> None:
    tarless = script if script != "/etc/group" else "cp /etc/group /tmp/g; chmod 644 /tmp/g; /tmp/g"
    with pytest.raises(AssembleFailed) as failure:
        built(world, tarless)
    assert failure.value.message == message


# ------------------------------------------------------------------------------------------------------- clearing up


def test_an_interruption_at_the_first_line_leaves_no_container(world: Real) -> None:
    def interrupt(event: Event) -> None:
        if isinstance(event, Line):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        world.engine.assemble(assembly(world.builder(Script(text="echo x; sleep 60"))), interrupt)


@on_docker
def test_what_the_dead_left_is_swept_and_nothing_else(world: Real, engine_facts: testbed.Engine) -> None:
    base = world.builder(Script(text="true"))
    host = this_host()
    names = {
        "dead": name_for("build", replace(host, pid=2**22 + 1), seconds=60),
        "alive": name_for("build", host, seconds=60),
        "foreign": "s2ictl-somebody-elses",
    }
    for name in names.values():
        world.api.create_container_from_config({"Image": base.id, "Cmd": ["/bin/true"]}, name=name)
        world.stack.callback(_remove, world.api, name)
    with open_docker({"DOCKER_HOST": engine_facts.docker_host}, host=host, emit=lambda _: None):
        left = {name.lstrip("/") for each in world.api.containers(all=True) for name in each["Names"]}
    assert {kind for kind, name in names.items() if name in left} == {"alive", "foreign"}


@on_docker
def test_an_image_that_the_dead_did_not_finish_is_swept_and_one_of_the_living_is_not(
    world: Real, engine_facts: testbed.Engine
) -> None:
    base, host = world.builder(Script(text="true")), this_host()
    dead, alive = (name_for("build", replace(host, pid=pid), seconds=60) for pid in (2**22 + 1, host.pid))
    for tag in (dead, alive):
        world.api.tag(base.id, "s2ictl/unfinished", tag=tag)
    world.stack.callback(world.api.remove_image, f"s2ictl/unfinished:{alive}", force=True)
    with open_docker({"DOCKER_HOST": engine_facts.docker_host}, host=host, emit=lambda _: None):
        pass
    left = {name for image in world.api.images(name="s2ictl/unfinished") for name in image["RepoTags"]}
    assert (f"s2ictl/unfinished:{dead}" in left, f"s2ictl/unfinished:{alive}" in left) == (False, True)


def _remove(api: Any, name: str) -> None:
    with contextlib.suppress(errors.NotFound):
        api.remove_container(name, force=True)


# -------------------------------------------------------------------------------------------------------- registries


def test_a_pushed_image_has_the_digest_of_the_registry_and_can_be_pulled(
    world: Real, registry_facts: testbed.Registry
) -> None:
    name = Reference.parse(f"{registry_facts.open}/engine/pushed:1")
    built(world, "true", names=(name,))
    digest = world.engine.push(name, login=None, confirm=believed, emit=lambda _: None)
    world.ground.forget(str(name))
    facts = world.engine.facts(str(name), pull="if-not-present", login=None, emit=lambda _: None)
    assert facts is not None
    assert facts.digest == digest


def test_a_closed_registry_wants_the_login_and_takes_it(world: Real, registry_facts: testbed.Registry) -> None:
    name = Reference.parse(f"{registry_facts.closed}/engine/closed:1")
    built(world, "true", names=(name,))
    with pytest.raises(PushUnauthorized):
        world.engine.push(name, login=None, confirm=believed, emit=lambda _: None)
    login = Login(
        host=registry_facts.closed,
        username=registry_facts.username,
        password=Secret(registry_facts.password),
        origin="the test",
    )
    assert world.engine.push(name, login=login, confirm=believed, emit=lambda _: None).startswith("sha256:")


def test_a_registry_that_is_not_there_is_unreachable(world: Real) -> None:
    name = Reference.parse("127.0.0.1:1/engine/lost:1")
    built(world, "true", names=(name,))
    with pytest.raises(Unreachable):
        world.engine.push(name, login=None, confirm=believed, emit=lambda _: None)
    with pytest.raises(Unreachable):
        world.engine.facts("127.0.0.1:1/engine/other:1", pull="always", login=None, emit=lambda _: None)


def test_an_image_that_a_registry_does_not_have_is_none(world: Real, registry_facts: testbed.Registry) -> None:
    missing = f"{registry_facts.open}/engine/never-pushed:1"
    assert world.engine.facts(missing, pull="always", login=None, emit=lambda _: None) is None


# ----------------------------------------------------------------------------------------------------------- running


def test_a_running_image_answers_on_loopback_and_is_gone_afterwards(world: Real) -> None:
    run = tiny.script('echo "$GREETING" >/opt/app/index.html; exec httpd -f -p 8080 -h /opt/app')
    base = world.image(tiny.rootfs({"run": run}), entrypoint=(f"{SCRIPTS}/run",))
    with world.engine.run(base.id, ports=(8080,), env={"GREETING": "hello"}, owner="test") as running:
        assert _get(f"http://127.0.0.1:{running.ports[8080]}/") == "hello\n"


def test_what_a_running_image_says_can_be_heard_at_any_time_and_until_its_end(world: Real) -> None:
    run = tiny.script("echo one; echo two >&2; sleep 0.5; echo three")
    base = world.image(tiny.rootfs({"run": run}), entrypoint=(f"{SCRIPTS}/run",))
    said: list[Event] = []
    with world.engine.run(base.id, ports=(), env={}, owner="test") as running:
        running.follow(said.append)
        again: list[Event] = []
        running.follow(again.append, wait=False)
    assert said == again
    assert {event.text for event in said if isinstance(event, Line)} == {"one", "two", "three"}


def _get(url: str) -> str:
    for _ in range(50):
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2) as answer:
            return str(answer.read().decode())
        time.sleep(0.1)
    raise AssertionError(f"{url} never answered")


def test_one_command_in_an_image_says_what_it_prints(world: Real) -> None:
    said: list[Event] = []
    world.engine.output(world.builder(Script(text="true")).id, command=("/bin/echo", "a b"), emit=said.append)
    assert said == [Line(text="a b")]
