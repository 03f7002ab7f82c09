"""What decides a build, as one digest: what has the same recipe need not be built again.

Everything counts that could make another image, and nothing else: not when and where it is built, nor the mirrors,
proxies and certificates of whoever builds; of its names the first, where that is the title in its labels. What is
handed over by its place alone could be anything the next time, so such a build has no recipe.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace

import msgspec

from s2ictl import uids
from s2ictl.assemblies import Parts
from s2ictl.labels import BASE_DIGEST, RECORD, record_of, rendered
from s2ictl.models import Assembly, BuildRequest, ImageConfig, ImageFacts, RuntimeArtifact, Secret
from s2ictl.scripts import Script
from s2ictl.values import dataclass

_FORMAT = "s2ictl recipe 1"
_COST = {"n": 1 << 14, "r": 8, "p": 1}  # of scrypt: 16 MB, and a twentieth of a second

HandedOn = tuple[tuple[str, Secret], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What an image is, whatever it is called and wherever it lies."""

    content: tuple[str, ...]
    platform: str
    labels: Mapping[str, str]
    env: tuple[str, ...]
    user: str
    workdir: str
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    exposed: tuple[str, ...]
    volumes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What runs in one container, and how much of the world it sees there."""

    command: tuple[str, ...]
    user: str
    workspace: str
    leftovers: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    secrets: tuple[str, ...]
    offline: bool
    cap_drop: tuple[str, ...]
    metadata: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Recipe:
    format: str
    source: str
    exclude: str
    scripts: tuple[tuple[str, str, str], ...]
    builder: Identity
    work: Work
    caches: tuple[str, ...]
    epoch: int | None
    runtime: Identity | None
    last: Work | None
    artifacts: tuple[RuntimeArtifact, ...]
    root: str
    config: ImageConfig


def recipe_of(request: BuildRequest, parts: Parts, assembly: Assembly) -> str:
    """The digest of everything that decides this build; "" for one of which that cannot be known."""
    source = parts.tree.digest()
    if not source or not is_known(request):
        return ""
    own = parts.builder.caches
    runtime = assembly.runtime
    decides = _Recipe(
        format=_FORMAT,
        source=source,
        exclude=request.exclude,
        scripts=contents(parts.scripts.brought),
        builder=identity_of(parts.builder.facts),
        work=work_of(assembly),
        caches=tuple(cache.target for cache in assembly.caches if cache.target not in own),
        epoch=request.epoch,
        runtime=identity_of(parts.runtime.facts) if parts.runtime else None,
        last=work_of(runtime.assembly) if runtime else None,
        artifacts=runtime.artifacts if runtime else (),
        root=runtime.root if runtime else "",
        config=_config_of(request, assembly),
    )
    return f"sha256:{digest_of(decides, handed_on=request.build_env)}"


def is_known(request: BuildRequest) -> bool:
    """Whether all that a build is given can be told apart from what the next one is given."""
    confinement = request.confinement
    opened = confinement.volumes or confinement.hosts or confinement.network not in ("", "none")
    return not (request.injections or opened)


def identity_of(facts: ImageFacts) -> Identity:
    return Identity(
        # By its layers it is the same on every machine; what lacks them is known by the name that its registry has.
        content=facts.layers or (facts.digest or facts.id,),
        platform=facts.platform,
        labels=dict(facts.labels),
        env=facts.env,
        user=facts.user,
        workdir=facts.workdir,
        entrypoint=facts.entrypoint,
        command=facts.command,
        exposed=tuple(sorted(facts.exposed)),
        volumes=tuple(sorted(facts.volumes)),
    )


def work_of(assembly: Assembly) -> Work:
    confinement = assembly.confinement
    return Work(
        command=assembly.command,
        user=assembly.user,
        workspace=assembly.workspace,
        leftovers=assembly.leftovers,
        env=assembly.env,
        secrets=tuple(secret.id for secret in assembly.secrets),
        offline=confinement.network == "none",
        cap_drop=confinement.cap_drop,
        metadata=assembly.metadata,
    )


def contents(brought: tuple[Script, ...]) -> tuple[tuple[str, str, str], ...]:
    """Scripts by what is in them."""
    return tuple((script.name, sha256(script.content), script.moved) for script in brought)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def digest_of(decides: object, *, handed_on: HandedOn) -> str:
    """The digest of a value, with variables that nobody may learn from it.

    It stands in a label that everybody can read, and a weak password could be guessed until the digest is right: each
    guess is made to cost, and what was learned of one build to be worth nothing for another.
    """
    whole = hashlib.sha256(_encoded(msgspec.to_builtins(decides)))
    if handed_on:
        values = _encoded(sorted((name, value.reveal()) for name, value in handed_on))
        whole.update(hashlib.scrypt(values, salt=whole.digest(), **_COST))
    return whole.hexdigest()


def _encoded(value: object) -> bytes:
    # Not by msgspec: a variable may hold bytes that are no text in UTF-8.
    return json.dumps(value, sort_keys=True).encode()


def _config_of(request: BuildRequest, assembly: Assembly) -> ImageConfig:
    """What the image is to say of itself, but for two of its words that make no other image: that it was made without
    caches, and by which digest a registry knows the builder, which one that was made here gets with its push."""
    config = assembly.config(None)
    record = record_of(replace(request, cache=True), allowed_uids=uids.shown(request.allowed_uids))
    return replace(config, labels={**config.labels, RECORD: rendered(record), BASE_DIGEST: ""})
