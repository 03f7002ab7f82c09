"""Where the tests of this layer work: the testbed's cluster, and a namespace for each test that is removed after it."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from s2ictl.cluster import Cluster, open_cluster
from s2ictl.kubeconfig import locate
from s2ictl.manifests import namespace_of
from tests import testbed

_numbers = itertools.count()


def opened(facts: testbed.Cluster) -> AbstractContextManager[Cluster]:
    """The testbed's cluster, and no other: whatever kubeconfig the user has is not looked at."""
    nowhere = Path("/nonexistent")
    access = locate(environ={"KUBECONFIG": str(facts.kubeconfig)}, home=nowhere, cwd=nowhere, context=facts.context)
    return open_cluster(access, environ={}, emit=lambda _: None)


@contextmanager
def namespace(cluster: Cluster, **labels: str) -> Iterator[str]:
    name = f"s2ictl-test-{os.getpid()}-{next(_numbers)}"
    manifest = namespace_of(name)
    manifest["metadata"]["labels"] |= labels
    cluster.apply(manifest)
    try:
        yield name
    finally:
        cluster.delete("Namespace", name, namespace="")
