"""One described container, performed: filled, run, cleared and judged; what becomes of it is for the caller to say."""

from __future__ import annotations

import os
import posixpath
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import chain
from pathlib import Path, PurePosixPath

from s2ictl.archives import directory_entry, file_entry, read_tar, tar_beginning, tar_stream
from s2ictl.engines import Layered, accounts, injections, outcomes, programs, streams, transfers
from s2ictl.engines.accounts import Account
from s2ictl.engines.embedded import listening
from s2ictl.engines.embedded.commands import Command, Handed, Site, environment, network_of, running
from s2ictl.engines.embedded.downloads import Downloads
from s2ictl.engines.embedded.links import resolved
from s2ictl.engines.embedded.machine import Machine
from s2ictl.engines.embedded.salvaging import salvage
from s2ictl.engines.embedded.spec import Mount
from s2ictl.engines.embedded.wardens import Chamber
from s2ictl.engines.programs import interpreter_of
from s2ictl.engines.streams import Limit, Silence
from s2ictl.errors import AssembleFailed, InvalidUsage, LimitReached, Refused, S2IError
from s2ictl.events import Emit, Notice
from s2ictl.models import CA_VARIABLES, SECRETS, Assembly, Confinement, ImageConfig, ImageFacts, Reference, Runtime
from s2ictl.values import dataclass

_METADATA_LIMIT = 256 * 1024
_SCRIPT = 1024 * 1024
_LONG_SILENCE = 300.0
_LEAST_MEMORY = 6 << 20  # with less no runtime can start anything
_KEPT = "s2ictl/kept"

