"""s2i.yaml ↔ values: one application in a file, or several under `apps:`.

The dataclasses in models.py are the schema, so a key exists exactly when something reads it. What the types cannot say
(a name that becomes a host name, a port, two ways to say one thing) is checked here, with the place in the file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import field, replace
from pathlib import Path

from s2ictl import documents
from s2ictl.documents import Document, Place
from s2ictl.expressions import expression
from s2ictl.models import AppConfig, BuildersConfig, Config, ForgeConfig, WebhookConfig
from s2ictl.values import dataclass

_LABEL = expression(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
_LABEL_RULE = "small letters, digits and inner hyphens, at most 63 characters"
_REMOTE = expression(r"[a-z][a-z0-9+.-]*://|[^/@:]+@[^/:]+:")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Several:
    """The form with `apps:`; what stands beside it is every app's that does not say its own."""

    apps: tuple[AppConfig, ...]
    name: str = ""
    source: str = ""
    ref: str = ""
    builders: BuildersConfig = field(default_factory=BuildersConfig)
    registry_secret: str = ""
    webhook: WebhookConfig | None = None
    forge: ForgeConfig | None = None


def load(path: Path) -> Config:
    """Read one s2i.yaml."""
    return parse(documents.read(path), str(path))


def parse(text: str, name: str) -> Config:
    """The configuration that a text holds; `name` is what messages call it."""
    document = documents.load(text, name)
    if isinstance(document.value, dict) and "apps" in document.value:
        return _several(document)
    app = _normal(document, (), documents.convert(document, AppConfig))
    return Config(name=app.name, apps=(app,))


def _several(document: Document) -> Config:
    file = documents.convert(document, _Several)
    if not file.apps:
        raise document.wrong(("apps",), "apps is empty", hint="name at least one app, or leave `apps:` out")
    if file.name or file.webhook:
        _check_label(document, ("name",), file.name)
    apps = tuple(_inherit(document, ("apps", number), app, file) for number, app in enumerate(file.apps))
    for name, count in Counter(app.name for app in apps).items():
        if count > 1:
            raise document.wrong(("apps",), f"{count} apps are called {name!r}", hint="give each its own name")
    return Config(name=file.name or apps[0].name, apps=apps)


def _inherit(document: Document, place: Place, app: AppConfig, file: _Several) -> AppConfig:
    if app.webhook is not None:
        raise document.wrong(
            (*place, "webhook"), "webhook stands beside apps: one delivery serves all of them", key=True
        )
    whole = replace(
        app,
        source=app.source or file.source,
        ref=app.ref or file.ref,
        builders=app.builders if app.builders.prefix else file.builders,
        registry_secret=app.registry_secret or file.registry_secret,
        webhook=file.webhook,
        forge=app.forge or file.forge,
    )
    return _normal(document, place, whole)


def _normal(document: Document, place: Place, app: AppConfig) -> AppConfig:
    """Check what types cannot say, and bring `url#ref:dir` into its one inner form."""
    _check_label(document, (*place, "name"), app.name)
    for where, what in (*_webhook_faults(app), *_deploy_faults(app)):
        raise document.wrong((*place, *where), what)
    address, hash_sign, fragment = app.source.partition("#")
    if not hash_sign or not _REMOTE.match(app.source):
        return app
    ref, _, directory = fragment.partition(":")
    if (ref and app.ref) or (directory and app.build.context_dir):
        raise document.wrong(
            (*place, "source"), "the ref or the directory is given twice", hint="leave one of them out"
        )
    build = replace(app.build, context_dir=directory or app.build.context_dir)
    return replace(app, source=address, ref=ref or app.ref, build=build)


def _check_label(document: Document, place: Place, name: str) -> None:
    if not _LABEL.fullmatch(name):
        raise document.wrong(place, f"{name[:80]!r} cannot be a name", hint=_LABEL_RULE)


def _webhook_faults(app: AppConfig) -> Iterator[tuple[Place, str]]:
    webhook = app.webhook
    if webhook is None:
        return
    if webhook.secret_env and webhook.secret_file:
        yield ("webhook", "secret-file"), "the secret is named twice: secret-env and secret-file"
    if any(not branch or len(branch) > 255 for branch in webhook.branches):
        yield ("webhook", "branches"), "a branch is empty or longer than 255 characters"
    if app.source and not _REMOTE.match(app.source):
        yield ("source",), "a webhook needs a git repository with an address, not a directory"


def _deploy_faults(app: AppConfig) -> Iterator[tuple[Place, str]]:
    deploy = app.deploy
    if deploy is None:
        return
    ports = {"port": deploy.port, "service-port": deploy.service_port}
    for key, port in ports.items():
        if port is not None and not 0 < port < 65536:
            yield ("deploy", key), f"{port} is not a port: 1 to 65535"
    if deploy.readiness and not 0 <= deploy.readiness.port < 65536:
        yield ("deploy", "readiness", "port"), f"{deploy.readiness.port} is not a port: 1 to 65535"
    if deploy.namespace and not _LABEL.fullmatch(deploy.namespace):
        yield ("deploy", "namespace"), f"{deploy.namespace[:80]!r} cannot be a namespace: {_LABEL_RULE}"
    if deploy.replicas is not None and deploy.replicas < 0:
        yield ("deploy", "replicas"), f"{deploy.replicas} replicas cannot be"
