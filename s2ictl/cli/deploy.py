"""What runs on the cluster: `deploy`, `status`, `delete`."""

from __future__ import annotations

import platform
import time
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from s2ictl import deploy as story
from s2ictl import documents, kubeconfig, logins, manifests, ui
from s2ictl.cli.session import Session, World, command
from s2ictl.cluster import Cluster, open_cluster, read_secret
from s2ictl.errors import Interrupted, InvalidUsage, S2IError, Unauthorized, Unreachable
from s2ictl.events import Notice
from s2ictl.models import (
    App,
    AppStatus,
    ClusterAccess,
    Expose,
    ImageFacts,
    Logins,
    Port,
    Probe,
    Reference,
    Rollout,
    parse_duration,
)
from s2ictl.registry import Repository
from s2ictl.transport import HASTY, Transport, ca_bundle

_UNKNOWN_PORT = "8080"
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


def _duration(text: str | int) -> int:
    """Typer hands its parser the default as well, which is seconds already."""
    return parse_duration(str(text))


Kind = Literal["http", "tcp", "none"]
Image = Annotated[str, typer.Argument(metavar="IMAGE", help="The image, in the registry that nodes pull from.")]
Name = Annotated[str, typer.Option("--name", help="What the app is called on the cluster.")]
Named = Annotated[str, typer.Argument(metavar="NAME", help="The app, as `deploy --name` called it.")]
Namespace = Annotated[str, typer.Option("--namespace", "-n", help="By default the one of the context.")]
Ports = Annotated[list[str] | None, typer.Option("--port", metavar="[NAME=]PORT", help="By default the image's own.")]
ServicePort = Annotated[int | None, typer.Option("--service-port", help="The Service's, if it is another.")]
PortName = Annotated[str, typer.Option("--port-name", help="What the port is called.", show_default="http")]
Exposed = Annotated[Expose, typer.Option("--expose", help="How the app is reached from outside.")]
NodeAddress = Annotated[str, typer.Option("--node-address", help="By which address a node is reached from here.")]
Replicas = Annotated[int | None, typer.Option("--replicas", help="Left as they are unless it is said.")]
Readiness = Annotated[Kind | None, typer.Option("--readiness", help="How the app is asked.", show_default="tcp")]
Path_ = Annotated[str, typer.Option("--readiness-path", help="What is asked by http.", show_default="/")]
ProbePort = Annotated[int, typer.Option("--readiness-port", help="Another port.", show_default=False)]
Delay = Annotated[
    int, typer.Option("--readiness-delay", parser=_duration, metavar="DURATION", help="Not asked before that.")
]
Patience = Annotated[
    int, typer.Option("--readiness-timeout", parser=_duration, metavar="DURATION", help="For one answer.")
]
Env = Annotated[list[str] | None, typer.Option("--env", "-e", metavar="NAME=VALUE", help="A variable for the app.")]
Alias = Annotated[str, typer.Option("--alias", help="A name for people.")]
Description = Annotated[str, typer.Option("--description", help="What the app is for.")]
RegistrySecret = Annotated[
    str, typer.Option("--registry-secret", metavar="[NS/]NAME", help="What nodes pull with; copied from elsewhere.")
]
FromLogin = Annotated[bool, typer.Option("--pull-secret-from-login", help="Make that Secret of the login here.")]
Insecure = Annotated[list[str] | None, typer.Option("--insecure-registry", metavar="HOST", help="May be without TLS.")]
CaBundle = Annotated[Path | None, typer.Option("--ca-bundle", metavar="FILE", help="Who signed for the registry.")]
Nodes = Annotated[str, typer.Option("--platform", metavar="OS/ARCH", help="The nodes' platform, if not this one's.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until the app answers.")]
Timeout = Annotated[int, typer.Option("--timeout", parser=_duration, metavar="DURATION", help="How long: 90s, 5m.")]
Create = Annotated[bool, typer.Option("--create-namespace", help="Make the namespace where it is missing.")]
Force = Annotated[bool, typer.Option("--force-conflicts", help="Take over what somebody else has written.")]
Context = Annotated[str, typer.Option("--context", help="The context of the kubeconfig; by default its current one.")]
Unverified = Annotated[
    bool, typer.Option("--insecure-skip-tls-verify", help="Allow a kubeconfig that trusts any certificate.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the objects, and contact nothing.")]
