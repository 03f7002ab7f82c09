"""s2i.yaml as values, and the quantities that people write in it and in flags."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Literal

from s2ictl.errors import InvalidUsage
from s2ictl.expressions import expression
from s2ictl.models.builds import RuntimeArtifact
from s2ictl.models.clusters import Expose
from s2ictl.models.images import Reference, parse_place, parse_prefix
from s2ictl.values import dataclass

_DURATION = expression(r"(?P<number>[0-9]{1,9})(?P<unit>[smhd]?)")


def parse_duration(text: str) -> int:
    """Seconds, from the way people write them: 90s, 5m, 1h, 30d."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise InvalidUsage(f"{text[:40]!r} is not a duration", hint="write it like 90s, 5m, 1h or 30d")
    return int(match["number"]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[match["unit"]]


_SIZE = expression(r"(?P<number>[0-9]{1,12})(?P<unit>[kmg]?)(?:i?b)?", re.IGNORECASE)


def parse_size(text: str) -> int:
    """Bytes, from the way people write them: 64m, 64Mi, 5MiB, 1g."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise InvalidUsage(f"{text[:40]!r} is not a size", hint="write it like 512k, 5MiB or 1g")
    return int(match["number"]) << {"": 0, "k": 10, "m": 20, "g": 30}[match["unit"].lower()]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildConfig:
    """How the image is made; `submodules` None leaves it to whoever builds: by hand they are on, in `serve` off.

    `cache` says whether downloads are kept for the next build, or which directories beside the builder's own.
    """

    builder: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    context_dir: str = ""
    submodules: bool | None = None
    lfs: bool = False
    incremental: bool = False
    runtime_image: str = ""
    runtime_artifacts: tuple[Annotated[RuntimeArtifact, RuntimeArtifact.parse], ...] = ()
    cache: bool | tuple[Annotated[str, parse_place], ...] = True


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildersConfig:
    """Where our own builders' images are pulled from and pushed to; nowhere, where nothing is said."""

    prefix: Annotated[str, parse_prefix] = ""


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
    builders: BuildersConfig = field(default_factory=BuildersConfig)
    registry_secret: str = ""
    deploy: DeployConfig | None = None
    webhook: WebhookConfig | None = None
    forge: ForgeConfig | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """One s2i.yaml: an application, or several that one hook triggers; `name` is the hook's."""

    name: str
    apps: tuple[AppConfig, ...]