Fill = Callable[[Chamber, Account], None]
Keep = Callable[[Layered, ImageFacts, Reference, Emit], Path]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A container whose command, if it has one, has ended well."""

    chamber: Chamber
    assembly: Assembly
    image: ImageFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class _Holding:
    """What an image holds, for whoever looks whether its programs can start."""

    image: str
    chamber: Chamber

    def mode(self, path: str) -> int | None:
        return self.chamber.mode(path)

    def interpreter(self, path: str) -> str:
        return interpreter_of(self.chamber.read(path, _SCRIPT) or b"")


def narrowed(given: Confinement, machine: Machine) -> Iterator[Notice]:
    """What of every container is less here than it is elsewhere."""
    if notice := network_of(given, machine).notice:
        yield Notice(text=notice, level="warning")
    if "pids" not in machine.limits:
        yield Notice(text="how many processes a container may have is not limited here (see s2ictl doctor)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Performer:
    """Who performs: where, and who hears of it; `keep` makes an image of what is left by a command that failed, and
    answers where its files lie."""

    site: Site
    downloads: Downloads
    keep: Keep
    emit: Emit

    # ------------------------------------------------------------------------------------- before anything is made

    def check(self, assembly: Assembly) -> None:
        """Say what cannot be."""
        for each in (assembly, *([assembly.runtime.assembly] if assembly.runtime else [])):
            each.config(None)
            self._check_limits(each.confinement)
            _check_volumes(each.confinement)

    def _check_limits(self, given: Confinement) -> None:
        able = self.site.machine.limits
        for flag, asked, word in (("--memory", given.memory, "memory"), ("--cpus", given.cpus, "cpu")):
            if asked and word not in able:
                raise Refused(
                    f"{flag}: no {word} limit can be set here",
                    detail="the kernel has none, or this user may not set it",
                    hint="leave it out, or name another engine",
                )
        if 0 < given.memory < _LEAST_MEMORY or given.cpus > (os.cpu_count() or 1):
            raise Refused(
                "this machine cannot set the limits that the container is to have",
                detail=f"at least {_LEAST_MEMORY >> 20} MiB of memory, and at most {os.cpu_count()} CPUs",
                hint="leave out --memory or --cpus, or choose others",
            )

    # --------------------------------------------------------------------------------------------------- one stage

    @contextmanager
    def performed(self, assembly: Assembly, *, before: Fill | None = None) -> Iterator[Stage]:
        """A container in which the command has ended well, while the context lasts; `before` fills it first."""
        image = self.site.image(assembly.image_id)
        with self._ready(assembly, image) as chamber:
            for program in assembly.programs:
                programs.check(_Holding(image=assembly.image, chamber=chamber), program)
            account = accounts.account_of(assembly.user, chamber.read)
            if before:
                before(chamber, account)
            self._fill(chamber, assembly, account)
            stage = Stage(chamber=chamber, assembly=assembly, image=image)
            if assembly.command:
                self._run(stage, account)
            yield stage

    @contextmanager
    def _ready(self, assembly: Assembly, image: ImageFacts) -> Iterator[Chamber]:
        """A container with what was saved for it; whatever goes wrong with that, a clean one takes its place."""
        with ExitStack() as opened:
            chamber = opened.enter_context(self._chamber(assembly, image))
            if not self._salvaged(chamber, assembly):
                opened.close()
                chamber = opened.enter_context(self._chamber(assembly, image))
            yield chamber

    def _chamber(self, assembly: Assembly, image: ImageFacts) -> AbstractContextManager[Chamber]:
        return self.site.chamber(image, assembly.owner, self.emit, seconds=assembly.timeout)

    def _salvaged(self, chamber: Chamber, assembly: Assembly) -> bool:
        """Whether the container is good to go on with; nothing that a build saves for the next may stop that one."""
        asked = assembly.salvage
        if asked is None:
            return True
        try:
            salvage(self.site, asked, chamber, accounts.account_of(assembly.user, chamber.read), self.emit)
        except S2IError as error:
            self.emit(outcomes.begun_anew(asked.image, error))
            return False
        return True

    def _fill(self, chamber: Chamber, assembly: Assembly, account: Account) -> None:
        """Put the upload there. Directories that lead to it are the command's user's where they have to be made."""
        uid, gid = account.uid, account.gid
        missing = injections.Known(chamber.mode).missing_above(assembly.workspace)
        way = tar_beginning(map(directory_entry, missing), uid=uid, gid=gid)
        chamber.put(chain(way, transfers.told(assembly.upload(uid, gid), "upload", self.emit)))

    # ------------------------------------------------------------------------------------------------- the command

    def _run(self, stage: Stage, account: Account) -> None:
        chamber, assembly = stage.chamber, stage.assembly
        _check_places(chamber, assembly)
        plan = injections.plan(assembly.injections, workdir=stage.image.workdir or "/", mode=chamber.mode)
        if plan.things:
            chamber.put(injections.upload(plan, account.uid, account.gid))
        with self.downloads.claimed(assembly, account, chamber, self.emit, wait=time.sleep) as caches:
            try:
                self._follow(stage, account, caches)
            except (AssembleFailed, LimitReached):
                if assembly.keep:
                    chamber.erase(plan.removed)
                    self._keep(stage)
                raise
        chamber.erase(plan.removed)
        known = injections.Known(chamber.mode)
        if still := list(filter(known.exists, plan.contents)):
            raise injections.left(still)

    def _follow(self, stage: Stage, account: Account, caches: tuple[Mount, ...]) -> None:
        """Run it, tell its output, and judge how it ended."""
        assembly, tail = stage.assembly, outcomes.Tail(self.emit)
        what = PurePosixPath(assembly.command[0]).name
        command = Command(
            words=assembly.command,
            env=_environment(assembly, stage.image, account),
            workdir=stage.image.workdir,
            account=account,
            confinement=assembly.confinement,
            mounts=caches,
            handed=_handed(assembly),
        )
        limit = Limit.of(what, assembly.timeout)
        silent = outcomes.silent(what, for_seconds=_LONG_SILENCE, until=assembly.timeout)
        silence = Silence(seconds=_LONG_SILENCE, heard=lambda: self.emit(silent))
        with running(self.site, stage.chamber, command) as process:
            for line in streams.lines(listening.heard(process, limit, silence)):
                tail(line)
            ended = listening.ended(process, limit)
        hint = "" if assembly.keep else outcomes.look_into(what)
        outcomes.judge(ended, what, tail.lines, memory=assembly.confinement.memory, hint=hint)

    def _keep(self, stage: Stage) -> None:
        """Make an image of what a failed command left, without what was secret: that was never in the container."""
        image, assembly = stage.image, stage.assembly
        name = Reference(registry="", repository=_KEPT, tag=secrets.token_hex(4))
        config = ImageConfig(
            command=image.command,
            entrypoint=image.entrypoint,
            user=image.user,
            workdir=image.workdir,
            env=tuple({**image.variables, **dict(assembly.env)}.items()),
            labels=image.labels,
            exposed=image.exposed,
        )
        left = Layered(
            config=config,
            chunks=lambda: stage.chamber.layer((), epoch=None),
            epoch=int(self.site.host.now()),
        )
        try:
            place = self.keep(left, image, name, self.emit)
        except S2IError as error:
            # What the command ended with is what the user has to hear.
            self.emit(Notice(text=f"the container could not be kept: {error.message}", level="warning"))
            return
        look = f"what its command changed lies in {place}"
        text = f"the container is kept as the image {name}: {look}; remove it by s2ictl cache prune --image {name}"
        self.emit(Notice(text=text, level="warning"))

    # ------------------------------------------------------------------------------------------------ from stage to

    def carry(self, stage: Stage, runtime: Runtime) -> Fill:
        """What fills the second container with the artifacts of the first."""

        def fill(chamber: Chamber, account: Account) -> None:
            for artifact in runtime.artifacts:
                selected = transfers.selection(artifact)
                present = injections.present_above(posixpath.join(runtime.root, artifact.target, "x"), chamber.mode)
                with stage.chamber.taken(selected.parent) as read:
                    if read is None:
                        raise transfers.nothing(artifact)
                    members = read_tar(read, name=selected.parent, limits=transfers.LIMITS)
                    entries = transfers.chosen(selected, members, root=runtime.root)
                    tar = tar_stream(transfers.with_parents(entries, present=present), uid=account.uid, gid=account.gid)
                    chamber.put(transfers.told(tar, artifact.source, self.emit))

        return fill

    def left(self, stage: Stage) -> Layered:
        """What the command left behind, and what the image is to say of itself."""
        chamber, assembly = stage.chamber, stage.assembly
        found = chamber.read(assembly.metadata, _METADATA_LIMIT) if assembly.command else None
        skip, volumes = (*assembly.leftovers, assembly.workspace), stage.image.volumes
        return Layered(
            config=assembly.config(found),
            chunks=lambda: chamber.layer(skip, volumes=volumes, epoch=assembly.epoch),
            epoch=int(self.site.host.now()) if assembly.epoch is None else assembly.epoch,
        )


# ----------------------------------------------------------------------------------------------------- for the command


def _check_volumes(given: Confinement) -> None:
    for volume in given.volumes:
        if not volume.source.startswith("/"):
            raise InvalidUsage(
                f"--volume {volume.source}:{volume.target} names a volume of a container engine, and there is none",
                hint="name a directory of this machine: --volume /DIRECTORY:" + volume.target,
            )
        if not Path(volume.source).exists():
            raise InvalidUsage(
                f"--volume {volume.source}:{volume.target}: a container cannot have what is not there",
                hint=f"mkdir -p {volume.source}",
            )


def _check_places(chamber: Chamber, assembly: Assembly) -> None:
    """Nothing may be mounted over what is put there and taken away again, where a link of the image leads to it."""
    ours = tuple(map(PurePosixPath, (*assembly.leftovers, assembly.workspace)))
    caches, volumes = (each.target for each in assembly.caches), (each.target for each in assembly.confinement.volumes)
    for target in (*caches, *volumes):
        place = PurePosixPath(resolved(chamber, target))
        over = [each for each in ours if each.is_relative_to(place) or place.is_relative_to(each)]
        if over and str(place) != target:
            raise injections.left(map(str, over))


def _environment(assembly: Assembly, image: ImageFacts, account: Account) -> tuple[tuple[str, str], ...]:
    """All of it goes to this one process; the user's own word for one of our variables counts more."""
    bundle = ((name, _ca_file(assembly)) for name in CA_VARIABLES if assembly.ca_bundle)
    hidden = ((name, value.reveal()) for name, value in assembly.build_env)
    return environment(image, account, assembly.env, assembly.exports, bundle, hidden)


def _handed(assembly: Assembly) -> Handed:
    """The secrets and the bundle of certificates, in memory and for the command's user alone."""
    bundle = [file_entry("ca.pem", assembly.ca_bundle, mode=0o444)] if assembly.ca_bundle else []
    secret = [
        file_entry(f"secrets/{each.id}", each.content.reveal().encode(errors="surrogateescape"), mode=0o400)
        for each in assembly.secrets
    ]
    directory = [directory_entry("secrets")] if secret else []
    mounts = {**({SECRETS: "secrets"} if secret else {}), **({_ca_file(assembly): "ca.pem"} if bundle else {})}
    return Handed(entries=(*bundle, *directory, *secret), mounts=mounts)


def _ca_file(assembly: Assembly) -> str:
    return f"{assembly.workspace}/ca.pem"
