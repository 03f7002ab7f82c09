"""What assemble is given beside the source: what stays in the image, and what nobody sees after it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from s2ictl.cli import flags
from s2ictl.cli import workshop as works
from s2ictl.cli.session import Session
from s2ictl.environments import LARGEST_FILE, parse_environment
from s2ictl.errors import InvalidUsage
from s2ictl.events import Notice
from s2ictl.expressions import expression
from s2ictl.files import is_directory, is_file
from s2ictl.models import AppConfig, BuildRequest, BuildSecret, Injection, Secret
from s2ictl.values import dataclass

_SOUNDS_SECRET = expression(r"(?i)(token|password|passwd|secret|credential|api_?key|private_?key)")
_SECRET_ID = expression(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_SECRET_FORM = "--secret id=ID,src=FILE or --secret id=ID,env=NAME"  # noqa: S105  (a hint)
_LARGEST_SECRET = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class LastingFlags:
    """What stays in the image."""

    env: flags.Env = None
    environment_file: Annotated[
        Path | None, typer.Option("--environment-file", "-E", metavar="FILE", help="Lines of NAME=VALUE; --env wins.")
    ] = None
    label: flags.Label = None
    description: Annotated[str, typer.Option("--description", metavar="TEXT", help="What the app is for.")] = ""
    application_name: Annotated[
        str, typer.Option("--application-name", metavar="NAME", help="A name for people.", show_default="the image's")
    ] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetingFlags:
    """What assemble is given, and nobody after it."""

    build_env: Annotated[
        list[str] | None,
        typer.Option("--build-env", metavar="NAME[=VALUE]", help="A variable; a bare NAME takes its value from here."),
    ] = None
    secret: Annotated[
        list[str] | None,
        typer.Option("--secret", metavar="id=ID[,src=FILE|,env=NAME]", help="A secret, read at /run/secrets/ID."),
    ] = None
    inject: Annotated[
        list[str] | None,
        typer.Option("--inject", "-i", metavar="PATH[:PLACE]", help="A file or directory; several with `;` between."),
    ] = None


# ------------------------------------------------------------------------------------------------------ what stays


def lasting(request: BuildRequest, given: LastingFlags, app: AppConfig, session: Session) -> BuildRequest:
    """The request with what is to stay in the image."""
    return replace(
        request,
        env=_environment(session, app.build.env, given),
        labels=flags.pairs("--label", given.label or (), flags.LABEL, session.emit),
        description=given.description,
        application_name=given.application_name or app.name,
    )


def _environment(session: Session, configured: Mapping[str, str], given: LastingFlags) -> tuple[tuple[str, str], ...]:
    """The variables of s2i.yaml, over them those of the environment file, and over both the flags'."""
    emit = session.emit
    own = flags.pairs("build.env", (f"{name}={value}" for name, value in configured.items()), flags.VARIABLE, emit)
    typed = flags.pairs("--env", given.env or (), flags.VARIABLE, emit)
    variables = dict((*own, *_variables_in(session, given.environment_file), *typed))
    for name in filter(_SOUNDS_SECRET.search, variables):
        text = f"{name} stays in the image, readable for everybody who has it; --secret and --build-env do not"
        emit(Notice(text=text, level="warning"))
    return tuple(variables.items())


def _variables_in(session: Session, path: Path | None) -> Iterable[tuple[str, str]]:
    if path is None:
        return ()
    content = flags.content(session.world.cwd, path, flag="--environment-file", largest=LARGEST_FILE)
    return parse_environment(content, str(path), session.emit)


# -------------------------------------------------------------------------------------------------- what does not


def fleeting(request: BuildRequest, given: FleetingFlags, session: Session) -> BuildRequest:
    """The request with what is for assemble alone."""
    return replace(
        request,
        build_env=_build_environment(session, given),
        surroundings=works.package_sources(session.world.environ),
        secrets=_secrets(session, given),
        injections=_injections(session, given),
    )


def _build_environment(session: Session, given: FleetingFlags) -> tuple[tuple[str, Secret], ...]:
    """The variables for assemble alone, as the flags say them."""
    environ = session.world.environ
    written = [text if "=" in text else f"{text}={_here(text, environ)}" for text in given.build_env or ()]
    pairs = flags.pairs("--build-env", written, flags.VARIABLE, session.emit)
    return tuple((name, Secret(value)) for name, value in pairs)


def _here(name: str, environ: Mapping[str, str]) -> str:
    if name not in environ:
        raise InvalidUsage(
            f"--build-env {name[:80]} names a variable that is not set here", hint="--build-env NAME=VALUE"
        )
    return environ[name]


def _secrets(session: Session, given: FleetingFlags) -> tuple[BuildSecret, ...]:
    """What --secret names, read here and now."""
    found = [_secret(text, session) for text in given.secret or ()]
    names = [secret.id for secret in found]
    for name in names:
        if names.count(name) > 1:
            raise InvalidUsage(f"--secret {name} is given twice", hint="give each its own id")
    return tuple(found)


def _secret(text: str, session: Session) -> BuildSecret:
    said = [part.partition("=") for part in text.split(",")]
    parts = {key.strip(): value for key, _, value in said}
    name = parts.pop("id", "")
    if not _SECRET_ID.fullmatch(name) or len(said) != len(parts) + 1 or not set(parts) < {"src", "env"}:
        # What was typed may be the secret itself, so it is not shown.
        raise InvalidUsage("a --secret is not id=ID with src=FILE or env=NAME", hint=_SECRET_FORM)
    if "src" in parts:
        return BuildSecret(id=name, content=_content(name, session.world.cwd / parts["src"]))
    variable = parts.get("env", name)
    if variable not in session.world.environ:
        raise InvalidUsage(
            f"--secret {name} is to come from the variable {variable[:80]}, which is not set here", hint=_SECRET_FORM
        )
    return BuildSecret(id=name, content=Secret(session.world.environ[variable]))


def _content(name: str, path: Path) -> Secret:
    if not is_file(path):
        raise InvalidUsage(f"--secret {name} is to come from {path}, which is no file", hint=_SECRET_FORM)
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_SECRET + 1)
        if len(content) > _LARGEST_SECRET:
            raise InvalidUsage(f"--secret {name} is larger than {_LARGEST_SECRET} bytes", hint="--inject PATH:PLACE")
        return Secret(content.decode())
    except OSError as error:
        raise InvalidUsage(f"--secret {name} could not be read: {error.strerror}") from error
    except UnicodeDecodeError:
        # Not `from` the cause, which holds the content.
        raise InvalidUsage(f"--secret {name} is no text in UTF-8", hint="--inject PATH:PLACE") from None


def _injections(session: Session, given: FleetingFlags) -> tuple[Injection, ...]:
    """What --inject names; the older tool takes several in one value, with a semicolon between them."""
    texts = [text for several in given.inject or () for text in several.split(";") if text]
    return tuple(dict.fromkeys(_injection(text, session.world.cwd) for text in texts))


def _injection(text: str, cwd: Path) -> Injection:
    source, _, target = text.partition(":")
    if not source or ":" in target or ".." in target.split("/"):
        raise InvalidUsage(
            f"--inject {text[:200]!r} is not PATH[:PLACE]", hint="--inject ./settings.xml:/opt/settings/"
        )
    if not (is_file(cwd / source) or is_directory(cwd / source)):
        raise InvalidUsage(
            f"--inject names {source[:200]}, which is no file and no directory", hint="--inject PATH[:PLACE]"
        )
    return Injection(source=cwd / source, target="" if target == "." else target)
