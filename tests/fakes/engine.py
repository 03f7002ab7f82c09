"""An engine without containers: images are facts, and what a script would do is written beside its text.

It passes the tests of `engine_contract.py`, as the real one does.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from s2ictl import oci
from s2ictl.engines import Confirm, Layered, Running, accounts, outcomes
from s2ictl.errors import (
    CommitContainerFailed,
    ImageNotFound,
    LimitReached,
    PullBuilderImageFailed,
    PushImageToRegistryFailed,
    PushUnauthorized,
    WrongPlatform,
)
from s2ictl.events import Emit, Line
from s2ictl.models import Assembly, Built, ImageConfig, ImageFacts, Login, PullPolicy, Reference
from tests.fakes import carried

PLATFORM = "linux/amd64"


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A script as a real engine runs it, and what comes of it where none runs."""

    text: str
    says: tuple[str, ...] = ()
    status: int = 0
    seconds: float = 0.0
    metadata: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploaded:
    uid: int
    gid: int
    mode: int
    content: bytes


@dataclass(slots=True, kw_only=True)
class FakeEngine:
    """`programs` are the scripts of images by path; `registry` holds what can be pulled, and what was pushed.

    `sent` are the layers that came with each image that was loaded.
    """

    images: dict[str, ImageFacts] = field(default_factory=dict)
    programs: dict[str, dict[str, Script]] = field(default_factory=dict)
    registry: dict[str, ImageFacts] = field(default_factory=dict)
    closed: frozenset[str] = frozenset()
    assembled: list[Assembly] = field(default_factory=list)
    uploads: list[dict[str, Uploaded]] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    saved: dict[str, ImageFacts] = field(default_factory=dict)
    layers: dict[str, bytes] = field(default_factory=dict)
    sent: list[tuple[str, ...]] = field(default_factory=list)
    passwd: str = "root:x:0:0:root:/root:/bin/sh\nuser:x:1001:0::/opt/app:/bin/sh\n"

    def facts(self, image: str, *, pull: PullPolicy, login: Login | None, emit: Emit) -> ImageFacts | None:
        if pull != "never" and image in self.registry and (pull == "always" or image not in self.images):
            self.images[image] = self.registry[image]
        known = self.held(image)
        if known is not None and known.platform not in ("", PLATFORM):
            raise WrongPlatform(f"{image} is for {known.platform}, the engine runs {PLATFORM}")
        return known

    def held(self, image: str) -> ImageFacts | None:
        return self.images.get(image) or self._by_id(image)

    def _by_id(self, image: str) -> ImageFacts | None:
        return next((facts for facts in self.images.values() if facts.id == image), None)

    def find(self, label: str, value: str) -> ImageFacts | None:
        return next((facts for facts in self.images.values() if facts.labels.get(label) == value), None)

    def name(self, image: str, names: tuple[Reference, ...]) -> None:
        self._give(next(facts for facts in self.images.values() if facts.id == image), names)

    def names(self) -> tuple[str, ...]:
        return tuple(sorted(name for name in self.images if not name.startswith("sha256:")))

    def load_base(self, filesystem: Iterator[bytes], name: Reference, *, command: tuple[str, ...]) -> ImageFacts:
        digest = hashlib.sha256(b"".join(filesystem)).hexdigest()
        self.images[str(name)] = ImageFacts(id=f"sha256:{digest}", command=command, platform=PLATFORM)
        return self.images[str(name)]

    def assemble(self, assembly: Assembly, emit: Emit) -> Built:
        last = assembly.runtime.assembly if assembly.runtime else assembly
        config = self._performed(assembly, emit)
        facts = replace(committed(config), layers=self._layers(assembly, last))
        self._give(facts, last.names)
        if last.image_id in self.programs:
            self.programs.setdefault(facts.id, self.programs[last.image_id])
        return Built(id=facts.id)

    @contextmanager
    def layered(self, assembly: Assembly, emit: Emit) -> Iterator[Layered]:
        """Of what was uploaded the names, since nothing runs that would leave anything else."""
        config = self._performed(assembly, emit)
        layer = "\n".join(sorted(self.uploads[-1])).encode()
        yield Layered(config=config, chunks=lambda: iter((layer,)), epoch=assembly.epoch or 0)

    def _performed(self, assembly: Assembly, emit: Emit) -> ImageConfig:
        """Run what is described, as far as anything runs here; answers what the image says of itself then."""
        assembly.config(None)
        programs = self.programs.get(assembly.image_id, {})
        for program in assembly.programs:
            if program not in programs:
                raise PullBuilderImageFailed(f"{assembly.image} has no {program}")
        uid, gid = accounts.ids_of(assembly.user, passwd=self.passwd, group="root:x:0:\n")
        upload = unpacked(b"".join(assembly.upload(uid, gid)))
        self.uploads.append(upload)
        self.assembled.append(assembly)
        script = programs.get("".join(assembly.command[:1])) or Script(text="")
        return self._run(script, assembly, emit)

    def _run(self, script: Script, assembly: Assembly, emit: Emit) -> ImageConfig:
        tail = outcomes.Tail(emit)
        for text in script.says:
            tail(Line(text=text))
        if script.seconds > assembly.timeout:
            raise LimitReached("assemble did not end in time")
        what = PurePosixPath("".join(assembly.command[:1])).name
        outcomes.judge(outcomes.Ended(status=script.status), what, tail.lines)
        return assembly.config(script.metadata)

    def _give(self, facts: ImageFacts, names: tuple[Reference, ...]) -> None:
        """An image without a name is kept under its id, also one that has lost its last one."""
        lost = [self.images[str(name)] for name in names if str(name) in self.images]
        self.images.update({str(name): facts for name in names} or {facts.id: facts})
        known = {each.id for each in self.images.values()}
        self.images.update({each.id: each for each in lost if each.id not in known})
        if names:
            self.images.pop(facts.id, None)

    def _layers(self, assembly: Assembly, last: Assembly) -> tuple[str, ...]:
        """One more than the image below has; an image that was made by nobody has none."""
        below = self._by_id(last.image_id)
        if below is None or not below.layers:
            return ()
        made = repr((assembly.command, assembly.exports, self.uploads[-1])).encode()
        return (*below.layers, f"sha256:{hashlib.sha256(made).hexdigest()}")

    def remove(self, image: str) -> None:
        self.images.pop(image, None)
        if image not in {facts.id for facts in self.images.values()}:
            self.removed.append(image)

    def push(self, name: Reference, *, login: Login | None, confirm: Confirm, emit: Emit) -> str:
        if str(name) not in self.images:
            raise ImageNotFound(f"there is no image {name}")
        if name.registry in self.closed and login is None:
            raise PushUnauthorized(f"could not push {name}")
        digest = self.images[str(name)].id
        self.registry[str(name)] = replace(self.images[str(name)], digest=digest)
        if not confirm(name.at(digest), digest):
            raise PushImageToRegistryFailed(f"could not push {name}")
        return digest

    @contextmanager
    def save(self, image: str) -> Iterator[Iterator[bytes]]:
        """With layers that say which ones they are."""
        facts = self.images.get(image) or self._by_id(image)
        if facts is None:
            raise ImageNotFound(f"there is no image {image} in the engine")
        layers = [carried.packed({"layer": each.encode()}) for each in facts.layers or ("the only one",)]
        settings = {"Labels": dict(facts.labels), "Env": list(facts.env), "User": facts.user}
        self.saved[oci.digest_of(carried.config_of(layers, settings))] = facts
        yield iter((carried.saved(layers, settings=settings),))

    def load(self, image: Iterator[bytes]) -> str:
        """It has the layers of what it has loaded before; what it has saved itself it knows again."""
        try:
            found = carried.loaded(b"".join(image))
        except (tarfile.TarError, KeyError) as error:
            raise CommitContainerFailed("could not load the image") from error
        config = oci.read_config(found.config, "the image")
        if lacking := [each for each in config.rootfs.diff_ids if each not in (*found.layers, *self.layers)]:
            raise CommitContainerFailed("could not load the image", detail=f"no such file: {lacking[0]}")
        self.layers.update(found.layers)
        self.sent.append(tuple(found.layers))
        identity = oci.digest_of(found.config)
        facts = self.saved.get(identity) or oci.config_facts(config, id=identity, digest="")
        self._give(facts, tuple(map(Reference.parse, found.names)))
        return facts.id

    @contextmanager
    def run(self, image: str, *, ports: tuple[int, ...], env: Mapping[str, str], owner: str) -> Iterator[Running]:
        if image not in self.images:
            raise ImageNotFound(f"there is no image {image}")
        yield Running(ports={port: 40000 + port for port in ports}, follow=_says_nothing)

    def output(self, image: str, *, command: tuple[str, ...], emit: Emit) -> None:
        emit(Line(text=" ".join(command)))


def _says_nothing(emit: Emit, *, wait: bool = True) -> None:
    """What is only a fact has no output."""


def committed(config: ImageConfig) -> ImageFacts:
    return ImageFacts(
        id=f"sha256:{hashlib.sha256(repr(config).encode()).hexdigest()}",
        labels=config.labels,
        env=tuple(f"{name}={value}" for name, value in config.env),
        user=config.user,
        workdir=config.workdir,
        entrypoint=config.entrypoint,
        command=config.command,
        exposed=config.exposed,
        platform=PLATFORM,
    )


def unpacked(archive: bytes) -> dict[str, Uploaded]:
    """The members of an upload by name; the first is `./`, as an engine wants it."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        members = tar.getmembers()
        assert members[0].name in (".", "./")
        return {
            member.name: Uploaded(
                uid=member.uid,
                gid=member.gid,
                mode=member.mode,
                content=file.read() if (file := tar.extractfile(member) if member.isreg() else None) else b"",
            )
            for member in members[1:]
        }
