"""How git gets in: the login of one host over http, a key and known hosts over ssh.

A login must not be found anywhere afterwards: not in arguments, not in an environment, not in a file that a killed
process leaves behind. So it goes to git in an open file without a name, and a program of ours that git asks reads it
there, for the one host that it belongs to.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from s2ictl.errors import FetchSourceUnauthorized
from s2ictl.files import write_whole
from s2ictl.models import Login
from s2ictl.sources.options import FetchOptions, Surroundings
from s2ictl.sources.program import variables
from s2ictl.sources.ssh import ssh_command
from s2ictl.values import dataclass

_ASKPASS = """\
#!/bin/sh
# Answers git's questions about one host alone.
case $1 in
"Username for '$S2ICTL_ASKPASS_SCHEME://$S2ICTL_ASKPASS_HOST': ") printf '%s\\n' "$S2ICTL_ASKPASS_USERNAME" ;;
"Password for '$S2ICTL_ASKPASS_SCHEME://"*"@$S2ICTL_ASKPASS_HOST': ") cat "/dev/fd/$S2ICTL_ASKPASS_PASSWORD" ;;
*) exit 1 ;;
esac
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What a git that asks this host is started with."""

    variables: Mapping[str, str]
    inherited: tuple[int, ...] = ()


@contextmanager
def access(location: str, login: Login | None, surroundings: Surroundings) -> Iterator[Access]:
    """The way in, open while the context lasts."""
    scheme = urlsplit(location).scheme
    way = _over_web(scheme, login, surroundings) if scheme in ("https", "http") else _over_ssh(surroundings)
    with way as opened:
        yield opened


@contextmanager
def _over_ssh(surroundings: Surroundings) -> Iterator[Access]:
    with files_of(surroundings.options) as options:
        command = shlex.join(ssh_command(options))
        told = {"GIT_ALLOW_PROTOCOL": "ssh", "GIT_SSH_COMMAND": command, "GIT_SSH_VARIANT": "ssh"}
        yield Access(variables=variables(surroundings.environ, **told))


@contextmanager
def _over_web(scheme: str, login: Login | None, surroundings: Surroundings) -> Iterator[Access]:
    environ = surroundings.environ
    with ExitStack() as stack:
        options = stack.enter_context(files_of(surroundings.options))
        bundle = options.ca_bundle or environ.get("GIT_SSL_CAINFO") or environ.get("SSL_CERT_FILE")
        told = {"GIT_ALLOW_PROTOCOL": scheme, **({"GIT_SSL_CAINFO": str(bundle)} if bundle else {})}
        if login is None:
            yield Access(variables=variables(environ, **told))
            return
        password = stack.enter_context(_open_without_name(_line(login)))
        asking = _asking(scheme, login, _askpass(surroundings.cache), password)
        yield Access(variables=variables(environ, **told, **asking), inherited=(password,))


@contextmanager
def files_of(options: FetchOptions) -> Iterator[FetchOptions]:
    """The options with a file for each content that has none; a program of ours opens it by way of this process, since
    ssh closes every file that it inherits. Authorities add up: whoever names one more still believes the others."""
    key = options.ssh_key_content.reveal().encode() if options.ssh_key_content else b""
    with ExitStack() as stack:

        def file(content: bytes) -> Path | None:
            if not content:
                return None
            return Path(f"/proc/{os.getpid()}/fd/{stack.enter_context(_open_without_name(content))}")

        yield replace(
            options,
            ssh_key=options.ssh_key or file(key),
            known_hosts=options.known_hosts or file(options.known_hosts_content.encode()),
            ca_bundle=file(_authorities(options)) or options.ca_bundle,
        )


def _authorities(options: FetchOptions) -> bytes:
    if not options.ca_content:
        return b""
    return (options.ca_bundle.read_bytes() + b"\n" if options.ca_bundle else b"") + options.ca_content


def _asking(scheme: str, login: Login, program: Path, password: int) -> Mapping[str, str]:
    return {
        "GIT_ASKPASS": str(program),
        "S2ICTL_ASKPASS_SCHEME": scheme,
        "S2ICTL_ASKPASS_HOST": login.host,
        "S2ICTL_ASKPASS_USERNAME": login.username,
        "S2ICTL_ASKPASS_PASSWORD": str(password),
    }


def _line(login: Login) -> bytes:
    secret = login.password.reveal()
    if set(login.username + secret) & set("\r\n\0"):
        raise FetchSourceUnauthorized(f"the login for {login.host} has a line end in it", detail=f"from {login.origin}")
    return f"{secret}\n".encode()


@contextmanager
def _open_without_name(content: bytes) -> Iterator[int]:
    """A file in memory, for its owner alone (ssh looks); nothing of it is ever on a disk."""
    with os.fdopen(os.memfd_create("s2ictl"), "wb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(content)
        file.flush()
        yield file.fileno()


def _askpass(cache: Path) -> Path:
    """The program that git asks; it holds nothing secret, and lies in the cache since /tmp may forbid execution."""
    program = cache / "git" / "askpass"
    if not (program.is_file() and program.read_text(encoding="utf-8") == _ASKPASS):
        program.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(program, _ASKPASS.encode(), mode=0o700)
    return program
