"""An assembly as the instructions of a Dockerfile: pure, and in the order in which an engine performs it."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from s2ictl.dockerfiles import handed
from s2ictl.dockerfiles.ground import Copy
from s2ictl.dockerfiles.handed import Mount
from s2ictl.dockerfiles.words import SIGNATURE, comment, copied, exact, listed, one_line, pairs, quoted, word
from s2ictl.errors import InvalidUsage
from s2ictl.models import Assembly, Confinement, ImageConfig, Reference, Runtime, Salvage
from s2ictl.values import dataclass

_SYNTAX = "# syntax=docker/dockerfile:1"
_SAVED, _BUILD, _PICKED = "saved", "build", "artifacts"  # the stages before the last
_TMP = PurePosixPath("/tmp")  # noqa: S108  (in the container, where every user may write)
_PLACE_OF_SAVED = str(_TMP / ".s2ictl" / "saved")


@dataclass(frozen=True, slots=True, kw_only=True)
class Copies:
    """What lies beside the Dockerfile, for each of its stages."""

    build: tuple[Copy, ...] = ()
    saved: tuple[Copy, ...] = ()
    runtime: tuple[Copy, ...] = ()


def render(assembly: Assembly, copies: Copies, *, file: str) -> str:
    """The Dockerfile of this name; `injections` are files, since a secret is one."""
    stages = [_build(assembly, copies.build)]
    if assembly.salvage is not None:
        stages.insert(0, _saved(assembly.salvage, copies.saved))
    if assembly.runtime is not None:
        stages += [_picked(assembly.runtime, assembly.workspace), _runtime(assembly.runtime, assembly, copies.runtime)]
    return "\n\n".join(["\n".join(_head(assembly, file)), *("\n".join(stage) for stage in stages)]) + "\n"


# ----------------------------------------------------------------------------------------------------- for people


def _head(assembly: Assembly, file: str) -> Iterator[str]:
    mounts = _all_mounts(assembly)
    yield from [_SYNTAX] if mounts or assembly.caches else []
    yield SIGNATURE
    yield from map(comment, ("upload/ lies beside it, and is what it copies. Here it is built with", ""))
    yield from map(comment, _command(assembly, mounts, file))
    yield from map(comment, _not_said(assembly))


def _all_mounts(assembly: Assembly) -> tuple[Mount, ...]:
    last = assembly.runtime.assembly if assembly.runtime else None
    every = (*handed.mounts(assembly), *(handed.mounts(last) if last and last.command else ()))
    return tuple({mount.id: mount for mount in every}.values())


def _command(assembly: Assembly, mounts: Iterable[Mount], file: str) -> Iterator[str]:
    """The line to type; what is handed on is named, and its value is not."""
    last = assembly.runtime.assembly if assembly.runtime else assembly
    words = [f"--tag {name}" for name in last.names]
    words += [f"--secret {shlex.quote(f'id={mount.id},{mount.source}')}" for mount in mounts]
    yield from [
        f"    docker build --file {shlex.quote(file)} \\",
        *(f"        {each} \\" for each in words),
        "        .",
    ]


def _not_said(assembly: Assembly) -> Iterator[str]:
    yield ""
    yield f"The labels that assemble asks for in {assembly.metadata} are not set: a Dockerfile cannot read that file."
    if flags := tuple(_flags(assembly.confinement)):
        yield "The build was to have these, which stand in no Dockerfile: podman build and buildah know them all,"
        yield f"docker build some: {' '.join(flags)}"


def _flags(confinement: Confinement) -> Iterator[str]:
    for volume in confinement.volumes:
        options = f":{volume.options}" if volume.options else ""
        yield shlex.join(["--volume", f"{volume.source}:{volume.target}{options}"])
    yield from [shlex.join(["--network", confinement.network])] if confinement.network else []
    yield from (shlex.join(["--add-host", host]) for host in confinement.hosts)
    yield from (shlex.join(["--cap-drop", name]) for name in confinement.cap_drop)
    yield from [f"--memory {confinement.memory}"] if confinement.memory else []
    yield from [f"--cpu-period 100000 --cpu-quota {round(confinement.cpus * 100000)}"] if confinement.cpus else []


# --------------------------------------------------------------------------------------------------------- stages


_SAVE = """\
place=$1
shift
mkdir -p "$place" && chmod 0700 "$place" && cd "$place" && "$@" >../../saved.tar &&
    { [ ! -s ../../saved.tar ] || tar -xf ../../saved.tar; } ||
    { echo "nothing could be saved from the earlier image" >&2 && rm -rf -- "$place"; }
