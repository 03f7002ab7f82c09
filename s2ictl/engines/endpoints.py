"""Where the engine is that the docker program would talk to, and a socket that leads there.

Its rules: DOCKER_HOST before DOCKER_CONTEXT before the context that `docker context use` chose, and then the usual
socket. DOCKER_TLS_VERIFY and DOCKER_CERT_PATH belong to DOCKER_HOST; a context brings certificates of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from s2ictl.dialling import dialled
from s2ictl.errors import InvalidConfiguration, InvalidUsage, Unreachable
from s2ictl.expressions import expression
from s2ictl.values import dataclass
from s2ictl.wire import Way

if TYPE_CHECKING:
    import subprocess

USUAL = "unix:///var/run/docker.sock"
_ADDRESS = expression(
    r"(?P<scheme>unix|tcp|http|https|ssh)://(?:(?P<user>[A-Za-z0-9_.][A-Za-z0-9_.-]*)@)?"
    r"(?P<host>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.][A-Za-z0-9_.-]*)?(?::(?P<port>[0-9]{1,5}))?(?P<path>/.*)?"
)
_FORMS = "unix:///PATH, tcp://HOST:PORT or ssh://[USER@]HOST"
_PATIENCE = 5.0
_LONGEST_WORDS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """The files of a way by TLS, in this directory as far as they are there."""

    directory: Path
    verified: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where an engine answers; `path` is a socket's, on this machine or on the one that ssh leads to."""

    kind: Literal["unix", "tcp", "ssh"]
    host: str = ""
    port: int = 0
    user: str = ""
    path: str = ""
    certificates: Certificates | None = None
    environ: Mapping[str, str] = field(default_factory=dict)


def located(environ: Mapping[str, str]) -> Endpoint:
    """The engine that this environment means."""
    settings = _settings(environ)
    if address := environ.get("DOCKER_HOST"):
        return parsed(address, environ, _certificates(environ, settings))
    chosen = environ.get("DOCKER_CONTEXT") or str(_document(settings / "config.json").get("currentContext") or "")
    if chosen in ("", "default"):
        return parsed(USUAL, environ, None)
    return _of_context(chosen, environ, settings / "contexts")


def parsed(address: str, environ: Mapping[str, str], certificates: Certificates | None) -> Endpoint:
    """An address as DOCKER_HOST has it."""
    text = address.strip()
    match = _ADDRESS.fullmatch(text if "://" in text else f"tcp://{text}")
    if match is None or int(match["port"] or 0) > 65535 or (match["scheme"] == "ssh" and not match["host"]):
        raise InvalidUsage(f"{_shown(address)} is no address of an engine", hint=f"DOCKER_HOST is {_FORMS}")
    host, path = (match["host"] or "").strip("[]"), match["path"] or ""
    match match["scheme"]:
        case "unix":
            return Endpoint(kind="unix", path=host + path)
        case "ssh":
            user, port = match["user"] or "", int(match["port"] or 0)
            return Endpoint(kind="ssh", host=host, port=port, user=user, path=path.rstrip("/"), environ=environ)
        case "https" if certificates is None:
            certificates = Certificates(directory=_settings(environ), verified=True)
        case "http":
            certificates = None
    port = int(match["port"] or 0) or (2376 if certificates else 2375)
    return Endpoint(kind="tcp", host=host or "127.0.0.1", port=port, certificates=certificates)


def _shown(address: str) -> str:
    """Without what may be a password."""
    scheme, separator, rest = address.rpartition("://")
    return repr(f"{scheme}{separator}{rest.rpartition('@')[2]}"[:200])


def _settings(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("DOCKER_CONFIG") or Path(environ.get("HOME") or "/nonexistent", ".docker"))


def _certificates(environ: Mapping[str, str], settings: Path) -> Certificates | None:
    verified = bool(environ.get("DOCKER_TLS_VERIFY"))
    if not verified and not environ.get("DOCKER_TLS"):
        return None
    return Certificates(directory=Path(environ.get("DOCKER_CERT_PATH") or settings), verified=verified)


def _of_context(name: str, environ: Mapping[str, str], contexts: Path) -> Endpoint:
    identity = hashlib.sha256(name.encode()).hexdigest()
    found = _document(contexts / "meta" / identity / "meta.json")
    endpoints = found.get("Endpoints")
    docker = endpoints.get("docker") if isinstance(endpoints, dict) else None
    if not isinstance(docker, dict):
        raise InvalidConfiguration(
            f"the docker program has no context {name[:100]!r} that can be read",
            hint="docker context ls shows them; DOCKER_CONTEXT or docker context use chooses one",
        )
    directory, unverified = contexts / "tls" / identity / "docker", bool(docker.get("SkipTLSVerify"))
    secured = directory.is_dir() or unverified
    certificates = Certificates(directory=directory, verified=not unverified) if secured else None
    return parsed(str(docker.get("Host") or USUAL), environ, certificates)


