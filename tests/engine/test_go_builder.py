"""The Go builder on real containers: programs through the real module proxy, on the small image that runs them."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from s2ictl import bases, demo, transport
from s2ictl.build import Workshop, build
from s2ictl.builders import Folder, load, shelf
from s2ictl.cli.workshop import package_sources
from s2ictl.engines.docker import Docker, open_docker
from s2ictl.errors import AssembleFailed
from s2ictl.events import Event
from s2ictl.leases import this_host
from s2ictl.models import BuildRequest, Confinement, Member, Reference, Secret, Source, Tree
from s2ictl.transport import HASTY, Transport
from tests import testbed
from tests.fakes.loopback import served

REQUEST = BuildRequest(
    source=Source(kind="directory", location="/nowhere", copy=True),
    builder="go",
    names=(),
    ca_bundle=transport.ca_bundle(os.environ, flag=None, cwd=Path.cwd()),
    build_env=package_sources(os.environ),
)
CANARY = "canary-77ab3f"

# Says who it is and what it finds: beside itself, in the image, and what it may write.
WHO = """
package main

import (
	"fmt"
	"net/http"
	"os"
	"time"
)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		text, _ := os.ReadFile("templates/greeting.txt")
		_, zone := time.LoadLocation("Asia/Tokyo")
		_, bundle := os.Stat("/etc/ssl/certs/ca-certificates.crt")
		_, shell := os.Stat("/bin/sh")
		written := os.WriteFile("/tmp/written", nil, 0o600)
		fmt.Fprint(w, os.Getuid(), ":", os.Getgid(), " ", string(text), zone, bundle, shell == nil, written)
	})
	http.ListenAndServe(":"+os.Getenv("PORT"), nil)
}
"""
FINDS = "{user} hello from a file<nil> <nil> false <nil>"
SHOP = {
    "go.mod": "module example.com/shop\n\ngo 1.24\n",
    "cmd/shop/main.go": WHO,
    "templates/greeting.txt": "hello from a file",
    "internal/notes.md": "not for the image",
}
USES = """
package main

import (
	"io"
	"net/http"
	"os"

	"mirror.invalid/greet"
)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, greet.Hello) })
	http.ListenAndServe(":"+os.Getenv("PORT"), nil)
}
"""
GREET = {
    "go.mod": "module mirror.invalid/greet\n",
    "greet.go": 'package greet\n\nconst Hello = "hello from a module"\n',
}
REQUIRES = "module example.com/user\n\ngo 1.24\n\nrequire mirror.invalid/greet v1.0.0\n"
USER_OF_IT = {"go.mod": REQUIRES, "main.go": USES}
VENDORED = {
    **USER_OF_IT,
    "vendor/modules.txt": "# mirror.invalid/greet v1.0.0\n## explicit\nmirror.invalid/greet\n",
    "vendor/mirror.invalid/greet/greet.go": GREET["greet.go"],
}
RUN = "#!/bin/sh\nexec /usr/libexec/s2i/run\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Works:
    """The builder at work: images of some files, and containers of them."""

    client: Any
    engine: Docker
    workshop: Workshop
    folder: Folder

    def image(self, name: str, files: Mapping[str, str], **changes: Any) -> str:
        """Build these files once; answer the image's name."""
        image = f"s2ictl-test/go-{name}:1"
        if not self.client.images.list(name=image):
            self.build(image, files, **changes)
        return image

    def build(self, image: str, files: Mapping[str, str], **changes: Any) -> None:
        request = replace(REQUEST, names=(Reference.parse(image),), **changes)
        build(request, replace(self.workshop, fetch=lambda *_: nullcontext(tree_of(files))), emit=ignore)

    @contextmanager
    def running(self, image: str, **options: Any) -> Iterator[Running]:
        """A container as any platform starts it."""
        ports = {"8080/tcp": ("127.0.0.1", None)}
        container = self.client.containers.run(image, detach=True, ports=ports, **options)
        try:
            container.reload()
            yield Running(url=f"http://127.0.0.1:{container.ports['8080/tcp'][0]['HostPort']}/", container=container)
        finally:
            container.remove(force=True)

    def application(self, image: str) -> dict[str, tuple[bytes, int, int, int]]:
        """What an image has of the application: the content, mode, owner and date of each file."""
        container = self.client.containers.create(image)
        try:
            data = b"".join(container.get_archive("/opt/app-root/app")[0])
        finally:
            container.remove()
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            return {
                each.name: (
                    file.read() if (file := tar.extractfile(each)) else b"",
                    each.mode,
                    each.uid,
                    int(each.mtime),
                )
                for each in tar
                if each.isfile()
            }


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    url: str
    container: Any

    def answer(self) -> str:
        expected = demo.Expectation(path="/", status=200, contains="", within=20)
        with Transport({}, emit=ignore, patience=HASTY) as http:
            return demo.ask(self.url, expected, get=lambda url: http.once("GET", url)).body.decode()

    def stop(self) -> int:
        """End it as `docker stop` does; its status, which is 137 where it had to be killed."""
        self.container.stop(timeout=10)
        return int(self.container.wait()["StatusCode"])