"""


def _saved(salvage: Salvage, copies: Iterable[Copy]) -> Iterator[str]:
    """What the earlier image saves; nothing depends on it, so whatever goes wrong there, nothing is saved."""
    # COPY keeps the mode of what lies in a directory, and not the directory's own.
    place = f"{_PLACE_OF_SAVED}/{PurePosixPath(salvage.target).name}"
    yield comment("What the earlier image saves for this build.")
    yield f"FROM {word(salvage.image)} AS {_SAVED}"
    yield from _copied(copies, salvage.user)
    yield from _user(salvage.user)
    yield listed("RUN", ("/bin/sh", "-c", _SAVE, "s2ictl", place, *salvage.command))


def _build(assembly: Assembly, copies: tuple[Copy, ...]) -> Iterator[str]:
    yield from _from(assembly, f" AS {_BUILD}" if assembly.runtime else "")
    yield from pairs("ENV", ((name, exact(name, value)) for name, value in assembly.env))
    yield from _directories((each.target for each in copies), assembly.user, workdir=assembly.config(None).workdir)
    if assembly.salvage is not None:
        options = (f"--from={_SAVED}", _chown(assembly.user))
        parent = PurePosixPath(assembly.salvage.target).parent
        yield copied(f"{_PLACE_OF_SAVED}/", f"{parent}/".replace("//", "/"), *options)
    yield from _copied(copies, assembly.user)
    yield from _user(assembly.user)
    yield _run(assembly)
    if assembly.runtime is None:
        yield from _says(assembly.config(None), assembly.user)


_PICK = """\
set -e
pick() {
    place=$1 none=1
    shift
    mkdir -p "$place"
    for path do
        if [ -e "$path" ] || [ -L "$path" ]; then cp -RPp -- "$path" "$place/" && none=; fi
    done
    [ -z "$none" ] || { echo "assemble left nothing at $1" >&2; exit 1; }
    chmod -R u=rwX,go=rX "$place"
}
"""


def _picked(runtime: Runtime, workspace: str) -> Iterator[str]:
    """The artifacts as the last stage takes them; whoever assembled may not be able to read all of them."""
    calls = (
        f"pick {shlex.quote(_place_of_picked(number, workspace))} {' '.join(_patterns(artifact.source))}\n"
        for number, artifact in enumerate(runtime.artifacts)
    )
    yield comment("What goes from the build into the runtime image.")
    yield f"FROM {_BUILD} AS {_PICKED}"
    yield "USER 0"
    yield listed("RUN", ("/bin/sh", "-c", _PICK + "".join(calls)))


def _place_of_picked(number: int, workspace: str) -> str:
    return f"{workspace}/artifacts/{number}"


def _patterns(source: str) -> Iterator[str]:
    """A path for the shell, in which a sign of a pattern also means hidden names, as it does for an engine."""
    parts = source.strip("/").split("/")
    if "**" in parts:
        raise InvalidUsage(f"a Dockerfile cannot say {source}", hint="name the directory instead: --runtime-artifact")
    for chosen in itertools.product(*((part, f".[!.]{part}") if part[:1] == "*" else (part,) for part in parts)):
        yield re.sub(r"[^*?\[\]!]+", lambda plain: shlex.quote(plain[0]), "/" + "/".join(chosen))


def _runtime(runtime: Runtime, build: Assembly, copies: tuple[Copy, ...]) -> Iterator[str]:
    last = runtime.assembly
    yield from _from(last, "")
    yield from pairs("ENV", ((name, exact(name, value)) for name, value in last.env))
    targets = [str(PurePosixPath(runtime.root, artifact.target)) for artifact in runtime.artifacts]
    every = (*targets, *(each.target for each in copies))
    made = tuple(_directories(every, last.user, workdir=runtime.root))
    yield from made
    for number, target in enumerate(targets):
        place = _place_of_picked(number, build.workspace)
        yield copied(f"{place}/", f"{target.rstrip('/')}/", f"--from={_PICKED}", _chown(last.user))
    yield from _copied(copies, last.user)
    if last.command:
        yield from _user(last.user)
        yield _run(last)
    yield from _says(last.config(None), last.user if last.command or made else "")


# --------------------------------------------------------------------------------------------------- instructions


def _from(assembly: Assembly, alias: str) -> Iterator[str]:
    if assembly.digest:
        # With tag and digest together podman's older versions refuse it.
        yield comment(f"{assembly.image}, as it was when this was written")
        yield f"FROM {Reference.parse(assembly.image).name}@{assembly.digest}{alias}"
    else:
        yield comment("It has no digest, since it came from no registry: it must be there where this is built.")
        yield f"FROM {word(assembly.image)}{alias}"


_MAKE = 'for place do [ -d "$place" ] || { mkdir "$place" && chown "$0" "$place"; } || exit; done'


def _directories(targets: Iterable[str], user: str, *, workdir: str) -> Iterator[str]:
    """The directories above, where there are none: COPY would make them root's, and no command could write there."""
    owner, there = _owner(user), PurePosixPath("/", workdir)
    above = {parent for target in targets for parent in PurePosixPath(target).parents}
    missing = sorted(map(str, above - {_TMP, there, *there.parents}))
    if missing and owner.partition(":")[0] != "0":
        yield "USER 0"
        yield listed("RUN", ("/bin/sh", "-c", _MAKE, owner, *missing))


def _copied(copies: Iterable[Copy], user: str) -> Iterator[str]:
    for each in copies:
        yield copied(each.source, each.target, _chown(user))


def _chown(user: str) -> str:
    return f"--chown={_owner(user)}"


def _owner(user: str) -> str:
    """Without a group it is root's, as where a cluster chooses the user: docker would take the user's own number."""
    name, _, group = user.partition(":")
    return f"{name if name not in ('', 'root') else '0'}:{group or '0'}"


def _user(user: str) -> Iterator[str]:
    yield from [f"USER {word(user)}"] if user else []


def _run(assembly: Assembly) -> str:
    mounts = [handed.option(mount, assembly.user) for mount in handed.mounts(assembly)]
    mounts += [handed.kept(cache, assembly.user) for cache in assembly.caches]
    options = [f"{mount} \\\n   " for mount in mounts]
    return listed(" ".join(["RUN", *options]), handed.wrapped(assembly))


def _says(config: ImageConfig, user: str) -> Iterator[str]:
    """What the image says of itself; after the command, which may so be cached over another commit."""
    yield from pairs(
        "LABEL", ((quoted(one_line(name)), quoted(one_line(value))) for name, value in sorted(config.labels.items()))
    )
    yield from [f"WORKDIR {word(config.workdir)}"] if config.workdir else []
    yield from [f"EXPOSE {' '.join(map(word, config.exposed))}"] if config.exposed else []
    yield from _user(config.user or ("0" if user else ""))
    yield listed("ENTRYPOINT", config.entrypoint)  # before CMD, which it would reset
    yield listed("CMD", config.command)
