"""A build that is only planned, said line by line: what `--dry-run` shows. Of what could be a secret, only the name."""

from __future__ import annotations

from collections.abc import Iterator

from s2ictl import uids
from s2ictl.cli.confinement import USUAL_TIMEOUT
from s2ictl.environments import handed_on
from s2ictl.models import BuildRequest, Confinement, Volume
from s2ictl.targets import places

Decision = tuple[str, str]  # a short word, and what was decided


def decisions(request: BuildRequest) -> Iterator[Decision]:
    """All that was decided, in the order in which it matters; what stands as it always does is left out."""
    source = request.source
    where = filter(None, (source.location, source.ref and f"at {source.ref}", source.context_dir))
    yield from said(
        ("fetch", " ".join(where)),
        ("copy", "uncommitted work too" if source.copy else ""),
        ("sha256", source.checksum),
        ("lfs", "large files too" if source.lfs else ""),
        ("without", "submodules" if source.kind == "git" and not source.submodules else ""),
        ("leave out", request.exclude),
        ("builder", request.builder or "by detection"),
        ("pull", request.pull_policy if request.pull_policy != "if-not-present" else ""),
        ("scripts", request.scripts_url),
        ("below", request.destination),
        ("as user", request.assemble_user),
        ("uids", uids.shown(request.allowed_uids)),
        ("after", str(request.names[0]) if request.incremental and request.names else ""),
        ("named", request.application_name),
        ("about", request.description),
    )
    yield from (("stays", name) for name, _ in request.env)
    yield from (("label", name) for name, _ in request.labels)
    yield from (("hands on", name) for name, _ in handed_on(request))
    yield from (("secret", secret.id) for secret in request.secrets)
    yield from (("inject", f"{each.source} to {each.target or 'the workdir'}") for each in request.injections)
    yield from _container(request.confinement)
    yield from (("cache", place) for place in request.caches if request.cache)
    yield from said(
        ("timeout", f"{request.timeout:g} s" if request.timeout != USUAL_TIMEOUT else ""),
        ("onto", request.runtime_image),
        ("as user", request.assemble_runtime_user),
    )
    yield from (("take", f"{each.source} to {each.target or '.'}") for each in request.runtime_artifacts)
    yield from said(
        ("keep", "the source in the image" if request.keep_source else ""),
        ("use", "nothing of earlier builds" if not request.cache else ""),
        ("build", "even if nothing has changed" if request.cache and request.force else ""),
        ("keep", "the container of a script that failed" if request.keep else ""),
        ("remove", "the image that had the name" if request.remove_previous else ""),
    )
    yield from (("push" if request.push else "tag", str(name)) for name in request.names)
    yield from (("write", place) for place in places(request.targets, request.names))


def said(*decisions: Decision) -> Iterator[Decision]:
    """Those of which there is something to say."""
    yield from (decision for decision in decisions if decision[1])


def _container(asked: Confinement) -> Iterator[Decision]:
    yield from (("volume", _volume(each)) for each in asked.volumes)
    yield from said(("network", asked.network))
    yield from (("host", each) for each in asked.hosts)
    yield from (("without", each) for each in asked.cap_drop)
    yield from said(
        ("memory", f"{asked.memory} bytes" if asked.memory else ""), ("cpus", f"{asked.cpus:g}" if asked.cpus else "")
    )


def _volume(volume: Volume) -> str:
    said = (", read only" * volume.read_only, f", SELinux {volume.relabel}" if volume.relabel else "")
    return f"{volume.source} at {volume.target}{''.join(said)}"