def ignore(_event: Event) -> None:
    """Nobody looks on."""


def tree_of(files: Mapping[str, str]) -> Tree:
    contents = {name: text.encode() for name, text in sorted(files.items())}
    directories = {str(parent) for name in files for parent in PurePosixPath(name).parents} - {"."}

    def members() -> Iterator[tuple[Member, Callable[[int], bytes]]]:
        for name in sorted(directories):
            yield Member(path=name, kind="directory", mode=0o755), io.BytesIO().read
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


# ------------------------------------------------------------------------------------------------- made once for all


@pytest.fixture(scope="module")
def works(engine_facts: testbed.Engine) -> Iterator[Works]:
    """The builder as it is in its folder; its image is kept, since most of its making is compiling."""
    import docker

    environ = {**os.environ, "DOCKER_HOST": engine_facts.docker_host}
    folder = load(shelf(Path(__file__).parents[2] / "s2ictl") / "go")
    with ExitStack() as stack:
        client = docker.DockerClient(base_url=engine_facts.docker_host, version="auto")
        stack.callback(client.close)
        stack.callback(_remove_images, client)
        engine = stack.enter_context(open_docker(environ, host=this_host(), emit=ignore))
        workshop = Workshop(
            engine=engine,
            fetch=lambda *_: nullcontext(tree_of({})),
            find_login=lambda _: None,
            folders=(folder,),
            root_filesystem=lambda suite, emit: bases.root_filesystem(suite, environ, emit),
            download=lambda *_: None,
        )
        yield Works(client=client, engine=engine, workshop=workshop, folder=folder)


def _remove_images(client: Any) -> None:
    for image in client.images.list(filters={"reference": "s2ictl-test/go-*"}):
        client.images.remove(image.id, force=True)


class _Proxy(BaseHTTPRequestHandler):
    """A module proxy that knows one module, at an address that nobody else may know; Go logs in by TLS alone."""

    def do_GET(self) -> None:
        content = _MODULE.get(self.path.removeprefix(f"/{CANARY}/mirror.invalid/greet/@v/"))
        self.send_response(200 if content else 404)
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


def _zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in GREET.items():
            archive.writestr(f"mirror.invalid/greet@v1.0.0/{name}", text)
    return buffer.getvalue()


_MODULE = {"v1.0.0.info": b'{"Version":"v1.0.0"}', "v1.0.0.mod": GREET["go.mod"].encode(), "v1.0.0.zip": _zipped()}


@pytest.fixture(scope="module")
def proxy(works: Works) -> Iterator[tuple[tuple[str, Secret], ...]]:
    """The variables that lead to a module proxy on this machine."""
    (network,) = works.client.api.inspect_network("bridge")["IPAM"]["Config"]
    server = ThreadingHTTPServer((network["Gateway"], 0), _Proxy)
    with served(server):
        address = f"http://{network['Gateway']}:{server.server_port}/{CANARY}"
        # No go.sum in these sources: it is made while they are built, of a module that no checksum database knows.
        yield tuple(
            (name, Secret(value))
            for name, value in {"GOPROXY": address, "GONOSUMDB": "mirror.invalid", "GOFLAGS": "-mod=mod"}.items()
        )


@pytest.fixture(scope="module")
def shop(works: Works) -> str:
    return works.image("shop", SHOP)


# --------------------------------------------------------------------------------------------------------- programs


