"""What a command may see and no layer may keep: each a mount of a secret, whose value is never written.

A secret reaches the command as a file, which everything that builds Dockerfiles can do; the shell around the command
makes variables of those that are to be such.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

from s2ictl.dockerfiles.words import word
from s2ictl.errors import InvalidUsage
from s2ictl.models import CA_VARIABLES, SECRETS, Assembly, Cache, Injection
from s2ictl.values import dataclass

_BUNDLE = "ca-bundle"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A secret by its id, where the command finds it, and what whoever builds says to hand it over."""

    id: str
    target: str
    source: str
    needed: bool


def mounts(assembly: Assembly) -> tuple[Mount, ...]:
    """Everything that is handed to the command, each by an id of its own."""
    found = tuple(_mounts(assembly))
    for mount, count in Counter(mount.id for mount in found).items():
        if count > 1:
            raise InvalidUsage(
                f"the Dockerfile has another secret that it calls {mount}", hint="--secret id=ANOTHER,src=FILE"
            )
    return found


def _mounts(assembly: Assembly) -> Iterator[Mount]:
    """A mirror, a proxy or a certificate of this machine may well be missed elsewhere; what was asked for may not."""
    if assembly.ca_bundle:
        yield Mount(id=_BUNDLE, target=f"{SECRETS}/{_BUNDLE}", source="src=FILE", needed=False)
    for name, _ in assembly.build_env:
        yield Mount(id=_id_of(name), target=f"{SECRETS}/{_id_of(name)}", source=f"env={name}", needed=False)
    for secret in assembly.secrets:
        yield Mount(id=secret.id, target=f"{SECRETS}/{secret.id}", source="src=FILE", needed=True)
    for number, each in enumerate(assembly.injections, start=1):
        yield Mount(id=f"inject-{number}", target=each.target, source=f"src={each.source}", needed=True)


def _id_of(variable: str) -> str:
    return f"env-{variable}"  # --secret has names of its own


def option(mount: Mount, user: str) -> str:
    """The mount as RUN is told; only a number of a user can be said, so for a name it is readable to all in there."""
    name = user.partition(":")[0]
    owner = f"uid={name},mode=0400" if name.isdecimal() else "mode=0400" if _is_root(name) else "mode=0444"
    needed = ",required=true" if mount.needed else ""
    return f"--mount=type=secret,id={word(mount.id)},target={_target(mount.target)},{owner}{needed}"


def kept(cache: Cache, user: str) -> str:
    """The mount that the next build finds again as this one leaves it; of who owns it the same holds."""
    name = user.partition(":")[0]
    owner = f",uid={name},gid=0,mode=0775" if name.isdecimal() else "" if _is_root(name) else ",mode=0777"
    return f"--mount=type=cache,id={cache.name},target={_target(cache.target)}{owner}"


def _is_root(name: str) -> bool:
    return name in ("", "root")


def _target(path: str) -> str:
    """Flags are read three times over, so of the letters that mean something there only the space is taken."""
    if not path.isprintable() or set(path) & set(",$\\\"'"):
        raise InvalidUsage(f"a Dockerfile cannot put a secret at {path[:200]!r}", hint="inject it at a plainer path")
    return f'"{path}"' if " " in path else path


def wrapped(assembly: Assembly) -> tuple[str, ...]:
    """The command in a shell that makes the variables and clears away; the status is the command's own."""
    lines = [*_variables(assembly), '"$@" || exit', "cd /"]
    lines += [f"rm -rf -- {shlex.join(assembly.leftovers)}"] if assembly.leftovers else []
    return ("/bin/sh", "-c", "\n".join([*lines, "exit 0"]), "s2ictl", *assembly.command)


def _variables(assembly: Assembly) -> Iterator[str]:
    bundle = f"{SECRETS}/{_BUNDLE}"
    yield from (f"export {name}={shlex.quote(value)}" for name, value in assembly.exports)
    if assembly.ca_bundle:
        yield f"[ ! -e {bundle} ] || export " + " ".join(f"{name}={bundle}" for name in CA_VARIABLES)
    # The user's own word for one of these variables stands after ours, and wins.
    for name, _ in assembly.build_env:
        path = f"{SECRETS}/{_id_of(name)}"
        yield f'[ ! -e {path} ] || export {name}="$(cat {path})"'


# ------------------------------------------------------------------------------------------------- injected files


def with_files_only(assembly: Assembly) -> Assembly:
    """The assembly with each injected directory as the files in it: a secret is one file."""
    workdir = PurePosixPath("/", assembly.config(None).workdir)
    found = [each for one in assembly.injections for each in _files(one, workdir)]
    return replace(assembly, injections=tuple(found))


def _files(injection: Injection, workdir: PurePosixPath) -> Iterator[Injection]:
    source, place = injection.source, workdir / injection.target
    if source.is_dir():
        for path in sorted(_below(source, source.resolve())):
            yield Injection(source=path, target=str(place / path.relative_to(source)))
    elif source.is_file():
        # Whether the image has a directory there cannot be seen from here; it surely has its workdir.
        into = injection.target.endswith("/") or place in (workdir, *workdir.parents)
        yield Injection(source=source, target=str(place / source.name if into else place))
    else:
        raise InvalidUsage(f"{source} cannot be injected: it is no file and no directory")


def _below(directory: Path, inside: Path) -> Iterator[Path]:
    """The files; links are resolved only inside, and one to a directory leads to nothing that is not there anyway."""
    for path in directory.iterdir():
        if not path.resolve().is_relative_to(inside):
            raise InvalidUsage(f"{path} cannot be injected: the link leads out of the directory")
        if path.is_file():
            yield path
        elif not path.is_symlink() and path.is_dir():
            yield from _below(path, inside)
