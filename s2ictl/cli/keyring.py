"""What the cluster's Secrets hold for whoever builds: logins for registries, and the way into a git server.

Few builds name one, so this is imported where one is named, and the cluster's own parts with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from s2ictl import kubeconfig, logins
from s2ictl.cli.session import Session
from s2ictl.cluster import Cluster, open_cluster, read_secret
from s2ictl.models import Login
from s2ictl.sources.secrets import GitSecret, read_git_secret


def secret_logins(chosen: str, session: Session) -> tuple[Login, ...]:
    """The logins for registries of the cluster's Secret [NS/]NAME."""
    with _cluster_of(chosen, session) as (cluster, namespace, name):
        return logins.secret_logins(namespace, name, read_secret=partial(read_secret, cluster))


def git_secret(chosen: str, session: Session) -> GitSecret:
    """What the cluster's Secret [NS/]NAME says of git."""
    with _cluster_of(chosen, session) as (cluster, namespace, name):
        kind, data = read_secret(cluster, namespace, name)
        return read_git_secret(f"{namespace}/{name}", kind, data)


@contextmanager
def _cluster_of(chosen: str, session: Session) -> Iterator[tuple[Cluster, str, str]]:
    """The cluster, and the Secret's namespace and name in it."""
    world = session.world
    access = kubeconfig.locate(environ=world.environ, home=world.home, cwd=world.cwd)
    namespace, slash, name = chosen.rpartition("/")
    with open_cluster(access, environ=world.environ, emit=session.emit) as cluster:
        yield cluster, namespace if slash else access.namespace, name
