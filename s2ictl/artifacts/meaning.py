"""What it means that an artifact is what it is: who runs it, on which Java and Tomcat, by which command, where it lies
and where it is found. Pure: the artifact and the user's own wishes in, one value or a reason out; nothing is contacted.
"""

from __future__ import annotations

import re
import shlex
from pathlib import PurePosixPath
from typing import Literal

from s2ictl.artifacts.parts import comes_apart
from s2ictl.errors import InvalidArtifact, InvalidUsage, WrongPlatform
from s2ictl.expressions import expression
from s2ictl.models import Artifact, Binary, Java, Servlet
from s2ictl.values import dataclass

JAVAS = (21, 25)  # that the builders' distribution has
PORT = 8080
SCRATCH = "scratch"
DEPLOYMENTS = PurePosixPath("/deployments")  # of jars and wars, where builders of elsewhere have them too
PROGRAMS = PurePosixPath("/opt/app-root/bin")  # of a program that is handed over alone
BESIDE = PurePosixPath("/opt/app-root/src")  # of one with files, which it may look for beside itself or where it starts
_DEBIAN, _MUSL = "13", "alpine:3"
_OLDEST_FOR_11 = "6.1"  # of a web.xml: the first version of servlets that only Tomcat 11 has
_BOOT_FOR_11 = "4"  # of Spring Boot, which has no web.xml to say it
_PATH = expression(r"(?:/[A-Za-z0-9._~-]+)*")
_ENDING = expression(r"\.(war|zip|jar)$", re.IGNORECASE)

