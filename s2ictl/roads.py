"""Which of two roads leads from an artifact to its image: laid on a base without any container, or assembled in one.

Both end in the same image where both can be taken, and the first is many times as fast. So a container is taken only
where somebody's builder has a part in it. Pure: what was asked for in, one road with its reason or a refusal out.
"""

from __future__ import annotations

from typing import Literal

from s2ictl.engines.choice import Asked
from s2ictl.errors import InvalidUsage
from s2ictl.values import dataclass

Road = Literal["append", "container"]
Engine = Literal["auto", "docker", "embedded", "append"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What of a request decides: `foreign` is a builder that is not the one that belongs to such an artifact. What
    only one road knows is named by the flags that ask for it."""

    engine: Engine
    foreign: str = ""
    of_a_container: tuple[str, ...] = ()
    of_a_layer: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The road, and why it is that one; `engine` is that of the container, where one was named."""

    road: Road
    because: str
    engine: Asked | None = None


def choose_road(asked: Request) -> Chosen:
    """The fastest road that can do what was asked, unless one was named."""
    if asked.foreign and asked.engine == "append":
        raise InvalidUsage(
            f"{asked.foreign} assembles in a container, and --engine append has none",
            hint="leave out --engine, or the builder; --base IMAGE names what the artifact is put on",
        )
    if asked.foreign or asked.engine in ("docker", "embedded"):
        return _in_a_container(asked)
    if asked.of_a_container:
        raise InvalidUsage(
            f"{asked.of_a_container[0]} is for a container, and this image is made without one",
            hint="leave it out, or have a container assemble: --engine docker, or embedded",
        )
    named = ", as --engine append says" if asked.engine == "append" else ""
    return Chosen(road="append", because=f"no container is needed{named}")


def _in_a_container(asked: Request) -> Chosen:
    because = (
        f"{asked.foreign} assembles it in a container"
        if asked.foreign
        else f"a container assembles it, as --engine {asked.engine} says"
    )
    if asked.of_a_layer:
        raise InvalidUsage(
            f"{asked.of_a_layer[0]} cannot be had, since {because}",
            hint=f"leave out {asked.of_a_layer[0]}, or "
            + ("the builder" if asked.foreign else "take the other road: --engine append"),
        )
    named = asked.engine if asked.engine in ("docker", "embedded") else None
    return Chosen(road="container", because=because, engine=named)
