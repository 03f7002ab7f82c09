"""Who may go to which registry: found in Docker's and Podman's files, their helpers, the environment, or a secret.

A login belongs to one host and port, and is found by exactly that name (CVE-2026-59891): there is no nearest match and
no second choice. What is broken is said with the name of the entry, and never with what stands in it.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import msgspec

from s2ictl.addresses import DOCKER_HUB as DOCKER_HUB  # cli asks for the login of "no registry" by this name
from s2ictl.addresses import DOCKER_HUB_NAMES
from s2ictl.errors import Refused, Unauthorized
from s2ictl.models import IDENTITY_USER, Login, Secret

_DOCKER_HUB_KEY = "https://index.docker.io/v1/"
_KEY = ".dockerconfigjson"
_LARGEST_FILE = 4 << 20
_LARGEST_ANSWER = 64 << 10
_HELPER_SECONDS = 10.0
_HELPER_NAME = re.compile(r"[a-z0-9-]+")

T = TypeVar("T")
ReadSecret = Callable[[str, str], Mapping[str, bytes]]


class _Entry(msgspec.Struct, frozen=True, kw_only=True):
    auth: str | None = None
    username: str | None = None
    password: str | None = None
    identitytoken: str | None = None


class _File(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The part of a Docker config that is about logins; an entry is only read when it is the one that is wanted."""

    auths: dict[str, msgspec.Raw] | None = None
    cred_helpers: dict[str, str] | None = None
    creds_store: str | None = None


class _HelperAnswer(msgspec.Struct, frozen=True, rename="pascal"):
    username: str
    secret: str


RunHelper = Callable[[str, str], bytes | None]


def find_login(
    host: str, *, environ: Mapping[str, str], home: Path, only: Path | None = None, run: RunHelper | None = None
) -> Login | None:
    """Find the login for a registry; the first place that knows this host and port decides.

    A file that the user named is the `only` place.
    """
    wanted = normal_host(host)
    ask = run or (lambda helper, key: run_helper(helper, key, environ=environ))
    for origin, content in _named(only) if only else _places(environ, home):
        login = _in_file(wanted, _decode(content, _File, origin), origin, ask)
        if login is not None:
            return login
    return None


def secret_logins(namespace: str, name: str, *, read_secret: ReadSecret) -> tuple[Login, ...]:
    """All logins of a registry secret of the cluster, in the order in which it holds them."""
    origin = f"the secret {namespace}/{name}"
    data = read_secret(namespace, name)
    if _KEY not in data:
        raise Unauthorized(
            f"{origin} is not a registry secret: it has no key {_KEY}",
            detail=f"it has {', '.join(sorted(data)) or 'no keys at all'}",
            hint="make it with: kubectl create secret docker-registry",
        )
    entries = _decode(data[_KEY], _File, f"{_KEY} of {origin}").auths or {}
    found = (_of_entry(normal_host(key), raw, f"{key!r} in {origin}") for key, raw in entries.items())
    logins = tuple(login for login in found if login is not None)
    if not logins:
        raise Unauthorized(f"{origin} holds no login", hint=f"give its key {_KEY} an entry below auths")
    return logins


def login_of(secret: tuple[Login, ...], host: str, *, name: str) -> Login:
    """The login for this host out of a secret that was chosen by name."""
    wanted = normal_host(host)
    for login in secret:
        if login.host == wanted:
            return login
    raise Unauthorized(
        f"the secret {name} has no login for {wanted}",
        detail=f"it has one for {', '.join(login.host for login in secret)}",
        hint="choose another --registry-secret, or another registry in the name of the image",
    )


