"""What the lock files of a source ask for, installed in an image of its own, in which the application is assembled.

Most changes of a source leave its lock files as they are. Then that image is found again, nothing is installed, and
the layer that a registry has to be sent holds the application alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import partial

from s2ictl import scripts
from s2ictl.assemblies import EPOCH, Parts, excluding
from s2ictl.builders import is_below
from s2ictl.caches import whose_downloads
from s2ictl.errors import LimitReached
from s2ictl.events import Emit, step
from s2ictl.labels import DEPENDENCIES, RECIPE, RECORD
from s2ictl.models import Assembly, Builder, BuildRequest, ImageConfig, ImageFacts, Reference
from s2ictl.recipes import Identity, Work, contents, digest_of, identity_of, is_known, sha256, work_of
from s2ictl.scripts import Script
from s2ictl.uploads import file_entries, upload
from s2ictl.values import dataclass
from s2ictl.workshop import Workshop, just_made

REPOSITORY = "s2ictl/dependencies"
_SCRIPT = "dependencies"
_FORMAT = "s2ictl dependencies 1"
_LENGTH = 32
_LARGEST, _MOST = 64 << 20, 1000  # all lock files together
# What is installed belongs to no one commit, and whoever installs it again shall make the same: so its time is always
# the same too. This is 1980, before which a zip, and so a Python wheel, knows of no time.
_TIME = 315532800


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependencies:
    """What has to be installed before the application is assembled, described; `id` is what decides it, as a digest.

    `mark` is that and who installed it: another app's build may have put anything into the downloads that it used.
    """

    id: str
    mark: str
    files: tuple[str, ...]
    assembly: Assembly

    @property
    def image(self) -> Reference:
        return image_of(self.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decides:
    format: str
    files: tuple[tuple[str, str], ...]
    scripts: tuple[tuple[str, str, str], ...]
    builder: Identity
    work: Work


def image_of(digits: str) -> Reference:
    """What the image of these dependencies is called."""
    return Reference(registry="", repository=REPOSITORY, tag=digits)


def needed(request: BuildRequest, parts: Parts, assembly: Assembly) -> Dependencies | None:
    """The dependencies of a build, where its builder can install them alone; it builds as ever where it cannot."""
    builder = parts.builder
    located = scripts.locate(_SCRIPT, parts.scripts, destination=builder.destination, own=builder.scripts)
    # In a place that the user names the scripts are others than those that the builder's label speaks of.
    if located is None or parts.scripts.place or not is_known(request) or _is_held(builder):
        return None
    files = _lock_files(request, parts)
    if not files:
        return None
    carried = tuple(each for each in parts.scripts.brought if each.name == _SCRIPT)
    described = _described(assembly, builder, located, files, carried)
    decides = _Decides(
        format=_FORMAT,
        files=tuple((path, sha256(content)) for path, content in sorted(files.items())),
        scripts=contents(carried),
        builder=identity_of(builder.facts),
        work=replace(work_of(described), env=assembly.env),
    )
    digits = digest_of(decides, handed_on=request.build_env)[:_LENGTH]
    mark = f"{digits} {sha256(whose_downloads(request, parts.tree).encode(errors='surrogateescape'))[:_LENGTH]}"
    config = _config(builder.facts, mark)
    named = replace(described, names=(image_of(digits),), config=lambda _: config)
    return Dependencies(id=digits, mark=mark, files=tuple(files), assembly=named)


def provided(wanted: Dependencies, request: BuildRequest, workshop: Workshop, *, emit: Emit) -> ImageFacts:
    """The image of the dependencies: found, or made now by one of those that need it at the same time."""
    image = str(wanted.image)
    with workshop.turn(image, request.timeout, emit), step(_SCRIPT, ", ".join(wanted.files), emit) as found:
        known = workshop.engine.facts(image, pull="never", login=None, emit=emit) if request.cache else None
        if known is not None and known.labels.get(DEPENDENCIES) == wanted.mark:
            found.cached = True
            workshop.engine.name(known.id, (wanted.image,))  # by this alone an engine knows that it was used
            return known
        found.size = workshop.engine.assemble(wanted.assembly, emit).size
        return just_made(wanted.image, workshop, emit)


def standing_on(assembly: Assembly, wanted: Dependencies, image: ImageFacts) -> Assembly:
    """The same application, assembled where its dependencies are already."""
    return replace(assembly, image=str(wanted.image), image_id=image.id, digest="")


def _lock_files(request: BuildRequest, parts: Parts) -> dict[str, bytes]:
    """The files in the root of the source of which the builder says that it installs from them, as they are now."""
    excluded = excluding(request.exclude)
    root = (path for path in parts.tree.paths if "/" not in path and not excluded(path))
    paths = [path for path in root if any(fnmatchcase(path, pattern) for pattern in parts.builder.locks)]
    files: dict[str, bytes] = {}
    for path in paths:
        try:
            files[path] = parts.tree.read(path)
        except LimitReached:  # no lock file is as large as that, so this is something else
            return {}
        if sum(map(len, files.values())) > _LARGEST or len(files) > _MOST:
            return {}  # a builder that asks for everything
    return files


def _is_held(builder: Builder) -> bool:
    """Whether what is put into `src` cannot be taken away again, because a volume of the builder lies in it."""
    return any(is_below(volume, f"{builder.destination}/src") for volume in builder.facts.volumes)


def _described(
    assembly: Assembly,
    builder: Builder,
    located: scripts.Located,
    files: Mapping[str, bytes],
    carried: tuple[Script, ...],
) -> Assembly:
    """One more container before the application's, which is given the same but for the source."""
    place = builder.destination
    own = tuple(f"{place}/scripts/{script.name}" for script in carried)
    return replace(
        assembly,
        command=(located.path,),
        programs=(located.path,) if located.own else (),
        upload=partial(upload, partial(file_entries, files, carried, place)),
        leftovers=(f"{place}/src", f"{place}/artifacts", *own),
        # What a container has in its environment a commit leaves in the image, and there it would be the builder's.
        env=(),
        exports=((EPOCH, str(_TIME)), *assembly.env),
        epoch=_TIME,
        salvage=None,
        runtime=None,
    )


def _config(facts: ImageFacts, mark: str) -> ImageConfig:
    """The builder's own, so that another build finds a builder there, but for what only a result may say."""
    return ImageConfig(
        command=facts.command,
        entrypoint=facts.entrypoint,
        user=facts.user,
        workdir=facts.workdir,
        env=tuple(facts.variables.items()),
        labels={**facts.labels, **{name: "" for name in (RECIPE, RECORD) if name in facts.labels}, DEPENDENCIES: mark},
        exposed=facts.exposed,
    )