Everywhere = Annotated[bool, typer.Option("--all-namespaces", "-A", help="The apps of all namespaces.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
OnlyShow = Annotated[bool, typer.Option("--dry-run", help="Only show what would be removed.")]


def register(app: typer.Typer) -> None:
    command(app, "deploy", example="s2ictl deploy registry.example.com/shop:1.4 --name shop --expose nodeport")(deploy)
    command(app, "status", example="s2ictl status --namespace prod")(status)
    command(app, "delete", example="s2ictl delete shop --yes")(delete)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """What was asked for: the app as far as it is known before its image is, and how it is to be put there."""

    app: App
    ports: tuple[str, ...]
    service_port: int | None
    port_name: str
    secret: str
    from_login: bool
    insecure: frozenset[str]
    ca_bundle: Path | None
    platform: str
    wait: bool
    timeout: int
    create_namespace: bool
    force_conflicts: bool
    node_address: str


def deploy(
    session: Session,
    image: Image,
    name: Name,
    namespace: Namespace = "",
    port: Ports = None,
    service_port: ServicePort = None,
    port_name: PortName = "",
    expose: Exposed = "none",
    node_address: NodeAddress = "",
    replicas: Replicas = None,
    readiness: Readiness = None,
    readiness_path: Path_ = "",
    readiness_port: ProbePort = 0,
    readiness_delay: Delay = 0,
    readiness_timeout: Patience = 1,
    env: Env = None,
    alias: Alias = "",
    description: Description = "",
    registry_secret: RegistrySecret = "",
    pull_secret_from_login: FromLogin = False,
    insecure_registry: Insecure = None,
    ca: CaBundle = None,
    nodes: Nodes = "",
    wait: Wait = True,
    timeout: Timeout = 300,
    create_namespace: Create = False,
    force_conflicts: Force = False,
    context: Context = "",
    unverified: Unverified = False,
    dry_run: DryRun = False,
) -> None:
    """Put an image on the cluster, and wait until it answers."""
    world = session.world
    access = _access(world, context, optional=dry_run)
    app = App(
        name=name,
        namespace=namespace or access.namespace,
        image=Reference.parse(image),
        ports=(),
        expose=expose,
        readiness=_probe(readiness, readiness_path, readiness_port, readiness_delay, readiness_timeout),
        replicas=replicas,
        alias=alias,
        description=description,
        env=tuple(_pair(each) for each in env or ()),
    )
    request = _Request(
        app=app,
        ports=tuple(port or ()),
        service_port=service_port,
        port_name=port_name,
        secret=registry_secret,
        from_login=pull_secret_from_login,
        insecure=frozenset(insecure_registry or ()),
        ca_bundle=ca_bundle(world.environ, flag=ca, cwd=world.cwd),
        platform=nodes or f"linux/{_MACHINES.get(platform.machine(), platform.machine())}",
        wait=wait,
        timeout=timeout,
        create_namespace=create_namespace,
        force_conflicts=force_conflicts,
        node_address=node_address,
    )
    _check(request)
    if dry_run:
        session.answer(_objects(request, session))
        return
    with open_cluster(access, environ=world.environ, emit=session.emit, allow_unverified=unverified) as cluster:
        session.answer(answer_of(_deploy(request, session, cluster)))


def status(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="Only this app.", show_default=False)] = "",
    namespace: Namespace = "",
    everywhere: Everywhere = False,
    context: Context = "",
    unverified: Unverified = False,
) -> None:
    """Show how the apps on the cluster stand."""
    access = _access(session.world, context)
    where = "" if everywhere else namespace or access.namespace
    with open_cluster(access, environ=session.world.environ, emit=session.emit, allow_unverified=unverified) as cluster:
        apps = story.status(cluster, namespace=where, name=name)
    head = ("NAMESPACE", "NAME", "IMAGE", "READY", "ADDRESS", "BUILD", "COMMIT", "AGE")
    rows = [_row(app, time.time()) for app in apps]
    names = tuple(f"{app.namespace}/{app.name}" for app in apps)
    session.answer(ui.Answer(text=ui.table(head, rows), names=names, data=list(apps)))


