"""The real engine by every way that leads to one: its own socket, TLS, a context of the docker program, and ssh."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import socket
import socketserver
import ssl
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from s2ictl.engines.docker import open_docker
from s2ictl.errors import Unreachable
from s2ictl.events import Event, Line
from s2ictl.leases import this_host
from tests import testbed
from tests.engine.grounds import on_docker
from tests.engine.world import Real
from tests.fakes.engine import Script
from tests.fakes.engine_contract import assembly
from tests.fakes.loopback import served
from tests.parts import need
from tests.testbed import certificates

# What `docker system dial-stdio` does at the other end, and what sshd says of a stranger.
SSH = """#!{python}
import os, socket, sys, threading
words = sys.argv[1:]
if words[-4:] != ["engine", "docker", "system", "dial-stdio"] or words[-5] != "--":
    sys.exit(f"unknown: {{words}}")
engine = socket.socket(socket.AF_UNIX)
engine.connect({engine!r})
def ask():
    while data := os.read(0, 1 << 16):
        engine.sendall(data)
    engine.shutdown(socket.SHUT_WR)
threading.Thread(target=ask, daemon=True).start()
while data := engine.recv(1 << 16):
    os.write(1, data)
"""
STRANGER = "#!/bin/sh\necho 'me@engine: Permission denied (publickey).' >&2\nexit 255\n"

pytestmark = on_docker

Environ = Mapping[str, str]


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory as DOCKER_CERT_PATH names it, for both ends of a connection."""
    need("openssl")
    directory = tmp_path_factory.mktemp("tls")
    ours = certificates.authority(directory / "authority")
    pair = ours.issue("node", subject="/CN=localhost", alternatives=["IP:127.0.0.1"])
    for name, path in (("ca", ours.own.certificate), ("cert", pair.certificate), ("key", pair.key)):
        (directory / f"{name}.pem").write_bytes(path.read_bytes())
    return directory


@contextmanager
def by_tls(engine: str, pem: Path) -> Iterator[str]:
    """A port that leads to the engine, for those who have a certificate of the authority; answers its address."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(pem / "ca.pem"))
    context.load_cert_chain(pem / "cert.pem", pem / "key.pem")
    context.verify_mode = ssl.CERT_REQUIRED

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError), ExitStack() as opened:
                client = opened.enter_context(context.wrap_socket(self.request, server_side=True))
                there = opened.enter_context(socket.socket(socket.AF_UNIX))
                there.connect(engine)
                threading.Thread(target=pump, args=(client, there), daemon=True).start()
                pump(there, client)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with served(server := Server(("127.0.0.1", 0), Handler)):
        yield f"tcp://127.0.0.1:{server.server_address[1]}"


def pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


def said_by(world: Real, environ: Environ) -> list[str]:
    """What an assemble script says that is performed by this way."""
    said: list[Event] = []
    base = world.builder(Script(text="cat /tmp/src/hello.txt; echo $A"))
    with open_docker(environ, host=this_host(), emit=lambda _: None) as engine:
        engine.assemble(assembly(base, exports=(("A", "b c"),)), said.append)
    return [event.text for event in said if isinstance(event, Line)]


def socket_of(facts: testbed.Engine) -> str:
    return facts.docker_host.removeprefix("unix://")


def test_by_tls_with_a_certificate_of_ones_own(world: Real, engine_facts: testbed.Engine, pem: Path) -> None:
    with by_tls(socket_of(engine_facts), pem) as address:
        environ = {"DOCKER_HOST": address, "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(pem)}
        assert said_by(world, environ) == ["hellob c"]


def test_by_a_context_and_the_certificates_that_it_brings(
    world: Real, engine_facts: testbed.Engine, pem: Path, tmp_path: Path
) -> None:
    identity = hashlib.sha256(b"build").hexdigest()
    meta, tls = (tmp_path / "contexts" / kind / identity for kind in ("meta", "tls"))
    meta.mkdir(parents=True)
    tls.mkdir(parents=True)
    (tls / "docker").symlink_to(pem)
    with by_tls(socket_of(engine_facts), pem) as address:
        (meta / "meta.json").write_text(json.dumps({"Name": "build", "Endpoints": {"docker": {"Host": address}}}))
        assert said_by(world, {"DOCKER_CONFIG": str(tmp_path), "DOCKER_CONTEXT": "build"}) == ["hellob c"]


def test_an_engine_that_nobody_vouches_for_is_not_spoken_to(
    engine_facts: testbed.Engine, pem: Path, tmp_path: Path
) -> None:
    with by_tls(socket_of(engine_facts), pem) as address:
        environ = {"DOCKER_HOST": address, "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(tmp_path)}
        with pytest.raises(Unreachable, match="certificate is not trusted"), opened(environ):
            pytest.fail("it must not be spoken to")


def test_by_ssh_as_the_docker_program_does_it(world: Real, engine_facts: testbed.Engine, tmp_path: Path) -> None:
    program(tmp_path / "ssh", SSH.format(python=sys.executable, engine=socket_of(engine_facts)))
    environ = {"DOCKER_HOST": "ssh://me@engine:2222", "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    assert said_by(world, environ) == ["hellob c"]


def test_what_ssh_says_is_the_reason(tmp_path: Path) -> None:
    program(tmp_path / "ssh", STRANGER)
    with pytest.raises(Unreachable) as failure, opened({"DOCKER_HOST": "ssh://engine", "PATH": str(tmp_path)}):
        pytest.fail("it must not be reached")
    assert "Permission denied (publickey)" in failure.value.detail


def test_without_ssh_that_is_said(tmp_path: Path) -> None:
    nowhere = shlex.quote(str(tmp_path))
    with (
        pytest.raises(Unreachable, match="ssh could not be started for engine"),
        opened({"DOCKER_HOST": "ssh://engine", "PATH": nowhere}),
    ):
        pytest.fail("it must not be reached")


@contextmanager
def opened(environ: Environ) -> Iterator[None]:
    with open_docker(environ, host=this_host(), emit=lambda _: None):
        yield


def program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)
