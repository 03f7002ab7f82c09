"""Which builder fits a source, and what a builder's image promises.

Our own builders are folders: what one is made of, recognises and promises stands as data in its `builder.yaml`. Any
other image that carries the s2i labels is a builder just as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

from s2ictl import documents
from s2ictl.errors import InvalidConfiguration, NothingDetected, PullBuilderImageFailed
from s2ictl.models import Builder, ImageFacts, Reference

_SCRIPTS_URL = ("io.openshift.s2i.scripts-url", "io.kubesphere.s2i.scripts-url", "io.s2i.scripts-url")
_DESTINATION = ("io.openshift.s2i.destination", "io.kubesphere.s2i.destination", "io.s2i.destination")
_ASSEMBLE_USER = ("io.openshift.s2i.assemble-user", "io.kubesphere.s2i.assemble-user")
_PLAIN_PATH = re.compile(r"/[A-Za-z0-9_@%+=:,.~/-]*")
_DEFAULT_DESTINATION = "/tmp"  # noqa: S108  (in the container, as the contract says)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """A file in the source's root that speaks for a builder, and what it means."""

    file: str
    means: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint:
    """A builder.yaml."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """One of our own builders."""

    path: Path
    blueprint: Blueprint

    @property
    def name(self) -> str:
        return self.blueprint.name

    @property
    def image(self) -> Reference:
        return Reference(registry="", repository=f"s2ictl/{self.name}", tag=self.blueprint.version)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The builder that fits, the file that decided, and who came second."""

    folder: Folder
    because: str
    runner_up: Choice | None = None


def shelf(package: Path) -> Path:
    """Where the builders lie: inside the package of a wheel, beside it in a checkout."""
    inside = package / "_builders"
    return inside if inside.is_dir() else package.parent / "builders"


def load_all(directory: Path) -> tuple[Folder, ...]:
    """All builders of a shelf, in name order."""
    return tuple(load(path.parent) for path in sorted(directory.glob("*/builder.yaml")))


def load(directory: Path) -> Folder:
    """The builder that a folder describes."""
    path = directory / "builder.yaml"
    blueprint = documents.convert(documents.load(documents.read(path), str(path)), Blueprint)
    if blueprint.name != directory.name:
        raise InvalidConfiguration(f"{path}: the builder is called {blueprint.name!r}, its folder {directory.name!r}")
    return Folder(path=directory, blueprint=blueprint)


def detect(paths: Iterable[str], folders: Iterable[Folder]) -> Choice:
    """The builder for which the strongest sign speaks; the order in its list is the strength of a sign."""
    folders = tuple(folders)
    roots = sorted(path for path in paths if "/" not in path)
    found = sorted(filter(None, (_evidence(roots, folder) for folder in folders)), key=lambda each: each[:2])
    if not found:
        wanted = "; ".join(f"{each.name}: {', '.join(_files(each))}" for each in folders)
        raise NothingDetected(
            "nothing in the source tells which builder fits",
            detail=f"looked in its root for {wanted}" if wanted else "there are no builders to choose from",
            hint="name one: s2ictl build SOURCE BUILDER; or the folder of the application: --context-dir",
        )
    choices = [Choice(folder=folder, because=because) for _, _, folder, because in found[:2]]
    runner_up = choices[1] if len(choices) > 1 else None
    return Choice(folder=choices[0].folder, because=choices[0].because, runner_up=runner_up)


def _files(folder: Folder) -> list[str]:
    return [sign.file for sign in folder.blueprint.detects]


def _evidence(roots: list[str], folder: Folder) -> tuple[int, str, Folder, str] | None:
    for rank, sign in enumerate(folder.blueprint.detects):
        for path in roots:
            if fnmatchcase(path, sign.file):
                return rank, folder.name, folder, f"{path}: {sign.means}"
    return None


def promised(image: str, facts: ImageFacts) -> Builder:
    """Read what a builder's image promises in its labels, also in the older and the foreign spellings."""
    if facts.onbuild:
        raise PullBuilderImageFailed(
            f"{image} builds by ONBUILD instructions, not by the s2i contract",
            hint=f"build it with a Dockerfile of one line: FROM {image}",
        )
    variables = dict(entry.partition("=")[::2] for entry in facts.env)
    scripts = _first(facts.labels, _SCRIPTS_URL) or variables.get("STI_SCRIPTS_URL", "")
    destination = _first(facts.labels, _DESTINATION) or variables.get("STI_LOCATION", "") or _DEFAULT_DESTINATION
    destination = _path(destination, image, "destination")
    if any(f"{destination}/src".startswith(f"{volume.rstrip('/')}/") for volume in facts.volumes):
        raise PullBuilderImageFailed(
            f"{image} declares {destination} a volume, so nothing there can be built into an image"
        )
    return Builder(
        image=image,
        destination=destination,
        scripts=_scripts(scripts, image),
        assemble_user=_first(facts.labels, _ASSEMBLE_USER),
        facts=facts,
    )


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


def _path(path: str, image: str, label: str) -> str:
    plain = _PLAIN_PATH.fullmatch(path) and ".." not in path.split("/")
    if not plain:
        raise PullBuilderImageFailed(f"the label {label} of {image} is not an absolute path: {path[:200]!r}")
    return "/" + path.strip("/")
