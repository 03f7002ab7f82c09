"""The container in which assemble runs, as the flags describe it: each text is read into its value, or refused."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Annotated, TypeVar

import typer

from s2ictl.cli.flags import timeout
from s2ictl.errors import InvalidUsage
from s2ictl.expressions import expression
from s2ictl.models import BuildRequest, Confinement, Volume, parse_size
from s2ictl.values import dataclass

_VOLUME_NAME = expression(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}")
_NETWORK = expression(r"(?:container:)?[A-Za-z0-9][A-Za-z0-9_.-]{0,254}")
_HOST = expression(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,253})")
_CAPABILITY = expression(r"(?:CAP_)?([A-Z]+(?:_[A-Z]+)*)", re.IGNORECASE)
_CPUS = expression(r"[0-9]{1,4}(?:\.[0-9]{1,9})?")
_GATEWAY = "host-gateway"  # the engine's word for the machine that it runs on
_OPTIONS = frozenset({"ro", "rw", "z", "Z"})

USUAL_TIMEOUT = 3600

V = TypeVar("V")


def _memory(text: str | int) -> int:
    size = parse_size(str(text))
    if isinstance(text, str) and not size:
        raise InvalidUsage("--memory 0 leaves no memory at all", hint="write it like 512m or 2g")
    return size


def _cpus(text: str | float) -> float:
    if isinstance(text, str) and (not _CPUS.fullmatch(text) or not float(text)):
        raise InvalidUsage(f"--cpus {text[:40]!r} is no number of processors", hint="write it like 0.5 or 2")
    return float(text)


Timeout = Annotated[
    int,
    typer.Option(
        "--timeout", parser=timeout, metavar="DURATION", help="How long assemble may take.", show_default="60m"
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerFlags:
    """The container that assembles."""

    volume: Annotated[
        list[str] | None,
        typer.Option("--volume", metavar="SOURCE:TARGET[:ro]", help="Mount a directory of this machine, or a volume."),
    ] = None
    network: Annotated[
        str,
        typer.Option(
            "--network", metavar="NAME", help="The network that it joins, or none.", show_default="the engine's"
        ),
    ] = ""
    add_host: Annotated[
        list[str] | None, typer.Option("--add-host", metavar="NAME:ADDRESS", help="A line for its /etc/hosts.")
    ] = None
    cap_drop: Annotated[
        list[str] | None, typer.Option("--cap-drop", metavar="NAME", help="Take a Linux capability away, or ALL.")
    ] = None
    memory: Annotated[
        int,
        typer.Option("--memory", parser=_memory, metavar="SIZE", help="Memory limit: 512m, 2g.", show_default=False),
    ] = 0
    cpus: Annotated[
        float, typer.Option("--cpus", parser=_cpus, metavar="NUMBER", help="CPU limit: 0.5, 2.", show_default=False)
    ] = 0.0
    timeout: Timeout = USUAL_TIMEOUT


def confined(request: BuildRequest, given: ContainerFlags) -> BuildRequest:
    """The request with what the flags say of the container."""
    if given.network and not _NETWORK.fullmatch(given.network):
        raise InvalidUsage(
            f"--network {given.network[:80]!r} is not the name of a network",
            hint="none, bridge, host, container:NAME, or the name of one that the engine has",
        )
    confinement = Confinement(
        volumes=_each(_volume, given.volume),
        network=given.network,
        hosts=_each(_host, given.add_host),
        # The older tool takes several in one value.
        cap_drop=_each(_capability, (name for several in given.cap_drop or () for name in several.split(","))),
        memory=given.memory,
        cpus=given.cpus,
    )
    return replace(request, confinement=confinement, timeout=given.timeout)


def _each(read: Callable[[str], V], texts: Iterable[str] | None) -> tuple[V, ...]:
    return tuple(dict.fromkeys(read(text) for text in texts or ()))


def _volume(text: str) -> Volume:
    source, _, rest = text.partition(":")
    target, _, mode = rest.partition(":")
    known = source.startswith("/") or _VOLUME_NAME.fullmatch(source)
    parts, options = (*source.split("/"), *target.split("/")), mode.split(",") if mode else []
    if not known or not target.strip("/") or not target.startswith("/") or not _fit(options) or ".." in parts:
        raise InvalidUsage(
            f"--volume {text[:200]!r} is not SOURCE:TARGET[:ro]",
            hint="both are absolute paths, or the source is the name of a volume",
        )
    relabel = next((each for each in options if each in ("z", "Z")), "")
    target = "/" + "/".join(part for part in target.split("/") if part not in ("", "."))
    return Volume(source=source, target=target, read_only="ro" in options, relabel=relabel)


def _fit(options: list[str]) -> bool:
    """Whether all are known, and none says the contrary of another."""
    given = {option.lower() for option in options}
    return _OPTIONS.issuperset(options) and len(given) == len(options) and not given >= {"ro", "rw"}


def _host(text: str) -> str:
    name, _, address = text.partition(":")
    if not _HOST.fullmatch(name) or not (address == _GATEWAY or _is_address(address)):
        raise InvalidUsage(
            f"--add-host {text[:200]!r} is not NAME:ADDRESS", hint=f"--add-host db:192.0.2.7, or db:{_GATEWAY}"
        )
    return f"{name}:{address}"


def _is_address(text: str) -> bool:
    try:
        return bool(ipaddress.ip_address(text.removeprefix("[").removesuffix("]")))
    except ValueError:
        return False


def _capability(text: str) -> str:
    match = _CAPABILITY.fullmatch(text)
    if match is None:
        raise InvalidUsage(f"--cap-drop {text[:80]!r} is not a capability", hint="--cap-drop NET_RAW, or ALL")
    return match[1].upper()
