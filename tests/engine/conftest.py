"""The engine of the testbed, and the one without a daemon, for every test that makes containers in them.

Where tests run side by side, each worker has an engine of its own: what one kills on purpose the other would sweep, and
the names of images are the same in many files.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from s2ictl.engines.docker import Docker, open_docker
from s2ictl.leases import this_host
from tests import testbed
from tests.engine import apps, tiny
from tests.engine.apps import Ours, Works
from tests.engine.grounds import Ground, OnDocker, on_this_machine
from tests.engine.kitchen import OWNER, Kitchen
from tests.engine.ownengine import own_engine
from tests.engine.world import Real

ENGINES = ("docker", "embedded")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Whatever stands on a ground stands on both engines, unless it says otherwise."""
    if "ground" in metafunc.fixturenames:
        only = metafunc.definition.get_closest_marker("on_docker")
        metafunc.parametrize("ground", ENGINES[:1] if only else ENGINES, indirect=True)


@pytest.fixture(scope="session")
def engine_facts(engine_facts: testbed.Engine, worker_id: str) -> Iterator[testbed.Engine]:
    """The common engine for the first worker, or for all when there is but one; an engine of its own for any other."""
    if worker_id in ("master", "gw0"):
        yield engine_facts
        return
    with own_engine() as own:
        yield testbed.Engine(docker_host=own.docker_host, own=True)


@pytest.fixture(scope="session")
def ours(engine_facts: testbed.Engine) -> Iterator[Ours]:
    """Our own builders at work: each is made when somebody asks for it first, and serves until the end."""
    made = dict[str, Works]()
    with ExitStack() as stack:

        def at_work(name: str, version: str = "") -> Works:
            folder = apps.folder_of(name, version)
            if folder.word not in made:
                made[folder.word] = stack.enter_context(apps.works(folder, engine_facts.docker_host))
            return made[folder.word]

        yield at_work


@pytest.fixture(scope="module")
def docker(engine_facts: testbed.Engine) -> Iterator[Docker]:
    with open_docker({"DOCKER_HOST": engine_facts.docker_host}, host=this_host(), emit=lambda _: None) as engine:
        yield engine


@pytest.fixture(scope="module")
def api(engine_facts: testbed.Engine) -> Iterator[Any]:
    import docker

    client = docker.APIClient(base_url=engine_facts.docker_host, version="auto")
    yield client
    client.close()


@pytest.fixture
def ground(
    request: pytest.FixtureRequest, engine_facts: testbed.Engine, docker: Docker, api: Any, tmp_path: Path
) -> Iterator[Ground]:
    if request.param == "docker":
        yield OnDocker(engine=docker, api=api, environ={"DOCKER_HOST": engine_facts.docker_host})
    else:
        with on_this_machine(tmp_path / "state", api) as here:
            yield here


@pytest.fixture
def world(ground: Ground, api: Any) -> Iterator[Real]:
    with ExitStack() as stack:
        stack.callback(tiny.remove_named, api, "contract/", "/engine/")
        yield Real(ground=ground, stack=stack)
        ground.finish()
    assert api.containers(all=True, filters={"name": "s2ictl-contract-"}) == []


@pytest.fixture
def kitchen(ground: Ground, api: Any, tmp_path: Path) -> Iterator[Kitchen]:
    with ExitStack() as stack:
        stack.callback(tiny.remove_named, api, "whole-story/app", "/whole-story/")
        yield Kitchen(ground=ground, directory=tmp_path, stack=stack)
        ground.finish()
    assert api.containers(all=True, filters={"name": f"s2ictl-{OWNER}-"}) == []
