"""An App becomes the objects of a cluster, as data: nothing here contacts anything.

What the user wrote is checked and then put into dictionaries; no text is ever rendered into YAML, so a name cannot
become a field. The pod template holds only what decides how the app runs. What changes with each build stands on the
Deployment itself: the same digest deployed twice must not restart anything.
"""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

from s2ictl.errors import InvalidUsage, LimitReached, Refused
from s2ictl.expressions import expression
from s2ictl.models import App, ImageFacts, Manifest, Port, Probe, ReadinessConfig

ALIAS = "kubesphere.io/alias-name"
DESCRIPTION = "kubesphere.io/description"
BUILD, COMMIT, BUILT = "s2ictl/build", "s2ictl/commit", "s2ictl/built"
NAME = "app.kubernetes.io/name"
INSTANCE = "app.kubernetes.io/instance"
MANAGED_BY = "app.kubernetes.io/managed-by"
VERSION = "app.kubernetes.io/version"
OURS = {MANAGED_BY: "s2ictl"}

_S2I_COMMIT = "io.openshift.s2i.build.commit.id"
_SERVICE_TYPES = {"none": "ClusterIP", "nodeport": "NodePort", "loadbalancer": "LoadBalancer"}
_REQUESTS = {"cpu": "50m", "memory": "64Mi"}
# A container without a probe counts as ready the moment it starts, also when it dies right after.
_SETTLE_SECONDS = 3
_PROBE_PERIOD_SECONDS = 2


def objects_of(app: App, pull_secret: bytes | None = None) -> tuple[Manifest, ...]:
    """The objects that make this app run, in the order in which they are applied."""
    check(app)
    secret = (_pull_secret(app, pull_secret),) if pull_secret is not None else ()
    return (*secret, _deployment(app, owns_secret=bool(secret)), _service(app))


