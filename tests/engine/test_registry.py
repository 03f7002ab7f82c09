"""The registry client on the real thing: Debian's docker-registry, open and behind a password."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from s2ictl.errors import PullUnauthorized, PushUnauthorized, Unreachable
from s2ictl.events import Emit
from s2ictl.models import Login, Reference, Secret
from s2ictl.registry import Repository
from s2ictl.transport import Transport
from tests import testbed
from tests.cli import Shell, shell
from tests.fakes.images import LAYER, blob, program
from tests.fakes.registry_contract import *  # noqa: F403  (the tests themselves)
from tests.fakes.registry_contract import Place

TLS = """
version: 0.1
storage: {{inmemory: {{}}}}
http: {{addr: "127.0.0.1:{port}", tls: {{certificate: {name}.pem, key: {name}.key}}}}
"""
SERVER = r"""
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
int main(void) {
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(8080)};
    char asked[4096], said[] = "HTTP/1.0 200 OK\r\n\r\nfrom one layer\n";
    int server = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(server, (struct sockaddr *)&here, sizeof here) || listen(server, 8)) return 1;
    for (;;) {
        int client = accept(server, 0, 0);
        if (read(client, asked, sizeof asked) > 0) write(client, said, sizeof said - 1);
        close(client);
    }
}
"""


@pytest.fixture
def transport(emit: Emit) -> Iterator[Transport]:
    with Transport(os.environ, emit=emit) as transport:
        yield transport


def logged_in(facts: testbed.Registry, host: str) -> Login:
    return Login(host=host, username=facts.username, password=Secret(facts.password), origin="the testbed")


@pytest.fixture(params=["open", "closed"])
def place(request: pytest.FixtureRequest, registry_facts: testbed.Registry, transport: Transport) -> Place:
    host = getattr(registry_facts, request.param)
    return Place(host=host, logins=partial(logged_in, registry_facts), run=os.urandom(6).hex(), transport=transport)


def test_a_wrong_password_is_refused(registry_facts: testbed.Registry, transport: Transport) -> None:
    name = Reference(registry=registry_facts.closed, repository="contract/refused", tag="1")
    wrong = Login(host=name.registry, username="somebody", password=Secret("wrong-canary"), origin="the test")
    repository = Repository(name, transport=transport, logins=lambda _: wrong)
    with pytest.raises(PullUnauthorized):
        repository.resolve()
    with pytest.raises(PushUnauthorized) as caught:
        repository.write(blob(LAYER))
    assert "wrong-canary" not in caught.value.message + caught.value.detail + caught.value.hint


# -------------------------------------------------------------------------------------------------------------- TLS


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority of our own, and what it signed: for this machine, for another one, and for yesterday."""
    directory = tmp_path_factory.mktemp("certificates")
    openssl(directory, "req -x509 -nodes -newkey rsa:2048 -days 9 -subj /CN=authority -keyout ca.key -out ca.pem")
    for name, host, days in (
        ("good", "IP:127.0.0.1", "9"),
        ("other", "DNS:example.com", "9"),
        ("elsewhere", "DNS:elsewhere.invalid", "9"),
        ("old", "IP:127.0.0.1", "-1"),
    ):
        (directory / f"{name}.cnf").write_text(f"subjectAltName={host}")
        openssl(directory, f"req -nodes -newkey rsa:2048 -subj /CN={name} -keyout {name}.key -out {name}.csr")
        signed = f"x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile {name}.cnf"
        openssl(directory, f"{signed} -days {days} -out {name}.pem")
    return directory


def openssl(directory: Path, words: str) -> None:
    subprocess.run(["openssl", *words.split()], cwd=directory, check=True, capture_output=True)


@contextmanager
def with_tls(certificates: Path, name: str) -> Iterator[str]:
    """A docker-registry that shows this certificate."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = certificates / f"{name}-{port}.yml"
    config.write_text(TLS.format(port=port, name=name))
    with subprocess.Popen(["docker-registry", "serve", config], cwd=certificates, stderr=subprocess.DEVNULL) as server:
        try:
            wait_for(port)
            yield f"127.0.0.1:{port}"
        finally:
            server.kill()


def wait_for(port: int) -> None:
    for _ in range(100):
        with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=5):
            return
        time.sleep(0.05)
    raise AssertionError("docker-registry does not come up")


def test_a_registry_with_an_authority_of_its_own_is_trusted_by_the_bundle(certificates: Path, emit: Emit) -> None:
    with (
        with_tls(certificates, "good") as host,
        Transport({}, emit=emit, ca_bundle=certificates / "ca.pem") as transport,
    ):
        name = Reference(registry=host, repository="app", tag="1")
        repository = Repository(name, transport=transport, logins=lambda _: None)
        assert repository.write(blob(LAYER)) == repository.write(blob(LAYER))


@pytest.mark.parametrize(
    ("name", "bundle", "words"),
    [
        ("good", "", "its certificate is not trusted"),
        ("other", "ca.pem", "its certificate is for another host"),
        ("old", "ca.pem", "its certificate is not valid now"),
    ],
)
def test_a_certificate_that_is_wrong_is_said_and_never_gone_around(
    name: str, bundle: str, words: str, certificates: Path, emit: Emit
) -> None:
    authority = certificates / bundle if bundle else None
    with with_tls(certificates, name) as host, Transport({}, emit=emit, ca_bundle=authority) as transport:
        image = Reference(registry=host, repository="app", tag="1")
        repository = Repository(image, transport=transport, logins=lambda _: None, insecure=frozenset({host}))
        with pytest.raises(Unreachable, match=words):
            repository.resolve()


@contextmanager
def tunnelling(context: ssl.SSLContext | None, asked: list[bytes]) -> Iterator[str]:
    """A proxy, behind TLS or not, that carries one connection to wherever CONNECT says."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            plain, _ = listener.accept()
            with context.wrap_socket(plain, server_side=True) if context else plain as client:
                asked.append(client.recv(65536))
                port = int(asked[0].split()[1].rpartition(b":")[2])
                with socket.create_connection(("127.0.0.1", port)) as server:
                    client.sendall(b"HTTP/1.1 200 Go on\r\n\r\n")
                    back = threading.Thread(target=carry, args=(server, client), daemon=True)
                    back.start()
                    carry(client, server)
                    back.join()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"{'https' if context else 'http'}://proxy:canary@127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


