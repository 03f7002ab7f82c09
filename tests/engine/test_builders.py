"""Builders as they are typed, on real containers: a new one works as it is written, and any image tells of itself."""

from __future__ import annotations

import base64
import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from docker import errors

from tests import testbed
from tests.cli import Ran, Shell, shell
from tests.engine import tiny
from tests.engine.apps import over_tls
from tests.fakes.loopback import served

FOREIGN, SILENT, PLAIN = "builders-test/foreign:1", "builders-test/silent:1", "builders-test/plain:1"
LABELS = (
    "LABEL io.openshift.s2i.scripts-url=image:///usr/libexec/s2i io.k8s.display-name=Foreign",
    'LABEL io.s2ictl.builder.caches=/opt/downloads/ io.s2ictl.builder.dependencies="*.lock project.toml"',
    "USER user",
)
USAGE = tiny.script("printf 'first \\033[31mred\\n'; echo aside >&2; echo last")


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """A directory to type in, and the engine that is found from there."""

    shell: Shell
    api: Any

    def type(self, *words: str) -> Ran:
        return self.shell.run("builders", *words)

    def created(self, image: str) -> str:
        return str(self.api.inspect_image(image)["Created"])

    def with_(self, **environ: str) -> Desk:
        """The same desk, and these variables."""
        return replace(self, shell=replace(self.shell, environ={**self.shell.environ, **environ}))


@pytest.fixture
def desk(engine_facts: testbed.Engine, tmp_path: Path) -> Iterator[Desk]:
    import docker

    passed_on = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
    bundle = os.environ.get("SSL_CERT_FILE", "")
    environ = {**passed_on, **({"SSL_CERT_FILE": bundle} if bundle else {}), "DOCKER_HOST": engine_facts.docker_host}
    with ExitStack() as stack:
        api = docker.APIClient(base_url=engine_facts.docker_host, version="auto")
        stack.callback(api.close)
        stack.callback(tiny.remove_named, api, "s2ictl/builders-test-", "s2ictl/sample-builders-test-")
        for name, scripts, labels in (
            (FOREIGN, {"usage": USAGE}, LABELS),
            (SILENT, {"usage": tiny.script("exit 3")}, LABELS),
            (PLAIN, {}, ()),
        ):
            stack.enter_context(tiny.imported(api, name, tiny.rootfs(scripts), "ENV PATH=/bin", *labels))
        yield Desk(shell=shell(tmp_path, **environ), api=api)


def test_a_new_builder_builds_and_its_sample_answers(desk: Desk) -> None:
    name, image = "builders-test-pages", "s2ictl/builders-test-pages:1.0"
    assert desk.type("create", name).status == 0
    built = desk.type("build", name)
    assert (built.status, built.stdout) == (0, f"{image}\n"), built.stderr

    tested = desk.type("test", name, "-o", "json")
    assert tested.status == 0, tested.stderr
    (trial,) = json.loads(tested.stdout)
    assert trial["answer"].endswith(f"<p>Hello from {name}</p>")
    assert f"{image} is here already, of {desk.created(image)} and of this very folder" in tested.stderr

    (desk.shell.cwd / name / "s2i" / "bin" / "usage").write_bytes(tiny.script("echo another usage"))
    changed = desk.type("test", f"./{name}")
    assert changed.status == 0, changed.stderr
    assert "is made anew: its folder is another now" in changed.stderr
    assert "the base debian:trixie-slim is here already" in changed.stderr
    assert desk.type("usage", name).stdout == "another usage\n"


def test_any_builder_s_usage_is_what_its_script_prints_and_harmless(desk: Desk) -> None:
    said = desk.type("usage", FOREIGN)
    assert (said.status, said.stdout) == (0, "first \\x1b[31mred\nlast\n")
    assert "aside" in said.stderr


def test_where_the_script_fails_the_labels_speak(desk: Desk) -> None:
    said = desk.type("usage", SILENT, "-o", "json")
    answer = json.loads(said.stdout)
    assert (said.status, answer["image"], answer["by"]) == (0, SILENT, "labels")
    assert "label         io.k8s.display-name=Foreign" in answer["usage"].splitlines()
    assert "/usr/libexec/s2i/usage does not say it: " in said.stderr


