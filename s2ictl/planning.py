"""What is decided of an artifact before anybody is contacted: what it is, what runs it, and how its image is made.

Whatever cannot work ends here, while nothing has been built, pulled or changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from s2ictl import footing, oci
from s2ictl.artifacts import Meaning, Wishes, meaning_of, read
from s2ictl.artifacts.meaning import Server, Type
from s2ictl.build import check
from s2ictl.builders import PREFIX, Folder
from s2ictl.choosing import spare
from s2ictl.errors import InvalidUsage, WrongPlatform
from s2ictl.events import Emit, Notice
from s2ictl.footing import Wanted
from s2ictl.models import Artifact, BuildRequest, Reference, Target
from s2ictl.roads import Chosen, Engine, Request, choose_road
from s2ictl.targets import ENGINE, targets_of
from s2ictl.values import dataclass

Named = Callable[[str, Emit], Folder | None]
"""One of our own builders by any of its names, at the version that was named; None for what is none of ours."""

_NOTHING_SAID = Wishes()
_KINDS: dict[str, Type] = {"tomcat": "war", "jar": "jar", "binary": "binary"}  # for which there are builders alone
_SERVERS: dict[str, Server] = {"9": "tomcat9", "10.1": "tomcat10", "11": "tomcat11"}


@dataclass(frozen=True, slots=True, kw_only=True)
class B2IRequest:
    """Flags become one value before anything happens; what a build of source is asked for as well is in `build`.

    `name` is the artifact's own where its path does not tell it. Without `platforms` the image is for all that its base
    is for and the artifact runs on. `ports` and `user` are those that the base does not say.
    """

    path: Path
    build: BuildRequest
    name: str = ""
    wishes: Wishes = _NOTHING_SAID
    engine: Engine = "auto"
    platforms: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    user: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is done, all of it decided. `build` is what a container would be asked for, with the artifact in the place
    of source; without one the image says the same of itself. `targets` are all places where it goes."""

    request: B2IRequest
    build: BuildRequest
    artifact: Artifact
    meaning: Meaning
    road: Chosen
    base: Wanted
    platforms: tuple[str, ...]
    targets: tuple[Target, ...]


def plan_of(request: B2IRequest, *, named: Named, prefix: str, platform: str, emit: Emit) -> Plan:
    """Read the artifact and decide everything.

    `prefix` is where our builders' images are, and `platform` that of this machine.
    """
    check(request.build)
    artifact = read(request.path, name=request.name)
    typed = request.build.builder
    folder = named(typed, emit) if typed else None
    foreign = "" if folder and folder.name in _KINDS else typed
    wishes = request.wishes if folder is None or foreign else _wished(request.wishes, folder, typed)
    road = choose_road(_asked(request, foreign))
    meaning = meaning_of(artifact, wishes, prefix=prefix)
    for text in meaning.notices:
        emit(Notice(text=text, level="warning"))
    plan = Plan(
        request=replace(request, wishes=wishes),
        build=_build_of(request.build, artifact, meaning, builder=foreign or _builder(meaning, prefix)),
        artifact=artifact,
        meaning=meaning,
        road=road,
        base=_base(meaning.base, named, prefix),
        platforms=_platforms(request, artifact, road, platform),
        targets=targets_of(request.build),
    )
    spare_base(plan)
    return plan


# ----------------------------------------------------------------------------------------------------- what was asked


def _asked(request: B2IRequest, foreign: str) -> Request:
    build, usual, confinement = request.build, BuildRequest.__dataclass_fields__, request.build.confinement
    of_a_container = {
        "--pull-policy": build.pull_policy != usual["pull_policy"].default,
        "--keep": build.keep,
        "--timeout": build.timeout != usual["timeout"].default,
        "--volume": confinement.volumes,
        "--network": confinement.network,
        "--add-host": confinement.hosts,
        "--cap-drop": confinement.cap_drop,
        "--memory": confinement.memory,
        "--cpus": confinement.cpus,
    }
    of_a_layer = {
        "--base": request.wishes.base,
        "--layered": request.wishes.layered,
        "--platform": request.platforms,
        "--port": request.ports,
        "--user": request.user,
    }
    return Request(
        engine=request.engine,
        foreign=foreign,
        of_a_container=tuple(flag for flag, said in of_a_container.items() if said),
        of_a_layer=tuple(flag for flag, said in of_a_layer.items() if said),
    )


def _wished(wishes: Wishes, folder: Folder, typed: str) -> Wishes:
    """What the name of one of our builders says beside the flags: the kind, and with a version what serves it."""
    kind, name = _KINDS[folder.name], Reference.parse(typed)
    if wishes.type not in (None, kind):
        raise InvalidUsage(f"the builder {typed} takes no {wishes.type}", hint="leave out --type, or the builder")
    if wishes.base:
        raise InvalidUsage(f"--base and the builder {typed} are two bases", hint="leave one of them out")
    # What another platform calls a builder by was made for other versions: of those the artifact knows more.
    version = name.tag if name.repository.rpartition("/")[2] == folder.name else ""
    number, _, java = version.partition("-java")
    if folder.name == "jar":
        java = number
    return replace(
        wishes,
        type=kind,
        server=wishes.server or _SERVERS.get(number),
        java=wishes.java or (int(java) if java.isdigit() else None),
    )


def _builder(meaning: Meaning, prefix: str) -> str:
    """The builder of ours that such an artifact belongs to, also where its base is another image, or none."""
    ours = f"{prefix}/{meaning.builder}"
    return meaning.base if meaning.base.startswith(f"{ours}:") else meaning.builder


def _build_of(asked: BuildRequest, artifact: Artifact, meaning: Meaning, *, builder: str) -> BuildRequest:
    return replace(
        asked,
        source=replace(asked.source, kind="archive", location=artifact.name, path=None),
        builder=builder,
        env=tuple({**dict(meaning.env), **dict(asked.env)}.items()),
        targets=tuple(target for target in asked.targets if target != ENGINE),
        here=ENGINE in asked.targets,
        epoch=asked.epoch or 0,
    )


# ---------------------------------------------------------------------------------------------------- what it stands on


def _base(text: str, named: Named, prefix: str) -> Wanted:
    found = footing.parse_base(text, cwd=Path())
    if isinstance(found, Reference) and found.name.rpartition("/")[0] in (prefix, PREFIX):
        return named(text, lambda _: None) or found
    return found


def _platforms(request: B2IRequest, artifact: Artifact, road: Chosen, here: str) -> tuple[str, ...]:
    """Those that the image is for; () where its base decides, since the artifact runs on all of them."""
    in_a_container = road.road == "container"
    into_engine = in_a_container or ENGINE in targets_of(request.build)
    if artifact.binary is None:
        alone = targets_of(request.build) == (ENGINE,)  # an engine holds images for its own machine
        return request.platforms or ((here,) if alone else ())
    own = oci.Platform(os="linux", architecture=artifact.binary.machine)
    for platform in request.platforms or ((here,) if into_engine else ()):
        if not oci.fits(own, platform):
            raise WrongPlatform(
                f"{artifact.name} is a program for {own}, and is to run on {platform}",
                hint=f"build it for {platform}"
                + (
                    "" if in_a_container or request.platforms else f"; to have the image all the same: --platform {own}"
                ),
            )
    return request.platforms or (str(own),)


def spare_base(plan: Plan) -> None:
    """Refuse names by which the result would replace what it stands on; a Secret may have completed them since."""
    if plan.road.road == "container" or not isinstance(plan.base, Reference | Folder):
        return
    spare(footing.shown(plan.base), plan.build, what="base")