def namespace_of(name: str) -> Manifest:
    """The namespace itself, for `--create-namespace`."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": dict(OURS)}}


def replicas_of(app: App, count: int) -> Manifest:
    """The number of replicas alone: what is handed over to whoever scales the app from now on."""
    head: Manifest = {"apiVersion": "apps/v1", "kind": "Deployment"}
    return head | {"metadata": {"name": app.name, "namespace": app.namespace}, "spec": {"replicas": count}}


def pull_secret_name(name: str) -> str:
    """The Secret that is made for an app whose image is private."""
    return f"{name}-registry"


def redacted(manifest: Manifest) -> Manifest:
    """The same object for people: the data of a Secret is shown to nobody."""
    if manifest["kind"] != "Secret":
        return manifest
    return manifest | {"data": dict.fromkeys(manifest["data"], "<redacted>")}


def image_of(app: App) -> str:
    """The image as a node pulls it: by digest once it is known, so that a moved tag changes nothing."""
    return f"{app.image.name}@{app.image.digest}" if app.image.digest else str(app.image)


def runs_as_user(app: App) -> bool:
    """Whether the image itself promises a user other than root, in the one form that a node can verify."""
    user = app.user.partition(":")[0]
    return user.isascii() and user.isdigit() and int(user) > 0


def ports_of(
    asked: tuple[str, ...], facts: ImageFacts, *, service_port: int | None = None, name: str = ""
) -> tuple[Port, ...]:
    """The ports that were asked for as NUMBER or NAME=NUMBER, else those that the image says it listens on."""
    written = asked or tuple(_exposed(facts))
    ports = tuple(_port(text, first=number == 0) for number, text in enumerate(written))
    if (service_port is not None or name) and len(ports) > 1:
        raise InvalidUsage(
            f"--service-port and --port-name are for one port, and there are {len(ports)}",
            hint="--port NAME=8080 names each port",
        )
    return tuple(
        replace(port, service=port.service if service_port is None else service_port, name=name or port.name)
        for port in ports
    )


def probe_of(asked: ReadinessConfig | None) -> Probe:
    """How readiness is asked, where s2i.yaml says it and where it does not."""
    if asked is None:
        return Probe(kind="tcp")
    return Probe(kind=asked.kind, path=asked.path, port=asked.port, delay=asked.delay, timeout=asked.timeout)


def _exposed(facts: ImageFacts) -> Iterator[str]:
    services = facts.labels.get("io.openshift.expose-services", "")
    if services:
        for service in services.split(","):
            number, _, name = service.strip().partition(":")
            yield f"{name}={number}" if _PORT_NAME.fullmatch(name) else number
    else:
        yield from (port.removesuffix("/tcp") for port in facts.exposed if not port.endswith(("/udp", "/sctp")))


def _port(text: str, *, first: bool) -> Port:
    name, equals, number = text.rpartition("=")
    if not re.fullmatch(r"[1-9][0-9]{0,4}", number) or (equals and not name):
        raise InvalidUsage(f"{text[:80]!r} is not a port", hint="--port 8080, or --port NAME=8080 for several")
    return Port(container=int(number), service=int(number), name=name or ("http" if first else f"port-{number}"))


def origin_of(facts: ImageFacts) -> tuple[str, str]:
    """The commit that an image was built from, and when; empty where its labels do not say."""
    commit = facts.labels.get("org.opencontainers.image.revision") or facts.labels.get(_S2I_COMMIT, "")
    return commit, facts.labels.get("org.opencontainers.image.created", "")


# ---------------------------------------------------------------------------------------------------------- objects


def _metadata(app: App, name: str) -> Manifest:
    version = app.image.tag or app.image.digest.removeprefix("sha256:")[:12]
    labels = _selector(app) | OURS | ({VERSION: version} if _LABEL_VALUE.fullmatch(version) else {})
    said = {ALIAS: app.alias, DESCRIPTION: app.description}
    metadata: Manifest = {"name": name, "namespace": app.namespace, "labels": labels}
    return metadata | _unless_empty("annotations", said)


def _selector(app: App) -> dict[str, str]:
    return {NAME: app.name, INSTANCE: app.name}


def _unless_empty(key: str, values: Mapping[str, str]) -> Manifest:
    kept = {name: value for name, value in values.items() if value}
    return {key: kept} if kept else {}


def _deployment(app: App, *, owns_secret: bool) -> Manifest:
    metadata = _metadata(app, app.name)
    build = {BUILD: app.build, COMMIT: app.commit, BUILT: app.built}
    metadata |= _unless_empty("annotations", metadata.get("annotations", {}) | build)
    spec: Manifest = {
        "selector": {"matchLabels": _selector(app)},
        "template": {"metadata": {"labels": _selector(app) | OURS}, "spec": _pod(app, owns_secret=owns_secret)},
    }
    if app.replicas is not None:
        spec["replicas"] = app.replicas
    if app.readiness.kind == "none":
        spec["minReadySeconds"] = _SETTLE_SECONDS
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


def _pod(app: App, *, owns_secret: bool) -> Manifest:
    non_root = {"runAsNonRoot": True} if runs_as_user(app) else {}
    pod: Manifest = {
        "automountServiceAccountToken": False,
        "securityContext": {**non_root, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [_container(app)],
    }
    secret = pull_secret_name(app.name) if owns_secret else app.pull_secret
    return pod | ({"imagePullSecrets": [{"name": secret}]} if secret else {})


def _container(app: App) -> Manifest:
    container: Manifest = {
        "name": app.name,
        "image": image_of(app),
        "ports": [{"name": port.name, "containerPort": port.container, "protocol": "TCP"} for port in app.ports],
        "resources": {"requests": dict(_REQUESTS)},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    if app.env:
        container["env"] = [{"name": name, "value": value} for name, value in app.env]
    if app.readiness.kind != "none":
        container["readinessProbe"] = _probe(app.readiness, app.ports)
    return container


def _probe(probe: Probe, ports: tuple[Port, ...]) -> Manifest:
    port = probe.port or ports[0].container
    ask: Manifest = (
        {"httpGet": {"path": probe.path, "port": port}} if probe.kind == "http" else {"tcpSocket": {"port": port}}
    )
    times = {"timeoutSeconds": probe.timeout, "periodSeconds": _PROBE_PERIOD_SECONDS}
    return ask | times | ({"initialDelaySeconds": probe.delay} if probe.delay else {})


def _service(app: App) -> Manifest:
    # No nodePort is written: the one that the cluster chose is not ours, so applying again leaves it as it is.
    ports = [
        {"name": port.name, "port": port.service, "targetPort": port.container, "protocol": "TCP"} for port in app.ports
    ]
    spec = {"type": _SERVICE_TYPES[app.expose], "selector": _selector(app), "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": _metadata(app, app.name), "spec": spec}


def _pull_secret(app: App, config: bytes) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _metadata(app, pull_secret_name(app.name)),
        "type": "kubernetes.io/dockerconfigjson",
        "data": {".dockerconfigjson": base64.b64encode(config).decode()},
    }


# ----------------------------------------------------------------------------------------------------------- checks

_HOST_LABEL = expression(r"[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?")
_NAMESPACE = expression(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
_SECRET_NAME = expression(r"[a-z0-9](?:[-.a-z0-9]{0,251}[a-z0-9])?")
_PORT_NAME = expression(r"(?=[-0-9]*[a-z])(?!.*--)[a-z0-9](?:[-a-z0-9]{0,13}[a-z0-9])?")
_LABEL_VALUE = expression(r"[A-Za-z0-9](?:[-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?")
_ENV_NAME = expression(r"[-._A-Za-z][-._A-Za-z0-9]*")
_RESERVED = ("default", "kubernetes")
_SYSTEM_NAMESPACES = ("kube-system", "kube-public", "kube-node-lease")
_MOST_REPLICAS = 1000
_MOST_ANNOTATIONS = 256 * 1024


def check(app: App) -> None:
    """Refuse what the cluster would refuse, before it is asked, and in the words of whoever typed it."""
    check_name(app.name)
    check_namespace(app.namespace)
    _check_ports(app.ports)
    _check_probe(app)
    if app.pull_secret and not _SECRET_NAME.fullmatch(app.pull_secret):
        raise InvalidUsage(f"{app.pull_secret[:80]!r} cannot be the name of a Secret")
    if app.replicas is not None and not 0 <= app.replicas <= _MOST_REPLICAS:
        raise InvalidUsage(f"{app.replicas} replicas cannot be", hint=f"0 to {_MOST_REPLICAS}")
    for name, count in Counter(name for name, _ in app.env).items():
        if not _ENV_NAME.fullmatch(name) or count > 1:
            wrong = "is set twice" if count > 1 else "cannot be the name of a variable"
            raise InvalidUsage(f"{name[:80]!r} {wrong}", hint="--env NAME=VALUE, each name once")
    if len((app.alias + app.description + app.build + app.commit).encode()) > _MOST_ANNOTATIONS:
        raise LimitReached("alias and description are larger than the 256 KiB that a cluster keeps")


def check_name(name: str) -> None:
    """The name of an app is that of its Service too, which is the strictest."""
    if not _HOST_LABEL.fullmatch(name):
        rule = "small letters, digits and inner hyphens, a letter first, at most 63 characters (DNS-1123)"
        raise InvalidUsage(f"{name[:80]!r} cannot be the name of an app", hint=rule)
    if name in _RESERVED:
        raise InvalidUsage(f"{name!r} cannot be the name of an app", detail="the cluster itself uses this name")


def check_namespace(namespace: str) -> None:
    """A namespace that may be written to; the cluster's own are left alone."""
    if not _NAMESPACE.fullmatch(namespace):
        rule = "small letters, digits and inner hyphens, at most 63 characters (DNS-1123)"
        raise InvalidUsage(f"{namespace[:80]!r} cannot be a namespace", hint=rule)
    if namespace in _SYSTEM_NAMESPACES:
        raise Refused(f"namespace {namespace} belongs to the cluster itself", hint="choose another with --namespace")


