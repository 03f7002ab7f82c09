"""Images: what they are called, and what they say of themselves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import Literal

from s2ictl.errors import InvalidUsage
from s2ictl.expressions import expression
from s2ictl.values import dataclass

_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_HOST = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[0-9a-fA-F:]+\])"
_REFERENCE = expression(
    rf"(?:(?P<registry>{_HOST}(?::[0-9]+)?)/)?"
    rf"(?P<repository>{_COMPONENT}(?:/{_COMPONENT})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_PLAIN_PATH = expression(r"(?:/+[A-Za-z0-9_@%+=:,.~-]+)+/*")
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
            meant = _meant(text) if len(text) <= 200 else ""
            hint = _REFERENCE_RULE + (f"; {meant} would be one" if meant else "")
            raise InvalidUsage(f"{_bare(text)[:200]!r} is not an image name", hint=hint)
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


def _bare(text: str) -> str:
    """What was written, without a login that stands in an address."""
    scheme, separator, rest = text.partition("://")
    return f"{scheme}{separator}…@{rest.rpartition('@')[2]}" if separator and "@" in rest else text


def _meant(text: str) -> str:
    """The name that was probably meant: no address, nothing empty, in lower case, with its tag at the end; or ""."""
    rest = text.partition("://")[2] or text
    plain = re.sub(r"/{2,}", "/", rest.lower()).strip("/: ")
    moved = re.sub(r"(/[^/:@]+):([^/:@]+)(/[^:@]+)", r"\1\3:\2", plain)
    return moved if _REFERENCE.fullmatch(moved) else ""


def parse_prefix(text: str) -> str:
    """A place in a registry below which images lie: HOST[:PORT][/PATH]."""
    prefix = text.rstrip("/")
    try:
        named = Reference.parse(f"{prefix}/image")
    except InvalidUsage:
        named = None
    if named is None or not named.registry:
        raise InvalidUsage(
            f"{text[:200]!r} is no place in a registry where builders could lie",
            hint="write it as registry.example.com/team, without https:// (S2ICTL_BUILDERS, or builders: {prefix: …})",
        )
    return prefix


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
    created: str = ""
    layers: tuple[str, ...] = ()

    @property
    def variables(self) -> dict[str, str]:
        """Its environment, by name."""
        return dict(entry.partition("=")[::2] for entry in self.env)


def parse_place(text: str) -> str:
    """A directory in a container: an absolute path that neither climbs nor means something else to a shell."""
    if not _PLAIN_PATH.fullmatch(text) or len(text) > 1024 or {".", ".."} & set(text.split("/")):
        raise InvalidUsage(
            f"{text[:200]!r} is not the path of a directory in an image",
            hint="write it from the root, in plain letters and without ..: /opt/s2i",
        )
    return "/" + "/".join(filter(None, text.split("/")))


PullPolicy = Literal["always", "if-not-present", "never"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A place for an image: the engine of this machine, the registry in its name, an OCI layout's directory, or a tar
    of one that an engine loads as well. `path` is only for the last two."""

    kind: Literal["docker", "registry", "oci", "tar"]
    path: Path | None = None

    def __str__(self) -> str:
        return f"{self.kind}:{self.path}" if self.path else self.kind


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
class Image:
    """The answer of a build: what it is called, and the digest once a registry has it.

    `unchanged` says that there was nothing to build. `context_path` is where a war is served, "" for all else. `facts`
    are what it says of itself, where whoever made it knows that no engine can be asked.
    """

    names: tuple[Reference, ...]
    id: str
    digest: str = ""
    builder: str = ""
    commit: str = ""
    unchanged: bool = False
    context_path: str = ""
    facts: ImageFacts | None = None
