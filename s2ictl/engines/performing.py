"""One described container, performed: filled, run, cleared and judged; what becomes of it is for the caller to say."""

from __future__ import annotations

import posixpath
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from s2ictl.archives import directory_entry, read_tar, tar_stream
from s2ictl.engines import dockerapi, handover, images, injections, outcomes, transfers
from s2ictl.engines.connection import WORK, Forgiven, door
from s2ictl.engines.containers import SMALL_FILE, Container, created, ids_of
from s2ictl.engines.following import Marked, follow
from s2ictl.engines.handover import Handover
from s2ictl.engines.salvaging import salvage
from s2ictl.engines.streams import Limit
from s2ictl.errors import AssembleFailed, InvalidUsage, LimitReached, PullBuilderImageFailed, Refused, S2IError
from s2ictl.events import Emit, Notice
from s2ictl.leases import Host, name_for
from s2ictl.models import Assembly, Runtime

_METADATA_LIMIT = 256 * 1024
_CLEARING = 300.0
_LOOK_INTO = "build it by hand with --keep: its container stays, to be looked into"
_NETWORKS = ("", "bridge", "default", "host", "none")

Fill = Callable[[Container, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A container whose command, if it has one, has ended well."""

    container: Container
    assembly: Assembly


@dataclass(frozen=True, slots=True, kw_only=True)
class Performer:
    """Who performs: on which engine, in whose name, and who hears of it."""

    api: Any
    host: Host
    emit: Emit

    # ------------------------------------------------------------------------------------- before anything is made

    def check(self, assembly: Assembly) -> None:
        """Say what cannot be."""
        for each in (assembly, *([assembly.runtime.assembly] if assembly.runtime else [])):
            each.config(None)
            given = each.confinement
            if given.memory or given.cpus:
                with door("ask the engine for its limits"):
                    lacking = dockerapi.unsettable(self.api.info(), given)
                if lacking:
                    raise Refused(f"this engine cannot set {lacking}", hint="leave it out, or name another engine")
            if given.network not in _NETWORKS and ":" not in given.network:
                self._check_network(given.network)

    def _check_network(self, name: str) -> None:
        with door(f"look for the network {name}"), Forgiven(404):
            self.api.inspect_network(name)
            return
        raise InvalidUsage(f"the engine has no network {name}", hint=f"docker network create {name}")

    # --------------------------------------------------------------------------------------------------- one stage

    @contextmanager
    def performed(self, assembly: Assembly, *, before: Fill | None = None) -> Iterator[Stage]:
        """A container in which the command has ended well, while the context lasts; `before` fills it first."""
        with self._ready(assembly) as (container, mark):
            for program in assembly.programs:
                _check_program(container, program)
            uid, gid = ids_of(container, assembly.user)
            if before:
                before(container, uid, gid)
            _make_way(container, assembly.workspace, uid, gid)
            container.put(transfers.told(assembly.upload(uid, gid), "upload", self.emit))
            if assembly.command:
                self._run(container, _hand_over(container, assembly, mark, uid, gid))
            yield Stage(container=container, assembly=assembly)

    @contextmanager
    def _ready(self, assembly: Assembly) -> Iterator[tuple[Container, str]]:
        """A container with what was saved for it, and the mark of its shell; without a shell the command runs bare.

        Whatever goes wrong with what was saved, a clean container takes the place of the half-filled one.
        """
        mark = handover.new_mark() if assembly.command else ""
        command = handover.wrapped(assembly, mark) if mark else ()
        with self._created(assembly, command) as container:
            shelled = not mark or _has_shell(container)
            if shelled and self._salvaged(container, assembly):
                yield container, mark
                return
        if not shelled:
            self.emit(Notice(text=handover.without_shell(assembly), level="warning"))
            mark, command = "", assembly.command
            with self._created(assembly, command) as container:
                if self._salvaged(container, assembly):
                    yield container, mark
                    return
        with self._created(assembly, command) as container:
            yield container, mark

    @contextmanager
    def _created(self, assembly: Assembly, command: tuple[str, ...]) -> Iterator[Container]:
        name = name_for(assembly.owner, self.host, seconds=assembly.timeout + WORK)
        document = dockerapi.container_document(assembly, command)
        with created(self.api, name, document, image=assembly.image) as container:
            yield container

    def _salvaged(self, container: Container, assembly: Assembly) -> bool:
        """Whether the container is good to go on with; nothing that a build saves for the next may stop that one."""
        asked = assembly.salvage
        if asked is None:
            return True
        try:
            uid, gid = ids_of(container, assembly.user)
            present = _present_above(container, asked.target)
            salvage(self.api, self.host, asked, container, uid=uid, gid=gid, present=present, emit=self.emit)
        except S2IError as error:
            because = error.message + (f" ({error.detail.splitlines()[-1]})" if error.detail else "")
            text = f"nothing of {asked.image} is used again, the build begins anew: {because}"
            self.emit(Notice(text=text, level="warning"))
            return False
        return True

    def _run(self, container: Container, handed: Handover) -> None:
        assembly, tail = handed.assembly, outcomes.Tail(self.emit)
        what = PurePosixPath(assembly.command[0]).name

        def clear() -> None:
            for user in (assembly.user, "0:0") if assembly.injections else ():
                container.execute(handover.clearing(handed, user), Limit.of("the clearing after it", _CLEARING))
            if assembly.injections:
                container.signal(handover.DONE)

        mark = Marked(text=handed.mark, reached=clear) if handed.mark else None
        try:
            ended = follow(container, what, tail, seconds=assembly.timeout, mark=mark)
            hint = "" if assembly.keep or what != "assemble" else _LOOK_INTO
            outcomes.judge(ended, what, tail.lines, memory=assembly.confinement.memory, hint=hint)
        except (AssembleFailed, LimitReached):
            if assembly.keep:
                self._keep(container, handed)
            raise
        if handed.mark:
            _check_cleared(container, handed)

    def _keep(self, container: Container, handed: Handover) -> None:
        """Leave the container of a failed command, without what was secret in it, under a name that no sweep takes."""
        name = f"s2ictl-kept-{secrets.token_hex(4)}"
        try:
            container.signal("KILL")
            container.ended(Limit.of("the container", _CLEARING))
            container.put(handover.emptied(handed))
            container.rename(name)
        except S2IError as error:
            # What the command ended with is what the user has to hear.
            self.emit(Notice(text=f"the container could not be kept: {error.message}", level="warning"))
            return
        look = f"docker commit {name} {name} && docker run --rm -it --entrypoint {handover.SHELL} {name}"
        self.emit(Notice(text=f"the container is kept: {look}; remove it by docker rm -v {name}", level="warning"))

    # ------------------------------------------------------------------------------------------------ from stage to

    def carry(self, stage: Stage, runtime: Runtime) -> Fill:
        """What fills the second container with the artifacts of the first."""

        def fill(container: Container, uid: int, gid: int) -> None:
            for artifact in runtime.artifacts:
                selected = transfers.selection(artifact)
                present = _present_above(container, posixpath.join(runtime.root, artifact.target, "x"))
                with stage.container.taken(selected.read) as read:
                    if read is None:
                        raise transfers.nothing(artifact)
                    members = read_tar(read, name=selected.parent, limits=transfers.LIMITS)
                    entries = transfers.chosen(selected, members, root=runtime.root)
                    tar = tar_stream(transfers.with_parents(entries, present=present), uid=uid, gid=gid)
                    container.put(transfers.told(tar, artifact.source, self.emit))

        return fill

    def committed(self, stage: Stage) -> str:
        """Make the container an image and answer its id."""
        assembly = stage.assembly
        found = stage.container.read(assembly.metadata, _METADATA_LIMIT) if assembly.command else None
        return images.commit(
            self.api,
            stage.container.id,
            assembly.config(found),
            assembly.names,
            lease=lambda: name_for(assembly.owner, self.host, seconds=WORK),
            emit=self.emit,
        )


# ---------------------------------------------------------------------------------------------------- in a container


def _has_shell(container: Container) -> bool:
    return container.mode(handover.SHELL) is not None and any(
        container.mode(remover) is not None for remover in handover.REMOVERS
    )


def _check_program(container: Container, path: str) -> None:
    """A script that cannot start is a broken builder, and said before the source is sent."""
    image, mode = container.image, container.mode(path)
    if mode is None:
        raise PullBuilderImageFailed(
            f"{image} has no {path}", hint="its label io.openshift.s2i.scripts-url names that place"
        )
    if stat.S_ISREG(mode) and not mode & 0o111:
        raise PullBuilderImageFailed(f"{path} in {image} is not executable")
    interpreter = dockerapi.interpreter_of(container.read(path, SMALL_FILE) or b"")
    if interpreter.endswith("\r"):
        raise PullBuilderImageFailed(f"{path} in {image} has Windows line ends, which no interpreter understands")
    if interpreter.startswith("/") and container.mode(interpreter) is None:
        raise PullBuilderImageFailed(f"{path} in {image} wants {interpreter[:200]}, which is not there")


def _present_above(container: Container, path: str) -> frozenset[str]:
    """Of the directories that lead to a path, those that are there already: they are not made anew."""
    known = injections.Known(container.mode)
    return frozenset(str(parent) for parent in PurePosixPath(path).parents if known.exists(str(parent)))


def _make_way(container: Container, path: str, uid: int, gid: int) -> None:
    """The directories that lead to a path, the command's user's where they are made: he clears away what is in them."""
    missing = injections.Known(container.mode).missing_above(path)
    if missing:
        container.put(tar_stream(map(directory_entry, missing), uid=uid, gid=gid))


def _hand_over(container: Container, assembly: Assembly, mark: str, uid: int, gid: int) -> Handover:
    """Put everything there that the command alone may see."""
    plan = injections.plan(assembly.injections, workdir=_workdir(container, assembly), mode=container.mode)
    if mark and handover.needs_files(assembly):
        container.put(handover.files(assembly, uid, gid))
    if assembly.secrets:
        container.put(handover.secret_files(assembly, uid, gid))
    if plan.things:
        container.put(injections.upload(plan, uid, gid))
    return Handover(assembly=assembly, mark=mark, injected=plan)


def _workdir(container: Container, assembly: Assembly) -> str:
    return str(container.facts()["Config"]["WorkingDir"] or "/") if assembly.injections else "/"


def _check_cleared(container: Container, handed: Handover) -> None:
    known = injections.Known(container.mode)
    assembly = handed.assembly
    gone = (*assembly.leftovers, assembly.workspace, *handed.injected.contents)
    if still := [path for path in gone if known.exists(path)]:
        raise handover.left(still)