def pull_secret(login: Login) -> bytes:
    """The content of a Kubernetes pull secret for this login."""
    if not login.lasting:
        raise Refused(
            f"the login for {login.host} is not written into a secret",
            detail=f"it came from {login.origin}, and is not made to last",
            hint="make a pull secret by hand, and name it with --registry-secret",
        )
    pair = f"{login.username}:{login.password.reveal()}".encode()
    entry = {
        "username": login.username,
        "password": login.password.reveal(),
        "auth": base64.b64encode(pair).decode(),
    }
    key = _DOCKER_HUB_KEY if login.host == DOCKER_HUB else login.host
    return msgspec.json.encode({"auths": {key: entry}})


def normal_host(key: str) -> str:
    """One spelling for one registry: without scheme and path, in lower case, Docker Hub by its one name."""
    scheme, _, rest = key.rpartition("://")
    host = rest.partition("/")[0].lower()
    host = host.removesuffix(":80") if scheme == "http" else host.removesuffix(":443")
    return DOCKER_HUB if host in DOCKER_HUB_NAMES else host


# ------------------------------------------------------------------------------------------------------------ files


def _places(environ: Mapping[str, str], home: Path) -> Iterator[tuple[str, bytes]]:
    """Every place that exists, the most explicit first, with its content."""
    if environ.get("DOCKER_AUTH_CONFIG"):
        yield "DOCKER_AUTH_CONFIG", environ["DOCKER_AUTH_CONFIG"].encode()
    named = environ.get("REGISTRY_AUTH_FILE")
    if named:
        yield named, _content(Path(named), required="REGISTRY_AUTH_FILE") or b"{}"
    docker = Path(environ.get("DOCKER_CONFIG") or home / ".docker") / "config.json"
    runtime = environ.get("XDG_RUNTIME_DIR")
    config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    podman = [Path(runtime) / "containers/auth.json"] if runtime else []
    for path in (docker, *podman, config / "containers/auth.json"):
        content = _content(path)
        if content is not None:
            yield str(path), content


def _named(path: Path) -> Iterator[tuple[str, bytes]]:
    yield str(path), _content(path, required="--dockercfg-path") or b"{}"


def _content(path: Path, *, required: str = "") -> bytes | None:
    try:
        # Without waiting: a FIFO would have us wait for its writer for ever.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            content = file.read(_LARGEST_FILE + 1) or b""
    except (FileNotFoundError, NotADirectoryError):
        if not required:
            return None
        raise Unauthorized(f"{required} names {path}, which is not there") from None
    except OSError as error:
        raise Unauthorized(f"{path} cannot be read", detail=error.strerror or "") from error
    if len(content) > _LARGEST_FILE:
        raise Unauthorized(f"{path} is larger than {_LARGEST_FILE} bytes")
    return content


def _in_file(host: str, file: _File, origin: str, run: RunHelper) -> Login | None:
    """As Docker reads it: the helper for this host, else the store for all, else the file itself."""
    for key, helper in (file.cred_helpers or {}).items():
        if _stands_for(key, host):
            return _from_helper(host, key, helper, f'credHelpers → "{helper}" in {origin}', run)
    if file.creds_store:
        key = _DOCKER_HUB_KEY if host == DOCKER_HUB else host
        login = _from_helper(host, key, file.creds_store, f'credsStore → "{file.creds_store}" in {origin}', run)
        if login is not None:
            return login
    for key, raw in (file.auths or {}).items():
        if _stands_for(key, host):
            login = _of_entry(host, raw, f'auths → "{key}" in {origin}')
            if login is not None:
                return login
    return None


def _stands_for(key: str, host: str) -> bool:
    """A key with a path of its own is a login for a part of a registry (Podman's), and not for all of it."""
    path = key.rpartition("://")[2].partition("/")[2].strip("/")
    return normal_host(key) == host and path in ("", "v1", "v2")


