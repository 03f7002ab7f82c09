"""The nouns that travel between the parts: frozen values, parsed at the edge, without methods but parse and render."""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from s2ictl.errors import InvalidUsage


class Secret:
    """A text that shows itself to nobody who does not ask: `reveal()` stands only where it leaves for its own host."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "<redacted>"

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._text))


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Who may go to one host and port, and where that was found (said when it is refused)."""

    host: str
    username: str
    password: Secret
    origin: str
    lasting: bool = True  # False for what a credential helper or an identity token gave: never to be written down


Logins = Callable[[str], Login | None]  # who may go to this host and port; asked only when the host wants to know
IDENTITY_USER = "<token>"  # the user name by which Docker's helpers say that the password is an identity token


# ---------------------------------------------------------------------------------------------------------- images

_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_HOST = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[0-9a-fA-F:]+\])"
_REFERENCE = re.compile(
    rf"(?:(?P<registry>{_HOST}(?::[0-9]+)?)/)?"
    rf"(?P<repository>{_COMPONENT}(?:/{_COMPONENT})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_REFERENCE_RULE = "an image name is [HOST[:PORT]/]PATH[:TAG], the path in lower case"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """The name of an image as it was written: nothing is invented, so an absent registry or tag is empty."""

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    @staticmethod
    def parse(text: str) -> Reference:
        first, slash, _ = text.partition("/")
        names_a_host = bool(slash) and ("." in first or ":" in first or first == "localhost")
        candidate = text if names_a_host else f"none.invalid/{text}"
        match = _REFERENCE.fullmatch(candidate)
        if match is None or len(text) > 4096:
            raise InvalidUsage(f"{text[:200]!r} is not an image name", hint=_REFERENCE_RULE)
        registry = match["registry"] if names_a_host else ""
        port = registry.rpartition("]")[2].partition(":")[2]
        if port and not 0 < int(port) < 65536:
            raise InvalidUsage(f"{text!r} names port {port}", hint="a port is between 1 and 65535")
        return Reference(
            registry=registry, repository=match["repository"], tag=match["tag"] or "", digest=match["digest"] or ""
        )

    @property
    def name(self) -> str:
        return f"{self.registry}/{self.repository}" if self.registry else self.repository

    def at(self, digest: str) -> Reference:
        return replace(self, digest=digest)

    def __str__(self) -> str:
        return self.name + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFacts:
    """What an engine or a registry says of an image: everything that choosing and building need to know of it."""

    id: str
    digest: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    env: tuple[str, ...] = ()
    user: str = ""
    workdir: str = ""
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    exposed: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    onbuild: tuple[str, ...] = ()
    platform: str = ""


PullPolicy = Literal["always", "if-not-present", "never"]


# ---------------------------------------------------------------------------------------------------------- sources


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where the source is, without any login: that is bound to the host and kept apart.

    `location` is what was typed; for a directory `directory` is where that lies on this machine.
    """

    kind: Literal["directory", "git"]
    location: str
    directory: Path | None = None
    ref: str = ""
    context_dir: str = ""
    copy: bool = False
    login: Login | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    id: str
    ref: str
    author: str
    date: str
    message: str
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One member of a tree. `size` counts only for files, `target` only for links."""

    path: str
    kind: Literal["file", "directory", "link"]
    mode: int
    size: int = 0
    target: str = ""
    mtime: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """Source at rest, wherever it came from: its files by name, one file's bytes, or all of it in order.

    `paths` are the regular files, relative, in name order. `members` yields each member once, with a reader of its
    bytes that is good until the next one is asked for.
    """

    location: str
    context_dir: str
    commit: Commit | None
    paths: tuple[str, ...]
    read: Callable[[str], bytes]
    members: Callable[[], Iterator[tuple[Member, Callable[[int], bytes]]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A finished file, read before anything runs."""

    path: Path
    name: str
    kind: Literal["binary"]
    size: int
    digest: str
    machine: str
    linkage: Literal["static", "dynamic"]
    interpreter: str = ""


# ----------------------------------------------------------------------------------------------------------- builds


@dataclass(frozen=True, slots=True, kw_only=True)
class Builder:
    """An image that keeps the s2i contract, with its labels and settings already read.

    `scripts` is the directory in the image where its own scripts lie, "" when it has none.
    """

    image: str
    destination: str
    scripts: str
    assemble_user: str
    facts: ImageFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """Flags and s2i.yaml, become one value before anything happens."""

    source: Source
    builder: str
    names: tuple[Reference, ...]
    env: tuple[tuple[str, str], ...] = ()
    build_env: tuple[tuple[str, Secret], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    description: str = ""
    application_name: str = ""
    assemble_user: str = ""
    pull_policy: PullPolicy = "if-not-present"
    push: bool = False
    timeout: float = 3600.0
    ca_bundle: Path | None = None
    owner: str = "build"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageConfig:
    """What the committed image says of itself."""

    command: tuple[str, ...]
    entrypoint: tuple[str, ...]
    user: str
    workdir: str
    env: tuple[tuple[str, str], ...]
    labels: Mapping[str, str]
    exposed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembly:
    """One container from start to commit, described: the engine performs it and knows nothing of source or builders.

    `upload` answers, for the numeric user and group that `user` is in the image, a plain tar that begins with `./` and
    is unpacked at `/` before the first start. `programs` are those of the image itself that must be there. `build_env`
    and `ca_bundle` are seen by the command alone; they lie in `workspace` until it ends. What `leftovers` names is gone
    before the commit. `config` makes of the file at `metadata` (None when there is none) what the image says of itself.
    """

    image: str
    image_id: str
    owner: str
    command: tuple[str, ...]
    programs: tuple[str, ...]
    user: str
    upload: Callable[[int, int], Iterator[bytes]]
    workspace: str
    leftovers: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    build_env: tuple[tuple[str, Secret], ...]
    ca_bundle: bytes
    timeout: float
    metadata: str
    config: Callable[[bytes | None], ImageConfig]
    names: tuple[Reference, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """The answer of a build: what it is called, and the digest once a registry has it."""

    names: tuple[Reference, ...]
    id: str
    digest: str = ""
    builder: str = ""
    commit: str = ""


# ------------------------------------------------------------------------------------------------------ the cluster


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterAccess:
    """Which cluster, and as whom, with nothing contacted and no program run yet.

    `kubeconfig` is empty inside a pod. `plugin` is the program that the kubeconfig says to run for a login; `exposed`
    are those of its files that others may read.
    """

    kubeconfig: str
    context: str
    server: str
    namespace: str
    verified: bool = True
    plugin: str = ""
    exposed: tuple[Path, ...] = ()


Manifest = dict[str, Any]  # one object as the Kubernetes API writes it: a document, which only manifests.py reads
Expose = Literal["none", "nodeport", "loadbalancer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    container: int
    service: int
    name: str = "http"


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """How readiness is asked: an HTTP path, a TCP connection, or not at all."""

    kind: Literal["http", "tcp", "none"]
    path: str = "/"
    port: int = 0
    delay: int = 0
    timeout: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """What is to run on the cluster."""

    name: str
    namespace: str
    image: Reference
    ports: tuple[Port, ...]
    expose: Expose
    readiness: Probe
    replicas: int | None = None
    alias: str = ""
    description: str = ""
    env: tuple[tuple[str, str], ...] = ()
    user: str = ""
    pull_secret: str = ""
    build: str = ""
    commit: str = ""
    built: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """What came of it: where it runs, and the address that answered ("" where nothing is exposed or was waited for)."""

    image: str
    address: str
    namespace: str
    name: str
    ready: int
    wanted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AppStatus:
    """How an app stands on the cluster; `deployed` is the time of the Deployment's making, in the cluster's words."""

    name: str
    namespace: str
    image: str
    ready: int
    wanted: int
    address: str
    build: str
    commit: str
    deployed: str


# ---------------------------------------------------------------------------------------------------- configuration

_DURATION = re.compile(r"(?P<number>[0-9]{1,9})(?P<unit>[smh]?)")


def parse_duration(text: str) -> int:
    """Seconds, from the way people write them: 90s, 5m, 1h."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise InvalidUsage(f"{text[:40]!r} is not a duration", hint="write it like 90s, 5m or 1h")
    return int(match["number"]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match["unit"]]


_SIZE = re.compile(r"(?P<number>[0-9]{1,12})(?P<unit>[kmg]?)(?:i?b)?", re.IGNORECASE)


def parse_size(text: str) -> int:
    """Bytes, from the way people write them: 64m, 64Mi, 5MiB, 1g."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise InvalidUsage(f"{text[:40]!r} is not a size", hint="write it like 512k, 5MiB or 1g")
    return int(match["number"]) << {"": 0, "k": 10, "m": 20, "g": 30}[match["unit"].lower()]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildConfig:
    builder: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    context_dir: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadinessConfig:
    kind: Literal["http", "tcp", "none"] = "http"
    path: str = "/"
    port: int = 0
    delay: Annotated[int, parse_duration] = 0
    timeout: Annotated[int, parse_duration] = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployConfig:
    namespace: str = ""
    port: int | None = None
    service_port: int | None = None
    expose: Expose = "none"
    replicas: int | None = None
    readiness: ReadinessConfig | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookConfig:
    """Whose deliveries are taken, of which branches, and where their secret is; several while it is being changed."""

    provider: Literal["github", "gitea", "gogs"]
    branches: tuple[str, ...] = ()
    secret_env: str | tuple[str, ...] = ()
    secret_file: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgeConfig:
    """The forge that holds the repository: its token goes to this host alone; `aliases` are its other names."""

    url: str
    username: str = ""
    token_env: str = ""
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AppConfig:
    """One application, as s2i.yaml describes it."""

    name: str
    image: Annotated[Reference, Reference.parse] | None = None
    source: str = ""
    ref: str = ""
    build: BuildConfig = field(default_factory=BuildConfig)
    registry_secret: str = ""
    deploy: DeployConfig | None = None
    webhook: WebhookConfig | None = None
    forge: ForgeConfig | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """One s2i.yaml: an application, or several that one hook triggers; `name` is the hook's."""

    name: str
    apps: tuple[AppConfig, ...]


# --------------------------------------------------------------------------------------------------------- triggers


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What a sender posted, untouched; the names of its headers are in lower case."""

    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class HookEvent:
    """What a verified delivery says. Nothing in it decides where source is fetched from or an image goes to."""

    kind: Literal["push", "ping", "ignored"]
    delivery: str
    reason: str = ""
    ref: str = ""
    commit: str = ""
    before: str = ""
    repositories: tuple[str, ...] = ()
    default_branch: str = ""
    message: str = ""


EntryState = Literal["queued", "running", "succeeded", "failed", "superseded", "dead"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One job of the queue, and later its record. Times are seconds since 1970, 0 for what has not happened."""

    id: str
    delivery: str
    hook: str
    app: str
    kind: Literal["build"]
    ref: str
    commit: str
    state: EntryState
    attempts: int
    arrived: float
    started: float = 0.0
    finished: float = 0.0
    digest: str = ""
    address: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a job that succeeded."""

    digest: str
    address: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What the ledger made of a delivery, and what its sender is told."""

    verdict: Literal["accepted", "duplicate", "ignored", "ping"]
    delivery: str
    reason: str = ""
    jobs: tuple[Entry, ...] = ()