def delete(
    session: Session,
    name: Named,
    namespace: Namespace = "",
    yes: Yes = False,
    timeout: Timeout = 120,
    context: Context = "",
    unverified: Unverified = False,
    dry_run: OnlyShow = False,
) -> None:
    """Remove an app from the cluster.

    That is its Deployment, its Service, and the pull Secret that was made for it; nothing that somebody else made.
    """
    access = _access(session.world, context)
    where = namespace or access.namespace
    with open_cluster(access, environ=session.world.environ, emit=session.emit, allow_unverified=unverified) as cluster:
        things = story.belongings(name, cluster=cluster, namespace=where)
        names = tuple(map(str, things))
        if not dry_run:
            _confirm(names, session.world, yes=yes)
            story.delete(things, cluster=cluster, timeout=timeout, emit=session.emit)
    session.answer(ui.Answer(text="\n".join(names), names=names, data={"removed": names, "dry-run": dry_run}))


def answer_of(rollout: Rollout) -> ui.Answer:
    """The address alone; where nothing is exposed, the Deployment."""
    there = f"{rollout.namespace}/deployment/{rollout.name}"
    return ui.Answer(text=rollout.address or there, names=(there,), data=rollout)


def try_address(url: str) -> int | None:
    """Ask once, as nobody: the status of whatever answers at this address, or None."""
    # Directly, since a proxy would answer in its place; and OPTIONS, since what a GET redirects to is not the question.
    with Transport({}, emit=lambda _: None, patience=HASTY) as transport:
        try:
            return transport.once("OPTIONS", url).status
        except S2IError:
            return None


# ---------------------------------------------------------------------------------------------------------- the image


def _deploy(request: _Request, session: Session, cluster: Cluster) -> Rollout:
    found = _logins(request, session.world, cluster)
    image, facts = _look_up(request, session, found)
    name, content = _pull_secret(request, found)
    commit, built = manifests.origin_of(facts)
    return story.deploy(
        replace(
            request.app,
            image=image,
            ports=_ports(request, facts),
            user=facts.user,
            pull_secret=name,
            commit=commit,
            built=built,
        ),
        cluster=cluster,
        pull_secret=content,
        wait=request.wait,
        timeout=request.timeout,
        create_namespace=request.create_namespace,
        force_conflicts=request.force_conflicts,
        node_address=request.node_address,
        try_address=try_address,
        emit=session.emit,
    )


def _look_up(request: _Request, session: Session, found: Logins) -> tuple[Reference, ImageFacts]:
    image = request.app.image
    with Transport(session.world.environ, emit=session.emit, ca_bundle=request.ca_bundle) as transport:
        registry = Repository(image, transport=transport, logins=found, insecure=request.insecure)
        return story.look_up(image, registry, platform=request.platform)


def _ports(request: _Request, facts: ImageFacts) -> tuple[Port, ...]:
    return manifests.ports_of(request.ports, facts, service_port=request.service_port, name=request.port_name)


def _logins(request: _Request, world: World, cluster: Cluster) -> Logins:
    if not request.secret:
        return partial(logins.find_login, environ=world.environ, home=world.home)
    namespace, name = _secret_place(request)
    secret = logins.secret_logins(namespace, name, read_secret=partial(read_secret, cluster))
    return partial(logins.login_of, secret, name=f"{namespace}/{name}")


