"""From an image in its registry to the cluster: the road that `deploy`, `build --deploy` and `b2i --deploy` share.

What was asked for is one value, made of flags over s2i.yaml before anything happens. It is checked whole while nobody
has been contacted, so that a build does not end with a name that no cluster takes.
"""

from __future__ import annotations

from dataclasses import field, replace
from functools import partial
from pathlib import Path

from s2ictl import deploy as story
from s2ictl import kubeconfig, logins, manifests, names
from s2ictl.cli.flags import DeployFlags
from s2ictl.cli.places import own_platform
from s2ictl.cli.session import Session, World
from s2ictl.cluster import Cluster, open_cluster, read_secret
from s2ictl.errors import InvalidUsage, S2IError, Unauthorized, Unreachable
from s2ictl.models import (
    App,
    AppConfig,
    ClusterAccess,
    DeployConfig,
    ImageFacts,
    Logins,
    Port,
    Reference,
    Rollout,
)
from s2ictl.registry import Repository
from s2ictl.transport import HASTY, Transport
from s2ictl.values import dataclass

UNKNOWN_PORT = "8080"
_NO_CLUSTER = ClusterAccess(kubeconfig="", context="", server="", namespace="default")


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutRequest:
    """The app as far as it is known before its image is, and how it is to be put on the cluster.

    Until `at` has said which cluster it is, an empty namespace is that of the context.
    """

    app: App
    access: ClusterAccess = _NO_CLUSTER
    ports: tuple[str, ...] = ()
    service_port: int | None = None
    port_name: str = ""
    secret: str = ""
    from_login: bool = False
    insecure: frozenset[str] = frozenset()
    ca_bundle: Path | None = None
    platform: str = field(default_factory=own_platform)
    wait: bool = True
    timeout: int = 300
    create_namespace: bool = False
    force_conflicts: bool = False
    node_address: str = ""
    allow_unverified: bool = False


def request_of(
    given: DeployFlags, configured: AppConfig, image: Reference, *, ports: tuple[str, ...] = ()
) -> RolloutRequest:
    """The flags over what s2i.yaml says; an app that nobody named is called as the last part of its image."""
    asked = configured.deploy or DeployConfig()
    app = App(
        name=given.name or configured.name or image.repository.rpartition("/")[2],
        namespace=given.namespace or asked.namespace,
        image=image,
        ports=(),
        expose=given.expose or asked.expose,
        readiness=manifests.probe_of(asked.readiness),
        replicas=asked.replicas if given.replicas is None else given.replicas,
    )
    return RolloutRequest(
        app=app,
        ports=ports or ((str(asked.port),) if asked.port else ()),
        service_port=asked.service_port,
        secret=configured.registry_secret,
        wait=given.wait is not False,
    )


def check(request: RolloutRequest) -> None:
    """Refuse what the cluster would refuse, before anything is built, asked or changed."""
    if request.secret and request.from_login:
        raise InvalidUsage("--registry-secret and --pull-secret-from-login are two answers to one question")
    manifests.check(
        replace(
            request.app,
            namespace=request.app.namespace or _NO_CLUSTER.namespace,
            ports=ports(request, ImageFacts(id="", exposed=(UNKNOWN_PORT,))),
            pull_secret=request.secret.rpartition("/")[2],
        )
    )


def locate(world: World, context: str = "", *, optional: bool = False) -> ClusterAccess:
    """The cluster that is meant; where one is optional and none is configured, a namespace is all there is of it."""
    try:
        return kubeconfig.locate(environ=world.environ, home=world.home, cwd=world.cwd, context=context)
    except Unreachable:
        if not optional:
            raise
        return _NO_CLUSTER


def at(request: RolloutRequest, access: ClusterAccess) -> RolloutRequest:
    """The same request on this cluster, with its namespace and that of its Secret."""
    namespace = request.app.namespace or access.namespace
    secret = f"{namespace}/{request.secret}" if request.secret and "/" not in request.secret else request.secret
    return replace(request, access=access, app=replace(request.app, namespace=namespace), secret=secret)


def roll_out(request: RolloutRequest, session: Session) -> Rollout:
    """Deploy the image by the digest that its registry has it under."""
    environ, emit = session.world.environ, session.emit
    with open_cluster(request.access, environ=environ, emit=emit, allow_unverified=request.allow_unverified) as cluster:
        request, found = _with_logins(request, session.world, cluster)
        image, facts = _look_up(request, session, found)
        name, content = _pull_secret(request, found)
        return story.deploy(
            replace(_completed(request, image, facts), pull_secret=name),
            cluster=cluster,
            pull_secret=content,
            wait=request.wait,
            timeout=request.timeout,
            create_namespace=request.create_namespace,
            force_conflicts=request.force_conflicts,
            node_address=request.node_address,
            try_address=try_address,
            emit=emit,
        )


def _completed(request: RolloutRequest, image: Reference, facts: ImageFacts) -> App:
    commit, built = manifests.origin_of(facts)
    return replace(request.app, image=image, ports=ports(request, facts), user=facts.user, commit=commit, built=built)


def ports(request: RolloutRequest, facts: ImageFacts) -> tuple[Port, ...]:
    """The ports that were asked for, else the image's own."""
    return manifests.ports_of(request.ports, facts, service_port=request.service_port, name=request.port_name)


def copies_secret(request: RolloutRequest) -> bool:
    """Whether the app gets a pull Secret of its own, since it cannot use one of another namespace."""
    return request.from_login or request.secret.partition("/")[0] not in ("", request.app.namespace)


def try_address(url: str) -> int | None:
    """Ask once, as nobody: the status of whatever answers at this address, or None."""
    # Directly, since a proxy would answer in its place; and OPTIONS, since what a GET redirects to is not the question.
    with Transport({}, emit=lambda _: None, patience=HASTY) as transport:
        try:
            return transport.once("OPTIONS", url).status
        except S2IError:
            return None


def place_of(app: App | Rollout) -> str:
    """How a Deployment is named to people."""
    return f"{app.namespace}/deployment/{app.name}"


def _look_up(request: RolloutRequest, session: Session, found: Logins) -> tuple[Reference, ImageFacts]:
    image = request.app.image
    with Transport(session.world.environ, emit=session.emit, ca_bundle=request.ca_bundle) as transport:
        registry = Repository(image, transport=transport, logins=found, insecure=request.insecure)
        return story.look_up(image, registry, platform=request.platform)


def _with_logins(request: RolloutRequest, world: World, cluster: Cluster) -> tuple[RolloutRequest, Logins]:
    """The same request with the name that a push with its Secret would have given the image, and who may pull it."""
    if not request.secret:
        return request, partial(logins.find_login, environ=world.environ, home=world.home)
    namespace, _, name = request.secret.partition("/")
    secret = logins.secret_logins(namespace, name, read_secret=partial(read_secret, cluster))
    app = replace(request.app, image=names.pushed_name(request.app.image, secret=secret))
    return replace(request, app=app), partial(logins.login_of, secret, name=request.secret)


def _pull_secret(request: RolloutRequest, found: Logins) -> tuple[str, bytes | None]:
    """The name of the Secret that is there already, or the content of one to be made."""
    if not copies_secret(request):
        return request.secret.rpartition("/")[2], None
    image = request.app.image
    host = image.registry or logins.DOCKER_HUB
    login = found(f"{host}/{image.repository}")
    if login is None:
        raise Unauthorized(f"there is no login for {host} on this machine", hint=f"s2ictl login {host}")
    return "", logins.pull_secret(login)