def _document(path: Path) -> dict[str, Any]:
    """The settings in a file of the docker program's; what is not there, or not to be read, says nothing."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


# ------------------------------------------------------------------------------------------------------------- sockets


def dial(endpoint: Endpoint, *, seconds: float) -> Way:
    """A new connection, for which nobody waits longer than this."""
    match endpoint.kind:
        case "unix":
            wire = _unix(endpoint.path, seconds)
        case "tcp":
            wire = _tcp(endpoint, seconds)
        case "ssh":
            return _by_ssh(endpoint)
    return Way(wire=wire, close=wire.close)


def _unix(path: str, seconds: float) -> socket.socket:
    with ExitStack() as opened:
        wire = opened.enter_context(socket.socket(socket.AF_UNIX))
        wire.settimeout(seconds)
        wire.connect(path)
        opened.pop_all()
        return wire


def _tcp(endpoint: Endpoint, seconds: float) -> socket.socket:
    with ExitStack() as opened:
        wire = opened.enter_context(dialled(endpoint.host, endpoint.port, seconds=seconds))
        # A command may be silent for long, and a log for ever; an engine that vanished meanwhile says nothing either.
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if endpoint.certificates:
            wire = _secured(wire, endpoint.host, endpoint.certificates)
        opened.pop_all()
        return wire


def _secured(wire: socket.socket, host: str, certificates: Certificates) -> socket.socket:
    import ssl

    context = ssl.create_default_context()
    authority, certificate, key = (certificates.directory / f"{name}.pem" for name in ("ca", "cert", "key"))
    if not certificates.verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    try:
        if authority.is_file():
            context.load_verify_locations(authority)
        if certificate.is_file():
            context.load_cert_chain(certificate, key, password=lambda: "")  # or OpenSSL would ask at the terminal
    except (OSError, ssl.SSLError) as error:
        raise InvalidConfiguration(
            f"the certificates in {certificates.directory} cannot be used", detail=str(error)
        ) from error
    return context.wrap_socket(wire, server_hostname=host)


# ----------------------------------------------------------------------------------------------------------------- ssh


def ssh_command(endpoint: Endpoint) -> tuple[str, ...]:
    """As the docker program asks for it; what the user wrote is never taken for an option."""
    user = ("-l", endpoint.user) if endpoint.user else ()
    port = ("-p", str(endpoint.port)) if endpoint.port else ()
    where = ("--host", f"unix://{endpoint.path}") if endpoint.path else ()
    there = ("docker", *where, "system", "dial-stdio")
    return ("ssh", "-o", "ConnectTimeout=30", "-T", *user, *port, "--", endpoint.host, *there)


def _by_ssh(endpoint: Endpoint) -> Way:
    """A socket behind which ssh is; a pipe would know no limit on silence."""
    import subprocess

    ours, theirs = socket.socketpair()
    with ExitStack() as opened, theirs:
        opened.enter_context(ours)
        try:
            process = subprocess.Popen(
                ssh_command(endpoint),
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.PIPE,
                env=dict(endpoint.environ),
                start_new_session=True,  # Ctrl-C is for us: what is to be removed has to go over this very wire
            )
        except OSError as error:
            raise Unreachable(f"ssh could not be started for {endpoint.host}", detail=str(error)) from error
        opened.pop_all()
    return Way(wire=ours, close=partial(_end, ours, process), why=partial(_last_words, process))


def _end(wire: socket.socket, process: subprocess.Popen[bytes]) -> None:
    from subprocess import TimeoutExpired

    wire.close()
    with process:
        try:
            process.wait(_PATIENCE)
        except TimeoutExpired:
            process.kill()


def _last_words(process: subprocess.Popen[bytes]) -> str:
    """What ssh had to say, if it has ended."""
    from subprocess import TimeoutExpired

    try:
        process.wait(_PATIENCE)
    except TimeoutExpired:
        return ""
    if process.stderr is None:
        return ""
    # What ssh left running, to share its connection, may hold the pipe open for hours.
    os.set_blocking(process.stderr.fileno(), False)
    return (process.stderr.read(_LONGEST_WORDS) or b"").decode(errors="replace").strip()
