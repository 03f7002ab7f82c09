"""What builders there are, by which names, and what a builder's image promises.

Our own builders are folders: what one is made of, recognises and promises stands as data in its `builder.yaml`. Any
other image that carries the s2i labels is a builder just as well.
"""

from __future__ import annotations

import difflib
import hashlib
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import Annotated

import msgspec

from s2ictl.addresses import DOCKER_HUB
from s2ictl.errors import InvalidConfiguration, InvalidUsage, PullBuilderImageFailed
from s2ictl.expressions import expression
from s2ictl.models import Builder, ImageFacts, Reference, RuntimeArtifact, parse_place
from s2ictl.values import dataclass

_SCRIPTS_URL = ("io.openshift.s2i.scripts-url", "io.kubesphere.s2i.scripts-url", "io.s2i.scripts-url")
_DESTINATION = (
    "io.openshift.s2i.destination",
    "io.kubesphere.s2i.destination",
    "io.kubespehre.s2i.destination",  # as images of KubeSphere have it
    "io.s2i.destination",
)
_ASSEMBLE_USER = ("io.openshift.s2i.assemble-user", "io.kubesphere.s2i.assemble-user")
_ASSEMBLE_RUNTIME_USER = ("io.openshift.s2i.assemble-runtime-user", "io.kubesphere.s2i.assemble-runtime-user")
_ARTIFACTS = "io.openshift.s2i.assemble-input-files"
_OLD = "io.s2i."
_SCRIPTS_VARIABLE, _DESTINATION_VARIABLE = "STI_SCRIPTS_URL", "STI_LOCATION"
_DEFAULT_DESTINATION = "/tmp"  # noqa: S108  (in the container, as the contract says)


