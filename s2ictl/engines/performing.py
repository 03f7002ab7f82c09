"""One described container, performed: filled, run, cleared and judged; what becomes of it is for the caller to say."""

from __future__ import annotations

import posixpath
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cache, partial
from itertools import chain
from pathlib import Path, PurePosixPath

from s2ictl.archives import Entry, directory_entry, read_tar, tar_beginning, tar_stream
from s2ictl.engines import (
    Layered,
    caches,
    dockerapi,
    handover,
    images,
    injections,
    kept,
    leavings,
    outcomes,
    programs,
    settling,
    transfers,
    upper,
)
from s2ictl.engines.anatomy import Anatomy, Memory
from s2ictl.engines.client import Api
from s2ictl.engines.connection import WORK, Forgiven, ask, door
from s2ictl.engines.containers import Act, Container, at_once, created
from s2ictl.engines.following import Marked, follow
from s2ictl.engines.handover import Handover
from s2ictl.engines.leavings import Left
from s2ictl.engines.salvaging import salvage
from s2ictl.engines.streams import Limit
from s2ictl.errors import AssembleFailed, InvalidUsage, LimitReached, Refused, S2IError
from s2ictl.events import Emit, Notice
from s2ictl.leases import Host, name_for
from s2ictl.models import SECRETS, Assembly, Runtime
from s2ictl.values import dataclass

_METADATA_LIMIT = 256 * 1024
_CLEARING = 300.0
_NETWORKS = ("", "bridge", "default", "host", "none")

