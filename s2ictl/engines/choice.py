"""Which of two engines it is: one that answers on this machine or another, or the one that needs no daemon.

Both make the same of the same. So what was named is taken; else one that answers, since what the user has made and
pulled lies in it; and without it, or where an image only passes through on its way to a registry, the one without.
Pure but for what it is handed to ask, and it asks no more than it has to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from s2ictl.errors import Unreachable
from s2ictl.models import BuildRequest
from s2ictl.values import dataclass

Asked = Literal["auto", "docker", "embedded"]
Name = Literal["docker", "embedded"]

_EVERYWHERE = ("", "host", "none")  # networks that both engines have
_DOCTOR = "s2ictl doctor says what is missing, and s2ictl doctor --fix installs it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What of a command decides. `engine` is what was named, `by` where.

    An image that `passes` is wanted elsewhere than in an engine, and then nothing that was asked for is Docker's alone;
    it is made of `images`. `holding` is an image that has to be there already.
    """

    engine: Asked = "auto"
    by: str = ""
    passes: bool = False
    images: tuple[str, ...] = ()
    holding: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What there is, asked for when it matters: why no daemon answers, what this machine lacks to do without one (""
    where nothing is amiss), and by which id each of the two has an image ("" where it has none)."""

    silence: Callable[[], Unreachable | None]
    lacking: Callable[[], str]
    held: Callable[[Name, str], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The engine, and why it is that one."""

    engine: Name
    because: str

    def __str__(self) -> str:
        return f"{self.engine}: {self.because}"


def choose(wanted: Wanted, here: Surroundings) -> Choice:
    """The engine that was named, or else the one that suits best; a refusal where there is none."""
    if wanted.engine == "docker":
        return Choice(engine="docker", because=f"as {wanted.by} says")
    if wanted.engine == "embedded":
        if lacking := here.lacking():
            raise Unreachable("this machine cannot build without an engine", detail=lacking, hint=_DOCTOR)
        return Choice(engine="embedded", because=f"as {wanted.by} says")
    if wanted.passes and _is_alike_in_both(wanted.images, here):
        return Choice(engine="embedded", because="it takes the image straight to where it is wanted")
    silence = here.silence()
    if silence is None:
        return _by_what_it_holds(wanted, here) or Choice(engine="docker", because="it answers")
    if lacking := here.lacking():
        detail = "; ".join(filter(None, (silence.detail, f"and to do without one: {lacking}")))
        raise Unreachable(silence.message, detail=detail, hint=f"{silence.hint}; {_DOCTOR}")
    return Choice(engine="embedded", because="no Docker or Podman answers")


def _is_alike_in_both(images: tuple[str, ...], here: Surroundings) -> bool:
    """Whether the engine without a daemon has them all, and the other one, if it answers, has no other ones."""
    known = {image: here.held("embedded", image) for image in images}
    if not images or not all(known.values()) or here.lacking():
        return False
    return here.silence() is not None or all(here.held("docker", image) in ("", known[image]) for image in images)


def _by_what_it_holds(wanted: Wanted, here: Surroundings) -> Choice | None:
    image = wanted.holding
    if not image or here.held("docker", image) or not here.held("embedded", image) or here.lacking():
        return None
    return Choice(engine="embedded", because=f"{image} lies in its store")


def passes(request: BuildRequest) -> bool:
    """Whether the image of this request is wanted elsewhere alone, and with nothing that only Docker has or may have
    more of."""
    given = request.confinement
    asks_for_docker = (
        request.here
        or request.remove_previous
        or request.incremental
        or request.keep
        or request.pull_policy == "always"
        or given.network not in _EVERYWHERE
        or any(not volume.source.startswith("/") or volume.relabel for volume in given.volumes)
    )
    return (request.push or bool(request.targets)) and not asks_for_docker
