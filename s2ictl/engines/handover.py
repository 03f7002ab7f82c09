"""What a command may see and the image must not keep: source, build-only variables, certificates, injected files.

A commit keeps the container's whole layer and its whole environment. So such things are handed over as files in the
layer and taken away again there: variables are read and removed before the command starts, the rest when it has ended
well. Mounts would leave their mount points behind, and one at `<dest>/src` makes `mv` of it fail. Only a shell in the
image can do this from inside; without one the command runs bare. When all is done the shell prints a mark that nobody
can know beforehand, so that a log that ends without it is known to be cut.

What is injected may lie in a directory of root's. So where there is any, the shell stays behind its mark until two more
commands have run in the same container, one of its own user's and one of root's: root has no capabilities there, and
removes only from what is root's. It prints the mark again every second, for one who lost the wire and listens anew.

Secrets lie in a volume that has no name: nothing of it is ever in the layer but the name of the directory.
"""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Iterator
from typing import Any

from s2ictl.archives import Entry, directory_entry, file_entry, tar_stream
from s2ictl.engines.injections import NOTHING, Plan
from s2ictl.errors import Refused
from s2ictl.models import CA_VARIABLES, SECRETS, Assembly, Secret
from s2ictl.values import dataclass

SHELL = "/bin/sh"
REMOVERS = ("/bin/rm", "/usr/bin/rm")
DONE = "USR1"  # no shell that is a container's first process hears it before it has set the trap
_SAFE_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """What is handed to one command, how it is told that the command has ended well, and what is then removed."""

    assembly: Assembly
    mark: str
    injected: Plan = NOTHING


def new_mark() -> str:
    return f"s2ictl-{secrets.token_hex(16)}"


def wrapped(assembly: Assembly, mark: str) -> tuple[str, ...]:
    """The command in a shell that clears away; the status is the command's own."""
    variables = shlex.quote(_variables_file(assembly))
    read = f". {variables} && rm -f {variables} || exit\n" if needs_files(assembly) else ""
    say = "printf '\\n%s\\n' \"$0\""
    stay = f"trap 'exit 0' {DONE}\nwhile {say}; do sleep 1 2>/dev/null & wait $!; done"
    known = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in assembly.exports)
    clear = _clearing_away((*assembly.leftovers, assembly.workspace))
    script = f'{known}{read}"$@" || exit\ncd /\n{clear}\n{stay if assembly.injections else say}\nexit 0'
    return (SHELL, "-c", script, mark, *assembly.command)


def _clearing_away(paths: tuple[str, ...]) -> str:
    """Remove the paths, unless something is mounted there: it would be emptied, and it is somebody's own.

    What has no right to be written to, as the directories of Go's modules, is given it first.
    """
    places = "|".join(f"{path}|{path}/*" for path in map(shlex.quote, paths))
    gone = shlex.join(paths)
    look = f"while read -r device place rest; do case $place in {places}) held=1;; esac; done </proc/mounts"
    remove = f"rm -rf -- {gone} 2>/dev/null || {{ chmod -R u+rwX {gone} 2>/dev/null; rm -rf -- {gone}; }}"
    return f'held=\n{look}\n[ "$held" ] || {remove}'


def clearing(handed: Handover, user: str) -> dict[str, Any]:
    """A command that removes what was injected; directories only when nobody else has put anything there.

    Nothing of the build's environment reaches it: what is root's must not run what the source named.
    """
    names = (name for name, _ in handed.assembly.env if name != "PATH")
    script = 'exec 2>/dev/null\nfor path do rm -f -- "$path" || rmdir -- "$path"; done\nexit 0'
    return {
        "Cmd": [SHELL, "-c", script, "s2ictl", *handed.injected.removed],
        "User": user,
        "Env": [_SAFE_PATH, *(f"{name}=" for name in names)],
        "WorkingDir": "/",
        "AttachStdout": True,
        "AttachStderr": True,
    }


def needs_files(assembly: Assembly) -> bool:
    return bool(assembly.build_env or assembly.ca_bundle)


def without_shell(assembly: Assembly) -> str:
    """What the user should know of a command that runs bare."""
    if assembly.injections:
        raise Refused(
            f"nothing can be injected into {assembly.image}: it has no {SHELL} with rm",
            detail="so what is injected could not be taken away again before the image is made",
            hint="hand it over with --secret, which needs no shell",
        )
    lost = [name for name, _ in (*assembly.exports, *assembly.build_env)] + ["the CA bundle"] * bool(assembly.ca_bundle)
    names = ", ".join(lost)
    missing = f", and {names} did not reach it" if names else ""
    stays = f"{assembly.leftovers[0]} stays in the image" if assembly.leftovers else "nothing is cleared away"
    return f"{assembly.image} has no {SHELL} with rm: {stays}{missing}"


# ----------------------------------------------------------------------------------------------------------- uploads


def files(assembly: Assembly) -> Iterator[Entry]:
    """What lies in the workspace; the variables are readable for the command's user alone."""
    if needs_files(assembly):
        yield directory_entry(assembly.workspace, mode=0o711)
        yield file_entry(_variables_file(assembly), _variables(assembly), mode=0o600)
    if assembly.ca_bundle:
        yield file_entry(_ca_file(assembly), assembly.ca_bundle, mode=0o644)


def secret_files(assembly: Assembly) -> Iterator[Entry]:
    """The secrets, for the command's user alone."""
    for secret in assembly.secrets:
        yield file_entry(f"{SECRETS}/{secret.id}", secret.content.reveal().encode(errors="surrogateescape"), mode=0o400)


def emptied(handed: Handover) -> Iterator[bytes]:
    """The same files with nothing in them, for a container that is kept."""
    assembly = handed.assembly
    workspace = (_variables_file(assembly),) if assembly.build_env else ()
    secret = tuple(f"{SECRETS}/{each.id}" for each in assembly.secrets)
    every = (*workspace, *secret, *handed.injected.files)
    return tar_stream([file_entry(path, b"", mode=0o600) for path in every], uid=0, gid=0)


def _variables_file(assembly: Assembly) -> str:
    return f"{assembly.workspace}/variables"


def _ca_file(assembly: Assembly) -> str:
    return f"{assembly.workspace}/ca.pem"


def _variables(assembly: Assembly) -> bytes:
    # The user's own word for one of these variables stands after ours, and wins.
    bundle = [(name, Secret(_ca_file(assembly))) for name in CA_VARIABLES if assembly.ca_bundle]
    lines = (f"export {name}={shlex.quote(value.reveal())}\n" for name, value in (*bundle, *assembly.build_env))
    return "".join(lines).encode(errors="surrogateescape")
