"""The Python builder on real containers: each way to a running application, and what may not be in its image."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from s2ictl.errors import AssembleFailed
from s2ictl.models import Confinement, Secret
from tests.engine import packages
from tests.engine.apps import COMPANY, Ours, Works
from tests.engine.packages import CANARY, Index

WHEELS = ("bottle", "gunicorn", "uvicorn", "starlette", "uv<1", "poetry<3", "poetry-plugin-export<2")
EPOCH = 1700000000

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


# ------------------------------------------------------------------------------------------------- made once for all


@pytest.fixture(scope="module")
def works(ours: Ours) -> Works:
    return ours("python")


@pytest.fixture(scope="module")
def wheels(works: Works, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheels")
    packages.download(WHEELS, works.folder.blueprint.version, directory)
    return directory


@pytest.fixture(scope="module")
def index(works: Works, wheels: Path) -> Iterator[Index]:
    with packages.serving(wheels, works.gateway) as served:
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
        str(works.folder.image),
        f"printf %s {shlex.quote(project)} >pyproject.toml",
        f"pip install --quiet --index-url {index.open} --trusted-host {urlsplit(index.open).hostname} {tool!r} >&2",
        f"{command} >&2",
        f"cat {lock}",
    )


def from_mirror(index: Index) -> dict[str, Any]:
    """The changes of a request by which every package comes from the closed half of an index, and has one date."""
    variables = {"PIP_INDEX_URL": index.closed, "PIP_TRUSTED_HOST": urlsplit(index.closed).hostname or ""}
    return {"build_env": tuple((name, Secret(value)) for name, value in variables.items()), "epoch": EPOCH}


@pytest.fixture(scope="module")
def projects(uv_project: Mapping[str, str], poetry_project: Mapping[str, str], index: Index) -> Mapping[str, Any]:
    nowhere = uv_project["uv.lock"].replace(index.open.removesuffix("/simple"), "http://127.0.0.1:9")
    return {"pip": PIP_PROJECT, "uv-mirror": {**uv_project, "uv.lock": nowhere}, "poetry": poetry_project}


@pytest.fixture(scope="module")
def mirrored(works: Works, index: Index, projects: Mapping[str, Any]) -> Mapping[str, str]:
    """An image of each kind of project, all of whose packages came from the closed half of the index."""
    return {name: works.image(name, files, **from_mirror(index)) for name, files in projects.items()}


@pytest.fixture(scope="module")
def script(works: Works) -> str:
    return works.image("script", {"app.py": WHO})


# -------------------------------------------------------------------------------------------- ways to an application


def test_the_sample_answers_what_the_builder_promises(works: Works) -> None:
    trial = works.sample()
    assert trial.answer == "Hello from Python, built by s2ictl without a Dockerfile."
    assert works.client.containers.list(filters={"ancestor": trial.image.id}) == []


def test_the_sample_answers_on_a_read_only_root_as_any_user_of_group_0(works: Works) -> None:
    image = works.image("sample", works.sample_files())
    with works.running(image, read_only=True, user="123456:0") as application:
        assert application.text().startswith("Hello from Python")


@pytest.mark.parametrize(
    ("name", "answer"),
    [("pip", "hello from bottle"), ("uv-mirror", "hello from bottle"), ("poetry", "hello from starlette")],
)
def test_a_project_is_served_whose_packages_come_from_a_mirror_that_it_does_not_name(
    works: Works, mirrored: Mapping[str, str], name: str, answer: str
) -> None:
    with works.running(mirrored[name]) as application:
        assert application.text() == answer


def test_everything_was_asked_of_the_mirror(index: Index, mirrored: Mapping[str, str]) -> None:
    assert {"bottle", "gunicorn", "starlette", "uvicorn", "uv", "poetry"} <= set(index.fetched)


def test_a_uv_lock_is_followed_without_its_development_group(works: Works, uv_project: Mapping[str, str]) -> None:
    with works.running(works.image("uv", uv_project)) as application:
        assert application.text() == "hello from bottle"
        assert application.container.exec_run(["python", "-c", "import starlette"]).exit_code == 1


def test_a_lock_whose_hash_is_another_fails_the_build(
    works: Works, index: Index, poetry_project: Mapping[str, str]
) -> None:
    wrong = re.sub(r"sha256:[0-9a-f]{64}", f"sha256:{'0' * 64}", poetry_project["poetry.lock"])
    with pytest.raises(AssembleFailed) as caught:
        works.image("wrong-hash", {**poetry_project, "poetry.lock": wrong}, **from_mirror(index))
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in caught.value.detail


# ------------------------------------------------------------------------------------------------ how the image runs


def test_the_application_runs_as_user_1001_of_group_0_and_writes_beside_itself(works: Works, script: str) -> None:
    with works.running(script) as application:
        assert application.text() == "1001:0"


def test_the_application_runs_as_any_user_of_group_0_and_writes_beside_itself(works: Works, script: str) -> None:
    with works.running(script, user="123456:0") as application:
        assert application.text() == "123456:0"


def test_the_application_runs_on_a_read_only_root(works: Works, index: Index) -> None:
    image = works.image("pip", PIP_PROJECT, **from_mirror(index))
    with works.running(image, read_only=True) as application:
        assert application.text() == "hello from bottle"


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
    with works.running(works.image(name, files, **from_mirror(index))) as application:
        application.get()
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


def test_downloads_are_kept_for_the_next_build_and_are_not_in_the_image(works: Works, index: Index) -> None:
    images = [
        works.make(f"kept-{number}", {**PIP_PROJECT, "requirements.txt": text}, app="kept", **from_mirror(index)).image
        for number, text in enumerate(("bottle", "bottle\n"))
    ]
    fetched = index.fetched.count("bottle")
    works.make("kept-2", {**PIP_PROJECT, "requirements.txt": "bottle # again"}, app="kept", **from_mirror(index))
    assert index.fetched.count("bottle") == fetched
    assert [works.printed(image, "ls -A /var/cache/s2i") for image in images] == ["", ""]


# ------------------------------------------------------------------------------------------- what is in which layer


@pytest.mark.parametrize("name", ["pip", "uv-mirror", "poetry"])
def test_a_changed_line_changes_the_layer_of_the_application_alone_and_that_is_small(
    works: Works, index: Index, projects: Mapping[str, Any], mirrored: Mapping[str, str], name: str
) -> None:
    main = "main.py" if name == "poetry" else "app.py"
    changed = {**projects[name], main: projects[name][main] + "# one more line\n"}
    made = works.make(f"{name}-changed", changed, **from_mirror(index))
    before, after = works.layers(mirrored[name]), works.layers(made.image)
    assert (len(before), before[0], before[1] == after[1]) == (2, after[0], False)
    assert made.says("The dependencies are installed: nothing that decides them has changed")
    assert works.size(made.image) < 64 * 1024


@pytest.mark.parametrize("name", ["pip", "uv-mirror", "poetry"])
def test_a_build_from_nothing_gives_the_same_layers(
    works: Works, index: Index, projects: Mapping[str, Any], mirrored: Mapping[str, str], name: str
) -> None:
    again = works.make(f"{name}-again", projects[name], cache=False, **from_mirror(index))
    differing = works.workshop.engine.differences(mirrored[name], again.image)  # type: ignore[attr-defined]
    assert (differing, works.layers(again.image)) == ((), works.layers(mirrored[name]))
    assert "__pycache__" in works.printed(again.image, "ls -A /opt/app-root/src")


def test_what_a_company_has_signed_itself_is_trusted_by_its_bundle_alone(
    works: Works, wheels: Path, tmp_path: Path
) -> None:
    with packages.serving(wheels, works.gateway, authority=tmp_path) as company:
        address = company.closed.replace(works.gateway, COMPANY)
        changes: dict[str, Any] = {
            "build_env": (("PIP_INDEX_URL", Secret(address)), ("PIP_RETRIES", Secret("0"))),
            "confinement": Confinement(hosts=(f"{COMPANY}:{works.gateway}",)),
            "cache": False,
        }
        made = works.make("company", PIP_PROJECT, ca_bundle=company.bundle, **changes)
        with pytest.raises(AssembleFailed):
            works.make("stranger", PIP_PROJECT, **changes)
    with works.running(made.image) as application:
        assert application.text() == "hello from bottle"
