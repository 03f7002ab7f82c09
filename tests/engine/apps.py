"""Images of a few files by one of our builders, and containers of them: what the tests of the builders share."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from s2ictl import bases, demo, transport
from s2ictl.build import Workshop, build, build_builder
from s2ictl.builders import Folder, load, shelf
from s2ictl.cli.workshop import package_sources
from s2ictl.engines.docker import open_docker
from s2ictl.events import Event
from s2ictl.leases import this_host
from s2ictl.models import BuildRequest, Member, Reference, Source, Tree
from s2ictl.transport import HASTY, Response, Transport

REQUEST = BuildRequest(
    source=Source(kind="directory", location="/nowhere", copy=True),
    builder="",
    names=(),
    ca_bundle=transport.ca_bundle(os.environ, flag=None, cwd=Path.cwd()),
    build_env=package_sources(os.environ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Works:
    """A builder at work, under a name that is nobody's."""

    client: Any
    workshop: Workshop
    folder: Folder

    def image(self, name: str, files: Mapping[str, str], **changes: Any) -> str:
        """Build these files once; answer the image's name."""
        image = f"{_prefix(self.folder)}-{name}:1"
        if not self.client.images.list(name=image):
            request = replace(REQUEST, builder=self.folder.name, names=(Reference.parse(image),), **changes)
            build(request, replace(self.workshop, fetch=lambda *_: nullcontext(tree_of(files))), emit=ignore)
        return image

    @contextmanager
    def running(self, image: str, **options: Any) -> Iterator[Running]:
        """A container as any platform starts it."""
        ports = {"8080/tcp": ("127.0.0.1", None)}
        container = self.client.containers.run(image, detach=True, ports=ports, **options)
        try:
            container.reload()
            yield Running(url=f"http://127.0.0.1:{container.ports['8080/tcp'][0]['HostPort']}", container=container)
        finally:
            container.remove(force=True)

    def printed(self, image: str, *lines: str, **options: Any) -> str:
        """What these lines of shell print in a container."""
        command = ["sh", "-euc", "\n".join(lines)]
        return str(self.client.containers.run(image, command, remove=True, **options).decode())

    def sample(self) -> demo.Trial:
        """Build, run and ask what the builder's folder has as an example."""
        lies = self.folder.path / "sample"
        tree = tree_of({path.name: path.read_text() for path in lies.iterdir()})
        workshop = replace(self.workshop, fetch=lambda *_: nullcontext(tree))
        with Transport({}, emit=ignore, patience=HASTY) as http:
            trial = demo.try_sample(
                self.folder,
                REQUEST,
                build=lambda request, emit: build(request, workshop, emit=emit),
                runner=workshop.engine,  # type: ignore[arg-type]  # the engine of the testbed runs containers, too
                get=lambda url: http.once("GET", url),
                emit=ignore,
            )
        self.client.images.remove(str(trial.image.names[0]))
        return trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    url: str
    container: Any

    def get(self, path: str = "/", status: int = 200) -> Response:
        """The answer, once there is one with this status."""
        expected = demo.Expectation(path=path, status=status, contains="", within=20)
        with Transport({}, emit=ignore, patience=HASTY) as http:
            return demo.ask(f"{self.url}{path}", expected, get=lambda url: http.once("GET", url))

    def text(self, path: str = "/", status: int = 200) -> str:
        return self.get(path, status).body.decode()

    def stop(self) -> tuple[float, int]:
        """End it as `docker stop` does; the seconds that it took, and its status."""
        began = time.monotonic()
        self.container.stop(timeout=10)
        return time.monotonic() - began, self.container.wait()["StatusCode"]


@contextmanager
def works(name: str, docker_host: str) -> Iterator[Works]:
    """One of our builders, made from its folder."""
    import docker

    plan = load(shelf(Path(__file__).parents[2] / "s2ictl") / name)
    folder = replace(plan, blueprint=replace(plan.blueprint, name=f"{name}-under-test"))
    environ = {**os.environ, "DOCKER_HOST": docker_host}
    with ExitStack() as stack:
        client = docker.DockerClient(base_url=docker_host, version="auto")
        stack.callback(client.close)
        stack.callback(_remove_images, client, folder)
        workshop = Workshop(
            engine=stack.enter_context(open_docker(environ, host=this_host(), emit=ignore)),
            fetch=lambda *_: nullcontext(tree_of({})),
            find_login=lambda _: None,
            folders=(folder,),
            root_filesystem=lambda suite, emit: bases.root_filesystem(suite, environ, emit),
            download=lambda *_: None,
        )
        build_builder(folder, REQUEST, workshop, emit=ignore)
        yield Works(client=client, workshop=workshop, folder=folder)


def _prefix(folder: Folder) -> str:
    return f"s2ictl-test/{folder.name}"


def _remove_images(client: Any, folder: Folder) -> None:
    for name in (f"{_prefix(folder)}-*", f"s2ictl/{folder.name}"):
        for image in client.images.list(filters={"reference": name}):
            client.images.remove(image.id, force=True)


def ignore(_event: Event) -> None:
    """Nobody looks on."""


def tree_of(files: Mapping[str, str]) -> Tree:
    contents = {name: text.encode() for name, text in sorted(files.items())}

    parents = {str(parent) for name in contents for parent in PurePosixPath(name).parents} - {"."}

    def members() -> Iterator[tuple[Member, Callable[[int], bytes]]]:
        for name in sorted(parents):
            yield Member(path=name, kind="directory", mode=0o755), lambda _: b""
        for name, content in contents.items():
            yield Member(path=name, kind="file", mode=0o644, size=len(content)), io.BytesIO(content).read

    return Tree(
        location="/nowhere",
        context_dir="",
        commit=None,
        paths=tuple(contents),
        read=contents.__getitem__,
        members=members,
    )
