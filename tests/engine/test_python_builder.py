"""The Python builder on real containers: each way to a running application, and what may not be in its image."""

from __future__ import annotations

import io
import os
import re
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from s2ictl import bases, demo, transport
from s2ictl.build import Workshop, build, build_builder
from s2ictl.builders import Folder, load, shelf
from s2ictl.engines.docker import Docker, open_docker
from s2ictl.errors import AssembleFailed
from s2ictl.events import Event, Line
from s2ictl.leases import this_host
from s2ictl.models import BuildRequest, Member, Reference, Secret, Source, Tree
from s2ictl.transport import HASTY, Transport
from tests import testbed
from tests.engine import packages
from tests.engine.packages import CANARY, Index

REQUEST = BuildRequest(
    source=Source(kind="directory", location="/nowhere", copy=True),
    builder="",
    names=(),
    ca_bundle=transport.ca_bundle(os.environ, flag=None, cwd=Path.cwd()),
)
WHEELS = ("bottle", "gunicorn", "uvicorn", "starlette", "uv<1", "poetry<3", "poetry-plugin-export<2")

WHO = """
import http.server
import os


class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        open("written", "w").close()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"{os.getuid()}:{os.getgid()}".encode())


if __name__ == "__main__":
    http.server.HTTPServer(("", int(os.environ["PORT"])), Answers).serve_forever()
"""
BOTTLE = """
import bottle

app = bottle.Bottle()
app.get("/")(lambda: "hello from bottle")
"""
STARLETTE = """
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

app = Starlette(routes=[Route("/", lambda request: PlainTextResponse("hello from starlette"))])
"""
PIP_PROJECT = {"app.py": BOTTLE, "requirements.txt": "bottle\n"}
UV_PROJECT = """
[project]
name = "greeter"
version = "1.0"
requires-python = ">=3.13"
dependencies = ["bottle"]

[dependency-groups]
dev = ["starlette"]
"""
POETRY_PROJECT = """
[project]
name = "greeter"
version = "1.0"
requires-python = ">=3.13,<4"
dependencies = ["starlette"]

[build-system]
requires = ["poetry-core"]
build-backend = "poetry.core.masonry.api"

[[tool.poetry.source]]
name = "index"
url = "{index}"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Works:
    """The builder at work: images of some files, and containers of them."""

    client: Any
    engine: Docker
    workshop: Workshop
    folder: Folder

    def image(self, name: str, files: Mapping[str, str], *, mirror: str = "") -> str:
        """Build these files once, with everything from this mirror where one is given; answer the image's name."""
        image = f"s2ictl-test/python-{name}:1"
        if self.client.images.list(name=image):
            return image
        host = urlsplit(mirror).hostname or ""
        variables = {"PIP_INDEX_URL": mirror, "PIP_TRUSTED_HOST": host} if mirror else {}
        request = replace(
            REQUEST,
            builder=self.folder.name,
            names=(Reference.parse(image),),
            build_env=tuple((variable, Secret(value)) for variable, value in variables.items()),
        )
        build(request, replace(self.workshop, fetch=lambda *_: nullcontext(tree_of(files))), emit=ignore)
        return image

    @contextmanager
    def running(self, image: str, *, user: str = "", read_only: bool = False) -> Iterator[Running]:
        """A container as any platform starts it."""
        container = self.client.containers.run(
            image, detach=True, user=user or None, read_only=read_only, ports={"8080/tcp": ("127.0.0.1", None)}
        )
        try:
            container.reload()
            yield Running(url=f"http://127.0.0.1:{container.ports['8080/tcp'][0]['HostPort']}/", container=container)
        finally:
            container.remove(force=True)

    def printed(self, *lines: str) -> str:
        """What these lines of shell print in a container of the builder."""
        said: list[Event] = []
        command = ("/bin/sh", "-euc", "\n".join(lines))
        self.engine.output(str(self.folder.image), command=command, emit=said.append)
        return "".join(f"{event.text}\n" for event in said if isinstance(event, Line) and event.stream == "stdout")


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    url: str
    container: Any

    def answer(self) -> str:
        expected = demo.Expectation(path="/", status=200, contains="", within=20)
        with Transport({}, emit=ignore, patience=HASTY) as http:
            return demo.ask(self.url, expected, get=lambda url: http.once("GET", url)).body.decode()

    def stop(self) -> tuple[float, int]:
        """End it as `docker stop` does; the seconds that it took, and its status."""
        began = time.monotonic()
        self.container.stop(timeout=10)
        return time.monotonic() - began, self.container.wait()["StatusCode"]


