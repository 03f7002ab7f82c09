"""The flags that several commands share, and how their texts are read.

Written once, so that a flag means the same wherever it is typed; what only one command knows stays with that command.
Flags of one subject are a group: a dataclass that a command takes as one parameter, its docstring the heading in the
help.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from s2ictl import names
from s2ictl.cli.session import World
from s2ictl.errors import InvalidUsage
from s2ictl.events import Emit, Notice
from s2ictl.expressions import expression
from s2ictl.models import Expose, Login, Reference, Target, parse_duration
from s2ictl.values import dataclass

VARIABLE = expression(r"[A-Za-z_][A-Za-z0-9_]*")
LABEL = expression(r"[A-Za-z0-9][A-Za-z0-9._/-]*")


def duration(text: str | int) -> int:
    """Typer hands its parser the default as well, which is seconds already."""
    return parse_duration(str(text))


def timeout(text: str | int) -> int:
    """A duration that is not over before it begins."""
    seconds = duration(text)
    if not seconds:
        raise InvalidUsage("--timeout 0 leaves no time at all", hint="write it like 90s, 5m or 1h")
    return seconds


# ---------------------------------------------------------------------------------------------- what makes an image

BuilderName = Annotated[str, typer.Argument(metavar="[BUILDER]", help="The same as --builder.", show_default=False)]
Name = Annotated[str, typer.Argument(metavar="[TAG]", help="The same as --tag.", show_default=False)]
Tags = Annotated[
    list[str] | None, typer.Option("--tag", "-t", metavar="NAME", help="The image's name; may be repeated.")
]
Env = Annotated[
    list[str] | None, typer.Option("--env", "-e", metavar="NAME=VALUE", help="A variable that the app sees.")
]
Label = Annotated[list[str] | None, typer.Option("--label", metavar="NAME=VALUE", help="A label for the image.")]
Insecure = Annotated[
    list[str] | None, typer.Option("--insecure-registry", metavar="HOST", help="A registry that may be without TLS.")
]
RegistrySecret = Annotated[
    str,
    typer.Option(
        "--registry-secret",
        metavar="[NS/]NAME",
        help="The cluster's Secret with the login to push.",
        show_default=False,
    ),
]
LoginFile = Annotated[
    Path | None, typer.Option("--dockercfg-path", metavar="FILE", help="Take registry logins from this file alone.")
]
ResultFile = Annotated[
    Path | None, typer.Option("--result-file", metavar="FILE", help="Write the answer to a file as well, as JSON.")
]
CaBundle = Annotated[
    Path | None,
    typer.Option(
        "--ca-bundle", metavar="FILE", help="Certificates to trust (PEM); also S2ICTL_CA_BUNDLE.", show_default=False
    ),
]
AllowHttp = Annotated[bool, typer.Option("--allow-http", help="Fetch over plain http too; also S2ICTL_ALLOW_HTTP=1.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would be done, and contact nothing.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultFlags:
    """What becomes of the image."""

    tag: Tags = None
    push: Annotated[bool, typer.Option("--push", help="Push the image to the registry in its name.")] = False
    to: Annotated[
        list[str] | None,
        typer.Option(
            "--to",
            metavar="docker|registry|oci:DIR|tar:FILE",
            help="Where the image goes; registry is the same as --push. May be repeated.",
        ),
    ] = None
    registry_secret: RegistrySecret = ""
    dockercfg_path: LoginFile = None
    insecure_registry: Insecure = None
    result_file: ResultFile = None
    dry_run: DryRun = False


# ------------------------------------------------------------------------------------------ what puts it on a cluster

_CLUSTER = "How it runs on the cluster"
Deploy = Annotated[bool, typer.Option("--deploy", help="Push the image, and roll it out.", rich_help_panel=_CLUSTER)]
AppName = Annotated[
    str, typer.Option("--name", metavar="NAME", help="The app's name there.", show_default="as its image")
]
Namespace = Annotated[
    str, typer.Option("--namespace", "-n", metavar="NAME", help="The namespace.", show_default="the context's")
]
Ports = Annotated[
    list[str] | None,
    typer.Option(
        "--port",
        metavar="[NAME=]PORT",
        help="The port on which the app listens.",
        show_default="the image's",
        rich_help_panel=_CLUSTER,
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployFlags:
    """How it runs on the cluster."""

    name: AppName = ""
    namespace: Namespace = ""
    expose: Annotated[
        Expose | None, typer.Option("--expose", help="How it is reached from outside.", show_default="none")
    ] = None
    replicas: Annotated[
        int | None, typer.Option("--replicas", metavar="NUMBER", help="How many pods; left alone unless given.")
    ] = None
    wait: Annotated[
        bool | None, typer.Option("--wait/--no-wait", help="Wait until the app answers.", show_default="wait")
    ] = None


def refuse_deploy_flags(given: DeployFlags, ports: Sequence[str]) -> None:
    """Without --deploy none of them means anything, and `-n` meant something else in the older tool."""
    for flag in _said(given, ports):
        hint = "add --deploy; the older tool's -n is --application-name" if flag == "--namespace" else "add --deploy"
        raise InvalidUsage(f"{flag} says how the image is deployed, and --deploy is not given", hint=hint)


def _said(given: DeployFlags, ports: Sequence[str]) -> Iterator[str]:
    yield from ["--name"] if given.name else []
    yield from ["--namespace"] if given.namespace else []
    yield from ["--port"] if ports else []
    yield from ["--expose"] if given.expose is not None else []
    yield from ["--replicas"] if given.replicas is not None else []
    yield from ["--wait" if given.wait else "--no-wait"] if given.wait is not None else []


# ------------------------------------------------------------------------------------------------- texts become values


def lets_http(world: World, flag: bool) -> bool:
    """Whether what is fetched may come without TLS from beyond this machine."""
    return flag or world.environ.get("S2ICTL_ALLOW_HTTP") == "1"


def epoch(environ: Mapping[str, str]) -> int | None:
    """The time that everything is to have that is made, as the user has set it for all tools alike."""
    text = environ.get("SOURCE_DATE_EPOCH", "")
    if text and not re.fullmatch(r"[0-9]{1,10}", text):
        raise InvalidUsage(f"SOURCE_DATE_EPOCH is {text[:20]!r}", hint="it is a number of seconds since 1970")
    return int(text) if text else None


def one_of(what: str, positional: str, flag: str) -> str:
    """A value that may stand in two places, and is said in one of them."""
    if positional and flag and positional != flag:
        raise InvalidUsage(
            f"two values for the {what}: {positional[:80]} and {flag[:80]}", hint="leave one of them out"
        )
    return positional or flag


def octets(cwd: Path, path: Path, *, flag: str, largest: int) -> bytes:
    """What is in a file that a flag names. It may be a pipe: one that nobody writes to is empty, and nobody waits."""
    try:
        descriptor = os.open(cwd / path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.set_blocking(descriptor, True)
        with os.fdopen(descriptor, "rb") as file:
            found = file.read(largest + 1)
    except OSError as error:
        raise InvalidUsage(f"{flag} {path} is not readable: {error.strerror}", hint=f"{flag} FILE") from error
    if len(found) > largest:
        raise InvalidUsage(f"{flag} {path} has more than {largest} bytes")
    return found


def content(cwd: Path, path: Path, *, flag: str, largest: int) -> str:
    """The same as text."""
    try:
        return octets(cwd, path, flag=flag, largest=largest).decode("utf-8-sig")
    except UnicodeDecodeError:
        # Not `from` the cause, which holds the content.
        raise InvalidUsage(f"{flag} {path} is no text in UTF-8") from None


def words(flag: str, text: str) -> tuple[str, ...]:
    """A text that is several words, as a shell would part them."""
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise InvalidUsage(f"{flag} cannot be taken apart into words", detail=str(error)) from error


def targets(result: ResultFlags, cwd: Path) -> tuple[Target, ...]:
    """Where the image goes, each place once."""
    said = (*(["registry"] if result.push else []), *(result.to or ()))
    return tuple(dict.fromkeys(_target(text, cwd) for text in said))


def _target(text: str, cwd: Path) -> Target:
    kind, colon, path = text.partition(":")
    if kind in ("docker", "registry") and not colon:
        return Target(kind="docker" if kind == "docker" else "registry")
    if kind not in ("oci", "tar") or not path:
        raise InvalidUsage(
            f"--to {text[:200]} is no place for an image", hint="--to docker, registry, oci:DIR or tar:FILE"
        )
    if path == "-":
        raise InvalidUsage(
            f"--to {text} would mix the image with the answer", hint=f"on stdout is the answer alone: --to {kind}:NAME"
        )
    if ":" in path:
        raise InvalidUsage(
            f"--to {text[:200]} has a colon in its path",
            detail="what reads it takes what follows a colon for a tag",
            hint="the tag is what --tag says",
        )
    return Target(kind="oci" if kind == "oci" else "tar", path=cwd / path)


def image_names(written: Iterable[str], *, secret: Sequence[Login] = (), push: bool) -> tuple[Reference, ...]:
    """The final names of an image, each once."""
    return tuple(dict.fromkeys(names.final_name(one, secret=secret, push=push) for one in written))


def pairs(flag: str, texts: Iterable[str], rule: re.Pattern[str], emit: Emit) -> tuple[tuple[str, str], ...]:
    """NAME=VALUE, several times; of one name the last value counts."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not rule.fullmatch(name):
            raise InvalidUsage(f"{flag} {name[:80]!r} is not NAME=VALUE", hint=f"{flag} NAME=VALUE")
        if name in found:
            emit(Notice(text=f"{flag} {name} is given twice; the last one counts", level="warning"))
        found[name] = value
    return tuple(found.items())
