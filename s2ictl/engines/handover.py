"""What a command may see and the image must not keep: source, build-only variables, the certificate bundle.

A commit keeps the container's whole layer and its whole environment. So such things are handed over as files in the
layer and taken away again there: variables are read and removed before the command starts, the rest when it has ended
well. Mounts would leave their empty mount points behind, and one at `<dest>/src` makes `mv` of it fail. Only a shell in
the image can do this from inside; without one the command runs bare.
"""

from __future__ import annotations

import io
import shlex
import tarfile

from s2ictl.models import Assembly, Secret

SHELL = "/bin/sh"
CA_VARIABLES = (
    "SSL_CERT_FILE",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
)


def wrapped(assembly: Assembly) -> tuple[str, ...]:
    """The command in a shell that clears away; the status is the command's own."""
    return (SHELL, "-c", _script(assembly), "s2ictl", *assembly.command)


def _script(assembly: Assembly) -> str:
    variables = shlex.quote(_variables_file(assembly))
    gone = shlex.join([*assembly.leftovers, assembly.workspace])
    read = f". {variables} && rm -f {variables} || exit\n" if needs_files(assembly) else ""
    return f'{read}"$@" || exit\ncd /\nrm -rf -- {gone}\nexit 0'


def needs_files(assembly: Assembly) -> bool:
    return bool(assembly.build_env or assembly.ca_bundle)


def without_shell(assembly: Assembly) -> str:
    """What the user should know of a command that runs bare."""
    names = ", ".join([name for name, _ in assembly.build_env] + ["the CA bundle"] * bool(assembly.ca_bundle))
    missing = f", and {names} did not reach it" if names else ""
    return f"{assembly.image} has no {SHELL}: {assembly.leftovers[0]} stays in the image{missing}"


def files(assembly: Assembly, uid: int, gid: int) -> bytes:
    """The tar of the workspace; the variables in it are readable for the command's user alone."""
    buffer = io.BytesIO()
    workspace = assembly.workspace.lstrip("/")
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        # The engine guesses a compression from the first bytes: with this entry there is nothing to guess.
        tar.addfile(_entry("./", 0, 0, mode=0o755))
        tar.addfile(_entry(f"{workspace}/", uid, gid, mode=0o711))
        _add(tar, _variables_file(assembly), _variables(assembly).encode(), uid, gid, mode=0o600)
        if assembly.ca_bundle:
            _add(tar, _ca_file(assembly), assembly.ca_bundle, uid, gid, mode=0o644)
    return buffer.getvalue()


def _entry(name: str, uid: int, gid: int, *, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.uid, entry.gid = tarfile.DIRTYPE, mode, uid, gid
    return entry


def _add(tar: tarfile.TarFile, path: str, data: bytes, uid: int, gid: int, *, mode: int) -> None:
    entry = tarfile.TarInfo(path.lstrip("/"))
    entry.mode, entry.uid, entry.gid, entry.size = mode, uid, gid, len(data)
    tar.addfile(entry, io.BytesIO(data))


def _variables_file(assembly: Assembly) -> str:
    return f"{assembly.workspace}/variables"


def _ca_file(assembly: Assembly) -> str:
    return f"{assembly.workspace}/ca.pem"


def _variables(assembly: Assembly) -> str:
    # The user's own word for one of these variables stands after ours, and wins.
    bundle = [(name, Secret(_ca_file(assembly))) for name in CA_VARIABLES if assembly.ca_bundle]
    return "".join(f"export {name}={shlex.quote(value.reveal())}\n" for name, value in (*bundle, *assembly.build_env))