def _secret_place(request: _Request) -> tuple[str, str]:
    namespace, slash, name = request.secret.rpartition("/")
    return (namespace if slash else request.app.namespace), name


def _pull_secret(request: _Request, found: Logins) -> tuple[str, bytes | None]:
    """The name of the Secret that is there already, or the content of one to be made."""
    namespace, name = _secret_place(request)
    if request.secret and namespace == request.app.namespace:
        return name, None
    if not request.secret and not request.from_login:
        return "", None
    host = request.app.image.registry or logins.DOCKER_HUB
    login = found(host)
    if login is None:
        raise Unauthorized(f"there is no login for {host} on this machine", hint=f"docker login {host}")
    return "", logins.pull_secret(login)


# ---------------------------------------------------------------------------------------------------------- the words


def _access(world: World, context: str, *, optional: bool = False) -> ClusterAccess:
    try:
        return kubeconfig.locate(environ=world.environ, home=world.home, cwd=world.cwd, context=context)
    except Unreachable:
        if not optional:
            raise
        return ClusterAccess(kubeconfig="", context="", server="", namespace="default")


def _check(request: _Request) -> None:
    if request.secret and request.from_login:
        raise InvalidUsage("--registry-secret and --pull-secret-from-login are two answers to one question")


def _probe(kind: Kind | None, path: str, port: int, delay: int, timeout: int) -> Probe:
    chosen = kind or ("http" if path else "tcp")
    if path and chosen != "http":
        raise InvalidUsage(f"--readiness {chosen} asks no path", hint="--readiness http, or no --readiness-path")
    return Probe(kind=chosen, path=path or "/", port=port, delay=delay, timeout=timeout)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise InvalidUsage(f"--env {name[:80]!r} has no value", hint="--env NAME=VALUE")
    return name, value


def _objects(request: _Request, session: Session) -> ui.Answer:
    """What would be applied, without asking anybody: the tag stands for the digest, 8080 for a port nobody named."""
    if not request.ports:
        session.emit(Notice(text=f"the port is not known without the registry: {_UNKNOWN_PORT} stands for it"))
        request = replace(request, ports=(_UNKNOWN_PORT,))
    namespace, name = _secret_place(request)
    copied = request.from_login or bool(request.secret and namespace != request.app.namespace)
    app = replace(request.app, ports=_ports(request, ImageFacts(id="")), pull_secret="" if copied else name)
    objects = [manifests.redacted(each) for each in manifests.objects_of(app, b"" if copied else None)]
    names = tuple(
        f"{each['metadata']['namespace']}/{each['kind'].lower()}/{each['metadata']['name']}" for each in objects
    )
    return ui.Answer(text=documents.dump(*objects).rstrip("\n"), names=names, data=objects)


def _confirm(names: tuple[str, ...], world: World, *, yes: bool) -> None:
    if yes:
        return
    if not world.stdin.isatty():
        raise InvalidUsage(f"nobody can be asked whether to remove {', '.join(names)}", hint="say so with --yes")
    world.stderr.write("".join(f"  {name}\n" for name in names) + "remove these? [y/N] ")
    world.stderr.flush()
    if world.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Interrupted("nothing was removed")


def _row(app: AppStatus, now: float) -> tuple[str, ...]:
    shown = app.image.replace("@sha256:", "@")
    image = shown if "@" not in shown else shown[: shown.index("@") + 13]
    ready = f"{app.ready}/{app.wanted}"
    return (
        app.namespace,
        app.name,
        image,
        ready,
        app.address or "-",
        app.build or "-",
        app.commit[:12] or "-",
        _age(app, now),
    )


def _age(app: AppStatus, now: float) -> str:
    seconds = max(0, int(now - datetime.fromisoformat(app.deployed).timestamp()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