Type = Literal["war", "jar", "binary"]
Server = Literal["tomcat9", "tomcat10", "tomcat11", "own"]
_TOMCATS: dict[Server, str] = {"tomcat9": "9", "tomcat10": "10.1", "tomcat11": "11"}
_FIRST_FOR: dict[Servlet, Server] = {"javax": "tomcat9", "jakarta": "tomcat10"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the user says of it himself; what is empty or None the artifact decides.

    What is to be `layered`, and can be, lies unpacked in its image.
    """

    type: Type | None = None
    java: int | None = None
    server: Server | None = None
    context_path: str = ""
    base: str = ""
    jvm_options: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    layered: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """Who runs an artifact, and how. `java` is 0 and `tomcat` empty for what needs none.

    It lies at `place`, and what a directory or zip has besides lies below `beside`. On a base of ours its own script
    starts it, and reads `env`; any other base is told the command `run`. `context_path` is the address below the host,
    None for what serves whatever it likes. `war` is the name that a war must have for Tomcat to serve it there.
    `notices` are what the user should know, and what stops nothing.
    """

    builder: Type | Literal["tomcat"]
    because: str
    runner_up: tuple[str, str] | None
    base: str
    place: PurePosixPath
    run: tuple[str, ...]
    beside: PurePosixPath = DEPLOYMENTS
    env: tuple[tuple[str, str], ...] = ()
    port: int = PORT
    java: int = 0
    tomcat: str = ""
    context_path: str | None = None
    war: str = ""
    notices: tuple[str, ...] = ()


def meaning_of(artifact: Artifact, wishes: Wishes, *, prefix: str) -> Meaning:
    """What runs an artifact, or why nothing does; `prefix` is where our builders' images are."""
    _refuse_bare(artifact, wishes)
    match artifact:
        case Artifact(binary=Binary() as binary):
            _refuse_mismatch(artifact, wishes, ("binary",))
            return _program(artifact, binary, wishes, prefix)
        case Artifact(java=Java() as java):
            _refuse_mismatch(artifact, wishes, ("war", "jar") if artifact.kind == "war" else ("jar",))
            by_itself = wishes.type == "jar" or wishes.server == "own" or (artifact.kind == "jar" and not wishes.type)
            return (_by_itself if by_itself else _war)(artifact, java, wishes, prefix)
    raise InvalidArtifact(f"{artifact.name} is nothing that could be run")


def _refuse_bare(artifact: Artifact, wishes: Wishes) -> None:
    needed = "Java" if artifact.java else artifact.binary and artifact.binary.interpreter
    if wishes.base == SCRATCH and needed:
        raise InvalidUsage(
            f"{artifact.name} needs {needed}, and {SCRATCH} has nothing",
            hint="leave out --base, or name an image that has it",
        )


def _refuse_mismatch(artifact: Artifact, wishes: Wishes, types: tuple[Type, ...]) -> None:
    if wishes.type and wishes.type not in types:
        raise InvalidArtifact(
            f"{artifact.name} is no {wishes.type}: it is a {artifact.kind}", hint="leave out --type, or the builder"
        )
    java_only = {"--java": wishes.java, "--server": wishes.server, "--jvm-opts": wishes.jvm_options}
    for flag, value in java_only.items():
        if value and types == ("binary",):
            raise InvalidUsage(f"{flag} is for jars and wars, and {artifact.name} is a program", hint="leave it out")


# ---------------------------------------------------------------------------------------------------------- programs


def _program(artifact: Artifact, binary: Binary, wishes: Wishes, prefix: str) -> Meaning:
    if wishes.context_path:
        raise InvalidUsage("--context-path is for wars: a program serves whatever it likes", hint="leave it out")
    base, place = SCRATCH, (PROGRAMS if artifact.form == "file" else BESIDE) / artifact.name
    if binary.interpreter:
        base = _MUSL if "/ld-musl-" in binary.interpreter else f"{prefix}/binary:{_DEBIAN}"
    return Meaning(
        builder="binary",
        because=f"{artifact.name}: a program for linux/{binary.machine}, linked {binary.linkage}ally",
        runner_up=None,
        base=wishes.base or base,
        place=place,
        run=(str(place), *wishes.arguments),
        beside=BESIDE,
        env=_told(ARGS=wishes.arguments),
    )


def _told(**words: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """The variables that the script of a base of ours reads, which parts them as a shell would."""
    return tuple((name, shlex.join(said)) for name, said in words.items() if said)


# -------------------------------------------------------------------------------------------------------------- Java


def _by_itself(artifact: Artifact, java: Java, wishes: Wishes, prefix: str) -> Meaning:
    if not java.main_class:
        raise _unstartable(artifact)
    if wishes.context_path or wishes.server not in (None, "own"):
        raise InvalidUsage(
            f"{artifact.name} starts by itself, and decides its own server and address",
            hint="--context-path and --server tomcat… are for wars",
        )
    version = _java(artifact, java, wishes)
    place, started = _lies_unpacked(artifact, java) if _is_unpacked(artifact, wishes) else _lies_packed(artifact)
    return Meaning(
        builder="jar",
        because=f"{artifact.name}: {_jar_words(artifact, java)}",
        runner_up=("tomcat", f"{artifact.name}: a war") if artifact.kind == "war" else None,
        base=wishes.base or f"{prefix}/jar:{version}",
        place=place,
        run=("java", *wishes.jvm_options, *started, *wishes.arguments),
        env=_told(JAVA_OPTIONS=wishes.jvm_options, JAVA_ARGS=wishes.arguments),
        java=version,
        notices=_missing(artifact, java),
    )


def _unstartable(artifact: Artifact) -> InvalidArtifact:
    if artifact.kind == "war":
        return InvalidArtifact(
            f"{artifact.name} does not start by itself: its manifest names no Main-Class", hint="let Tomcat run it"
        )
    plain = artifact.name.endswith("-plain.jar")
    return InvalidArtifact(
        f"{artifact.name} is a library: its manifest names no Main-Class",
        hint="give the other jar of that build, without -plain" if plain else "build it as a jar that starts",
    )


def _is_unpacked(artifact: Artifact, wishes: Wishes) -> bool:
    """Whether its parts lie in the image one by one: they are handed over so, or shall be layers."""
    return (artifact.form == "directory" and not artifact.entry) or (wishes.layered and comes_apart(artifact))


def _lies_packed(artifact: Artifact) -> tuple[PurePosixPath, tuple[str, ...]]:
    """Where it lies, by a name that ends as such files do, and what Java is told to start."""
    place = DEPLOYMENTS / f"{_base_of(artifact)}.{artifact.kind}"
    return place, ("-jar", str(place))


def _lies_unpacked(artifact: Artifact, java: Java) -> tuple[PurePosixPath, tuple[str, ...]]:
    """The same of a directory. Java is told the class, since -jar is for files alone."""
    place = DEPLOYMENTS / _base_of(artifact)
    return place, ("-cp", str(place), java.launcher or java.main_class)


def _base_of(artifact: Artifact) -> str:
    return _ENDING.sub("", artifact.name) or "app"


def _war(artifact: Artifact, java: Java, wishes: Wishes, prefix: str) -> Meaning:
    if wishes.arguments:
        raise InvalidUsage(f"--args has nobody to go to: {artifact.name} runs in Tomcat", hint="--jvm-opts for the JVM")
    version, tomcat = _java(artifact, java, wishes), _tomcat(java, wishes)
    _refuse_other_servlets(artifact, java, tomcat)
    path = parse_context_path(wishes.context_path) if wishes.context_path else context_path_of(artifact.name)
    runner_up = ("jar", f"{artifact.name}: it also starts by itself") if java.main_class else None
    war = war_name(path) if wishes.context_path else deployed_as(artifact.name)
    place = DEPLOYMENTS / (war.removesuffix(".war") if _is_unpacked(artifact, wishes) else war)
    return Meaning(
        builder="tomcat",
        because=f"{artifact.name}: {_war_words(java)}",
        runner_up=runner_up,
        base=wishes.base or f"{prefix}/tomcat:{tomcat}{'' if version == JAVAS[0] else f'-java{version}'}",
        place=place,
        run=("catalina.sh", "run"),
        env=_told(CATALINA_OPTS=wishes.jvm_options),
        java=version,
        tomcat=tomcat,
        context_path=path,
        war=war,
        notices=_at_odds(artifact, java, tomcat),
    )


def _java(artifact: Artifact, java: Java, wishes: Wishes) -> int:
    """The oldest Java here that runs its classes: the one that they were most likely tried on."""
    if wishes.base:
        return wishes.java or java.level or JAVAS[0]  # what that image has is its maker's business
    serving = [version for version in JAVAS if version >= java.level]
    if wishes.java is not None and wishes.java not in JAVAS:
        nearest = min(JAVAS, key=lambda version: (abs(version - (wishes.java or 0)), version))
        raise WrongPlatform(f"there is no Java {wishes.java} here; the nearest is {nearest}", hint=f"--java {nearest}")
    if not serving:
        raise WrongPlatform(
            f"{artifact.name} has classes for Java {java.level}, which no Java here runs; the nearest is {JAVAS[-1]}",
            hint=f"compile it with --release {JAVAS[-1]}, or name an image that has it: --base IMAGE",
        )
    if wishes.java is not None and wishes.java not in serving:
        raise WrongPlatform(
            f"{artifact.name} has classes for Java {java.level}, which Java {wishes.java} does not run",
            hint=f"--java {serving[0]}",
        )
    return wishes.java or serving[0]


def _tomcat(java: Java, wishes: Wishes) -> str:
    """Servlets changed their name between 9 and 10, so neither runs what is made for the other."""
    if wishes.server is not None:
        return _TOMCATS[wishes.server]
    if java.servlet == "javax":
        return "9"
    is_newest = java.descriptor >= _OLDEST_FOR_11 or java.spring_boot.partition(".")[0] == _BOOT_FOR_11
    return "11" if is_newest and java.servlet == "jakarta" else "10.1"


def _served_by(tomcat: str) -> Servlet:
    return "javax" if tomcat == "9" else "jakarta"


def _refuse_other_servlets(artifact: Artifact, java: Java, tomcat: str) -> None:
    """Tomcat would start, say nothing, and answer 404."""
    served = _served_by(tomcat)
    if java.needs and served not in java.needs:
        raise WrongPlatform(
            f"{artifact.name} is for {java.needs[0]} servlets, and Tomcat {tomcat} runs {served} ones alone",
            hint=f"--server {_FIRST_FOR[java.needs[0]]}",
        )


def _at_odds(artifact: Artifact, java: Java, tomcat: str) -> tuple[str, ...]:
    """What may fail and need not: libraries that nobody asks, and pages alone with an old descriptor."""
    served = _served_by(tomcat)
    if java.mixed:
        return (f"{artifact.name} has both javax and jakarta servlets; Tomcat {tomcat} runs {served} ones alone",)
    if java.servlet not in (None, served):
        return (f"{artifact.name} has a web.xml for {java.servlet} servlets; Tomcat {tomcat} runs {served} ones alone",)
    return ()


def _missing(artifact: Artifact, java: Java) -> tuple[str, ...]:
    if not java.beside:
        return ()
    names = ", ".join(java.beside[:3]) + (f" and {len(java.beside) - 3} more" if len(java.beside) > 3 else "")
    return (f"{artifact.name} wants files beside it that are not there: {names[:160]}",)


def _jar_words(artifact: Artifact, java: Java) -> str:
    boot = f"Spring Boot {java.spring_boot}" if java.spring_boot else ""
    brought = [boot, java.server, f"Java {java.level}" if java.level else ""]
    what = "a war that starts by itself" if artifact.kind == "war" else "a jar that starts"
    return ", ".join(filter(None, [what, *brought]))


def _war_words(java: Java) -> str:
    servlets = f"a war for {java.servlet} servlets" if java.servlet else "a war without servlets of its own"
    return servlets + (f", Java {java.level}" if java.level else "")


# ------------------------------------------------------------------------------------------------------ context path


def context_path_of(name: str) -> str:
    """Where Tomcat serves a war of this name: # is a step, ## begins a version, and ROOT is the root."""
    base, _, _ = _ENDING.sub("", name).partition("##")
    return "/" if base in ("", "ROOT") else f"/{base.replace('#', '/')}"


def war_name(context_path: str) -> str:
    """The name of a war that Tomcat serves at a context path."""
    return f"{context_path.strip('/').replace('/', '#') or 'ROOT'}.war"


def deployed_as(name: str) -> str:
    """The name of a war as it lies in Tomcat, its version with it."""
    base = _ENDING.sub("", name)
    return f"ROOT{base}.war" if base.startswith("##") else f"{base}.war"


def parse_context_path(text: str) -> str:
    """A context path that the user typed, with a slash before it and none behind."""
    path = f"/{text.strip('/')}"
    if path != "/" and (not _PATH.fullmatch(path) or ".." in path.split("/")):
        raise InvalidUsage(f"--context-path {text[:80]!r} is no path of an address", hint="--context-path /shop")
    return path