def carry(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("secure", [False, True])
def test_a_registry_is_reached_through_a_proxy_with_tls_inside_of_what_the_proxy_carries(
    secure: bool, certificates: Path, emit: Emit
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if secure else None
    if context:
        context.load_cert_chain(certificates / "good.pem", certificates / "good.key")
    asked: list[bytes] = []
    content = os.urandom(3 << 20)
    with with_tls(certificates, "elsewhere") as host, tunnelling(context, asked) as proxy:
        # This machine is never asked through a proxy, so it has another name here, which the proxy alone knows.
        name = f"elsewhere.invalid:{host.partition(':')[2]}"
        environ = {"https_proxy": proxy}
        with Transport(environ, emit=emit, ca_bundle=certificates / "ca.pem") as transport:
            reference = Reference(registry=name, repository="app", tag="1")
            repository = Repository(reference, transport=transport, logins=lambda _: None)
            assert b"".join(repository.read(repository.write(blob(content)))) == content
    lines = asked[0].decode().split("\r\n")
    assert (lines[0], "Proxy-Authorization: Basic cHJveHk6Y2FuYXJ5" in lines) == (f"CONNECT {name} HTTP/1.1", True)


# ------------------------------------------------------------------------------------------------------------- others


@pytest.fixture
def at_the_closed_one(registry_facts: testbed.Registry, tmp_path: Path) -> Shell:
    """A shell whose Docker config has the login of the closed registry."""
    here = shell(tmp_path)
    config = here.home / ".docker/config.json"
    config.parent.mkdir()
    entry = {"username": registry_facts.username, "password": registry_facts.password}
    config.write_text(json.dumps({"auths": {registry_facts.closed: entry}}))
    return here


def test_skopeo_reads_what_b2i_has_pushed(registry_facts: testbed.Registry, at_the_closed_one: Shell) -> None:
    (at_the_closed_one.cwd / "app").write_bytes(program())
    name = f"{registry_facts.closed}/contract/{os.urandom(6).hex()}:1"
    ran = at_the_closed_one.run("b2i", "app", "--tag", name, "--push")
    assert ran.status == 0, ran.stderr
    login = f"{registry_facts.username}:{registry_facts.password}"
    seen = subprocess.run(
        ["skopeo", "inspect", "--tls-verify=false", "--creds", login, f"docker://{name}"],
        check=True,
        capture_output=True,
    )
    assert f"{name}@{json.loads(seen.stdout)['Digest']}\n" == ran.stdout


def test_the_engine_runs_what_b2i_has_pushed(
    registry_facts: testbed.Registry, engine_facts: testbed.Engine, tmp_path: Path
) -> None:
    here = shell(tmp_path)
    (tmp_path / "server.c").write_text(SERVER)
    subprocess.run(["gcc", "-static", "-O", "-o", here.cwd / "server", tmp_path / "server.c"], check=True)
    name = f"{registry_facts.open}/contract/{os.urandom(6).hex()}:1"
    ran = here.run("b2i", "server", "--tag", name, "--push", "--port", "8080")
    assert ran.status == 0, ran.stderr
    docker = ["docker", "--host", engine_facts.docker_host]
    started = subprocess.run([*docker, "run", "--detach", "--rm", ran.stdout.strip()], check=True, capture_output=True)
    container = started.stdout.decode().strip()
    try:
        assert ask(docker, container) == b"HTTP/1.0 200 OK\r\n\r\nfrom one layer\n"
    finally:
        subprocess.run([*docker, "kill", container], check=True, capture_output=True)


def ask(docker: list[str], container: str) -> bytes:
    """Ask a server inside of a container, from its own network."""
    shown = subprocess.run([*docker, "inspect", container], check=True, capture_output=True)
    networks = json.loads(shown.stdout)[0]["NetworkSettings"]["Networks"]
    address = next(iter(networks.values()))["IPAddress"]
    with socket.create_connection((address, 8080), timeout=10) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(partial(connection.recv, 4096), b""))