def test_any_image_with_the_labels_is_shown(desk: Desk) -> None:
    shown = json.loads(desk.type("show", FOREIGN, "-o", "json").stdout)
    assert shown == {
        "name": "",
        "version": "",
        "versions": [],
        "image": FOREIGN,
        "runtime-image": "",
        "base": "",
        "detects": [],
        "caches": ["/opt/downloads"],
        "dependencies": ["*.lock", "project.toml"],
        "aliases": [],
        "reproducible": False,
        "settings": [],
        "env": {"PATH": "/bin"},
        "user": "user",
        "assemble-user": "",
        "workdir": "",
        "scripts": "/usr/libexec/s2i",
        "destination": "/tmp",
        "ports": [],
        "labels": {
            "io.k8s.display-name": "Foreign",
            "io.openshift.s2i.scripts-url": "image:///usr/libexec/s2i",
            "io.s2ictl.builder.caches": "/opt/downloads/",
            "io.s2ictl.builder.dependencies": "*.lock project.toml",
        },
    }


@pytest.mark.parametrize("word", ["show", "usage"])
def test_an_image_that_is_no_builder_or_is_not_there_is_exit_6(word: str, desk: Desk) -> None:
    plain = desk.type(word, PLAIN)
    assert (plain.status, plain.stdout) == (6, "")
    assert f"{PLAIN} is not labelled as a builder" in plain.stderr
    missing = desk.type(word, "builders-test/missing:1", "--pull-policy", "never")
    assert (missing.status, missing.stdout) == (6, "")
    assert "there is no builder image builders-test/missing:1" in missing.stderr


# ------------------------------------------------------------------------------------------------- from a registry

NAME = "builders-test-pages"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """A desk whose builders lie in a registry, at a place that is nobody else's."""

    desk: Desk
    place: str

    @property
    def image(self) -> str:
        return f"{self.place}/{NAME}:1.0"

    def forget(self) -> None:
        """What a machine is like that has never seen them; what came from a registry has a name by digest, too."""
        for image in self.desk.api.images():
            for name in (*(image["RepoTags"] or ()), *(image["RepoDigests"] or ())):
                if name.startswith(f"{self.place}/"):
                    with suppress(errors.NotFound):
                        self.desk.api.remove_image(name, force=True)


@contextmanager
def shelf(desk: Desk, host: str, **environ: str) -> Iterator[Shelf]:
    place = f"{host}/builders-test-{os.urandom(4).hex()}"
    made = Shelf(desk=desk.with_(S2ICTL_BUILDERS=place, **environ), place=place)
    try:
        yield made
    finally:
        made.forget()


def test_a_builder_that_was_pushed_is_pulled_on_a_machine_that_has_never_seen_it(
    desk: Desk, registry_facts: testbed.Registry
) -> None:
    with shelf(desk, registry_facts.open) as there:
        there.desk.type("create", NAME)
        pushed = there.desk.type("build", NAME, "--push")
        assert pushed.status == 0, pushed.stderr
        name, _, digest = pushed.stdout.strip().partition("@")
        assert name == there.image
        there.forget()

        tested = there.desk.type("test", NAME)
        assert tested.status == 0, tested.stderr
        assert "build builder" not in tested.stderr
        labels = desk.api.inspect_image(f"s2ictl/sample-{NAME}:1.0")["Config"]["Labels"]
        assert labels["io.openshift.s2i.build.image"] == there.image
        assert labels["org.opencontainers.image.base.digest"] == digest

        there.forget()
        (there.desk.shell.cwd / NAME / "s2i" / "bin" / "usage").write_bytes(tiny.script("echo another"))
        changed = there.desk.type("test", NAME)
        assert changed.status == 0, changed.stderr
        assert f"{there.image} was made of another version of its folder: it is built now, once" in changed.stderr


def test_a_registry_asks_for_the_login_that_the_user_has(desk: Desk, registry_facts: testbed.Registry) -> None:
    logged_in = base64.b64encode(f"{registry_facts.username}:{registry_facts.password}".encode()).decode()
    config = desk.shell.home / "docker"
    config.mkdir()
    (config / "config.json").write_text(json.dumps({"auths": {registry_facts.closed: {"auth": logged_in}}}))
    with shelf(desk, registry_facts.closed) as there:
        there.desk.type("create", NAME)
        refused = there.desk.type("build", NAME, "--push")
        assert (refused.status, refused.stdout) == (4, "")
    with shelf(desk, registry_facts.closed, DOCKER_CONFIG=str(config)) as there:
        pushed = there.desk.type("build", NAME, "--push")
        assert pushed.status == 0, pushed.stderr
        there.forget()
        tested = there.desk.type("test", NAME)
        assert (tested.status, "build builder" in tested.stderr) == (0, False), tested.stderr


