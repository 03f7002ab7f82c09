"""A finished artifact as it is typed: where it is, and what the user says of it himself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote

import typer

from s2ictl.artifacts import LARGEST, Server, Type, Wishes
from s2ictl.cli import flags
from s2ictl.cli import workshop as works
from s2ictl.cli.origin import FetchFlags, LoginSecret, Origin, PasswordFile, UserName
from s2ictl.cli.session import Session
from s2ictl.files import is_directory
from s2ictl.models import Source
from s2ictl.sources import parse_file
from s2ictl.values import dataclass

_NAMELESS = "app"  # what comes by standard input has no name


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactFlags:
    """What a finished artifact is run by, where it does not say so itself."""

    type: Annotated[Type | None, typer.Option("--type", help="What it is.", show_default="what its content says")] = (
        None
    )
    java: Annotated[
        int | None,
        typer.Option("--java", metavar="VERSION", help="The Java that runs it.", show_default="by its classes"),
    ] = None
    server: Annotated[
        Server | None,
        typer.Option("--server", help="What serves a war; own is the one in it.", show_default="by its servlets"),
    ] = None
    context_path: Annotated[
        str,
        typer.Option("--context-path", metavar="PATH", help="Where a war is served.", show_default="/NAME of NAME.war"),
    ] = ""
    base: Annotated[
        str,
        typer.Option(
            "--base",
            metavar="IMAGE|oci:DIR[:TAG]|scratch",
            help="The image to put it on.",
            show_default="by what it needs",
        ),
    ] = ""
    jvm_opts: Annotated[
        str, typer.Option("--jvm-opts", metavar="WORDS", help="Options for its JVM.", show_default=False)
    ] = ""
    args: Annotated[
        str, typer.Option("--args", metavar="WORDS", help="Arguments that it is started with.", show_default=False)
    ] = ""

    @property
    def wishes(self) -> Wishes:
        return Wishes(
            type=self.type,
            java=self.java,
            server=self.server,
            context_path=self.context_path,
            base=self.base,
            jvm_options=flags.words("--jvm-opts", self.jvm_opts),
            arguments=flags.words("--args", self.args),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadFlags:
    """How its address is asked, and with which login."""

    git_secret: LoginSecret = ""
    git_username: UserName = ""
    git_password_file: PasswordFile = None
    ca: flags.CaBundle = None
    allow_http: flags.AllowHttp = False

    @property
    def fetched(self) -> FetchFlags:
        """The same, among the flags for sources of every kind."""
        return FetchFlags(
            git_secret=self.git_secret,
            git_username=self.git_username,
            git_password_file=self.git_password_file,
            ca=self.ca,
            allow_http=self.allow_http,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """A file or a directory that can be read here, and its own name where the path does not tell it."""

    path: Path
    name: str = ""

    def instead_of(self, source: Source) -> Source:
        """The source, with the file that is here already in the place of one that would have to be brought."""
        if source.kind not in ("archive", "stdin") or source.path is not None:
            return source
        location = source.location if source.kind == "archive" else "standard input"
        return replace(source, kind="archive", location=location, path=self.path)


@contextmanager
def brought(
    text: str, opener: Origin, session: Session, *, cwd: Path, allow_http: bool, certain: bool
) -> Iterator[Brought | None]:
    """What a text stands for, while the context lasts; None for a repository, and for what is not there."""
    source = parse_file(text, allow_http=allow_http, cwd=cwd, certain=certain)
    if source is None:
        yield Brought(path=cwd / text) if is_directory(cwd / text) else None
        return
    options = replace(opener.options, largest=min(opener.options.largest, LARGEST)) if certain else opener.options
    with works.bring(session.world, options, opener.find_login, source, session.emit) as path:
        name = _NAMELESS if source.kind == "stdin" else unquote(source.location.rpartition("/")[2])
        yield Brought(path=path, name="" if path == source.path else name)
