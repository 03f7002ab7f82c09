"""A build: what is asked for, with which builder, and the containers that it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from s2ictl.errors import InvalidUsage
from s2ictl.models.access import Secret
from s2ictl.models.images import ImageConfig, ImageFacts, PullPolicy, Reference, Target
from s2ictl.models.sources import Source
from s2ictl.values import dataclass

SECRETS = "/run/secrets"  # where assemble finds them


@dataclass(frozen=True, slots=True, kw_only=True)
class Builder:
    """An image that keeps the s2i contract, with its labels and settings already read.

    `scripts` is the directory in the image where its own scripts lie, "" when it has none. `caches` are directories
    that the next build of the same app shall find again; `locks` the patterns of the files from which its script
    `dependencies` installs.
    """

    image: str
    destination: str
    scripts: str
    assemble_user: str
    facts: ImageFacts
    caches: tuple[str, ...] = ()
    locks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A directory of this machine, or a volume of the engine by its name, at a place in the container.

    `relabel` is the engine's word for SELinux: z for all containers, Z for this one alone, "" to leave it as it is.
    """

    source: str
    target: str
    read_only: bool = False
    relabel: str = ""

    @property
    def options(self) -> str:
        """What stands behind the second colon, where anything does."""
        return ",".join(filter(None, ("ro" if self.read_only else "", self.relabel)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    """A directory of downloads that outlives the container: whose it is, and what it is called in the engine."""

    app: str
    builder: str
    target: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Confinement:
    """What a container is given beside its image, and what it may use up; what is empty or 0 the engine decides."""

    volumes: tuple[Volume, ...] = ()
    network: str = ""
    hosts: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    memory: int = 0
    cpus: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Injection:
    """A file or directory of this machine for assemble alone; a relative `target` is below the image's workdir."""

    source: Path
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSecret:
    """What assemble finds at /run/secrets/ID, and nobody after it."""

    id: str
    content: Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class UidRange:
    """Numbers of users, both ends belonging to it; without a last one it has no end."""

    first: int = 0
    last: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeArtifact:
    """What goes from the builder's container into the runtime image: an absolute path or glob, into a directory."""

    source: str
    target: str

    @staticmethod
    def parse(text: str) -> RuntimeArtifact:
        """SOURCE[:DIRECTORY], as the older tool writes it in flags and labels."""
        source, _, target = text.partition(":")
        climbs = ".." in (*source.split("/"), *target.split("/"))
        if not source.startswith("/") or target.startswith("/") or ":" in target or climbs:
            raise InvalidUsage(
                f"{text[:200]!r} is nothing that could be put into the runtime image",
                hint="write /ABSOLUTE/PATH or /ABSOLUTE/PATH:RELATIVE/DIRECTORY, without ..",
            )
        return RuntimeArtifact(source=source, target=target)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """Flags and s2i.yaml, become one value before anything happens.

    `surroundings` are the mirrors and proxies of whoever builds: handed on as `build_env` is, which counts more, and no
    part of what is asked for. `app` is whose caches are used, and the source's address where it is empty; `caches` are
    directories that are kept beside the builder's own. With `force` an image of the same recipe is built again; without
    `cache` nothing that an earlier build left is used at all. `epoch` is the user's own SOURCE_DATE_EPOCH; with
    `settled` the layer is to have no other time, also where that costs something and nobody else asks for it. `targets`
    are other places than its registry that are to have the image too; with `here` the engine is one in any case.
    """

    source: Source
    builder: str
    names: tuple[Reference, ...]
    env: tuple[tuple[str, str], ...] = ()
    build_env: tuple[tuple[str, Secret], ...] = ()
    surroundings: tuple[tuple[str, Secret], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    description: str = ""
    application_name: str = ""
    scripts_url: str = ""
    destination: str = ""
    assemble_user: str = ""
    allowed_uids: tuple[UidRange, ...] = ()
    exclude: str = ""
    injections: tuple[Injection, ...] = ()
    secrets: tuple[BuildSecret, ...] = ()
    confinement: Confinement = Confinement()
    incremental: bool = False
    incremental_pull_policy: PullPolicy = "if-not-present"
    remove_previous: bool = False
    runtime_image: str = ""
    runtime_artifacts: tuple[RuntimeArtifact, ...] = ()
    runtime_pull_policy: PullPolicy = "if-not-present"
    assemble_runtime_user: str = ""
    pull_policy: PullPolicy = "if-not-present"
    push: bool = False
    targets: tuple[Target, ...] = ()
    here: bool = False
    keep: bool = False
    keep_source: bool = False
    app: str = ""
    cache: bool = True
    caches: tuple[str, ...] = ()
    force: bool = False
    epoch: int | None = None
    settled: bool = False
    timeout: float = 3600.0
    ca_bundle: Path | None = None
    owner: str = "build"


CA_VARIABLES = (  # in which programs look for the certificates that they are to trust
    "SSL_CERT_FILE",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
)

Upload = Callable[[int, int], Iterator[bytes]]
"""A plain tar that begins with `./`, for the numeric user and group that own all in it; it is unpacked at `/`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Salvage:
    """What an earlier image saves for the next build: the tar that `command` writes there goes below `target`.

    Nothing depends on it: whatever goes wrong, the build begins with nothing saved.
    """

    image: str
    image_id: str
    command: tuple[str, ...]
    user: str
    upload: Upload
    target: str
    confinement: Confinement = Confinement()
    timeout: float = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembly:
    """One container from start to commit, described: the engine performs it and knows nothing of source or builders.

    `upload` is made for the user that `user` is in the image, and unpacked before the first start. `programs` are those
    of the image itself that must be there. `build_env`, `ca_bundle`, `secrets` and `injections` are seen by the command
    alone. What `leftovers` names is gone before the commit. `config` makes of the file at `metadata` (None when there
    is none) what the image says of itself. With `keep` the container of a command that failed is left standing.
    `digest` is that by which a registry knows the image to start from, "" when none does. `exports` are variables that
    the command alone sees and anybody may know. `caches` are there while it runs, and are its user's. With an `epoch`
    the directories that only the engine itself has touched are given that time before the commit.
    """

    image: str
    image_id: str
    owner: str
    command: tuple[str, ...]
    programs: tuple[str, ...]
    user: str
    upload: Upload
    workspace: str
    leftovers: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    build_env: tuple[tuple[str, Secret], ...]
    ca_bundle: bytes
    timeout: float
    metadata: str
    config: Callable[[bytes | None], ImageConfig]
    names: tuple[Reference, ...]
    secrets: tuple[BuildSecret, ...] = ()
    injections: tuple[Injection, ...] = ()
    confinement: Confinement = Confinement()
    salvage: Salvage | None = None
    runtime: Runtime | None = None
    keep: bool = False
    digest: str = ""
    exports: tuple[tuple[str, str], ...] = ()
    caches: tuple[Cache, ...] = ()
    epoch: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """The second container, whose image is the result: `artifacts` of the first are put below `root` in it.

    Its assembly may have no command (): then it is committed as soon as the artifacts are there, and never started.
    """

    assembly: Assembly
    artifacts: tuple[RuntimeArtifact, ...]
    root: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What an engine made: the image's id, and the bytes that it added to the image it started from."""

    id: str
    size: int = 0