def test_a_registry_that_is_not_there_costs_a_warning(desk: Desk) -> None:
    with shelf(desk, "127.0.0.1:9") as there:
        there.desk.type("create", NAME)
        tested = there.desk.type("test", NAME)
        assert tested.status == 0, tested.stderr
        assert f"{there.image} is not here yet: it is built now, once" in tested.stderr
        assert "warning: " in tested.stderr


# --------------------------------------------------------------------------------------- how packages are reached

USER, CANARY = "somebody", "canary-a81f07"
# apt asks a proxy of plain http for https as well, whatever no_proxy says.
INSTALL = """
set -eu
apt-get -qq update
apt-get -qq install -y --no-install-recommends busybox
http_proxy= /usr/lib/apt/apt-helper download-file "$PIP_INDEX_URL/file" /opt/file
rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log
echo 'default:x:1001:0:application:/opt/app:/usr/sbin/nologin' >>/etc/passwd
mkdir -p /opt/app
chown 1001:0 /opt/app
"""


class _Proxy(BaseHTTPRequestHandler):
    """A company's proxy: it asks who it is, and notes the hosts that it leads to."""

    def __init__(self, hosts: set[str], *given: Any) -> None:
        self.hosts = hosts
        super().__init__(*given)

    def do_GET(self) -> None:
        login = base64.b64encode(f"{USER}:{CANARY}".encode()).decode()
        if self.headers.get("Proxy-Authorization") != f"Basic {login}":
            self._answer(407, b"")
            return
        self.hosts.add(str(urlsplit(self.path).hostname))
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        passed_on = {name: value for name, value in self.headers.items() if not name.lower().startswith("proxy-")}
        try:
            with direct.open(urllib.request.Request(self.path, headers=passed_on), timeout=60) as answer:
                self._answer(answer.status, answer.read())
        except urllib.error.HTTPError as error:
            self._answer(error.code, error.read())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


class _Mirror(BaseHTTPRequestHandler):
    """A company's mirror, of one file."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"mine")

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@contextmanager
def company(api: Any, directory: Path) -> Iterator[tuple[Mapping[str, str], set[str]]]:
    """The variables by which a company's network is left, and the hosts that were asked for through its proxy."""
    (network,) = api.inspect_network("bridge")["IPAM"]["Config"]
    gateway, hosts = str(network["Gateway"]), set[str]()
    proxy = ThreadingHTTPServer((gateway, 0), partial(_Proxy, hosts))
    mirror = ThreadingHTTPServer((gateway, 0), _Mirror)
    bundle = over_tls(mirror, gateway, directory)
    with served(proxy), served(mirror):
        yield (
            {
                "http_proxy": f"http://{USER}:{CANARY}@{gateway}:{proxy.server_port}",
                "no_proxy": gateway,
                "PIP_INDEX_URL": f"https://{gateway}:{mirror.server_port}",
                "SSL_CERT_FILE": str(bundle),
            },
            hosts,
        )


def test_a_builder_is_made_through_a_proxy_and_a_private_ca_and_nothing_of_them_is_in_its_image(
    desk: Desk, tmp_path: Path
) -> None:
    desk.type("create", NAME)
    (desk.shell.cwd / NAME / "install").write_text(f"#!/bin/sh{INSTALL}")
    with company(desk.api, tmp_path) as (environ, hosts):
        bundle = Path(environ["SSL_CERT_FILE"]).read_bytes()
        built = desk.with_(**environ).type("build", NAME)
    image = f"s2ictl/{NAME}:1.0"
    assert (built.status, built.stdout) == (0, f"{image}\n"), built.stderr
    assert hosts != set()  # the other download was told to go without
    with tmp_path.joinpath("image.tar").open("wb") as file:
        for chunk in desk.api.get_image(image):
            file.write(chunk)
    whole = tmp_path.joinpath("image.tar").read_bytes()
    assert b"mine" in whole
    assert CANARY.encode() not in whole + built.stderr.encode()
    assert bundle.splitlines()[1] not in whole
    assert str(desk.api.inspect_image(image)).lower().count("proxy") == 0