Fill = Callable[[Container, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A container whose command, if it has one, has ended well."""

    container: Container
    assembly: Assembly
    injected: injections.Plan = injections.NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Performer:
    """Who performs: on which engine, in whose name, and who hears of it.

    `leave` removes a container when all went well; in the directory `memory` it is kept what images hold. Once an image
    `is_grounded` in its mount points they are not asked for again: an engine may tell of them whatever is done.
    `trees` are a container's own files, where they can be read.
    """

    api: Api
    host: Host
    emit: Emit
    memory: Path | None = None
    leave: Callable[[Act], None] = at_once
    is_grounded: bool = False
    trees: upper.Find = upper.trees

    # ------------------------------------------------------------------------------------- before anything is made

    def check(self, assembly: Assembly) -> None:
        """Say what cannot be."""
        for each in (assembly, *([assembly.runtime.assembly] if assembly.runtime else [])):
            each.config(None)
            given = each.confinement
            if given.memory or given.cpus:
                with door("ask the engine for its limits"):
                    lacking = dockerapi.unsettable(ask(self.api, "GET", "info"), given)
                if lacking:
                    raise Refused(f"this engine cannot set {lacking}", hint="leave it out, or name another engine")
            if given.network not in _NETWORKS and ":" not in given.network:
                self._check_network(given.network)

    def _check_network(self, name: str) -> None:
        with door(f"look for the network {name}"), Forgiven(404):
            ask(self.api, "GET", f"networks/{name}")
            return
        raise InvalidUsage(f"the engine has no network {name}", hint=f"docker network create {name}")

    # --------------------------------------------------------------------------------------------------- one stage

    @contextmanager
    def performed(self, assembly: Assembly, *, before: Fill | None = None) -> Iterator[Stage]:
        """A container in which the command has ended well, while the context lasts; `before` fills it first."""
        with ExitStack() as opened:
            yield self._stage(caches.claimed(self.api, assembly, self.emit), before, opened)

    def _stage(self, assembly: Assembly, before: Fill | None, opened: ExitStack) -> Stage:
        """The same, once more where what is to be mounted there is damaged, or the image has no place for it."""
        try:
            return opened.enter_context(self._performed(assembly, before))
        except settling.NoMountPoint as found:
            made = settling.grounded(self.api, self.host, assembly, found.lacking, self.emit)
            # The image that was made for this goes after the container, or it would not go.
            careful = replace(self, leave=at_once, is_grounded=True)
            return opened.enter_context(careful.performed(opened.enter_context(made), before=before))
        except S2IError as error:
            if not caches.made_anew(self.api, self.host, error, assembly, self.emit):
                raise
        return opened.enter_context(self._performed(assembly, before))

    @contextmanager
    def _performed(self, assembly: Assembly, before: Fill | None) -> Iterator[Stage]:
        with self._ready(assembly) as (anatomy, mark):
            container = anatomy.container
            for program in assembly.programs:
                programs.check(anatomy, program)
            uid, gid = anatomy.ids(assembly.user)
            if before:
                before(container, uid, gid)
            first = tar_beginning(_handed_first(anatomy, assembly, mark), uid=uid, gid=gid)
            kept = caches.roots(assembly.caches, uid, gid, now=self.host.now())
            container.put(chain(first, kept, transfers.told(assembly.upload(uid, gid), "upload", self.emit)))
            if assembly.epoch is not None and not self.is_grounded:
                settling.check_mount_points(anatomy)
            anatomy.memory.keep(now=self.host.now())
            handed = Handover(assembly=assembly, mark=mark)
            if assembly.command:
                handed = _hand_over(container, assembly, mark, uid, gid)
                caches.wait_for_turn(container, assembly, self.host, self.emit)
                self._run(container, handed)
            yield Stage(container=container, assembly=assembly, injected=handed.injected)

    @contextmanager
    def _ready(self, assembly: Assembly) -> Iterator[tuple[Anatomy, str]]:
        """A container with what was saved for it, and the mark of its shell; without a shell the command runs bare.

        Whatever goes wrong with what was saved, a clean container takes the place of the half-filled one.
        """
        mark = handover.new_mark() if assembly.command else ""
        command = handover.wrapped(assembly, mark) if mark else ()
        with self._created(assembly, command) as anatomy:
            shelled = not mark or _has_shell(anatomy)
            if shelled and self._salvaged(anatomy, assembly):
                yield anatomy, mark
                return
        if not shelled:
            self.emit(Notice(text=handover.without_shell(assembly), level="warning"))
            mark, command = "", assembly.command
            with self._created(assembly, command) as anatomy:
                if self._salvaged(anatomy, assembly):
                    yield anatomy, mark
                    return
        with self._created(assembly, command) as anatomy:
            yield anatomy, mark

    @contextmanager
    def _created(self, assembly: Assembly, command: tuple[str, ...]) -> Iterator[Anatomy]:
        name = name_for(assembly.owner, self.host, seconds=assembly.timeout + WORK)
        document = dockerapi.container_document(assembly, command)
        # A volume of the user's may lie where a link of the image's leads: what is seen through it is not the image's.
        memory = Memory.of(assembly.image_id, None if assembly.confinement.volumes else self.memory)
        with created(self.api, name, document, image=assembly.image, leave=self.leave) as container:
            yield Anatomy(container=container, memory=memory, mounted=_mounted(assembly))

    def _salvaged(self, anatomy: Anatomy, assembly: Assembly) -> bool:
        """Whether the container is good to go on with; nothing that a build saves for the next may stop that one."""
        asked = assembly.salvage
        if asked is None:
            return True
        try:
            uid, gid = anatomy.ids(assembly.user)
            into = anatomy.container
            present = injections.present_above(asked.target, into.mode)
            salvage(self.api, self.host, asked, into, uid=uid, gid=gid, present=present, emit=self.emit)
        except S2IError as error:
            self.emit(outcomes.begun_anew(asked.image, error))
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
            hint = "" if assembly.keep else outcomes.look_into(what)
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
                present = injections.present_above(posixpath.join(runtime.root, artifact.target, "x"), container.mode)
                with stage.container.taken(selected.read) as read:
                    if read is None:
                        raise transfers.nothing(artifact)
                    members = read_tar(read, name=selected.parent, limits=transfers.LIMITS)
                    entries = transfers.chosen(selected, members, root=runtime.root)
                    tar = tar_stream(transfers.with_parents(entries, present=present), uid=uid, gid=gid)
                    container.put(transfers.told(tar, artifact.source, self.emit))

        return fill

    def committed(self, stage: Stage, filled: Runtime | None = None) -> str:
        """Make the container an image and answer its id; `filled` says what was carried into it before."""
        assembly = stage.assembly
        if assembly.epoch is not None:
            touched = settling.places(assembly, stage.injected, filled)
            settling.settle(stage.container, touched, epoch=assembly.epoch)
        found = stage.container.read(assembly.metadata, _METADATA_LIMIT) if assembly.command else None
        return images.commit(
            self.api,
            stage.container.id,
            assembly.config(found),
            assembly.names,
            lease=lambda: name_for(assembly.owner, self.host, seconds=WORK),
            emit=self.emit,
        )

    @contextmanager
    def left(self, stage: Stage) -> Iterator[Layered]:
        """What the command left behind, and what the image is to say of itself; read where it lies, or asked for."""
        assembly, container = stage.assembly, stage.container
        facts = container.facts()
        mounted = tuple(sorted(mount["Destination"] for mount in facts["Mounts"] or ()))
        found = container.read(assembly.metadata, _METADATA_LIMIT) if assembly.command else None
        there = self.trees(facts)
        made = upper.made(there, mounted) if there else settling.made(container, mounted)
        left = Left(
            skip=(*assembly.leftovers, assembly.workspace, *made),
            since=int(kept.instant(facts["Created"]) * 10**9),
            epoch=assembly.epoch,
        )
        with ExitStack() as opened:
            original = cache(lambda: opened.enter_context(self._original(assembly)))
            yield Layered(
                config=assembly.config(found),
                chunks=partial(upper.chunks, there, left)
                if there
                else partial(leavings.chunks, container, left, original, mounted),
                epoch=int(self.host.now()) if assembly.epoch is None else assembly.epoch,
            )

    @contextmanager
    def _original(self, assembly: Assembly) -> Iterator[Container]:
        """A container of the same image in which nothing has happened."""
        name = name_for(assembly.owner, self.host, seconds=WORK)
        document = dockerapi.container_document(dockerapi.bare(assembly), ())
        with created(self.api, name, document, image=assembly.image) as container:
            yield container


# ---------------------------------------------------------------------------------------------------- in a container


def _mounted(assembly: Assembly) -> tuple[str, ...]:
    """The places of its container that are not its image's, where nothing of the user's own is mounted."""
    caches = (cache.target for cache in assembly.caches)
    return (*caches, *([SECRETS] if assembly.secrets else []))


def _has_shell(anatomy: Anatomy) -> bool:
    return anatomy.mode(handover.SHELL) is not None and any(
        anatomy.mode(remover) is not None for remover in handover.REMOVERS
    )


def _handed_first(anatomy: Anatomy, assembly: Assembly, mark: str) -> list[Entry]:
    """What is uploaded before the source, and with it: directories on the way, and what the command alone may see.

    The directories are the command's user's where they are made: he clears away what is in them. A list, since nobody
    may look into a container while something is uploaded: the engine would make the one wait for the other.
    """
    missing = injections.Known(anatomy.mode).missing_above(assembly.workspace)
    files = handover.files(assembly) if mark else ()
    secret_files = handover.secret_files(assembly) if assembly.command else ()
    return [*map(directory_entry, missing), *files, *secret_files]


def _hand_over(container: Container, assembly: Assembly, mark: str, uid: int, gid: int) -> Handover:
    """Put there what may lie in anything that the image or the source has, now that all of that is there."""
    plan = injections.plan(assembly.injections, workdir=_workdir(container, assembly), mode=container.mode)
    if plan.things:
        container.put(injections.upload(plan, uid, gid))
    return Handover(assembly=assembly, mark=mark, injected=plan)


def _workdir(container: Container, assembly: Assembly) -> str:
    return str(container.facts()["Config"]["WorkingDir"] or "/") if assembly.injections else "/"


def _check_cleared(container: Container, handed: Handover) -> None:
    known = injections.Known(container.mode)
    places = (*handed.assembly.leftovers, handed.assembly.workspace)
    still = [path for path in places if container.mode(path) is not None]  # what they lie in is there in any case
    if still := [*still, *filter(known.exists, handed.injected.contents)]:
        raise injections.left(still)
