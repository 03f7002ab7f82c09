"""Flags of the older tool that say nothing here: they are taken, so that a script moves over, and a notice says why.

They stay out of the help. What still has a meaning under a newer name is handed on under that name.
"""

from __future__ import annotations

from typing import Annotated

import typer

from s2ictl.cli.flags import one_of
from s2ictl.events import Emit, Notice
from s2ictl.values import dataclass

_WHY = {
    "--save-temp-dir": "nothing is laid down on disk that could be kept: source goes straight to the engine",
    "--use-config": "flags are not stored: what a build is to repeat stands in s2i.yaml",
    "--keep-symlinks": "links are always kept as links",
    "--image-scripts-url": "where scripts lie is read from the labels of the builder",
    "--loglevel": "-v and -vv say more",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BygoneFlags:
    """Of the older tool."""

    scripts: Annotated[str, typer.Option("--scripts", hidden=True)] = ""
    location: Annotated[str, typer.Option("--location", "-l", hidden=True)] = ""
    save_temp_dir: Annotated[bool, typer.Option("--save-temp-dir", hidden=True)] = False
    use_config: Annotated[bool, typer.Option("--use-config", hidden=True)] = False
    keep_symlinks: Annotated[bool, typer.Option("--keep-symlinks", hidden=True)] = False
    image_scripts_url: Annotated[str, typer.Option("--image-scripts-url", hidden=True)] = ""
    loglevel: Annotated[str, typer.Option("--loglevel", hidden=True)] = ""


def say_why_not(given: BygoneFlags, emit: Emit) -> None:
    """One notice for each that was given and means nothing."""
    for flag, why in _WHY.items():
        if getattr(given, flag.removeprefix("--").replace("-", "_")):
            emit(Notice(text=f"{flag} is not needed: {why}"))


def newer(flag: str, value: str, older: str, bygone: str, emit: Emit) -> str:
    """The value of a flag that had another name once."""
    if bygone:
        emit(Notice(text=f"{older} is the older name of {flag}", level="warning"))
    return one_of(flag, value, bygone)
