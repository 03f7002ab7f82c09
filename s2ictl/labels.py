"""What a built image says of where it came from, in the labels of the contract and of the Open Container Initiative."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from s2ictl.errors import AssembleFailed, LimitReached
from s2ictl.models import Builder, BuildRequest, Reference, Tree

_S2I = "io.openshift.s2i.build."
_OCI = "org.opencontainers.image."
_LONGEST_SUBJECT = 80
_LARGEST = 10240  # bytes of all names and values, as in the older tool: some registries and clusters refuse more


class _Metadata(msgspec.Struct):
    labels: list[dict[str, str]] = []


def labels_of(request: BuildRequest, tree: Tree, builder: Builder) -> dict[str, str]:
    """The labels of the result beside those it inherits; nothing empty is written."""
    title = request.application_name or (str(request.names[0]) if request.names else "")
    generated = {
        "io.k8s.display-name": title,
        "io.k8s.description": request.description,
        f"{_S2I}image": canonical(builder.image),
        f"{_S2I}source-location": tree.location,
        f"{_S2I}source-context-dir": tree.context_dir,
        f"{_OCI}title": title,
        f"{_OCI}description": request.description,
        f"{_OCI}source": tree.location,
        f"{_OCI}base.name": canonical(builder.image),
        f"{_OCI}base.digest": builder.facts.digest,
        **_commit(tree),
    }
    return {**{name: value for name, value in generated.items() if value}, **dict(request.labels)}


def _commit(tree: Tree) -> dict[str, str]:
    if tree.commit is None:
        return {}
    subject = tree.commit.message.partition("\n")[0].strip()
    cut = subject if len(subject) <= _LONGEST_SUBJECT else f"{subject[: _LONGEST_SUBJECT - 2]}.."
    return {
        f"{_S2I}commit.id": tree.commit.id,
        f"{_S2I}commit.ref": tree.commit.ref,
        f"{_S2I}commit.author": tree.commit.author,
        f"{_S2I}commit.date": tree.commit.date,
        f"{_S2I}commit.message": cut,
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
    """All labels of the result; what assemble asks for never replaces what s2ictl says of the build."""
    ours = {name for name in own if name.startswith((_S2I, _OCI))}
    labels = {**inherited, **own, **{name: value for name, value in asked.items() if name not in ours}}
    size = sum(len(name.encode()) + len(value.encode()) for name, value in labels.items())
    if size > _LARGEST:
        raise LimitReached(
            f"the labels of the image have {size} bytes; the limit is {_LARGEST}",
            hint="shorten --description and --label",
        )
    return labels
