"""Images pushed by a real engine through a proxy that does harm, and by `s2ictl push` from wherever they lie.

The engine sends a layer again by itself, five seconds later, so the short form harms what it gives up at once, and of
the layer's requests one. What a registry has in the end is seen past the proxy.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from s2ictl.engines.client import Api
from s2ictl.engines.connection import connected
from s2ictl.engines.pushing import push
from s2ictl.errors import ConnectionLost, S2IError
from s2ictl.models import Reference
from s2ictl.registry import Repository
from s2ictl.transport import Patience, Transport
from tests import testbed
from tests.cli import Shell, shell
from tests.engine import tiny
from tests.engine.proxy import Harm, Proxy, Step, running
from tests.testbed.certificates import authority

IMPATIENT = Patience(connect=2.0, stall=0.3, answer=5.0, pauses=(0.0, 0.0, 0.0, 0.0))
HARMS: dict[str, dict[str, Any]] = {
    "500": {"kind": "status"},
    "503, four times": {"kind": "status", "status": 503, "times": 4},
    "429 without a word": {"kind": "status", "status": 429},
    "429 as a page": {"kind": "status", "status": 429, "body": b"<html>slow down</html>"},
    "a reset": {"kind": "reset"},
    "a lost answer": {"kind": "lose"},
    "half an answer": {"kind": "truncate"},
    "no HTTP": {"kind": "babble"},
}
LAYER = Step("PATCH", "blobs/uploads/UPLOAD")


@dataclass(frozen=True, slots=True, kw_only=True)
class Road:
    """An engine, a registry, and the proxy between them."""

    api: Api
    sdk: Any
    proxy: Proxy
    transport: Transport
    waited: list[float] = field(default_factory=list)

    def push(self, *, silence: float = 60.0) -> tuple[Reference, str]:
        """Push an image that nobody has seen yet; answers its name past the proxy as well."""
        name = Reference.parse(f"{self.proxy.address}/pushing/{os.urandom(6).hex()}:1")
        there = Reference(registry=self.proxy.upstream, repository=name.repository, tag=name.tag)
        programs = {"run": tiny.script(f"exit 0 # {name}")}
        with tiny.imported(self.sdk, str(name), tiny.rootfs(programs), "ENV PATH=/bin"):
            try:
                sent = push(
                    self.api,
                    name,
                    login=None,
                    confirm=self.confirm,
                    emit=lambda _: None,
                    sleep=self.waited.append,
                    silence=silence,
                )
            except S2IError:
                assert self.digest(there) == ""
                raise
        return there, sent

    def confirm(self, name: Reference, image: str) -> str:
        return Repository(name, transport=self.transport, logins=lambda _: None).leads_to(image)

    def digest(self, name: Reference) -> str:
        return Repository(name, transport=self.transport, logins=lambda _: None).resolve()


@pytest.fixture(scope="module")
def road(engine_facts: testbed.Engine, registry_facts: testbed.Registry, api: Any) -> Iterator[Road]:
    with ExitStack() as stack:
        proxy = stack.enter_context(running(Proxy(upstream=registry_facts.open)))
        patient = Transport({}, emit=lambda _: None, patience=IMPATIENT, sleep=lambda _: None)
        engine = stack.enter_context(connected({"DOCKER_HOST": engine_facts.docker_host}))
        yield Road(api=engine, sdk=api, proxy=proxy, transport=stack.enter_context(patient))


@pytest.fixture(scope="module")
def steps(road: Road) -> tuple[Step, ...]:
    """What the engine asks a registry for in a good run: a layer, a configuration, a manifest."""
    road.proxy.begin()
    there, digest = road.push()
    assert road.digest(there) == digest
    again = {step for step in road.proxy.seen if step.method in ("POST", "PATCH", "PUT")}
    assert {LAYER, Step("PATCH", LAYER.path, 2), Step("PUT", "manifests/1")} <= again
    return Step("GET", "/v2/"), *sorted(again)


@pytest.mark.parametrize("harm", HARMS)
def test_harm_that_passes_is_survived_at_every_step(harm: str, road: Road, steps: tuple[Step, ...], soak: bool) -> None:
    given_up_at_once = [step for step in steps if step.count > 1 or "uploads" not in step.path]
    for step in steps if soak else given_up_at_once:
        road.proxy.begin(Harm(step=step, **HARMS[harm]))
        there, digest = road.push()
        assert road.digest(there) == digest, f"{harm} at {step}"
        assert road.proxy.hurt >= 1, f"{harm} at {step}"


def test_a_layer_whose_upload_is_reset_is_sent_again(road: Road) -> None:
    road.proxy.begin(Harm(step=LAYER, kind="reset"))
    there, digest = road.push()
    assert (road.digest(there), road.proxy.hurt) == (digest, 1)


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (500, "PushImageToRegistryFailed", 8),
        (429, "PushImageToRegistryFailed", 8),
        (405, "PushImageToRegistryFailed", 8),
        (413, "PushImageToRegistryFailed", 8),
        (403, "PushUnauthorized", 4),
    ],
)
def test_harm_that_stays_is_a_failure_with_its_reason_and_no_tag(
    status: int, kind: str, code: int, road: Road, steps: tuple[Step, ...]
) -> None:
    road.proxy.begin(Harm(step=steps[steps.index(Step("PUT", "manifests/1"))], kind="status", status=status, times=99))
    with pytest.raises(S2IError) as failure:
        road.push()
    assert (type(failure.value).__name__, failure.value.exit_code) == (kind, code)
    assert str(status) in failure.value.detail
    assert road.proxy.hurt == (5 if status in (500, 429) else 1)


def test_a_registry_that_falls_silent_is_not_waited_for_without_an_end(road: Road) -> None:
    road.proxy.begin(Harm(step=LAYER, kind="stall"))
    with pytest.raises(ConnectionLost):
        road.push(silence=0.4)


# ------------------------------------------------------------------------------------------------------- as it is typed


@pytest.fixture
def here(tmp_path: Path, engine_facts: testbed.Engine) -> Shell:
    return shell(tmp_path, DOCKER_HOST=engine_facts.docker_host)


@contextmanager
def image(api: Any, name: str) -> Iterator[str]:
    """An image of the engine, whatever else it is called in the end."""
    with tiny.imported(
        api, name, tiny.rootfs({"run": tiny.script(f"exit 0 # {os.urandom(6).hex()}")}), "ENV PATH=/bin"
    ):
        yield api.inspect_image(name)["Id"]
        tiny.remove_named(api, "/push-words/")


def test_all_names_of_one_image_have_one_digest_and_skopeo_reads_it(
    here: Shell, api: Any, registry_facts: testbed.Registry
) -> None:
    names = [f"{registry_facts.open}/push-words/{name}" for name in ("app:1", "app:latest", "also:1")]
    with image(api, "push-words/app:1") as identity:
        ran = here.run("push", "push-words/app:1", *(word for name in names for word in ("-t", name)), "-o", "json")
    said = json.loads(ran.stdout)
    assert (said["tags"], said["id"], said["image"]) == (names, identity, f"{names[0]}@{said['digest']}")
    assert {digest_by_skopeo(name) for name in names} == {said["digest"]}


def test_what_is_attached_is_found_by_the_digest_of_the_image(
    here: Shell, api: Any, registry_facts: testbed.Registry, road: Road
) -> None:
    name = Reference.parse(f"{registry_facts.open}/push-words/said:1")
    (here.cwd / "sbom.json").write_text('{"spdxVersion": "SPDX-2.3"}')
    with image(api, str(name)):
        ran = here.run("push", str(name), "--attach", "application/spdx+json=sbom.json")
    assert ran.status == 0, ran.stderr
    digest = ran.stdout.strip().partition("@")[2]
    there = Repository(name, transport=road.transport, logins=lambda _: None)
    (found,) = there.referrers(digest, kind="application/spdx+json")
    assert found.artifact_type == "application/spdx+json"


def test_a_layout_and_a_file_need_no_engine(here: Shell, api: Any, registry_facts: testbed.Registry) -> None:
    name, copies = (
        f"{registry_facts.open}/push-words/first:1",
        [f"oci:{here.cwd}/layout:1", f"oci-archive:{here.cwd}/app.tar:1"],
    )
    with image(api, name):
        assert here.run("push", name).status == 0
    for copy in copies:
        subprocess.run(["skopeo", "copy", "-q", "--src-tls-verify=false", f"docker://{name}", copy], check=True)
    alone = Shell(cwd=here.cwd, home=here.home, environ={**here.environ, "DOCKER_HOST": "unix:///nonexistent"})
    pushed = [
        alone.run("push", laid, "--tag", f"{registry_facts.open}/push-words/second:{number}").stdout.strip()
        for number, laid in enumerate(("oci:layout:1", "tar:app.tar"))
    ]
    digests = {one.partition("@")[2] for one in pushed}
    assert digests == {digest_by_skopeo(f"{registry_facts.open}/push-words/second:0")}


def digest_by_skopeo(name: str) -> str:
    command = ["skopeo", "inspect", "--tls-verify=false", "--format", "{{.Digest}}", f"docker://{name}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def gateway(api: Any) -> str:
    """This machine as containers see it: beyond loopback, where the engine trusts nobody."""
    address: str = api.inspect_network("bridge")["IPAM"]["Config"][0]["Gateway"]
    return address


def test_what_the_engine_may_not_push_without_tls_is_sent_from_here(
    here: Shell, api: Any, registry_facts: testbed.Registry, gateway: str
) -> None:
    with running(Proxy(upstream=registry_facts.open), host=gateway) as proxy:
        name = f"{proxy.address}/push-words/plain:1"
        with image(api, name):
            refused = here.run("push", name)
            ran = here.run("push", name, "--insecure-registry", proxy.address)
    assert (refused.status, "--insecure-registry HOST" in refused.stderr) == (10, True), refused.stderr
    assert ran.status == 0, ran.stderr
    digest = ran.stdout.strip().partition("@")[2]
    assert digest_by_skopeo(f"{registry_facts.open}/push-words/plain:1") == digest


def test_a_private_authority_that_the_user_trusts_is_enough(
    here: Shell, api: Any, registry_facts: testbed.Registry, gateway: str, tmp_path: Path
) -> None:
    issuer = authority(tmp_path / "authority")
    pair = issuer.issue("registry", subject="/CN=registry", alternatives=[f"IP:{gateway}"])
    with running(Proxy(upstream=registry_facts.open), host=gateway, tls=pair) as proxy:
        name = f"{proxy.address}/push-words/private:1"
        with image(api, name):
            refused = here.run("push", name)
            ran = here.run("push", name, "--ca-bundle", str(issuer.own.certificate))
    assert refused.status == 10
    assert f"could not reach {proxy.address}: its certificate is not trusted" in refused.stderr
    assert ran.status == 0, ran.stderr
    digest = ran.stdout.strip().partition("@")[2]
    assert digest_by_skopeo(f"{registry_facts.open}/push-words/private:1") == digest


def test_a_closed_registry_wants_a_login_and_says_that_none_was_found(
    here: Shell, api: Any, registry_facts: testbed.Registry
) -> None:
    name = f"{registry_facts.closed}/push-words/closed:1"
    with image(api, name):
        ran = here.run("push", name)
    assert (ran.status, ran.stdout) == (4, "")
    assert f"no login for {registry_facts.closed} was found" in ran.stderr