def _check_ports(ports: tuple[Port, ...]) -> None:
    if not ports:
        raise InvalidUsage("no port is known on which the app listens", hint="--port 8080")
    for number in (number for port in ports for number in (port.container, port.service)):
        if not 0 < number < 65536:
            raise InvalidUsage(f"{number} is not a port", hint="a port is between 1 and 65535")
    for port in ports:
        if not _PORT_NAME.fullmatch(port.name):
            rule = "small letters, digits and inner hyphens, at least one letter, at most 15 characters"
            raise InvalidUsage(f"{port.name[:80]!r} cannot be the name of a port", hint=rule)
    for what in ("name", "container", "service"):
        value, count = Counter(getattr(port, what) for port in ports).most_common(1)[0]
        if count > 1:
            raise InvalidUsage(f"two ports have the same {what}: {value}", hint="--port web=8080 --port admin=9090")


def _check_probe(app: App) -> None:
    probe = app.readiness
    if not 0 <= probe.port < 65536:
        raise InvalidUsage(f"{probe.port} is not a port", hint="--readiness-port is between 1 and 65535")
    if probe.kind == "http" and not probe.path.startswith("/"):
        raise InvalidUsage(f"the path {probe.path[:80]!r} does not begin with /", hint="--readiness-path /healthz")
    if probe.timeout < 1 or probe.delay < 0:
        raise InvalidUsage("the readiness probe needs a timeout of at least a second, and a delay of none or more")
