"""The names that other platforms have for their builders, and which of ours is meant by one.

Such a name comes as people know it, without a registry; with one it means that very image and no other. What is written
under it elsewhere was made for other versions of a language, so it is never silent which builder stands in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from s2ictl.addresses import DOCKER_HUB
from s2ictl.errors import PullBuilderImageFailed
from s2ictl.events import Notice
from s2ictl.models import Reference

if TYPE_CHECKING:
    from s2ictl.builders import Folder

_ACCOUNTS = ("kubesphere", "kubespheredev")  # KubeSphere has the same builders under both
_LEVEL = re.compile(r"[a-z]+-([0-9]+)(?:-|$)")

_BY_JAVA = "a war that starts by itself is run by the builder java"

# Those of KubeSphere for which there is no builder here: what each is for, and what serves instead.
_NOT_HERE: Mapping[str, tuple[str, str]] = {
    "s2i-binary": ("finished binaries", "s2ictl b2i FILE --tag NAME makes such an image without a builder"),
    "tomcat85-java8-centos7": ("wars on Tomcat 8.5 and Java 8", _BY_JAVA),
    "tomcat85-java11-centos7": ("wars on Tomcat 8.5 and Java 11", _BY_JAVA),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Meant:
    """The builder that stands in for a name of elsewhere, and the image that has the name there.

    `level` is the version of the language in that name where the builder here does not serve it.
    """

    word: str
    folder: Folder
    other: Reference
    level: str = ""

    def __str__(self) -> str:
        plan = self.folder.blueprint
        serves, _, _ = plan.description.partition(";")
        missing = f", not the {self.level} of that name" if self.level else ""
        here = f"the builder {plan.name} stands in here: {plan.display_name}{missing} ({serves})"
        return f"{self.word} is another platform's; {here}. That image itself: {self.other}"

    @property
    def notice(self) -> Notice:
        return Notice(text=str(self), level="warning" if self.level else "info")


def meant(word: str, folders: Iterable[Folder]) -> Meant | None:
    """Our builder for the name of another platform's; None where it is no such name."""
    last = word.rpartition("/")[2].partition(":")[0]
    known = [(folder, alias) for folder in folders for alias in folder.blueprint.aliases if _last(alias) == last]
    if not known and last not in _NOT_HERE:
        return None
    written = Reference.parse(word)
    account = written.repository.removesuffix(last).rstrip("/")
    if written.registry or written.digest:
        return None
    for folder, alias in known:
        home = alias.repository.removesuffix(last).rstrip("/")
        if account in ("", home, *_ACCOUNTS):
            other = _elsewhere(written, alias.registry, account or home, last)
            return Meant(word=word, folder=folder, other=other, level=_unserved(last, folder))
    if last in _NOT_HERE and account in ("", *_ACCOUNTS):
        raise _refused(word, last, _elsewhere(written, "", account or _ACCOUNTS[-1], last))
    return None


def _last(alias: Reference) -> str:
    return alias.repository.rpartition("/")[2]


def _elsewhere(written: Reference, registry: str, account: str, last: str) -> Reference:
    """The image itself, by a name that means no builder of ours."""
    return replace(written, registry=registry or DOCKER_HUB, repository=f"{account}/{last}".lstrip("/"))


def _unserved(alias: str, folder: Folder) -> str:
    """The level that an alias names; "" where the builder serves it. Python 3.6 is 36 in such names."""
    plan = folder.blueprint
    found = _LEVEL.match(alias)
    if found is None or found[1] in {level.replace(".", "") for level in (plan.version, *plan.levels)}:
        return ""
    number = found[1]
    return f"{number[0]}.{number[1:]}" if "." in plan.version and len(number) > 1 else number


def _refused(word: str, known: str, image: Reference) -> PullBuilderImageFailed:
    purpose, instead = _NOT_HERE[known]
    return PullBuilderImageFailed(
        f"{word} is KubeSphere's builder for {purpose}, and no builder here stands in for it",
        detail=instead,
        hint=f"name that image itself: {image}",
    )
