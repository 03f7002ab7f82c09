"""STORY: an image → what was asked of the build that made it. The build itself is the one of `build`.

What is built is the newest commit of the ref that was asked for, with the newest builder of that name: a rebuild is for
picking up what has changed below. Where a commit was asked for by its id, it is that commit again.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from s2ictl import scripts, uids
from s2ictl.errors import FetchSourceFailed, PullBuilderImageFailed
from s2ictl.events import Emit, Notice
from s2ictl.labels import S2I, Record, recorded
from s2ictl.models import BuildRequest, Confinement, ImageFacts, Reference, RuntimeArtifact, Source, parse_place
from s2ictl.sources import parse_source

_SHORTEST_ID = 12
_UNKNOWN = "variables, users, scripts and the runtime image that its build was given cannot be known"


def request_of(
    facts: ImageFacts,
    image: str,
    *,
    names: tuple[Reference, ...] = (),
    allow_http: bool = False,
    cwd: Path,
    emit: Emit,
) -> BuildRequest:
    """The request that an image's labels tell of; without names the result is called as the image is."""
    builder = _label(facts, image, "image")
    record = recorded(facts.labels)
    if record is None:
        emit(Notice(text=f"another tool made {image}: {_UNKNOWN}", level="warning"))
        record = _of_another_tool(facts)
    if record.unkept:
        flags = ", ".join(record.unkept)
        emit(Notice(text=f"{image} was built with {flags}: what was handed over is kept nowhere", level="warning"))
    request = BuildRequest(
        source=_source(facts, image, record, allow_http=allow_http, cwd=cwd),
        builder=builder,
        names=names or _own_name(facts, image),
        env=_values(facts, image, record, emit),
        labels=tuple((name, facts.labels[name]) for name in record.labels if name in facts.labels),
    )
    return _as_recorded(request, record, allow_http=allow_http, cwd=cwd)


def _as_recorded(request: BuildRequest, record: Record, *, allow_http: bool, cwd: Path) -> BuildRequest:
    url = record.scripts_url
    return replace(
        request,
        application_name=record.application_name,
        description=record.description,
        scripts_url=scripts.parse_url(url, allow_http=allow_http, cwd=cwd) if url else "",
        destination=record.destination,
        assemble_user=record.assemble_user,
        assemble_runtime_user=record.assemble_runtime_user,
        allowed_uids=uids.parse(record.allowed_uids),
        exclude=record.exclude,
        runtime_image=record.runtime_image,
        runtime_artifacts=tuple(RuntimeArtifact.parse(each) for each in record.runtime_artifacts),
        incremental=record.incremental,
        keep_source=record.keep_source,
        confinement=Confinement(network="none" if record.offline else "", cap_drop=record.cap_drop),
        cache=not record.uncached,
        caches=tuple(map(parse_place, record.caches)),
    )


def _of_another_tool(facts: ImageFacts) -> Record:
    """The older tool writes HEAD for what is no branch; then the commit is all that is known."""
    ref = facts.labels.get(f"{S2I}commit.ref", "")
    known = ref if ref and ref != "HEAD" else facts.labels.get(f"{S2I}commit.id", "")
    return Record(ref=known, description=facts.labels.get("io.k8s.description", ""))


def _label(facts: ImageFacts, image: str, name: str) -> str:
    text = facts.labels.get(f"{S2I}{name}", "")
    if not text:
        raise PullBuilderImageFailed(
            f"{image} does not say how it was made",
            detail=f"it has no label {S2I}{name}, which every build of source writes",
            hint="build it from its source: s2ictl build SOURCE BUILDER TAG",
        )
    return text


def _source(facts: ImageFacts, image: str, record: Record, *, allow_http: bool, cwd: Path) -> Source:
    location = _label(facts, image, "source-location")
    if location == "-":
        raise FetchSourceFailed(
            f"{image} was built from standard input, which is kept nowhere",
            hint=f"hand it in again: s2ictl build - {facts.labels[f'{S2I}image']}",
        )
    source = parse_source(
        f"{location}#sha256={record.checksum}" if record.checksum else location,
        ref=record.ref,
        context_dir=facts.labels.get(f"{S2I}source-context-dir", ""),
        copy=record.copied,
        submodules=record.submodules,
        lfs=record.lfs,
        allow_http=allow_http,
        cwd=cwd,
    )
    if source.path is not None and not source.path.exists():
        raise FetchSourceFailed(
            f"the source of {image} is not here: {location}",
            detail=f"there is no {source.path}",
            hint="rebuild where the source lies, or build it from there: s2ictl build SOURCE BUILDER TAG",
        )
    return source


def _own_name(facts: ImageFacts, image: str) -> tuple[Reference, ...]:
    digits = image.removeprefix("sha256:")
    if len(digits) >= _SHORTEST_ID and facts.id.removeprefix("sha256:").startswith(digits):
        return ()
    return (replace(Reference.parse(image), digest=""),)


def _values(facts: ImageFacts, image: str, record: Record, emit: Emit) -> tuple[tuple[str, str], ...]:
    """The variables that the user set, with the values that the image has."""
    has = facts.variables
    if lost := [name for name in record.env if name not in has]:
        emit(
            Notice(text=f"{image} does not have {', '.join(lost)} any more, which its build was given", level="warning")
        )
    return tuple((name, has[name]) for name in record.env if name in has)
