"""How git gets in: the login of one host over http, a key and known hosts over ssh.

A login must not be found anywhere afterwards: not in arguments, not in an environment, not in a file that a killed
process leaves behind. So it goes to git in an open file without a name, and a program of ours that git asks reads it
there, for the one host that it belongs to.
"""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from s2ictl.errors import FetchSourceUnauthorized, InvalidUsage
from s2ictl.models import Login
from s2ictl.sources.options import FetchOptions, Surroundings
from s2ictl.sources.program import variables

_ASKPASS = """\
#!/bin/sh
# Answers git's questions about one host alone.
case $1 in
"Username for '$S2ICTL_ASKPASS_SCHEME://$S2ICTL_ASKPASS_HOST': ") printf '%s\\n' "$S2ICTL_ASKPASS_USERNAME" ;;
"Password for '$S2ICTL_ASKPASS_SCHEME://"*"@$S2ICTL_ASKPASS_HOST': ") cat "/dev/fd/$S2ICTL_ASKPASS_PASSWORD" ;;
*) exit 1 ;;
esac
"""

_SSH = (
    *("ssh", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "UpdateHostKeys=no"),
    *("-o", "ConnectTimeout=20", "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=2"),
    *("-o", "ClearAllForwardings=yes", "-o", "ForwardAgent=no", "-o", "PermitLocalCommand=no"),
    *("-o", "ControlMaster=no"),  # one that stays behind would hold git's output open
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What a git that asks this host is started with."""

    variables: Mapping[str, str]
    inherited: tuple[int, ...] = ()


@contextmanager
def access(location: str, login: Login | None, surroundings: Surroundings) -> Iterator[Access]:
    """The way in, open while the context lasts."""
    options, environ = surroundings.options, surroundings.environ
    parts = urlsplit(location)
    if parts.scheme not in ("https", "http"):
        command = shlex.join(ssh_command(options))
        yield Access(
            variables=variables(environ, GIT_ALLOW_PROTOCOL="ssh", GIT_SSH_COMMAND=command, GIT_SSH_VARIANT="ssh")
        )
        return
    bundle = options.ca_bundle or environ.get("GIT_SSL_CAINFO") or environ.get("SSL_CERT_FILE")
    more = {"GIT_ALLOW_PROTOCOL": parts.scheme, **({"GIT_SSL_CAINFO": str(bundle)} if bundle else {})}
    if login is None:
        yield Access(variables=variables(environ, **more))
        return
    with _open_without_name(login) as password:
        asking = _asking(parts.scheme, login, _askpass(surroundings.cache), password)
        yield Access(variables=variables(environ, **more, **asking), inherited=(password,))


def _asking(scheme: str, login: Login, program: Path, password: int) -> Mapping[str, str]:
    return {
        "GIT_ASKPASS": str(program),
        "S2ICTL_ASKPASS_SCHEME": scheme,
        "S2ICTL_ASKPASS_HOST": login.host,
        "S2ICTL_ASKPASS_USERNAME": login.username,
        "S2ICTL_ASKPASS_PASSWORD": str(password),
    }


@contextmanager
def _open_without_name(login: Login) -> Iterator[int]:
    secret = login.password.reveal()
    if set(login.username + secret) & set("\r\n\0"):
        raise FetchSourceUnauthorized(f"the login for {login.host} has a line end in it", detail=f"from {login.origin}")
    with tempfile.TemporaryFile() as file:
        file.write(f"{secret}\n".encode())
        file.flush()
        yield file.fileno()


def _askpass(cache: Path) -> Path:
    """The program that git asks; it holds nothing secret, and lies in the cache since /tmp may forbid execution."""
    program = cache / "git" / "askpass"
    if not (program.is_file() and program.read_text(encoding="utf-8") == _ASKPASS):
        with tempfile.NamedTemporaryFile("w", dir=program.parent, prefix=".askpass-", delete=False) as partial:
            partial.write(_ASKPASS)
            os.fchmod(partial.fileno(), 0o700)
        Path(partial.name).replace(program)
    return program


def ssh_command(options: FetchOptions) -> tuple[str, ...]:
    """ssh that never asks a question and never accepts a host by itself."""
    words = list(_SSH)
    if options.ssh_key:
        if not options.ssh_key.is_file():
            raise FetchSourceUnauthorized(f"there is no ssh key {options.ssh_key}", hint="--ssh-key FILE")
        words += ["-o", "IdentitiesOnly=yes", "-o", f"IdentityFile={_ssh_path(options.ssh_key)}"]
    if options.known_hosts:
        if not options.known_hosts.is_file():
            raise InvalidUsage(f"there is no file {options.known_hosts} of known hosts", hint="--known-hosts FILE")
        words += ["-o", f"UserKnownHostsFile={_ssh_path(options.known_hosts)}"]
    return tuple(words)


def _ssh_path(path: Path) -> str:
    """A path as ssh reads it from an option: it splits at spaces, and expands % and ${ }."""
    text = str(path.absolute())
    if any(part in text for part in ('"', "\\", "${")):
        raise InvalidUsage(
            f'ssh does not take the path {text}: it has ", \\ or ${{ in it', hint="copy the file elsewhere"
        )
    return '"' + text.replace("%", "%%") + '"'
