"""The image on which the result of one of our own builders runs: what that builder has laid ready, and nothing else.

Nothing runs while it is made, since it holds nothing that could: the files come out of a container of the builder that
is never started, and go into one of a bare root.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from s2ictl.archives import tar_stream
from s2ictl.builders import Folder, RuntimePlan, runtime_labels
from s2ictl.models import Assembly, BuildRequest, ImageConfig, ImageFacts, Runtime, RuntimeArtifact

if TYPE_CHECKING:
    import tarfile

_WORKSPACE = "/tmp/.s2ictl"  # noqa: S108  (in the container, and never made: no command runs there)


def bare_root(plan: RuntimePlan, user: str) -> bytes:
    """The tar of a root with the two directories that are written to: all may in the one, the user in the other.

    What goes from container to container loses such modes on the way, so they stand in the base.
    """
    import tarfile

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for parent in reversed(PurePosixPath(plan.workdir).parents):
            tar.addfile(_directory(str(parent), mode=0o755, uid=0))
        tar.addfile(_directory(plan.workdir, mode=0o775, uid=int(user)))
        tar.addfile(_directory("/tmp", mode=0o1777, uid=0))  # noqa: S108  (in the image)
    return buffer.getvalue()


def _directory(path: str, *, mode: int, uid: int) -> tarfile.TarInfo:
    import tarfile

    entry = tarfile.TarInfo(f".{path.rstrip('/')}")
    entry.type, entry.mode, entry.uid = tarfile.DIRTYPE, mode, uid
    return entry


def describe_runtime(
    folder: Folder, plan: RuntimePlan, builder: ImageFacts, bare: ImageFacts, request: BuildRequest
) -> Assembly:
    """What makes the runtime image of a builder's folder, of its own image and a bare root."""
    blueprint = folder.blueprint
    config = ImageConfig(
        command=plan.command,
        entrypoint=(),
        user=blueprint.user,
        workdir=plan.workdir,
        env=tuple({**bare.variables, **plan.env}.items()),
        labels=runtime_labels(folder, plan),
        exposed=(f"{blueprint.port}/tcp",),
    )
    second = Assembly(
        image=str(folder.runtime_image),
        image_id=bare.id,
        owner=request.owner,
        command=(),
        programs=(),
        user="0:0",
        upload=_nothing,
        workspace=_WORKSPACE,
        leftovers=(),
        env=(),
        build_env=(),
        ca_bundle=b"",
        timeout=request.timeout,
        metadata="",
        config=lambda _: config,
        names=request.names,
    )
    everything = RuntimeArtifact(source=f"{plan.root}/*", target="")
    runtime = Runtime(assembly=second, artifacts=(everything,), root="/")
    return replace(second, image=str(folder.image), image_id=builder.id, names=(), runtime=runtime)


def _nothing(uid: int, gid: int) -> Iterator[bytes]:
    return tar_stream((), uid=uid, gid=gid)
