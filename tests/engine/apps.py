"""Images of a few files by one of our builders, and containers of them: what the tests of the builders share."""

from __future__ import annotations

import io
import os
import ssl
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from socketserver import TCPServer
from typing import Any, Protocol, TypeVar

from docker import errors

from s2ictl import addresses, bases, demo
from s2ictl.build import build
from s2ictl.builders import Folder, load, shelf
from s2ictl.cli.workshop import package_sources
from s2ictl.engines import Keeper
from s2ictl.engines.docker import open_docker
from s2ictl.errors import LimitReached
from s2ictl.events import Event, Line
from s2ictl.foundry import build_builder
from s2ictl.leases import this_host
from s2ictl.models import BuildRequest, Member, Reference, Source, Tree
from s2ictl.transport import HASTY, Response, Transport
from s2ictl.workshop import Workshop
from tests.testbed import certificates

T = TypeVar("T")

OURS = "localhost:9/under-test"  # no registry is there: what the engine has not is made, and never somebody else's
COMPANY = "mirror.company.test"
PATIENCE = 400.0  # with one build; what takes longer waits for a network that fell silent
REQUEST = BuildRequest(
    source=Source(kind="directory", location="/nowhere", copy=True),
    builder="",
    names=(),
    ca_bundle=addresses.ca_bundle(os.environ, flag=None, cwd=Path.cwd()),
    surroundings=package_sources(os.environ),
    force=True,
    timeout=PATIENCE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """An image, what its scripts printed, and how long they took."""

    image: str
    said: tuple[str, ...]
    seconds: float

    def says(self, words: str) -> bool:
        return any(words in line for line in self.said)


@dataclass(frozen=True, slots=True, kw_only=True)
class Works:
    """A builder at work, at a place that is nobody's."""

    client: Any
    workshop: Workshop
    folder: Folder

    def image(self, name: str, files: Mapping[str, str | bytes], **changes: Any) -> str:
        """Build these files once; answer the image's name."""
        image = self.called(name)
        if not self.client.images.list(name=image):
            self.make(name, files, **changes)
        return image

    def make(self, name: str, files: Mapping[str, str | bytes], **changes: Any) -> Made:
        """Build these files, whatever has that name already; builds that say no other `app` share their caches."""
        image, said, began = self.called(name), list[Event](), time.monotonic()
        usual = {"builder": self.folder.word, "names": (Reference.parse(image),)}
        request = replace(REQUEST, **{**usual, **changes})
        workshop = replace(self.workshop, fetch=lambda *_: nullcontext(tree_of(files)))
        patiently(lambda: build(request, workshop, emit=said.append))
        lines = tuple(event.text for event in said if isinstance(event, Line))
        return Made(image=image, said=lines, seconds=time.monotonic() - began)

    def called(self, name: str) -> str:
        return f"s2ictl-test/{self.folder.name}{self.folder.version}-{name}:1"

    def layers(self, image: str) -> tuple[str, ...]:
        """The digests of what a build has laid upon the builder: of dependencies and application, or of that alone."""
        below, layers = (self._layers(each) for each in (str(self.folder.image), image))
        assert layers[: len(below)] == below
        return layers[len(below) :]

    def size(self, image: str) -> int:
        """How many bytes the files of the application's layer have."""
        return int(self.client.images.get(image).history()[0]["Size"])

    def _layers(self, image: str) -> tuple[str, ...]:
        return tuple(self.client.images.get(image).attrs["RootFS"]["Layers"])

    @property
    def gateway(self) -> str:
        """The address of this machine that containers reach."""
        (network,) = self.client.api.inspect_network("bridge")["IPAM"]["Config"]
        return str(network["Gateway"])

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

    def sample_files(self) -> Mapping[str, str]:
        """What the builder's folder has as an example."""
        lies = self.folder.path / "sample"
        return {str(path.relative_to(lies)): path.read_text() for path in lies.rglob("*") if path.is_file()}

    def sample(self) -> demo.Trial:
        """Build, run and ask what the builder's folder has as an example."""
        tree = tree_of(self.sample_files())
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
        expected = demo.Expectation(path=path, status=status, contains="", within=60)
        with Transport({}, emit=ignore, patience=HASTY) as http:
            return demo.ask(f"{self.url}{path}", expected, get=lambda url: http.once("GET", url))

    def text(self, path: str = "/", status: int = 200) -> str:
        return self.get(path, status).body.decode()

    def stop(self) -> tuple[float, int]:
        """End it as `docker stop` does; the seconds that it took, and its status."""
        began = time.monotonic()
        self.container.stop(timeout=10)
        return time.monotonic() - began, self.container.wait()["StatusCode"]


class Ours(Protocol):
    """Asks for one of our builders at work, in its first version unless another is named."""

    def __call__(self, name: str, version: str = "") -> Works: ...


def folder_of(name: str, version: str = "") -> Folder:
    first = load(shelf(Path(__file__).parents[2] / "s2ictl") / name, prefix=OURS)
    return first.at(version or first.version)


@contextmanager
def works(folder: Folder, docker_host: str) -> Iterator[Works]:
    """One of our builders, made from its folder."""
    import docker

    environ = {**os.environ, "DOCKER_HOST": docker_host}
    with ExitStack() as stack:
        client = docker.DockerClient(base_url=docker_host, version="auto")
        stack.callback(client.close)
        engine = stack.enter_context(open_docker(environ, host=this_host(), emit=ignore))
        _remove_all(client, engine, folder)  # what an interrupted run has left would be taken for this one's
        stack.callback(_remove_all, client, engine, folder)
        workshop = Workshop(
            engine=engine,
            fetch=lambda *_: nullcontext(tree_of({})),
            find_login=lambda _: None,
            folders=lambda _: (folder,),
            root_filesystem=lambda suite, emit: bases.root_filesystem(suite, environ, emit),
            download=lambda *_: None,
        )
        patiently(lambda: build_builder(folder, REQUEST, workshop, emit=ignore))
        yield Works(client=client, workshop=workshop, folder=folder)


def patiently(act: Callable[[], T]) -> T:
    """Act, and once more where the network has taken too long: that is nobody's fault here, and said at the end."""
    try:
        return act()
    except LimitReached as error:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn(f"tried once more: {error.message}", stacklevel=2)
        return act()


def over_tls(server: TCPServer, host: str, directory: Path) -> Path:
    """Let a server that does not serve yet speak TLS, as a company's mirror does; answer the bundle that trusts it.

    It goes by its address and by the name COMPANY: pip verifies no address.
    """
    authority = certificates.authority(directory / "authority")
    pair = authority.issue("mirror", subject=f"/CN={host}", alternatives=(f"IP:{host}", f"DNS:{COMPANY}"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    return authority.own.certificate


def _remove_all(client: Any, engine: Keeper, folder: Folder) -> None:
    """The builder, every image that stands on it, named or not, and what the engine keeps of its builds."""
    kept = [each for each in engine.kept() if each.kind == "cache" and each.builder == str(folder.image)]
    for name in (folder.runtime_image, folder.image):
        for image in client.images.list(filters={"reference": str(name)}):
            for made in (*_made_of(client.api, image.id), image.id):
                with suppress(errors.NotFound):  # what runs its programs may itself be made of the builder
                    client.api.remove_image(made, force=True, noprune=True)
    for each in kept:
        engine.forget(each)


def _made_of(api: Any, image: str) -> Iterator[str]:
    """The images that were committed from containers of this one, those that stand on others of them first."""
    for each in api.images(all=True):
        if each["ParentId"] == image:
            yield from _made_of(api, each["Id"])
            yield each["Id"]


def ignore(_event: Event) -> None:
    """Nobody looks on."""


def tree_of(files: Mapping[str, str | bytes]) -> Tree:
    contents = {name: file.encode() if isinstance(file, str) else file for name, file in sorted(files.items())}

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
