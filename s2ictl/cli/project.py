"""The s2i.yaml that a command stands on: what it says is what the flags do not say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from s2ictl.cli.session import Session
from s2ictl.errors import InvalidConfiguration, InvalidUsage
from s2ictl.events import Notice
from s2ictl.expressions import expression
from s2ictl.models import AppConfig, Config
from s2ictl.values import dataclass

_FILE = "s2i.yaml"
_IMAGE_ONLY = expression(r"[/:@.]")  # what the name of an app never has
_NOBODY = AppConfig(name="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """An app, empty where no file describes one, and the directory that its relative source starts from."""

    app: AppConfig
    directory: Path


def to_make(session: Session, *, typed: str) -> Project:
    """The app whose image is made of what was typed, or of the source that the file names."""
    path = _file(session)
    app = _only(_loaded(path), path, typed, session) if path else _NOBODY
    if path and app.source and not typed:
        return Project(app=app, directory=path.parent)
    if typed and typed != (app.source or "."):
        # The ref and the directory in it belong to the file's own source: in another one they mean nothing.
        app = replace(app, ref="", build=replace(app.build, context_dir=""))
    return Project(app=replace(app, source=typed or "."), directory=session.world.cwd)


def to_deploy(session: Session, text: str) -> AppConfig:
    """The app of this name, with its image; an empty one where the text is not the name of an app in the file."""
    path = None if _IMAGE_ONLY.search(text) else _file(session)
    apps = _loaded(path).apps if path else ()
    found = next((app for app in apps if app.name == text), _NOBODY)
    if found.name and found.image is None:
        raise InvalidConfiguration(
            f"{path}:1:1: the app {text} names no image", hint="image: registry.example.com/team/app"
        )
    return found


def builders_prefix(session: Session) -> str:
    """Where the file has the images of our own builders; the first of its apps to name a place decides."""
    path = _file(session)
    apps = _loaded(path).apps if path else ()
    return next((app.builders.prefix for app in apps if app.builders.prefix), "")


def _file(session: Session) -> Path | None:
    world, named = session.world, session.general.file
    here = world.cwd / (named or _FILE)
    return here if named or here.exists() else None


def _loaded(path: Path) -> Config:
    from s2ictl import config  # where there is no such file, nothing of YAML is needed

    return config.load(path)


def _only(found: Config, path: Path, typed: str, session: Session) -> AppConfig:
    if len(found.apps) == 1:
        return found.apps[0]
    known = ", ".join(app.name for app in found.apps)
    if not typed:
        raise InvalidUsage(
            f"several apps stand in {path.name}, and none of them is named",
            detail=f"it has {known}",
            hint="type the SOURCE of the one that is meant",
        )
    session.emit(Notice(text=f"{path.name} has several apps ({known}): none of them is taken for a source as typed"))
    return _NOBODY
