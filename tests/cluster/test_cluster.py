"""The real API keeps the contract that the fake cluster keeps."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from s2ictl.cluster import Cluster
from tests import testbed
from tests.cluster import places
from tests.fakes.cluster_contract import *  # noqa: F403  (the tests themselves)


@dataclass(frozen=True, slots=True, kw_only=True)
class Real:
    cluster: Cluster
    namespace: str


@pytest.fixture(scope="module")
def cluster(cluster_facts: testbed.Cluster) -> Iterator[Cluster]:
    with places.opened(cluster_facts) as cluster:
        yield cluster


@pytest.fixture
def world(cluster: Cluster) -> Iterator[Real]:
    with places.namespace(cluster) as namespace:
        yield Real(cluster=cluster, namespace=namespace)


def test_an_object_that_has_long_been_at_rest_can_be_watched(cluster: Cluster) -> None:
    began = time.monotonic()
    seen = list(cluster.watch("Service", "kubernetes", namespace="default", seconds=1))
    assert ([each["metadata"]["name"] for each in seen], time.monotonic() - began > 0.9) == (["kubernetes"], True)
