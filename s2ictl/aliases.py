"""The names that other platforms have for their builders, and which of ours is meant by one.

Such a name comes as people know it, without a registry; with one it means that very image and no other. What is written
under it elsewhere was made for other versions of a language, so it is never silent which builder stands in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from s2ictl.addresses import DOCKER_HUB
from s2ictl.events import Notice
from s2ictl.expressions import expression
from s2ictl.models import Reference
from s2ictl.values import dataclass

if TYPE_CHECKING:
    from s2ictl.builders import Folder

_ACCOUNTS = ("kubesphere", "kubespheredev")  # KubeSphere has the same builders under both
_LEVEL = expression(r"[a-z]+-([0-9]+)(?:-|$)")


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
        here = f"the builder {self.folder.word} stands in here: {plan.display_name}{missing} ({serves})"
        return f"{self.word} is another platform's; {here}. That image itself: {self.other}"

    @property
    def notice(self) -> Notice:
        return Notice(text=str(self), level="warning" if self.level else "info")


def meant(word: str, folders: Iterable[Folder]) -> Meant | None:
    """Our builder for the name of another platform's; None where it is no such name."""
    last = word.rpartition("/")[2].partition(":")[0]
    known = [(folder, alias) for each in folders for folder, alias in each.known_as if _last(alias) == last]
    if not known:
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
