"""`--no-cache`, `--force`, `--cache`: what of earlier builds counts in this one, and what it leaves for the next."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from s2ictl.models import BuildRequest, parse_place
from s2ictl.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepingFlags:
    """What earlier builds have left."""

    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Use nothing of it: all is downloaded and built anew.")
    ] = False
    force: Annotated[bool, typer.Option("--force", help="Build even if nothing has changed.")] = False
    cache: Annotated[
        list[str] | None,
        typer.Option(
            "--cache",
            metavar="DIR",
            help="Keep DIR of the container for the next build of this app.",
            show_default="what the builder says",
        ),
    ] = None


def keeping(request: BuildRequest, given: KeepingFlags) -> BuildRequest:
    """The request with what the flags say, over what s2i.yaml or an image's own record has said."""
    typed = tuple(map(parse_place, given.cache or ()))
    return replace(
        request,
        cache=(request.cache or bool(typed)) and not given.no_cache,
        caches=tuple(dict.fromkeys((*request.caches, *typed))),
        force=given.force,
    )
