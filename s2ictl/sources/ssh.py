"""ssh as git is to run it, and whether every file is there that the user named for it or for any other way in.

Asked before anything is opened, and of every source: so it stands apart from git itself, which many never need.
"""

from __future__ import annotations

from pathlib import Path

from s2ictl.errors import FetchSourceUnauthorized, InvalidUsage
from s2ictl.sources.options import FetchOptions

_SSH = (
    *("ssh", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "UpdateHostKeys=no"),
    *("-o", "ConnectTimeout=20", "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=2"),
    *("-o", "ClearAllForwardings=yes", "-o", "ForwardAgent=no", "-o", "PermitLocalCommand=no"),
    *("-o", "ControlMaster=no"),  # one that stays behind would hold git's output open
)


def check(options: FetchOptions) -> None:
    """Find out, before anything is opened, whether each file that the user named is there."""
    if options.ssh_key and not options.ssh_key.is_file():
        raise FetchSourceUnauthorized(f"there is no ssh key {options.ssh_key}", hint="--ssh-key FILE")
    named = (
        ("--known-hosts", options.known_hosts),
        ("--ca-bundle", options.ca_bundle),
        ("--allowed-signers", options.allowed_signers),
    )
    for flag, path in named:
        if path and not path.is_file():
            raise InvalidUsage(f"{flag} names {path}, which is no file", hint=f"{flag} FILE")
    ssh_command(options)


def ssh_command(options: FetchOptions) -> tuple[str, ...]:
    """ssh that never asks a question and never accepts a host by itself."""
    words = list(_SSH)
    if options.ssh_key:
        words += ["-o", "IdentitiesOnly=yes", "-o", f"IdentityFile={_ssh_path(options.ssh_key)}"]
    if options.known_hosts:
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
