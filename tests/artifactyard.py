"""All that an artifact's image is made with, in which everything can be looked at: what tests of both roads share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from s2ictl import b2i, images, shelf
from s2ictl.builders import MADE_OF, Folder, fingerprint, load_all, named
from s2ictl.engines import Engine
from s2ictl.errors import Unreachable
from s2ictl.events import Event
from s2ictl.footing import Supplies
from s2ictl.models import BuildRequest, Image, ImageFacts, Reference, Source, Target
from s2ictl.planning import B2IRequest, Plan, plan_of
from s2ictl.registry import Repository
from s2ictl.transport import Transport
from tests.fakes.engine import FakeEngine, Script
from tests.logs import texts
from tests.workbench import BUILDER, Bench

PLATFORM = "linux/amd64"
NAME = Reference.parse("team/shop:1")
SHELF = Path(__file__).parent.parent / "builders"
BUILD = BuildRequest(source=Source(kind="archive", location="typed"), builder="", names=(NAME,))


@cache
def folders_at(prefix: str) -> tuple[Folder, ...]:
    return load_all(SHELF, prefix=prefix)


@dataclass(slots=True)
class Yard:
    """`home` is where things are kept; without an engine nobody gets one, and what is opened is counted."""

    home: Path
    engine: FakeEngine | None = field(default_factory=FakeEngine)
    prefix: str = "s2ictl"
    events: list[Event] = field(default_factory=list)
    opened: int = 0

    @property
    def folders(self) -> tuple[Folder, ...]:
        return folders_at(self.prefix)

    def stock(self, *words: str) -> None:
        """Have the images of these builders of ours in the engine."""
        assert self.engine is not None
        for word in words:
            folder = named(word, self.folders)
            assert folder is not None
            scripts = {"io.openshift.s2i.scripts-url": "image:///usr/libexec/s2i"}
            facts = replace(
                BUILDER,
                id=f"sha256:{word}",
                digest="",
                labels={**scripts, **folder.blueprint.labels, MADE_OF: fingerprint(folder)},
                env=("PATH=/bin",),
                entrypoint=(),
                exposed=(),
                workdir="",
                platform=PLATFORM,
                layers=(f"sha256:{word}",),
            )
            self.engine.images[str(folder.image)] = facts
            paths = ("/usr/libexec/s2i/assemble", "/usr/libexec/s2i/run")
            self.engine.programs[facts.id] = {path: Script(text="") for path in paths}

    def request(self, path: Path, *, targets: tuple[Target, ...] = (), **changes: object) -> B2IRequest:
        build = replace(BUILD, targets=targets)
        return replace(B2IRequest(path=path, build=build), **changes)  # type: ignore[arg-type]

    def plan(self, request: B2IRequest) -> Plan:
        return plan_of(
            request,
            named=lambda word, _: named(word, self.folders),
            prefix=self.prefix,
            platform=PLATFORM,
            emit=self.events.append,
        )

    def make(self, request: B2IRequest) -> Image:
        with self.supplies() as supplies:
            return b2i.b2i(self.plan(request), supplies, emit=self.events.append)

    @contextmanager
    def supplies(self) -> Iterator[Supplies]:
        with (
            Transport({}, emit=self.events.append) as transport,
            shelf.opened(self.home / "bases") as kept,
            images.looked_into(self.home / "images") as stored,
        ):
            yield Supplies(
                repository=lambda name: Repository(name, transport=transport, logins=lambda _: None),
                shelf=kept,
                workshop=lambda: replace(Bench(folders=self.folders).workshop(self._engine())),
                platform=PLATFORM,
                stored=stored,
            )

    def _engine(self) -> Engine:
        if self.engine is None:
            raise Unreachable("could not reach the container engine", detail="nobody is there")
        self.opened += 1
        return self.engine

    def facts(self, name: Reference = NAME) -> ImageFacts:
        assert self.engine is not None
        return self.engine.images[str(name)]

    def said(self) -> list[str]:
        return texts(self.events)
