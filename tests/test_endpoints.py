"""Which engine an environment means: the docker program's own rules, on its own files."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from s2ictl.engines.endpoints import Certificates, Endpoint, dial, located, ssh_command
from s2ictl.errors import InvalidConfiguration, InvalidUsage


def contexts(home: Path, *names: str, current: str = "", host: str = "tcp://there:1", unverified: bool = False) -> None:
    """The docker program's settings with these contexts."""
    docker = home / ".docker"
    docker.mkdir()
    (docker / "config.json").write_text(json.dumps({"currentContext": current} if current else {}))
    for name in names:
        identity = hashlib.sha256(name.encode()).hexdigest()
        place = docker / "contexts" / "meta" / identity
        place.mkdir(parents=True)
        endpoint = {"Host": host, "SkipTLSVerify": unverified}
        (place / "meta.json").write_text(json.dumps({"Name": name, "Metadata": {}, "Endpoints": {"docker": endpoint}}))


def unix(path: str) -> Endpoint:
    return Endpoint(kind="unix", path=path)


USUAL = unix("/var/run/docker.sock")


def test_without_any_word_it_is_the_usual_socket(tmp_path: Path) -> None:
    assert located({"HOME": str(tmp_path)}) == located({}) == USUAL


@pytest.mark.parametrize(
    ("address", "meant"),
    [
        ("unix:///run/user/1000/podman/podman.sock", unix("/run/user/1000/podman/podman.sock")),
        ("tcp://10.0.0.1:4000", Endpoint(kind="tcp", host="10.0.0.1", port=4000)),
        ("tcp://build", Endpoint(kind="tcp", host="build", port=2375)),
        ("tcp://[::1]:4000", Endpoint(kind="tcp", host="::1", port=4000)),
        ("127.0.0.1:4000", Endpoint(kind="tcp", host="127.0.0.1", port=4000)),
    ],
)
def test_an_address_is_read_as_the_docker_program_reads_it(address: str, meant: Endpoint) -> None:
    assert located({"DOCKER_HOST": address}) == meant


@pytest.mark.parametrize(
    "address",
    [
        "ftp://x",
        "tcp://x:99999",
        "ssh://-oProxyCommand=x",
        "ssh://-l@host",
        "ssh://",
        "unix",
        "tcp://a b",
        "tcp://u:p@h",
    ],
)
def test_what_is_no_address_is_refused_without_its_password(address: str) -> None:
    with pytest.raises(InvalidUsage) as refused:
        located({"DOCKER_HOST": address} if address != "unix" else {"DOCKER_HOST": "unix:"})
    assert "u:p" not in refused.value.message


def test_an_address_comes_before_a_context_and_a_named_one_before_the_chosen_one(tmp_path: Path) -> None:
    contexts(tmp_path, "one", current="one")
    home = {"HOME": str(tmp_path)}
    there = Endpoint(kind="tcp", host="there", port=1)
    assert located(home) == there
    assert located({**home, "DOCKER_CONTEXT": "default"}) == USUAL
    assert located({**home, "DOCKER_CONTEXT": "default", "DOCKER_HOST": "unix:///x"}) == unix("/x")
    assert located({"DOCKER_CONFIG": str(tmp_path / ".docker")}) == there


@pytest.mark.parametrize("chosen", ["gone", "../one"])
def test_a_context_that_is_not_there_is_an_error_and_not_another_engine(tmp_path: Path, chosen: str) -> None:
    contexts(tmp_path, "one", current=chosen)
    with pytest.raises(InvalidConfiguration, match="has no context"):
        located({"HOME": str(tmp_path)})


def test_settings_that_cannot_be_read_say_nothing(tmp_path: Path) -> None:
    contexts(tmp_path)
    (tmp_path / ".docker" / "config.json").write_text("{")
    assert located({"HOME": str(tmp_path)}) == USUAL


def test_certificates_are_those_of_the_environment(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "DOCKER_HOST": "tcp://there"}
    own = Certificates(directory=tmp_path / ".docker", verified=True)
    named = Certificates(directory=Path("/certs"), verified=True)
    found = [
        located({**environ, **more})
        for more in (
            {"DOCKER_TLS_VERIFY": "1"},
            {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "/certs"},
            {"DOCKER_TLS_VERIFY": "", "DOCKER_CERT_PATH": "/certs"},
        )
    ]
    assert [(each.port, each.certificates) for each in found] == [(2376, own), (2376, named), (2375, None)]


def test_a_context_brings_certificates_of_its_own(tmp_path: Path) -> None:
    contexts(tmp_path, "one", current="one", host="tcp://there:2376")
    place = tmp_path / ".docker/contexts/tls" / hashlib.sha256(b"one").hexdigest() / "docker"
    place.mkdir(parents=True)
    environ = {"HOME": str(tmp_path), "DOCKER_CERT_PATH": "/another", "DOCKER_TLS_VERIFY": "1"}
    assert located(environ).certificates == Certificates(directory=place, verified=True)


def test_a_context_that_is_not_to_be_verified_is_not(tmp_path: Path) -> None:
    contexts(tmp_path, "one", current="one", unverified=True)
    found = located({"HOME": str(tmp_path)}).certificates
    assert found is not None
    assert not found.verified


@pytest.mark.parametrize(
    ("address", "command"),
    [
        ("ssh://build", "-- build docker system dial-stdio"),
        ("ssh://me@build:2222", "-l me -p 2222 -- build docker system dial-stdio"),
        ("ssh://build/run/docker.sock", "-- build docker --host unix:///run/docker.sock system dial-stdio"),
    ],
)
def test_what_the_user_wrote_is_no_option_of_ssh(address: str, command: str) -> None:
    assert " ".join(ssh_command(located({"DOCKER_HOST": address}))) == f"ssh -o ConnectTimeout=30 -T {command}"


def test_what_ssh_said_last_is_told_although_what_it_left_running_could_still_say_more(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "end")
    ssh = tmp_path / "ssh"
    ssh.write_text(f"#!/bin/sh\n/bin/cat <{tmp_path}/end >/dev/null &\necho 'Permission denied.' >&2\nexit 255\n")
    ssh.chmod(0o755)
    way = dial(located({"DOCKER_HOST": "ssh://engine", "PATH": str(tmp_path)}), seconds=1)
    try:
        assert way.why() == "Permission denied."
    finally:
        (tmp_path / "end").write_text("")
        way.close()
