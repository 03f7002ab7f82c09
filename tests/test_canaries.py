"""No login is seen by anybody but its host: not where a command fails, and not where the host repeats what it heard."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from s2ictl import oci
from tests.cli import Shell, shell
from tests.fakes.images import program, small_image
from tests.fakes.registry import FakeRegistry, Fault, running
from tests.fakes.web import Page, serving

USER, CANARY = "somebody", "canary-registry"
PAIR = base64.b64encode(f"{USER}:{CANARY}".encode()).decode()
FORMS = (CANARY, PAIR, base64.b64encode(CANARY.encode()).decode())
SAID = json.dumps({"errors": [{"code": "ODD", "message": f"Authorization: Basic {PAIR} ({CANARY})"}]}).encode()
HELPER = """#!/bin/sh
cat >/dev/null
printf '{"Username":"%s","Secret":"%s"}' somebody "$(cat "$HOME/held")"
"""
SOURCES = ("auths", "variable", "podman", "store", "helper", "flag")


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with running(FakeRegistry(auth="basic", username=USER, password=CANARY)) as registry:
        image = small_image()
        registry.put("base", image.layer)
        registry.put("base", image.config)
        registry.tag("base", "1", oci.MANIFEST, image.manifest)
        yield registry


def world(directory: Path, source: str, host: str) -> Shell:
    """A shell whose login for the registry comes from one place."""
    here = shell(directory)
    (here.cwd / "app").write_bytes(program(interpreter=b"/lib/ld.so\0"))
    auths = json.dumps({"auths": {host: {"auth": PAIR}}})
    config, environ = "{}", dict(here.environ)
    match source:
        case "auths" | "flag":
            config = auths
        case "variable":
            environ["DOCKER_AUTH_CONFIG"] = auths
        case "podman":
            (here.home / "held").write_text(auths)
            environ["REGISTRY_AUTH_FILE"] = str(here.home / "held")
        case "store" | "helper":
            config = json.dumps({"credsStore": "kept"} if source == "store" else {"credHelpers": {host: "kept"}})
            (here.home / "held").write_text(CANARY)
            (here.home / "docker-credential-kept").write_text(HELPER)
            (here.home / "docker-credential-kept").chmod(0o755)
            environ["PATH"] = f"{here.home}:{environ['PATH']}"
    (here.home / ".docker").mkdir()
    (here.home / ".docker/config.json").write_text(config)
    outputs = {"GITHUB_ACTIONS": "true", "GITHUB_OUTPUT": "output", "GITHUB_STEP_SUMMARY": "summary"}
    return Shell(cwd=here.cwd, home=here.home, environ={**environ, **outputs})


def left_by(here: Shell) -> bytes:
    """Everything on the disk but the login itself."""
    own = {here.home / "held", here.home / ".docker/config.json"}
    files = [path for top in (here.cwd, here.home) for path in top.rglob("*") if path.is_file() and path not in own]
    return b"".join(path.read_bytes() for path in files)


def assert_unseen(*texts: str | bytes) -> None:
    for text in texts:
        content = text.encode() if isinstance(text, str) else text
        assert not [form for form in FORMS if form.encode() in content], content[-2000:]


@pytest.mark.parametrize("source", SOURCES)
def test_a_registry_that_repeats_its_login_is_not_quoted(source: str, registry: FakeRegistry, tmp_path: Path) -> None:
    here = world(tmp_path, source, registry.host)
    chosen = ("--dockercfg-path", str(here.home / ".docker/config.json")) if source == "flag" else ()
    b2i = ("b2i", "app", "--base", f"{registry.host}/base:1", "--tag", f"{registry.host}/shop:1", "--push", *chosen)
    steps = [("GET", "base/manifests"), ("GET", "base/blobs"), ("POST", "uploads"), ("PUT", "shop/manifests")]
    statuses = set()
    for method, path in steps:
        for status in (400, 403, 404) if source == "auths" else (403,):
            fault = Fault(method=method, path=path, status=status, body=SAID, times=9)
            registry.faults[:] = [fault]
            ran = here.run(*b2i, "-o", "json", "--debug", "-vv", "--result-file", "result.json")
            assert_unseen(ran.stdout, ran.stderr)
            statuses.add(ran.status)
    registry.faults.clear()
    assert here.run(*b2i, "--to", "oci:out", "--to", "tar:out.tar", "--result-file", "result.json").status == 0
    assert (statuses <= {4, 6, 8}, "<redacted>" in ran.stderr) == (True, True)
    assert_unseen(left_by(here), *(content for _, content in registry.manifests.values()), *registry.blobs.values())


@pytest.mark.parametrize("words", [("auth", "check"), ("auth", "explain"), ("push", "oci:out", "--tag")])
def test_nor_is_it_by_other_commands(words: tuple[str, ...], registry: FakeRegistry, tmp_path: Path) -> None:
    here = world(tmp_path, "auths", registry.host)
    here.run("b2i", "app", "--base", f"{registry.host}/base:1", "--tag", "shop:1", "--to", "oci:out")
    registry.repeats = True
    for form in ("text", "json", "yaml", "name"):
        ran = here.run(*words, f"{registry.host}/shop:1" if words[1] != "explain" else registry.host, "-o", form)
        assert (ran.status, words[0] == "push" or "heard Basic <redacted>" in ran.stderr) == (4, True)
        assert_unseen(ran.stdout, ran.stderr)
    assert_unseen(left_by(here))


def test_a_login_in_an_artifact_s_address_stays_with_its_host(tmp_path: Path) -> None:
    here = shell(tmp_path)
    with serving({"/app": Page(body=program()), "/page": Page(body=b"<html>"), "/no": Page(status=403)}) as address:
        host = address.removeprefix("http://")
        for path in ("app", "page", "no", "absent", f"app#sha256={'0' * 64}"):
            url = f"http://{USER}:{CANARY}@{host}/{path}"
            ran = here.run("b2i", url, "--tag", "shop:1", "--to", "oci:out", "--result-file", "r.json", "-o", "json")
            assert_unseen(ran.stdout, ran.stderr)
    assert_unseen(left_by(here))
