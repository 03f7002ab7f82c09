"""What a built image says of where it came from, in the labels of the contract and of the Open Container Initiative.

Other tools read these, so they say no more than the contract knows. What a rebuild needs beside stands in one label of
ours: names of variables and never their values, which are in the image anyway; nothing that was for the build alone.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from s2ictl.errors import AssembleFailed, LimitReached
from s2ictl.models import Builder, BuildRequest, Reference, Tree

S2I = "io.openshift.s2i.build."
OURS = "io.s2ictl."  # what begins so is believed of an image: only s2ictl may say it
RECORD = "io.s2ictl.build"
RECIPE = "io.s2ictl.recipe"  # what decided the build, as one digest
DEPENDENCIES = "io.s2ictl.dependencies"  # which dependencies, installed alone, are in the image
_OCI = "org.opencontainers.image."
BASE_DIGEST = f"{_OCI}base.digest"
_OF_THE_BASE = tuple(f"{_OCI}{name}" for name in ("base.", "created", "ref.name", "revision", "version"))
_LONGEST_SUBJECT = 80
_LARGEST = 10240  # bytes of all names and values, as in the older tool: some registries and clusters refuse more


class _Metadata(msgspec.Struct):
    labels: list[dict[str, str]] = []


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="kebab"):
    """What was asked of a build, beside what the labels of the contract say; what is at its default is not written."""

    ref: str = ""
    copied: bool = False
    checksum: str = ""
    submodules: bool = True
    lfs: bool = False
    env: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    application_name: str = ""
    description: str = ""
    scripts_url: str = ""
    destination: str = ""
    assemble_user: str = ""
    assemble_runtime_user: str = ""
    allowed_uids: str = ""
    exclude: str = ""
    runtime_image: str = ""
    runtime_artifacts: tuple[str, ...] = ()
    incremental: bool = False
    keep_source: bool = False
    offline: bool = False
    cap_drop: tuple[str, ...] = ()
    uncached: bool = False
    caches: tuple[str, ...] = ()
    unkept: tuple[str, ...] = ()


def record_of(request: BuildRequest, *, allowed_uids: str) -> Record:
    """The record of a request; of what opens the container to its surroundings `unkept` has only the flags' names.

    Whoever rebuilds an image of somebody else's must not be led to hand it his own files or network.
    """
    source, confinement = request.source, request.confinement
    offline = confinement.network == "none"
    flags = {
        "--secret": request.secrets,
        "--inject": request.injections,
        "--volume": confinement.volumes,
        "--network": not offline and confinement.network,
        "--add-host": confinement.hosts,
    }
    return Record(
        ref=source.ref,
        copied=source.copy,
        checksum=source.checksum,
        submodules=source.submodules,
        lfs=source.lfs,
        env=tuple(name for name, _ in request.env),
        labels=tuple(name for name, _ in request.labels),
        application_name=request.application_name,
        description=request.description,
        scripts_url=request.scripts_url,
        destination=request.destination,
        assemble_user=request.assemble_user,
        assemble_runtime_user=request.assemble_runtime_user,
        allowed_uids=allowed_uids,
        exclude=request.exclude,
        runtime_image=request.runtime_image,
        runtime_artifacts=tuple(f"{each.source}:{each.target}" for each in request.runtime_artifacts),
        incremental=request.incremental,
        keep_source=request.keep_source,
        offline=offline,
        cap_drop=confinement.cap_drop,
        uncached=not request.cache,
        caches=request.caches,
        unkept=tuple(flag for flag, values in flags.items() if values),
    )


def recorded(labels: Mapping[str, str]) -> Record | None:
    """The record that an image carries; None when it has none that can be read."""
    try:
        return msgspec.json.decode(labels.get(RECORD, ""), type=Record)
    except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError):
        return None


def labels_of(request: BuildRequest, tree: Tree, builder: Builder, record: Record) -> dict[str, str]:
    """The labels of the result beside those it inherits; nothing empty is written."""
    title = request.application_name or (str(request.names[0]) if request.names else "")
    base = canonical(builder.image) if builder.image else ""  # an artifact may stand on nothing
    generated = {
        "io.k8s.display-name": title,
        "io.k8s.description": request.description,
        f"{S2I}image": base,
        f"{S2I}source-location": tree.location,
        f"{S2I}source-context-dir": tree.context_dir,
        f"{_OCI}title": title,
        f"{_OCI}description": request.description,
        f"{_OCI}source": tree.location,
        f"{_OCI}base.name": base,
        BASE_DIGEST: builder.facts.digest,
        **_commit(tree),
    }
    written = {name: value for name, value in generated.items() if value}
    return {**written, **dict(request.labels), RECORD: rendered(record)}


def rendered(record: Record) -> str:
    return msgspec.json.encode(record).decode()


def _commit(tree: Tree) -> dict[str, str]:
    if tree.commit is None:
        return {}
    subject = tree.commit.message.partition("\n")[0].strip()
    cut = subject if len(subject) <= _LONGEST_SUBJECT else f"{subject[: _LONGEST_SUBJECT - 2]}.."
    return {
        f"{S2I}commit.id": tree.commit.id,
        f"{S2I}commit.ref": tree.commit.ref,
        f"{S2I}commit.author": tree.commit.author,
        f"{S2I}commit.date": tree.commit.date,
        f"{S2I}commit.message": cut,
        f"{_OCI}revision": tree.commit.id,
    }


def canonical(image: str) -> str:
    """The name by which the older tool calls an image: with registry and tag."""
    name = Reference.parse(image)
    path = name.repository if name.registry or "/" in name.repository else f"library/{name.repository}"
    tag = f":{name.tag or 'latest'}" if name.tag or not name.digest else ""
    return f"{name.registry or 'docker.io'}/{path}{tag}" + (f"@{name.digest}" if name.digest else "")


def read_metadata(content: bytes, path: str, limit: int) -> dict[str, str]:
    """The labels that assemble asks for in its metadata file."""
    if len(content) > limit:
        raise AssembleFailed(f"assemble wrote a {path} of more than {limit} bytes")
    try:
        metadata = msgspec.json.decode(content, type=_Metadata)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise AssembleFailed(
            f"assemble wrote a {path} that is not readable",
            detail=str(error),
            hint='it is to be of the form {"labels": [{"name": "value"}]}',
        ) from error
    return {name: value for labels in metadata.labels for name, value in labels.items()}


def merged(inherited: Mapping[str, str], own: Mapping[str, str], asked: Mapping[str, str]) -> dict[str, str]:
    """All labels of the result; what assemble asks for never replaces what s2ictl says of the build.

    What the image below says of its own making is not true of what is made on it. An engine that commits keeps every
    label that is not named, so such a one stays, and says nothing.
    """
    ours = {name for name in own if name.startswith(_OCI)}
    labels = {
        **{name: "" if _is_of_the_base(name) else value for name, value in inherited.items()},
        **own,
        **{name: value for name, value in asked.items() if name not in ours and not _is_ours(name)},
    }
    size = sum(len(name.encode()) + len(value.encode()) for name, value in labels.items())
    if size > _LARGEST:
        raise LimitReached(
            f"the labels of the image have {size} bytes; the limit is {_LARGEST}",
            hint="shorten --description and --label, or what assemble asks for",
        )
    return labels


def _is_of_the_base(name: str) -> bool:
    return _is_ours(name) or name.startswith(_OF_THE_BASE)


def _is_ours(name: str) -> bool:
    return name.startswith((OURS, S2I))
