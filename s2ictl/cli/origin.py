"""Where the source comes from, and how it is fetched: the flags of it, and the values that they become."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from s2ictl.cli import flags
from s2ictl.cli import workshop as works
from s2ictl.cli.session import Session
from s2ictl.models import AppConfig, Logins, Source
from s2ictl.sources import FetchOptions, check, parse_source
from s2ictl.values import dataclass

From = Annotated[
    str,
    typer.Argument(
        metavar="[SOURCE]",
        help="A directory; a git repository, URL[#REF[:DIR]]; an archive or its URL; - for an archive on stdin.",
        show_default="s2i.yaml's, or this directory",
    ),
]


LoginSecret = Annotated[
    str, typer.Option("--git-secret", metavar="[NS/]NAME", help="The cluster's Secret with the login.")
]
UserName = Annotated[
    str, typer.Option("--git-username", metavar="NAME", help="User name over http(s).", show_default=False)
]
PasswordFile = Annotated[
    Path | None, typer.Option("--git-password-file", metavar="FILE", help="Its password or token, in a file.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFlags:
    """Which source."""

    source_flag: Annotated[
        str, typer.Option("--source", metavar="SOURCE", help="The same as SOURCE.", show_default=False)
    ] = ""
    ref: Annotated[
        str, typer.Option("--ref", "-r", metavar="REF", help="Branch, tag or commit.", show_default="the remote's HEAD")
    ] = ""
    context_dir: Annotated[
        str, typer.Option("--context-dir", metavar="DIR", help="Build this directory of the source.")
    ] = ""
    copy: Annotated[bool, typer.Option("--copy", "-c", help="Build a directory as it is, uncommitted work too.")] = (
        False
    )
    submodules: Annotated[
        bool | None,
        typer.Option(
            "--submodules/--ignore-submodules", help="With or without git submodules.", show_default="submodules"
        ),
    ] = None
    lfs: Annotated[bool, typer.Option("--lfs", help="Fetch the large files of Git LFS.")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchFlags:
    """How it is fetched, and with which login."""

    git_secret: LoginSecret = ""
    git_username: UserName = ""
    git_password_file: PasswordFile = None
    ssh_key: Annotated[
        Path | None, typer.Option("--ssh-key", metavar="FILE", help="Private key for ssh, without a passphrase.")
    ] = None
    known_hosts: Annotated[
        Path | None, typer.Option("--known-hosts", metavar="FILE", help="Host keys that ssh believes.")
    ] = None
    allowed_signers: Annotated[
        Path | None,
        typer.Option("--allowed-signers", metavar="FILE", help="Take only commits signed by a key in this file."),
    ] = None
    ca: flags.CaBundle = None
    allow_http: flags.AllowHttp = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What opens the door of a source."""

    options: FetchOptions
    find_login: Logins


def source_of(given: SourceFlags, app: AppConfig, *, allow_http: bool, cwd: Path) -> Source:
    """The source of an app, as the flags say it."""
    submodules = app.build.submodules if given.submodules is None else given.submodules
    return parse_source(
        app.source,
        ref=given.ref or app.ref,
        context_dir=given.context_dir or app.build.context_dir,
        copy=given.copy,
        submodules=submodules is not False,
        lfs=given.lfs or app.build.lfs,
        allow_http=allow_http,
        cwd=cwd,
    )


def origin_of(given: FetchFlags, session: Session, *, typed: bool = True) -> Origin:
    """What opens the door, as far as it lies on this machine; `typed` says that the user himself named the host."""
    world, cwd = session.world, session.world.cwd
    options = FetchOptions(
        ssh_key=_at(cwd, given.ssh_key),
        known_hosts=_at(cwd, given.known_hosts),
        allowed_signers=_at(cwd, given.allowed_signers),
        ca_bundle=works.bundle(world, given.ca),
        helpers=True,
    )
    check(options)
    password = works.git_password(cwd, given.git_username, given.git_password_file)
    return Origin(options=options, find_login=works.git_logins(world, given.git_username, password, typed=typed))


def with_secret(opener: Origin, given: FetchFlags, session: Session) -> Origin:
    """The same with what the chosen Secret of the cluster holds; a password file that was typed counts before it."""
    if not given.git_secret:
        return opener
    from s2ictl.cli import keyring

    secret = keyring.git_secret(given.git_secret, session)
    find_login = opener.find_login if given.git_password_file else secret.logins
    return Origin(options=secret.added_to(opener.options), find_login=find_login)


def _at(cwd: Path, path: Path | None) -> Path | None:
    return cwd / path if path else None