MADE_OF = "io.s2ictl.builder.folder"  # the label that names the `fingerprint` of what an image was made of
CACHES = "io.s2ictl.builder.caches"  # directories that a build of the same app finds again, with spaces between
LOCKS = "io.s2ictl.builder.dependencies"  # patterns of the files that the script `dependencies` needs, likewise
PREFIX = "s2ictl"  # of the names of our images where no registry has them; on Docker Hub it could be anybody's
_NAME = expression(r"\b[A-Z][A-Z0-9_]{3,}\b")
_VERSION = expression(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(.{0,80})")
_LONGEST_LIST = 4096
_NEEDED = ("install", "s2i/bin/assemble", "s2i/bin/run")
_NEW = "s2ictl builders create NAME shows what one looks like"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """A file of the source that speaks for a builder, and what it means; a weak one speaks where no other does.

    One that `says` something speaks only where that pattern is found in it, and then louder than by its name alone.
    `version` is that of the builder for which it speaks, "" for the first.
    """

    file: str
    means: str
    weak: bool = False
    says: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimePlan:
    """What a builder's results run on: an image of what lies below `root` in the builder's, and of nothing else.

    Its user and port are the builder's; `artifacts` are what it takes of each build.
    """

    root: str
    artifacts: tuple[Annotated[RuntimeArtifact, RuntimeArtifact.parse], ...]
    workdir: str
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Maker:
    """The builder that makes what another one only takes finished: where a file says so, by a pattern found in it.

    It makes nothing where one of the files is there that it would make, or the user has set the variable that tells
    where they are.
    """

    builder: str
    where: str
    says: str
    unless: tuple[str, ...] = ()
    unless_set: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint:
    """A builder.yaml.

    `caches` are the directories of downloads that the next build of the same app finds again, `dependencies` the files
    from which the script of that name installs, `aliases` the names that other platforms have for such a builder. One
    that is `reproducible` makes the same layer of the same commit, whenever and wherever. `levels` are the versions of
    its language that it serves beside its own, and `versions` those of which it has an image each, beside the first;
    `version_aliases` are the other platforms' names for one of these.
    """

    name: str
    version: str
    display_name: str
    description: str
    base: Annotated[Reference, Reference.parse]
    suite: str
    detects: tuple[Sign, ...]
    user: str
    workdir: str
    scripts: str
    port: int
    env: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    caches: tuple[str, ...] = ()
    dependencies: tuple[str, ...] = ()
    aliases: tuple[Annotated[Reference, Reference.parse], ...] = ()
    levels: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    version_aliases: Mapping[str, tuple[Annotated[Reference, Reference.parse], ...]] = field(default_factory=dict)
    reproducible: bool = False
    runtime: RuntimePlan | None = None
    made_by: Maker | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """One of our own builders; `prefix` is the place in a registry where its images lie, or else `PREFIX`.

    `version` is the one of them that is meant.
    """

    path: Path
    blueprint: Blueprint
    version: str
    prefix: str = PREFIX

    @property
    def name(self) -> str:
        return self.blueprint.name

    @property
    def versions(self) -> tuple[str, ...]:
        """All of which there is an image each; the first is meant where none is named."""
        return self.blueprint.version, *self.blueprint.versions

    @property
    def word(self) -> str:
        """What is typed to mean it."""
        return self.name if self.version == self.blueprint.version else f"{self.name}:{self.version}"

    @property
    def known_as(self) -> Iterator[tuple[Folder, Reference]]:
        """The names of other platforms, and which of the versions each means."""
        yield from ((self, alias) for alias in self.blueprint.aliases)
        for version, aliases in self.blueprint.version_aliases.items():
            yield from ((self.at(version), alias) for alias in aliases)

    @property
    def files(self) -> tuple[str, ...]:
        """Those by which it knows a source."""
        return tuple(dict.fromkeys(sign.file for sign in self.blueprint.detects))

    def at(self, version: str) -> Folder:
        """The same builder in another of its versions."""
        if version in self.versions:
            return replace(self, version=version)
        nearest = _nearest(version, self.versions)
        raise PullBuilderImageFailed(
            f"the builder {self.name} has no version {version[:80]}; the nearest is {nearest}",
            detail=f"there are {', '.join(self.versions)}",
            hint=f"name {self.name}:{nearest}",
        )

    @property
    def image(self) -> Reference:
        return Reference.parse(f"{self.prefix}/{self.name}:{self.version}")

    @property
    def runtime_image(self) -> Reference:
        return Reference.parse(f"{self.prefix}/{self.name}-runtime:{self.version}")

    @property
    def has_registry(self) -> bool:
        """Whether its images may be pulled and pushed."""
        return self.prefix != PREFIX


def shelf(package: Path) -> Path:
    """Where the builders lie: inside the package of a wheel, beside it in a checkout."""
    inside = package / "_builders"
    return inside if inside.is_dir() else package.parent / "builders"


def load_all(directory: Path, *, prefix: str = PREFIX) -> tuple[Folder, ...]:
    """All builders of a shelf, in name order, each in the folder of its name."""
    folders = tuple(load(path.parent, prefix=prefix) for path in sorted(directory.glob("*/builder.yaml")))
    for folder in folders:
        if folder.name != folder.path.name:
            path = folder.path / "builder.yaml"
            raise InvalidConfiguration(
                f"{path}: the builder is called {folder.name!r}, its folder {folder.path.name!r}"
            )
    return folders


def load(directory: Path, *, prefix: str = PREFIX) -> Folder:
    """The builder that a folder describes."""
    from s2ictl import documents  # for the builders of others, which most are, nothing of YAML is needed

    path = directory / "builder.yaml"
    blueprint = documents.convert(documents.load(documents.read(path), str(path)), Blueprint)
    for name in _NEEDED:
        if not (directory / name).is_file():
            raise InvalidConfiguration(f"{directory / name}: a builder needs this file", hint=_NEW)
    return Folder(path=directory, blueprint=blueprint, version=blueprint.version, prefix=prefix)


def fingerprint(folder: Folder) -> str:
    """What the image of a builder is made of, as one digest; its sample and what is said of it do not count."""
    plan = replace(folder.blueprint, version=folder.version, versions=(), version_aliases={}, aliases=(), levels=())
    whole = hashlib.sha256(msgspec.json.encode(plan))
    for path in (folder.path / "install", *sorted((folder.path / "s2i" / "bin").iterdir())):
        content = path.read_bytes()
        whole.update(f"\0{path.name}\0{len(content)}\0".encode() + content)
    return f"sha256:{whole.hexdigest()}"


def named(word: str, folders: Iterable[Folder]) -> Folder | None:
    """The builder that is called so, or its image, in the version that stands there; None for any other word."""
    place, _, last = word.rpartition("/")
    name, colon, version = last.partition(":")
    folder = next((each for each in folders if each.name == name), None)
    if folder is None or "@" in version or not _may_lie_at(place, folder):
        return None
    if not place and not colon:
        return folder
    if version in ("", "latest"):
        return folder.at(folder.blueprint.version)
    # Another version of what has one alone, or in a registry, is somebody's image: of an older s2ictl, perhaps.
    is_ours = version in folder.versions or (len(folder.versions) > 1 and _at_hub(place) in ("", PREFIX))
    return folder.at(version) if is_ours else None


def _may_lie_at(place: str, folder: Folder) -> bool:
    return _at_hub(place) in ("", PREFIX, _at_hub(folder.prefix))


def _at_hub(place: str) -> str:
    return place.removeprefix(f"{DOCKER_HUB}/")


def _nearest(version: str, versions: Sequence[str]) -> str:
    """That of the nearest number, and of several of them the one with the most alike behind it."""
    wanted = _VERSION.match(version)
    if wanted is None:
        return versions[0]

    def distance(each: str) -> tuple[float, float]:
        other = _VERSION.match(each)
        if other is None:
            return math.inf, 0
        return abs(float(other[1]) - float(wanted[1])), -difflib.SequenceMatcher(None, other[2], wanted[2]).ratio()

    return min(versions, key=distance)


def may_be_ours(word: str, prefix: str) -> bool:
    """Whether a name can mean a builder of ours at all; one with another registry than theirs means that very image."""
    registry = Reference.parse(word).registry
    return registry in ("", DOCKER_HUB) or prefix.startswith(f"{registry}/")


def near_to(word: str, folders: Iterable[Folder]) -> str:
    """The name of a builder that may have been meant by a word that is none; "" when nothing comes near."""
    name, _, _ = word.partition(":")
    return next(iter(difflib.get_close_matches(name, [folder.name for folder in folders], n=1, cutoff=0.75)), "")


def promised(image: str, facts: ImageFacts, *, destination: str = "") -> Builder:
    """Read what a builder's image promises in its labels, also in the older and the foreign spellings.

    A `destination` that the user names counts more than the image's.
    """
    if facts.onbuild:
        raise PullBuilderImageFailed(
            f"{image} builds by ONBUILD instructions, not by the s2i contract",
            hint=f"build it with a Dockerfile of one line: FROM {image}",
        )
    return _promised(image, facts, destination, _ASSEMBLE_USER)


def promised_runtime(image: str, facts: ImageFacts, *, destination: str = "") -> Builder:
    """The same of an image that is to run what a builder made: its scripts, and who assembles there."""
    return _promised(image, facts, destination, _ASSEMBLE_RUNTIME_USER)


def _promised(image: str, facts: ImageFacts, destination: str, user: Iterable[str]) -> Builder:
    place = parse_place(destination) if destination else _destination(image, facts)
    if volume := next((each for each in facts.volumes if is_below(f"{place}/src", each)), ""):
        raise PullBuilderImageFailed(
            f"{image} declares {volume} a volume, so nothing at {place} can be built into an image"
        )
    return Builder(
        image=image,
        destination=place,
        scripts=_scripts(_first(facts.labels, _SCRIPTS_URL) or facts.variables.get(_SCRIPTS_VARIABLE, ""), image),
        assemble_user=_first(facts.labels, user),
        facts=facts,
        caches=tuple(_path(path, image, CACHES) for path in _several(CACHES, image, facts)),
        locks=_several(LOCKS, image, facts),
    )


def artifacts_of(image: str, facts: ImageFacts) -> tuple[RuntimeArtifact, ...]:
    """What a runtime image wants of the builder: `SOURCE[:DIRECTORY];…` in its label."""
    written = [part.strip() for part in facts.labels.get(_ARTIFACTS, "").split(";")]
    try:
        return tuple(RuntimeArtifact.parse(part) for part in written if part)
    except InvalidUsage as error:
        raise InvalidUsage(
            f"the label {_ARTIFACTS} of {image} is not readable",
            detail=error.message,
            hint="say what is wanted yourself: --runtime-artifact SOURCE[:DIRECTORY]",
        ) from error


def builder_labels(folder: Folder) -> dict[str, str]:
    """What the image of one of our own builders says of itself."""
    plan = folder.blueprint
    lists = {CACHES: " ".join(plan.caches), LOCKS: " ".join(plan.dependencies)}
    return {**plan.labels, **{name: value for name, value in lists.items() if value}, MADE_OF: fingerprint(folder)}


def settings(folder: Folder) -> tuple[str, ...]:
    """The names of variables that its usage speaks of, in that order."""
    usage = folder.path / "s2i" / "bin" / "usage"
    text = usage.read_text(encoding="utf-8") if usage.is_file() else ""
    # In the tables the names stand in the left column; in the sentence of what is for the build alone, anywhere.
    listed = re.findall(rf"^ {{4}}({_NAME.pattern}(?:, {_NAME.pattern})*)(?=  |$)", text, re.MULTILINE)
    told = re.findall(r"^For the build alone.*?(?=\n\n|\nTEXT|\Z)", text, re.MULTILINE | re.DOTALL)
    found = [name for part in (*listed, *told) for name in _NAME.findall(part)]
    return tuple(dict.fromkeys(found))


def runtime_labels(folder: Folder, plan: RuntimePlan) -> dict[str, str]:
    """What the runtime image of one of our own builders says of itself; what it wants of a build, as any other does."""
    wanted = ";".join(f"{each.source}:{each.target}" for each in plan.artifacts)
    return {**plan.labels, _ARTIFACTS: wanted, MADE_OF: fingerprint(folder)}


def outdated(image: str, facts: ImageFacts) -> Iterator[str]:
    """The words by which the image speaks that are understood, and no longer used."""
    for names, variable in ((_SCRIPTS_URL, _SCRIPTS_VARIABLE), (_DESTINATION, _DESTINATION_VARIABLE)):
        spoken = next((name for name in names if facts.labels.get(name)), "")
        old = spoken if spoken.startswith(_OLD) else variable if not spoken and facts.variables.get(variable) else ""
        if old:
            yield f"{image} says {old}, which has another name now: the label {names[0]}"


def is_below(path: str, directory: str) -> bool:
    """Whether a path is the directory or lies in it."""
    return f"{path}/".startswith(f"{directory.rstrip('/')}/")


def _destination(image: str, facts: ImageFacts) -> str:
    written = _first(facts.labels, _DESTINATION) or facts.variables.get(_DESTINATION_VARIABLE, "")
    return _path(written or _DEFAULT_DESTINATION, image, "destination")


def _first(labels: Mapping[str, str], names: Iterable[str]) -> str:
    return next((labels[name] for name in names if labels.get(name)), "")


def _scripts(url: str, image: str) -> str:
    if not url:
        return ""
    scheme, separator, path = url.partition("://")
    if scheme != "image" or not separator:
        raise PullBuilderImageFailed(
            f"{image} keeps its scripts at {url[:200]!r}, which is no place in the image",
            hint="its label io.openshift.s2i.scripts-url must begin with image:///",
        )
    return _path(path, image, "scripts-url")


def _several(label: str, image: str, facts: ImageFacts) -> tuple[str, ...]:
    """What a label names, with spaces between; whoever wrote it may have wanted to keep us busy."""
    written = facts.labels.get(label, "")
    if len(written) > _LONGEST_LIST:
        raise PullBuilderImageFailed(
            f"the label {label} of {image} has {len(written)} characters; the limit is {_LONGEST_LIST}"
        )
    return tuple(dict.fromkeys(written.split()))


def _path(path: str, image: str, label: str) -> str:
    try:
        return parse_place(path)
    except InvalidUsage as error:
        raise PullBuilderImageFailed(
            f"the label {label} of {image} is not an absolute path: {path[:200]!r}", hint=error.hint
        ) from error
