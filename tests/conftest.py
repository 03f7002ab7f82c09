"""What every test stands on: the layers, their real parts, and what the first layer must not touch.

The layers are folders, and each is asked for by a flag, never guessed from the environment: `pytest` alone runs what
needs nothing but git; `--embedded` adds tests/embedded, `--engine` tests/engine, `--bed` tests/bed, `--cluster`
tests/cluster. A part that this machine cannot have skips its tests with the reason; with CI=true that is a failure.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from xdist.scheduler import LoadFileScheduling

from s2ictl.events import Emit, Event
from tests import testbed
from tests.parts import available
from tests.testbed import mounts

HERE = Path(__file__).parent
LAYERS = ("bed", "embedded", "engine", "cluster")
F = TypeVar("F", bound=testbed.Facts)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--bed", action="store_true", help="run tests/bed: the testbed itself, up and down")
    parser.addoption("--embedded", action="store_true", help="run tests/embedded: containers, and no engine's daemon")
    parser.addoption("--engine", action="store_true", help="run tests/engine on a real engine and registry")
    parser.addoption("--cluster", action="store_true", help="run tests/cluster on a real Kubernetes node and forge")
    parser.addoption("--only-layers", action="store_true", help="leave out what stands outside of those folders")
    parser.addoption("--soak", action="store_true", help="the long form of every campaign")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    layer = _layer_of(collection_path)
    if layer in LAYERS:
        return None if config.getoption(f"--{layer}") else True
    return True if config.getoption("--only-layers") and collection_path.name.startswith("test_") else None


def _layer_of(path: Path) -> str:
    inside = path.relative_to(HERE).parts if path.is_relative_to(HERE) else ()
    return inside[0] if inside else ""


# --------------------------------------------------------------------------------------------------- side by side

OF_ARTIFACTS = ("test_b2i.py", "test_binary_builder.py", "test_jar_builder.py", "test_tomcat_builder.py")


class _ByBuilder(LoadFileScheduling):  # type: ignore[misc]  # it says nothing of its types
    """A worker takes one file after the other; those that ask for the same of our builders are taken by one worker,
    whose engine then makes each of these but once."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "artifacts" if file.endswith(OF_ARTIFACTS) else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling | None:
    return _ByBuilder(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole builders are made first: a worker that began one last would be waited for by the others."""
    items.sort(key=lambda item: not (_layer_of(item.path) == "engine" and _makes_builders(item.path)))


def _makes_builders(path: Path) -> bool:
    return "builder" in path.stem or path.name in (*OF_ARTIFACTS, "test_readme.py")


# ------------------------------------------------------------------------------------- what is forbidden to layer one


class _Guard:
    """An audit hook cannot be taken away again, so it is laid once and told for whom it holds."""

    def __init__(self) -> None:
        self.on = False
        self.home = Path(os.environ.get("HOME", "/nonexistent")).resolve()
        self.allowed = (HERE.parent, Path(sys.prefix))

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event == "socket.connect":
            self._check_address(arguments[1])
        elif event == "open" and isinstance(arguments[0], str) and self._writes(arguments):
            self._check_path(Path(arguments[0]))

    def _check_address(self, address: Any) -> None:
        if isinstance(address, tuple) and not str(address[0]).startswith("127.") and address[0] not in ("::1", ""):
            raise RuntimeError(f"a test of the first layer connects to {address!r}: loopback only")

    def _writes(self, arguments: tuple[Any, ...]) -> bool:
        flags = arguments[2] if isinstance(arguments[2], int) else 0
        return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))

    def _check_path(self, path: Path) -> None:
        path = path if path.is_absolute() else Path.cwd() / path
        if path.is_relative_to(self.home) and not any(path.is_relative_to(place) for place in self.allowed):
            raise RuntimeError(f"a test of the first layer writes {path}: the home directory is the user's")


_guard = _Guard()
sys.addaudithook(_guard)


@pytest.fixture(autouse=True)
def _first_layer_is_confined(request: pytest.FixtureRequest) -> Iterator[None]:
    _guard.on = _layer_of(Path(request.path)) not in LAYERS
    yield
    _guard.on = False


# -------------------------------------------------------------------------------------------------- what is handed in


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def emit(events: list[Event]) -> Emit:
    return events.append


@pytest.fixture
def soak(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--soak"))


@pytest.fixture(scope="session")
def engine_facts() -> testbed.Engine:
    return _real("engine", testbed.Engine)


@pytest.fixture(scope="session")
def registry_facts() -> testbed.Registry:
    return _real("registry", testbed.Registry)


@pytest.fixture(scope="session")
def cluster_facts() -> testbed.Cluster:
    return _real("cluster", testbed.Cluster)


@pytest.fixture(scope="session")
def forge_facts() -> testbed.Forge:
    return _real("forge", testbed.Forge)


@pytest.fixture(scope="session")
def user_facts() -> testbed.User:
    return _real("user", testbed.User)


def _real(part: testbed.Name, kind: type[F]) -> F:
    with available():
        facts = testbed.up(part)
    assert isinstance(facts, kind)
    return facts


@pytest.fixture
def bed() -> Iterator[testbed.Bed]:
    """A testbed of one test's own, beside the common one: a short path, since sockets lie in it."""
    directory = Path(tempfile.mkdtemp(prefix="s2ibed-", dir="/var/tmp"))
    silent: Callable[[str], None] = lambda _: None  # noqa: E731
    yield replace(
        testbed.Bed.of(os.environ, say=silent), directory=directory, slot=9, docker_host="unix:///nonexistent"
    )
    assert not mounts.below(directory)
    shutil.rmtree(directory)
