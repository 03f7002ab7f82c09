"""The Engine without a daemon: an assembly performed, from the first mount to the layer that is left.

Its images lie in a store of this user's on this machine. One that is not there comes from its registry, or is taken
over from an engine beside it that has it already.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path, PurePosixPath
from typing import Protocol

from s2ictl import images, oci
from s2ictl.engines import Confirm, Difference, Kept, Layered, Running
from s2ictl.engines.embedded import serving
from s2ictl.engines.embedded.commands import DEFAULT_PATH, Site
from s2ictl.engines.embedded.downloads import Downloads, moment
from s2ictl.engines.embedded.opening import Elsewhere
from s2ictl.engines.embedded.performing import Performer, narrowed
from s2ictl.engines.stacking import packed, stacked
from s2ictl.errors import ImageNotFound, RolloutFailed, S2IError, Unauthorized, WrongPlatform
from s2ictl.events import Emit, Notice
from s2ictl.models import Assembly, Built, ImageConfig, ImageFacts, Login, PullPolicy, Reference

_DEPENDENCIES = "s2ictl/dependencies:"


class Repository(oci.Target, Protocol):
    """One repository of a registry."""

    def resolve(self) -> str:
        """The digest that its name stands for now, "" when nothing is there."""

    def bases(self, platforms: tuple[str, ...] = ()) -> tuple[oci.Base, ...]:
        """The image of its name, for each of these platforms."""


class Embedded:
    """An Engine that can hand out what assemble left behind, and a Runner."""

    def __init__(self, site: Site, *, directory: Path, platform: str, elsewhere: Elsewhere) -> None:
        self._site = site
        self._store = site.store
        self._directory = directory
        self._downloads = Downloads(directory=directory, warden=lambda: site.warden)
        self._platform = platform
        self._elsewhere = elsewhere
        self._said: set[Notice] = set()

    @property
    def store(self) -> images.Store:
        """Where its images lie, as they are sent."""
        return self._store

    def version(self) -> str:
        """Say which engine this is, in a few words."""
        machine = self._site.machine
        return f"{PurePosixPath(machine.runtime).name}, {'rootless' if machine.rootless else 'root'} ({self._platform})"

    # ------------------------------------------------------------------------------------------------------- images

    def facts(self, image: str, *, pull: PullPolicy, login: Login | None, emit: Emit) -> ImageFacts | None:
        """What an image that is to be run here says of itself; None when it is nowhere to be had."""
        known = self._store.held(image) if pull != "always" else None
        if known is None and pull != "never":
            known = self._brought(Reference.parse(image), login, emit, anew=pull == "always")
        if known is not None and not self._runs(known):
            raise WrongPlatform(
                f"{image} is for {known.platform}, this machine runs {self._platform}",
                hint="name an image of this machine's platform",
            )
        return known

    def _runs(self, known: ImageFacts) -> bool:
        return not known.platform or oci.fits(oci.Platform.parse(known.platform), self._platform)

    def _brought(self, name: Reference, login: Login | None, emit: Emit, *, anew: bool) -> ImageFacts | None:
        """From its registry, else from the engine beside this one. What has no registry in its name may be in both of
        them, and another image: then what the user has here himself is what he means, unless he wants it anew."""
        if not (name.registry or anew):
            return self._taken_over(name, emit) or self._pulled(name, login, emit)
        try:
            pulled = self._pulled(name, login, emit)
        except S2IError as error:
            if taken := self._taken_over(name, emit):
                emit(Notice(text=error.in_passing, level="warning"))
                return taken
            raise
        return pulled or self._taken_over(name, emit)

    def _pulled(self, name: Reference, login: Login | None, emit: Emit) -> ImageFacts | None:
        repository = self._elsewhere.repository(name, login)
        try:
            digest = repository.resolve()
        except Unauthorized:
            # A registry denies what does not exist as well, lest it tell names to strangers.
            if login is None:
                return None
            raise
        if not digest:
            return None
        emit(Notice(text=f"pulling {name}"))
        # By its digest: the tag may be moved at any moment.
        (base,) = self._elsewhere.repository(name.at(digest), login).bases((self._platform,))
        return self._store.pull(base, name, emit, digest=digest)

    def _taken_over(self, name: Reference, emit: Emit) -> ImageFacts | None:
        neighbour = self._elsewhere.neighbour()
        known = neighbour.held(str(name)) if neighbour else None
        if neighbour is None or known is None or not self._runs(known):
            return None
        emit(Notice(text=f"taking over {name} from the container engine"))
        with neighbour.save(known.id) as saved:
            return self._store.load(saved, (name,))

    def find(self, label: str, value: str) -> ImageFacts | None:
        """The newest image of which its label says this, of those that were made here."""
        return self._store.find(label, value)

    def load_base(self, filesystem: Iterator[bytes], name: Reference, *, command: tuple[str, ...]) -> ImageFacts:
        """Make an image of a tar of a root file system."""
        system = oci.Platform.parse(self._platform)
        config = oci.Config(architecture=system.architecture, os=system.os, variant=system.variant, rootfs=oci.Layers())
        said = ImageConfig(
            command=command, entrypoint=(), user="", workdir="", env=(("PATH", DEFAULT_PATH),), labels={}
        )
        base = oci.Base(name="", digest="", config=config, layers=())
        return self._kept(Layered(config=said, chunks=lambda: filesystem, epoch=self._now()), base, (name,))[0]

    def name(self, image: str, names: tuple[Reference, ...]) -> None:
        """Give an image all of these names, or none of them."""
        self._store.name(image, names)

    def names(self) -> tuple[str, ...]:
        """Every name that leads to an image here."""
        return self._store.names()

    def remove(self, image: str) -> None:
        """Forget the image of this id, when no name leads to it any more."""
        self._store.remove(image)

    def held(self, image: str) -> ImageFacts | None:
        """What it has under this name or id, for whatever machine that is."""
        return self._store.held(image)

    @contextmanager
    def save(self, image: str) -> Iterator[Iterator[bytes]]:
        """An image with all its layers, as the tar that `load` of every engine takes."""
        yield self._store.save(image)

    def load(self, image: Iterator[bytes]) -> str:
        """Take in what such a tar holds; answers the id of the image."""
        return self._store.load(image).id

    def push(self, name: Reference, *, login: Login | None, confirm: Confirm, emit: Emit) -> str:  # noqa: ARG002
        """Send the image to its registry, and answer the digest under which the registry has it then, as it has
        confirmed itself."""
        known = self._store.held(str(name))
        if known is None:
            raise ImageNotFound(
                f"there is no image {name}", detail="looked in the store", hint="build it first, or give it this name"
            )
        picture = _picture(self._store.base(known.id), known.id)
        digest = oci.deliver(picture, self._elsewhere.repository(name, login), (name.tag or "latest",), emit=emit)
        self._store.registered(known.id, name, digest)
        return digest

    # ------------------------------------------------------------------------------------------------------- making

    def _say_once(self, notices: Iterable[Notice], emit: Emit) -> None:
        """A build has several containers, and a machine is the same for all of them."""
        for notice in notices:
            if notice not in self._said:
                self._said.add(notice)
                emit(notice)

    @contextmanager
    def layered(self, assembly: Assembly, emit: Emit) -> Iterator[Layered]:
        """Run what is described; its layer can be read while the context lasts."""
        performer = Performer(site=self._site, downloads=self._downloads, keep=self._kept_aside, emit=emit)
        performer.check(assembly)
        self._say_once(narrowed(assembly.confinement, self._site.machine), emit)
        with performer.performed(assembly) as stage:
            if assembly.runtime is None:
                yield performer.left(stage)
                return
            fill = performer.carry(stage, assembly.runtime)
            with performer.performed(assembly.runtime.assembly, before=fill) as last:
                yield performer.left(last)

    def assemble(self, assembly: Assembly, emit: Emit) -> Built:
        """Run what is described, and keep what it left behind as an image."""
        last = assembly.runtime.assembly if assembly.runtime else assembly
        with self.layered(assembly, emit) as left:
            image, size = self._kept(left, self._store.base(last.image_id), last.names)
        return Built(id=image.id, size=size)

    def _kept(self, left: Layered, base: oci.Base, names: tuple[Reference, ...]) -> tuple[ImageFacts, int]:
        added = packed(left, self._store.write)
        picture = stacked(base, (added,), left.config, epoch=left.epoch)
        return self._store.keep(picture, names), added.size

    def _kept_aside(self, left: Layered, image: ImageFacts, name: Reference, emit: Emit) -> Path:
        """Keep it under this name; answers where its files can be looked at."""
        made, _ = self._kept(left, self._store.base(image.id), (name,))
        return self._directory / "layers" / self._store.trees(made.id, emit)[0]

    def _now(self) -> int:
        return int(self._site.host.now())

    # ----------------------------------------------------------------------------------------- keeper and comparing

    def kept(self) -> tuple[Kept, ...]:
        """All that is kept for later builds, of every app."""
        stored = ((name, each) for each in images.kept(self._directory) for name in each.names if each.kind == "image")
        dependencies = (self._dependencies(name, each) for name, each in stored if name.startswith(_DEPENDENCIES))
        found = (*self._downloads.kept(), *dependencies)
        return tuple(sorted(found, key=lambda each: (each.kind, each.app, each.builder, each.what)))

    def _dependencies(self, name: str, stored: images.Kept) -> Kept:
        base = self._store.base(name)
        below = base.config.rootfs.diff_ids[:-1]
        named = ((each, self._store.held(each)) for each in self.names())
        return Kept(
            kind="dependencies",
            app="",
            builder=next((each for each, facts in named if facts and facts.layers == below), ""),
            name=name,
            what=name.removeprefix(_DEPENDENCIES)[:12],
            size=base.layers[-1].size if base.layers else 0,
            used=moment(stored.used),
        )

    def forget(self, kept: Kept) -> bool:
        """Let go of it; False when a build uses it right now."""
        if kept.kind == "cache":
            return self._downloads.forget(kept.name)
        self._store.forget(kept.name)
        return True

    def differences(self, first: str, second: str) -> tuple[Difference, ...]:
        """In what the last layers of two images differ, in the order of their paths."""
        from s2ictl.engines import layers

        return layers.differences(self._site.image(first), self._site.image(second), self.save)

    # ------------------------------------------------------------------------------------------------------- runner

    def run(
        self, image: str, *, ports: tuple[int, ...], env: Mapping[str, str], owner: str
    ) -> AbstractContextManager[Running]:
        """A running container while the context lasts."""
        return serving.served(self._site, image, ports=ports, env=env, owner=owner)

    def output(self, image: str, *, command: tuple[str, ...], emit: Emit) -> None:
        """Run one command in the image and say what it prints."""
        ended = serving.output(self._site, image, command, emit)
        if ended.status or ended.lost:
            raise RolloutFailed(f"{command[0]} in {image} ended with {ended.status}")


def _picture(base: oci.Base, image: str) -> oci.Picture:
    """The image as it lies in the store, byte for byte, and so under the same digest wherever it is brought."""
    kind = oci.read_manifest(base.manifest, base.name).media_type or oci.MANIFEST
    config = oci.blob_of(base.document, oci.CONFIG)
    return oci.Picture(blobs=(*base.layers, config), manifest=base.manifest, id=image, kind=kind)