def test_the_sample_answers_what_the_builder_promises(works: Works) -> None:
    tree = tree_of({path.name: path.read_text() for path in (works.folder.path / "sample").iterdir()})
    workshop = replace(works.workshop, fetch=lambda *_: nullcontext(tree))
    with Transport({}, emit=ignore, patience=HASTY) as http:
        trial = demo.try_sample(
            works.folder,
            REQUEST,
            build=lambda request, emit: build(request, workshop, emit=emit),
            runner=works.engine,
            get=lambda url: http.once("GET", url),
            emit=ignore,
        )
    works.client.images.remove(str(trial.image.names[0]))
    assert trial.answer == "Hello from Go, built by s2ictl without a Dockerfile."


def test_a_program_runs_as_user_1001_of_group_0_with_its_files_and_without_a_shell(works: Works, shop: str) -> None:
    with works.running(shop) as application:
        assert application.answer() == FINDS.format(user="1001:0")


def test_a_program_runs_as_any_user_of_group_0_on_a_read_only_root(works: Works, shop: str) -> None:
    with works.running(shop, user="123456:0", read_only=True, tmpfs={"/tmp": ""}) as application:
        assert application.answer() == FINDS.format(user="123456:0")


def test_a_stopped_container_ends_by_itself(works: Works, shop: str) -> None:
    with works.running(shop) as application:
        application.answer()
        assert application.stop() == 2  # as Go itself ends a first process that is asked to end


def test_the_image_is_the_program_its_files_and_one_megabyte(works: Works, shop: str) -> None:
    files = works.application(shop)
    assert sorted(files) == ["app/main", "app/templates/greeting.txt"]
    size = works.client.images.get(shop).attrs["Size"]
    assert size - sum(len(content) for content, *_ in files.values()) < 2 << 20


def test_a_module_comes_from_a_mirror_whose_address_is_nowhere_in_the_image(
    works: Works, proxy: tuple[tuple[str, Secret], ...]
) -> None:
    image = works.image("mirror", USER_OF_IT, build_env=proxy)
    with works.running(image) as application:
        assert application.answer() == "hello from a module"
    assert CANARY.encode() not in b"".join(works.client.api.get_image(image))
    variables = {entry.partition("=")[0] for entry in works.client.images.get(image).attrs["Config"]["Env"]}
    assert variables == {"PATH", "PORT"}


def test_vendored_modules_need_no_network(works: Works) -> None:
    image = works.image("vendored", VENDORED, confinement=Confinement(network="none"))
    with works.running(image) as application:
        assert application.answer() == "hello from a module"


@pytest.mark.parametrize(
    ("toolchain", "said"),
    [
        ("auto", "error: the Go that go.mod asks for is not to be had; this builder has go1.24"),
        ("local", "go: go.mod requires go >= 1.999 (running go 1.24"),
    ],
)
def test_a_go_that_is_not_to_be_had_is_said(works: Works, toolchain: str, said: str) -> None:
    files = {**SHOP, "go.mod": "module example.com/shop\n\ngo 1.999\n"}
    offline = (("GOPROXY", Secret("off")), ("GOTOOLCHAIN", Secret(toolchain)))
    with pytest.raises(AssembleFailed) as caught:
        works.image("future", files, build_env=offline)
    assert said in caught.value.detail


# ------------------------------------------------------------------------------------------------ same in, same out


def test_the_same_source_gives_the_same_files(works: Works, shop: str) -> None:
    assert works.application(works.image("shop-again", SHOP)) == works.application(shop)


# ------------------------------------------------------------------------------------------- on the builder's own image


def test_a_program_with_a_run_script_of_its_own_stays_on_the_builder_without_its_caches(works: Works) -> None:
    image = works.image("own-run", {**SHOP, ".s2i/bin/run": RUN})
    with works.running(image, user="123456:0") as application:
        assert application.answer() == FINDS.format(user="123456:0").replace("false", "true")
        assert application.container.exec_run(["ls", "/opt/app-root/cache"]).output == b""
        assert application.stop() == 143


def test_an_incremental_build_needs_nothing_that_the_last_one_fetched(
    works: Works, proxy: tuple[tuple[str, Secret], ...]
) -> None:
    image = "s2ictl-test/go-incremental:1"
    files = {**USER_OF_IT, ".s2i/environment": "GO_KEEP_CACHE=1\n"}
    works.build(image, files, incremental=True, build_env=proxy)
    changed = {**files, "main.go": USES.replace("greet.Hello", '"again " + greet.Hello')}
    works.build(image, changed, incremental=True, build_env=proxy, confinement=Confinement(network="none"))
    with works.running(image) as application:
        assert application.answer() == "again hello from a module"