def _of_entry(host: str, raw: msgspec.Raw, origin: str) -> Login | None:
    entry = _decode(bytes(raw), _Entry, origin)
    if entry.identitytoken:
        secret = Secret(entry.identitytoken)
        return Login(host=host, username=IDENTITY_USER, password=secret, origin=origin, lasting=False)
    if entry.username and entry.password is not None:
        return Login(host=host, username=entry.username, password=Secret(entry.password), origin=origin)
    if not entry.auth:
        return None  # the empty entry that Docker leaves beside a credsStore
    try:
        username, colon, password = base64.b64decode(entry.auth, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        raise Unauthorized(f"{origin} is not readable", detail="its auth is not base64 of a text") from None
    if not colon or not username:
        raise Unauthorized(f"{origin} is not readable", detail="its auth is not USER:PASSWORD")
    return Login(host=host, username=username, password=Secret(password.rstrip("\0")), origin=origin)


def _decode(content: bytes, kind: type[T], origin: str) -> T:
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        # Not `from` the cause: it may hold what it could not decode.
        why = str(error)[:200] if isinstance(error, msgspec.MsgspecError) else "it is not a JSON document"
        raise Unauthorized(f"{origin} is not readable", detail=why) from None


# ---------------------------------------------------------------------------------------------------------- helpers


def _from_helper(host: str, key: str, helper: str, origin: str, run: RunHelper) -> Login | None:
    if not _HELPER_NAME.fullmatch(helper):
        raise Unauthorized(f"{origin} does not name a credential helper", hint="a helper's name is of a-z, 0-9 and -")
    try:
        answer = run(helper, key)
    except Unauthorized as error:
        raise Unauthorized(f"{origin} failed", detail=error.message, hint=error.hint) from error
    if answer is None:
        return None
    said = _decode(answer, _HelperAnswer, f"the answer of {origin}")
    return Login(host=host, username=said.username, password=Secret(said.secret), origin=origin, lasting=False)


def run_helper(name: str, key: str, *, environ: Mapping[str, str], seconds: float = _HELPER_SECONDS) -> bytes | None:
    """Ask a credential helper; None when it says that it knows nothing of this registry."""
    program = shutil.which(f"docker-credential-{name}", path=environ.get("PATH", os.defpath))
    if program is None:
        raise Unauthorized(f"docker-credential-{name} is not in PATH", hint="install it, or take it out of the config")
    with _asked(program, key, environ) as process:
        answer, status = _bounded(process, time.monotonic() + seconds, name)
    if status == 0:
        return answer
    if b"not found" in answer:  # the words of Docker's own library: "credentials not found in native keychain"
        return None
    raise Unauthorized(f"docker-credential-{name} ended with {status}", hint=f"try it: docker-credential-{name} get")


@contextmanager
def _asked(program: str, key: str, environ: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A helper that has been given its question, in a group of its own that ends with us."""
    question, writer = os.pipe()
    with os.fdopen(writer, "wb") as pipe:
        pipe.write(key.encode())
    try:
        process = subprocess.Popen(
            [program, "get"],
            stdin=question,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environ,
            start_new_session=True,
        )
    except OSError as error:
        raise Unauthorized(f"{program} cannot be run", detail=error.strerror or "") from error
    finally:
        os.close(question)
    with process:
        try:
            yield process
        except BaseException:
            # Nobody has waited for it yet, so the number of its group is still its own.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise


def _bounded(process: subprocess.Popen[bytes], end: float, name: str) -> tuple[bytes, int]:
    """What it says and how it ends, as far as it does so in time and briefly."""
    assert process.stdout is not None  # noqa: S101  (asked for above)
    answer = b""
    with selectors.DefaultSelector() as selector, suppress(subprocess.TimeoutExpired):
        selector.register(process.stdout, selectors.EVENT_READ)
        while selector.select(max(0.0, end - time.monotonic())):
            piece = os.read(process.stdout.fileno(), _LARGEST_ANSWER)
            if not piece:
                return answer, process.wait(max(0.0, end - time.monotonic()))
            answer += piece
            if len(answer) > _LARGEST_ANSWER:
                raise Unauthorized(f"docker-credential-{name} answers with more than {_LARGEST_ANSWER} bytes")
    raise Unauthorized(f"docker-credential-{name} does not answer")
