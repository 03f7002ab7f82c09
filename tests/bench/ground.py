"""What is built upon: the engine and the registry that answer here, else the testbed's; a builder without a task."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests import testbed
from tests.engine import tiny

BUILDER = "registry.example.com/bench/builder:1"  # with a registry, as those in the wild are named
# As the builders in the wild do it, and nothing else: what they download would hide what the tools take.
_ASSEMBLE = "mv /tmp/src/* /opt/app/"


@contextmanager
def engine() -> Iterator[str]:
    """Where an engine is; one that is not here yet is taken down again."""
    before = testbed.facts("engine")
    try:
        yield testbed.up("engine").docker_host
    finally:
        if before is None:
            testbed.down("engine")


@contextmanager
def registry() -> Iterator[str]:
    """Where a registry is that lets everybody in; the same."""
    before = testbed.facts("registry")
    try:
        yield testbed.up("registry").open
    finally:
        if before is None:
            testbed.down("registry")


@contextmanager
def client(host: str) -> Iterator[Any]:
    """The engine's own API, to look at and to tidy up."""
    import docker

    api = docker.APIClient(base_url=host, version="auto")
    try:
        yield api
    finally:
        api.close()


@contextmanager
def builder(api: Any) -> Iterator[None]:
    """The builder, in the engine while the context lasts."""
    filesystem = tiny.rootfs({"assemble": tiny.script(_ASSEMBLE), "run": tiny.script("true")})
    said = f'LABEL "io.openshift.s2i.scripts-url"="image://{tiny.SCRIPTS}"'
    with tiny.imported(api, BUILDER, filesystem, "ENV PATH=/bin", "USER 1001", "WORKDIR /opt/app", said):
        yield
