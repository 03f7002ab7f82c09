"""Which builder fits a source, by the signs in each builder.yaml; the answer says which file decided."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from s2ictl.builders import Folder, Maker, Sign
from s2ictl.errors import NothingDetected
from s2ictl.models import Tree
from s2ictl.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The builder that fits, the file that decided, and who came second."""

    folder: Folder
    because: str
    runner_up: Choice | None = None


def detect(tree: Tree, folders: Iterable[Folder]) -> Choice:
    """The builder for which the strongest sign speaks; the order in its list is the strength of a sign."""
    folders = tuple(folders)
    found = sorted(_evidence(tree, folders), key=lambda each: each.strength)
    if not found:
        wanted = "; ".join(f"{each.name}: {', '.join(each.files)}" for each in folders if each.files)
        raise NothingDetected(
            "nothing in the source tells which builder fits",
            detail=f"looked in its root for {wanted}" if wanted else "there are no builders to choose from",
            hint="name one: s2ictl build SOURCE BUILDER; or the folder of the application: --context-dir",
        )
    first, *others = (each.choice for each in found[:2])
    return replace(first, runner_up=next(iter(others), None))


def fitting(folder: Folder, tree: Tree) -> Choice | None:
    """The version of a builder for which the source speaks; None where it says nothing of it."""
    return next((each.choice for each in _evidence(tree, (folder,))), None)


def unfinished(maker: Maker, tree: Tree, variables: Container[str]) -> bool:
    """Whether the source has to be built first by that other builder."""
    if maker.where not in tree.paths or maker.unless_set in variables or not set(maker.unless).isdisjoint(tree.paths):
        return False
    return _is_said(maker.says, maker.where, tree)


# -------------------------------------------------------------------------------------------------------- evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class _Evidence:
    """What speaks for a builder, and how loud: the least is the loudest, and of equals the first in name order."""

    strength: tuple[bool, bool, int, str]
    choice: Choice


def _evidence(tree: Tree, folders: Sequence[Folder]) -> list[_Evidence]:
    """The loudest sign of each builder for which one speaks."""
    paths = _by_depth(tree.paths, {file.count("/") for folder in folders for file in folder.files})
    found = (_loudest(folder, paths, tree) for folder in folders)
    return [each for each in found if each is not None]


def _by_depth(paths: Iterable[str], depths: Container[int]) -> Mapping[int, list[str]]:
    """Only those that a sign may mean: a source may have a hundred thousand files."""
    found = defaultdict[int, list[str]](list)
    for path in sorted(paths):
        if (depth := path.count("/")) in depths:
            found[depth].append(path)
    return found


def _loudest(folder: Folder, paths: Mapping[int, list[str]], tree: Tree) -> _Evidence | None:
    found = []
    for rank, sign in enumerate(folder.blueprint.detects):
        if path := _spoken(sign, paths[sign.file.count("/")], tree):
            meant = folder.at(sign.version) if sign.version else folder
            choice = Choice(folder=meant, because=f"{path}: {sign.means}")
            found.append(_Evidence(strength=(sign.weak, not sign.says, rank, folder.name), choice=choice))
    return min(found, key=lambda each: each.strength, default=None)


def _spoken(sign: Sign, paths: Iterable[str], tree: Tree) -> str:
    """The file that is the sign; "" where there is none."""
    there = (path for path in paths if fnmatchcase(path, sign.file))
    return next((path for path in there if not sign.says or _is_said(sign.says, path, tree)), "")


def _is_said(pattern: str, path: str, tree: Tree) -> bool:
    return re.search(pattern, tree.read(path).decode(errors="replace")) is not None
