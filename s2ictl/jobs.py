"""STORY: a stored job → build request → image → workload → address.

Where source is fetched from and where an image goes stands in the app's own configuration; of the event only the commit
and the branch are taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from s2ictl import caches
from s2ictl.errors import InvalidConfiguration, Unauthorized
from s2ictl.hooks.matching import branch_matches
from s2ictl.manifests import ports_of, probe_of
from s2ictl.models import (
    App,
    AppConfig,
    BuildRequest,
    DeployConfig,
    Entry,
    Image,
    ImageFacts,
    Login,
    Outcome,
    Reference,
    Rollout,
    Secret,
    Source,
)

_SHORT = 12
_USUAL_PORTS = {"https": 443, "http": 80}


def perform(
    entry: Entry,
    app: AppConfig,
    *,
    name: Reference,
    build: Callable[[], Image],
    built: Callable[[str], None],
    deploy: Callable[[DeployConfig, Reference], Rollout],
) -> Outcome:
    """Build the commit of the event; roll it out when it is the app's own branch and the app says where.

    A job that was interrupted after its push has its digest already, and goes on from there.
    """
    digest = entry.digest or build().digest
    built(digest)
    if app.deploy is None or not is_own_ref(app, entry.ref):
        return Outcome(digest=digest)
    rollout = deploy(app.deploy, name.at(digest))
    return Outcome(digest=digest, address=rollout.address)


def build_request(
    entry: Entry,
    app: AppConfig,
    *,
    source: Source,
    names: tuple[Reference, ...],
    surroundings: tuple[tuple[str, Secret], ...] = (),
    ca_bundle: Path | None = None,
) -> BuildRequest:
    """What is asked of the build: this commit, under these names, into their registry."""
    request = BuildRequest(
        source=source,
        builder=app.build.builder,
        names=names,
        env=tuple(app.build.env.items()),
        surroundings=surroundings,
        application_name=app.name,
        incremental=app.build.incremental,
        runtime_image=app.build.runtime_image,
        runtime_artifacts=app.build.runtime_artifacts,
        push=True,
        app=app.name,
        ca_bundle=ca_bundle,
        owner=entry.id,
    )
    return caches.configured(request, app.build)


def names_of(entry: Entry, app: AppConfig) -> tuple[Reference, ...]:
    """What the image is called, the registry not completed yet: a written tag, else the short commit.

    Only the app's own branch moves a written tag or `latest`: the images of other branches stand beside it.
    """
    if app.image is None:
        raise InvalidConfiguration(f"the app {app.name} names no image", hint="image: registry.example.com/team/app")
    commit = replace(app.image, tag=entry.commit[:_SHORT])
    if not is_own_ref(app, entry.ref):
        return (commit,)
    return (app.image,) if app.image.tag else (commit, replace(app.image, tag="latest"))


def is_own_ref(app: AppConfig, ref: str) -> bool:
    """Whether this is the branch that the app runs: its `ref`, else the first of the hook's, else the default."""
    branches = app.webhook.branches if app.webhook else ()
    own = app.ref or next(iter(branches), "")
    return not own or branch_matches(own, ref.removeprefix("refs/heads/"))


def workload(entry: Entry, app: AppConfig, asked: DeployConfig, *, image: Reference, facts: ImageFacts) -> App:
    """What is asked of the rollout: the image that was pushed, by its digest."""
    return App(
        name=app.name,
        namespace=asked.namespace,
        image=image,
        ports=ports_of((str(asked.port),) if asked.port else (), facts, service_port=asked.service_port),
        expose=asked.expose,
        readiness=probe_of(asked.readiness),
        replicas=asked.replicas,
        user=facts.user,
        build=entry.id,
        commit=entry.commit,
    )


def forge_login(app: AppConfig, environ: Mapping[str, str]) -> Login | None:
    """The login for the host of the app's forge, and for no other."""
    forge = app.forge
    if forge is None or not forge.token_env:
        return None
    token = environ.get(forge.token_env, "")
    if not token:
        raise Unauthorized(f"the forge's token {forge.token_env} of {app.name} is unset")
    parts = urlsplit(forge.url)
    usual = parts.port is None or parts.port == _USUAL_PORTS.get(parts.scheme)
    host = (parts.hostname or "") + ("" if usual else f":{parts.port}")
    return Login(
        host=host, username=forge.username or "git", password=Secret(token), origin=f"forge.token-env of {app.name}"
    )
