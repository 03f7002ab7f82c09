"""A workshop in which everything can be looked at, on an engine that runs nothing: what the tests of a build share."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import ANY

from s2ictl.assemblies import METADATA
from s2ictl.build import build
from s2ictl.builders import Folder
from s2ictl.engines import Engine
from s2ictl.errors import Unreachable
from s2ictl.events import Emit, Event
from s2ictl.models import (
    Assembly,
    BuildRequest,
    BuildSecret,
    Commit,
    Confinement,
    Image,
    ImageFacts,
    Injection,
    Member,
    Reference,
    RuntimeArtifact,
    Secret,
    Source,
    Tree,
    UidRange,
    Volume,
)
from s2ictl.workshop import Outlet, Workshop
from tests.fakes.engine import FakeEngine, Script
from tests.logs import texts

BUILDER = ImageFacts(
    id="sha256:builder",
    digest="sha256:" + "b" * 64,
    labels={"io.openshift.s2i.scripts-url": "image:///usr/libexec/s2i"},
    env=("PATH=/bin", "MODE=image"),
    user="1001",
    workdir="/opt/app",
    entrypoint=("/entry",),
    exposed=("8080/tcp",),
)
COMMIT = Commit(
    id="c" * 40, ref="main", author="A <a@b.c>", date="Mon Jan 1", message="Say more " * 12 + "\n\nbody", epoch=1
)
TAG = Reference.parse("registry.example.com/team/app:1")
REQUEST = BuildRequest(source=Source(kind="directory", location="/src"), builder="b:1", names=(TAG,))
FROM_ONE = (UidRange(first=1),)
JAR = RuntimeArtifact(source="/opt/app/*.jar", target="lib")
NPM = BuildSecret(id="npm", content=Secret("n"))
INJECTED = Injection(source=Path("/etc/settings"), target="conf")
NARROW = Confinement(volumes=(Volume(source="cache", target="/cache"),), network="none", memory=1 << 30)
PLAIN = Assembly(
    image="b:1",
    image_id="sha256:builder",
    digest="sha256:" + "b" * 64,
    owner="build",
    command=("/usr/libexec/s2i/assemble",),
    programs=("/usr/libexec/s2i/assemble", "/usr/libexec/s2i/run"),
    user="1001",
    upload=ANY,
    workspace="/tmp/.s2ictl",
    leftovers=("/tmp/src", "/tmp/artifacts"),
    env=(),
    build_env=(),
    ca_bundle=b"",
    timeout=3600.0,
    metadata=METADATA,
    config=ANY,
    names=(TAG,),
)


def tree(
    files: Mapping[str, bytes],
    commit: Commit | None = None,
    *,
    links: Mapping[str, str] | None = None,
    digest: Callable[[], str] = lambda: "",
) -> Tree:
    def members() -> Iterator[tuple[Member, Callable[[int], bytes]]]:
        for path, content in sorted(files.items()):
            yield Member(path=path, kind="file", mode=0o644, size=len(content)), io.BytesIO(content).read

    paths = tuple(sorted(files))
    return Tree(
        location="/src",
        context_dir="",
        commit=commit,
        paths=paths,
        read=files.__getitem__,
        members=members,
        links=links or {},
        digest=digest,
    )


class Offline(FakeEngine):
    """An engine whose registries do not answer."""

    def facts(self, image: str, **how: object) -> ImageFacts | None:
        if how["pull"] == "never" or image in self.images:
            return self.images.get(image)
        raise Unreachable("could not pull", detail="no such host")


@dataclass(slots=True)
class Bench:
    """A workshop in which everything can be looked at afterwards."""

    engine: FakeEngine = field(default_factory=FakeEngine)
    tree: Tree = field(default_factory=lambda: tree({"app.py": b"x"}))
    folders: tuple[Folder, ...] = ()
    events: list[Event] = field(default_factory=list)
    made: list[str] = field(default_factory=list)
    web: dict[str, bytes] = field(default_factory=dict)
    registered: Callable[[Reference, str], ImageFacts | None] = lambda *_: None
    turn: Callable[[str, float, Emit], AbstractContextManager[None]] = lambda *_: nullcontext()
    outlet: Outlet | None = None

    def __post_init__(self) -> None:
        self.engine.images["b:1"] = BUILDER
        self.script(Script(text=""))

    def script(self, assemble: Script) -> None:
        path = "/usr/libexec/s2i"
        self.engine.programs[BUILDER.id] = {f"{path}/assemble": assemble, f"{path}/run": Script(text="")}

    def build(self, request: BuildRequest = REQUEST, engine: Engine | None = None) -> Image:
        return build(request, self.workshop(engine), emit=self.events.append)

    def workshop(self, engine: Engine | None = None) -> Workshop:
        return Workshop(
            engine=engine or self.engine,
            fetch=lambda *_: nullcontext(self.tree),
            find_login=lambda _: None,
            folders=lambda _: self.folders,
            root_filesystem=self.root_filesystem,
            download=lambda url, _: self.web.get(url),
            registered=self.registered,
            turn=self.turn,
            outlet=self.outlet,
        )

    def root_filesystem(self, suite: str, emit: Emit) -> AbstractContextManager[Iterator[bytes]]:
        @contextmanager
        def making() -> Iterator[Iterator[bytes]]:
            self.made.append(suite)
            yield iter((b"tar",))

        return making()

    def notices(self) -> list[str]:
        return texts(self.events)