def ignore(_event: Event) -> None:
    """Nobody looks on."""


def tree_of(files: Mapping[str, str]) -> Tree:
    contents = {name: text.encode() for name, text in sorted(files.items())}

    def members() -> Iterator[tuple[Member, Callable[[int], bytes]]]:
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
    """The builder, made from its folder under a name that is nobody's."""
    import docker

    plan = load(shelf(Path(__file__).parents[2] / "s2ictl") / "python")
    folder = replace(plan, blueprint=replace(plan.blueprint, name="python-under-test"))
    environ = {**os.environ, "DOCKER_HOST": engine_facts.docker_host}
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
        build_builder(folder, REQUEST, workshop, emit=ignore)
        yield Works(client=client, engine=engine, workshop=workshop, folder=folder)


def _remove_images(client: Any) -> None:
    for name in ("s2ictl-test/*", "s2ictl/python-under-test"):
        for image in client.images.list(filters={"reference": name}):
            client.images.remove(image.id, force=True)


@pytest.fixture(scope="module")
def index(works: Works, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    wheels = tmp_path_factory.mktemp("wheels")
    packages.download(WHEELS, works.folder.blueprint.version, wheels)
    (network,) = works.client.api.inspect_network("bridge")["IPAM"]["Config"]
    with packages.serving(wheels, network["Gateway"]) as served:
        yield served


@pytest.fixture(scope="module")
def uv_project(works: Works, index: Index) -> Mapping[str, str]:
    """A project whose lock holds the addresses of the open half of the index."""
    lock = _locked(works, index, UV_PROJECT, "uv<1", f"uv lock --quiet --default-index {index.open}", "uv.lock")
    return {"app.py": BOTTLE, "pyproject.toml": UV_PROJECT, "uv.lock": lock}


@pytest.fixture(scope="module")
def poetry_project(works: Works, index: Index) -> Mapping[str, str]:
    project = POETRY_PROJECT.format(index=index.open)
    lock = _locked(works, index, project, "poetry<3", "poetry lock --quiet", "poetry.lock")
    return {"main.py": STARLETTE, "pyproject.toml": project, "poetry.lock": lock}


def _locked(works: Works, index: Index, project: str, tool: str, command: str, lock: str) -> str:
    return works.printed(
        f"printf %s {shlex.quote(project)} >pyproject.toml",
        f"pip install --quiet --index-url {index.open} --trusted-host {urlsplit(index.open).hostname} {tool!r} >&2",
        f"{command} >&2",
        f"cat {lock}",
    )


@pytest.fixture(scope="module")
def mirrored(
    works: Works, index: Index, uv_project: Mapping[str, str], poetry_project: Mapping[str, str]
) -> Mapping[str, str]:
    """An image of each kind of project, all of whose packages came from the closed half of the index."""
    nowhere = uv_project["uv.lock"].replace(index.open.removesuffix("/simple"), "http://127.0.0.1:9")
    projects = {"pip": PIP_PROJECT, "uv-mirror": {**uv_project, "uv.lock": nowhere}, "poetry": poetry_project}
    return {name: works.image(name, files, mirror=index.closed) for name, files in projects.items()}


@pytest.fixture(scope="module")
def script(works: Works) -> str:
    return works.image("script", {"app.py": WHO})


# -------------------------------------------------------------------------------------------- ways to an application


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
    assert trial.answer == "Hello from Python, built by s2ictl without a Dockerfile."
    assert works.client.containers.list(filters={"ancestor": trial.image.id}) == []


@pytest.mark.parametrize(
    ("name", "answer"),
    [("pip", "hello from bottle"), ("uv-mirror", "hello from bottle"), ("poetry", "hello from starlette")],
)
def test_a_project_is_served_whose_packages_come_from_a_mirror_that_it_does_not_name(
    works: Works, mirrored: Mapping[str, str], name: str, answer: str
) -> None:
    with works.running(mirrored[name]) as application:
        assert application.answer() == answer


def test_everything_was_asked_of_the_mirror(index: Index, mirrored: Mapping[str, str]) -> None:
    assert {"bottle", "gunicorn", "starlette", "uvicorn", "uv", "poetry"} <= set(index.fetched)


def test_a_uv_lock_is_followed_without_its_development_group(works: Works, uv_project: Mapping[str, str]) -> None:
    with works.running(works.image("uv", uv_project)) as application:
        assert application.answer() == "hello from bottle"
        assert application.container.exec_run(["python", "-c", "import starlette"]).exit_code == 1


def test_a_lock_whose_hash_is_another_fails_the_build(
    works: Works, index: Index, poetry_project: Mapping[str, str]
) -> None:
    wrong = re.sub(r"sha256:[0-9a-f]{64}", f"sha256:{'0' * 64}", poetry_project["poetry.lock"])
    with pytest.raises(AssembleFailed) as caught:
        works.image("wrong-hash", {**poetry_project, "poetry.lock": wrong}, mirror=index.closed)
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in caught.value.detail


# ------------------------------------------------------------------------------------------------ how the image runs


def test_the_application_runs_as_user_1001_of_group_0_and_writes_beside_itself(works: Works, script: str) -> None:
    with works.running(script) as application:
        assert application.answer() == "1001:0"


def test_the_application_runs_as_any_user_of_group_0_and_writes_beside_itself(works: Works, script: str) -> None:
    with works.running(script, user="123456:0") as application:
        assert application.answer() == "123456:0"


def test_the_application_runs_on_a_read_only_root(works: Works, index: Index) -> None:
    image = works.image("pip", PIP_PROJECT, mirror=index.closed)
    with works.running(image, read_only=True) as application:
        assert application.answer() == "hello from bottle"


@pytest.mark.parametrize(
    ("name", "files", "status"),
    [
        ("pip", PIP_PROJECT, 0),
        ("uvicorn", {"app.py": STARLETTE, "requirements.txt": "starlette\n"}, 143),
        ("script", {"app.py": WHO}, 143),
        ("procfile", {"app.py": WHO, "Procfile": "web: python app.py\n"}, 143),
    ],
)
def test_a_stopped_container_ends_at_once_and_by_itself(
    works: Works, index: Index, name: str, files: Mapping[str, str], status: int
) -> None:
    with works.running(works.image(name, files, mirror=index.closed)) as application:
        application.answer()
        seconds, ended = application.stop()
    assert (ended, seconds < 3) == (status, True)


# -------------------------------------------------------------------------------------------- what is not in the image


@pytest.mark.parametrize("name", ["pip", "uv-mirror", "poetry"])
def test_neither_the_mirror_nor_its_login_nor_the_certificates_are_in_the_image(
    works: Works, index: Index, mirrored: Mapping[str, str], name: str
) -> None:
    image = mirrored[name]
    saved = b"".join(works.client.api.get_image(image))
    assert [word for word in (CANARY, index.closed, "closed/simple") if word.encode() in saved] == []
    variables = {entry.partition("=")[0] for entry in works.client.images.get(image).attrs["Config"]["Env"]}
    assert variables == set(works.folder.blueprint.env)


def test_the_same_source_gives_the_same_files(works: Works, index: Index) -> None:
    listing = "cd /opt/app-root && find . -type f | LC_ALL=C sort | xargs -d '\\n' sha256sum"
    once, twice = (
        works.client.containers.run(
            works.image(name, PIP_PROJECT, mirror=index.closed), ["sh", "-c", listing], remove=True
        )
        for name in ("pip", "pip-again")
    )
    assert once == twice
    assert b"__pycache__" in once
