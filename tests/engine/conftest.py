"""The engine of the testbed, for every test that makes containers in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from s2ictl.engines.docker import Docker, open_docker
from s2ictl.leases import this_host
from tests import testbed
from tests.engine import tiny
from tests.engine.kitchen import OWNER, Kitchen
from tests.engine.world import Real


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
def world(docker: Docker, api: Any) -> Iterator[Real]:
    with ExitStack() as stack:
        stack.callback(tiny.remove_named, api, "contract/", "/engine/")
        yield Real(engine=docker, api=api, stack=stack)
    assert api.containers(all=True, filters={"name": "s2ictl-contract-"}) == []


@pytest.fixture
def kitchen(docker: Docker, api: Any, tmp_path: Path) -> Iterator[Kitchen]:
    with ExitStack() as stack:
        stack.callback(tiny.remove_named, api, "whole-story/app", "/whole-story/")
        yield Kitchen(engine=docker, api=api, directory=tmp_path, stack=stack)
    assert api.containers(all=True, filters={"name": f"s2ictl-{OWNER}-"}) == []
