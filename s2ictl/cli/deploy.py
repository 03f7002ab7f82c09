"""What runs on the cluster: `deploy`, `status`, `delete`."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Literal

import typer

from s2ictl import deploy as story
from s2ictl import documents, manifests, ui
from s2ictl.addresses import ca_bundle
from s2ictl.cli import flags, project, rollout
from s2ictl.cli.session import Session, World, command
from s2ictl.cluster import open_cluster
from s2ictl.errors import Interrupted, InvalidUsage
from s2ictl.events import Notice
from s2ictl.expressions import expression
from s2ictl.models import AppStatus, ImageFacts, Probe, Reference, Rollout

_VARIABLE = expression(r"[-._A-Za-z][-._A-Za-z0-9]*")  # what a cluster takes, which is more than what a shell takes

Kind = Literal["http", "tcp", "none"]
Image = Annotated[
    str,
    typer.Argument(metavar="IMAGE|APP", help="An image in the registry that nodes pull from, or an app of s2i.yaml."),
]
Named = Annotated[str, typer.Argument(metavar="NAME", help="The app, as `deploy --name` called it.")]
ServicePort = Annotated[int | None, typer.Option("--service-port", help="The Service's port, if it is another.")]
PortName = Annotated[str, typer.Option("--port-name", help="What the port is called.", show_default="http")]
NodeAddress = Annotated[str, typer.Option("--node-address", help="The address of a node, as seen from here.")]
Readiness = Annotated[
    Kind | None, typer.Option("--readiness", help="How to ask whether it is ready.", show_default="tcp")
]
Path_ = Annotated[str, typer.Option("--readiness-path", help="The path to ask by http.", show_default="/")]
ProbePort = Annotated[int | None, typer.Option("--readiness-port", help="The port to ask, if it is another.")]
Delay = Annotated[
    int | None,
    typer.Option(
        "--readiness-delay", parser=flags.duration, metavar="DURATION", help="How long to wait before asking."
    ),
]
Patience = Annotated[
    int | None,
    typer.Option(
        "--readiness-timeout",
        parser=flags.duration,
        metavar="DURATION",
        help="How long an answer may take.",
        show_default="1s",
    ),
]
Alias = Annotated[str, typer.Option("--alias", help="A name for people.")]
Description = Annotated[str, typer.Option("--description", help="What the app is for.")]
PullSecret = Annotated[
    str, typer.Option("--registry-secret", metavar="[NS/]NAME", help="The Secret to pull with; copied if need be.")
]
FromLogin = Annotated[bool, typer.Option("--pull-secret-from-login", help="Make that Secret from the login here.")]
Nodes = Annotated[str, typer.Option("--platform", metavar="OS/ARCH", help="The nodes' platform, if not this one's.")]
Timeout = Annotated[int, typer.Option("--timeout", parser=flags.timeout, metavar="DURATION", help="How long: 90s, 5m.")]
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


def deploy(
    session: Session,
    image: Image,
    *,
    given: flags.DeployFlags,
    port: flags.Ports = None,
    service_port: ServicePort = None,
    port_name: PortName = "",
    node_address: NodeAddress = "",
    readiness: Readiness = None,
    readiness_path: Path_ = "",
    readiness_port: ProbePort = None,
    readiness_delay: Delay = None,
    readiness_timeout: Patience = None,
    env: flags.Env = None,
    alias: Alias = "",
    description: Description = "",
    registry_secret: PullSecret = "",
    pull_secret_from_login: FromLogin = False,
    insecure_registry: flags.Insecure = None,
    ca: flags.CaBundle = None,
    nodes: Nodes = "",
    timeout: Timeout = 300,
    create_namespace: Create = False,
    force_conflicts: Force = False,
    context: Context = "",
    unverified: Unverified = False,
    dry_run: DryRun = False,
) -> None:
    """Put an image on the cluster, and wait until it answers."""
    world, configured = session.world, project.to_deploy(session, image)
    written = configured.image or Reference.parse(image)
    asked = rollout.request_of(given, configured, written, ports=tuple(port or ()))
    request = replace(
        asked,
        app=replace(
            asked.app,
            readiness=_probe(
                asked.app.readiness, readiness, readiness_path, readiness_port, readiness_delay, readiness_timeout
            ),
            alias=alias,
            description=description,
            env=flags.pairs("--env", env or (), _VARIABLE, session.emit),
        ),
        service_port=asked.service_port if service_port is None else service_port,
        port_name=port_name,
        secret=registry_secret or ("" if pull_secret_from_login else asked.secret),
        from_login=pull_secret_from_login,
        insecure=frozenset(insecure_registry or ()),
        ca_bundle=ca_bundle(world.environ, flag=ca, cwd=world.cwd),
        platform=nodes or asked.platform,
        timeout=timeout,
        create_namespace=create_namespace,
        force_conflicts=force_conflicts,
        node_address=node_address,
        allow_unverified=unverified,
    )
    rollout.check(request)
    request = rollout.at(request, rollout.locate(world, context, optional=dry_run))
    session.answer(_objects(request, session) if dry_run else answer_of(rollout.roll_out(request, session)))


def status(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="Only this app.", show_default=False)] = "",
    namespace: flags.Namespace = "",
    everywhere: Everywhere = False,
    context: Context = "",
    unverified: Unverified = False,
) -> None:
    """Show how the apps on the cluster stand."""
    access = rollout.locate(session.world, context)
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
    namespace: flags.Namespace = "",
    yes: Yes = False,
    timeout: Timeout = 120,
    context: Context = "",
    unverified: Unverified = False,
    dry_run: OnlyShow = False,
) -> None:
    """Remove an app from the cluster.

    That is its Deployment, its Service, and the pull Secret that was made for it; nothing that somebody else made.
    """
    manifests.check_name(name)
    manifests.check_namespace(namespace or "default")
    access = rollout.locate(session.world, context)
    where = namespace or access.namespace
    with open_cluster(access, environ=session.world.environ, emit=session.emit, allow_unverified=unverified) as cluster:
        things = story.belongings(name, cluster=cluster, namespace=where)
        names = tuple(map(str, things))
        if not dry_run:
            _confirm(names, session.world, yes=yes)
            story.delete(things, cluster=cluster, timeout=timeout, emit=session.emit)
    session.answer(ui.Answer(text="\n".join(names), names=names, data={"removed": names, "dry-run": dry_run}))


def answer_of(done: Rollout) -> ui.Answer:
    """The address alone; where nothing is exposed, the Deployment."""
    there = rollout.place_of(done)
    return ui.Answer(text=done.address or there, names=(there,), data=done)


def _probe(
    base: Probe, kind: Kind | None, path: str, port: int | None, delay: int | None, timeout: int | None
) -> Probe:
    """What the flags say over what s2i.yaml says."""
    chosen = kind or ("http" if path else base.kind)
    if path and chosen != "http":
        raise InvalidUsage(f"--readiness {chosen} asks no path", hint="--readiness http, or no --readiness-path")
    return Probe(
        kind=chosen,
        path=path or base.path,
        port=base.port if port is None else port,
        delay=base.delay if delay is None else delay,
        timeout=base.timeout if timeout is None else timeout,
    )


def _objects(request: rollout.RolloutRequest, session: Session) -> ui.Answer:
    """What would be applied, without asking anybody: the tag stands for the digest, 8080 for a port nobody named."""
    if not request.ports:
        session.emit(Notice(text=f"the port is not known without the registry: {rollout.UNKNOWN_PORT} stands for it"))
        request = replace(request, ports=(rollout.UNKNOWN_PORT,))
    copied = rollout.copies_secret(request)
    named = "" if copied else request.secret.rpartition("/")[2]
    app = replace(request.app, ports=rollout.ports(request, ImageFacts(id="")), pull_secret=named)
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
