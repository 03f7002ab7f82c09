"""Builders as they are typed: the name of one of ours, also as other platforms have it, or the directory of one."""

from __future__ import annotations

from s2ictl.aliases import meant
from s2ictl.builders import Folder, load
from s2ictl.builders import named as called
from s2ictl.cli import project
from s2ictl.cli import workshop as works
from s2ictl.cli.session import Session
from s2ictl.errors import InvalidUsage


def ours(session: Session) -> tuple[Folder, ...]:
    """Those that come with s2ictl, with their images where this user has them."""
    return works.our_builders(session.world, project.builders_prefix(session))


def found(word: str, session: Session) -> Folder | None:
    """The builder that is called so, else the one that lies there, else the one that stands in for another's."""
    folders = ours(session)
    if folder := called(word, folders):
        return folder
    place = session.world.cwd / word
    if (place / "builder.yaml").is_file():
        return load(place.resolve(), prefix=works.images_at(session.world, project.builders_prefix(session)))
    other = meant(word, folders)
    if other is not None:
        session.emit(other.notice)
    return other.folder if other else None


def named(word: str, session: Session) -> Folder:
    folder = found(word, session)
    if folder is None:
        names = ", ".join(each.name for each in ours(session))
        raise InvalidUsage(f"there is no builder {word[:200]!r}", hint=f"there are: {names}; or the directory of one")
    return folder
