"""`doctor`: everything that s2ictl leans on is asked how it is, and with `--fix` what is missing is installed."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Annotated

import typer

from s2ictl import ui
from s2ictl.cli.engine import VARIABLE, open_daemon, wanted
from s2ictl.cli.places import cache_directory, image_store, state_directory
from s2ictl.cli.session import Session, World, command
from s2ictl.doctor import Absent, Check, Probe, examine, mend
from s2ictl.engines.choice import Surroundings, choose
from s2ictl.engines.embedded.machine import Lack, Machine, explored
from s2ictl.engines.embedded.mending import Command, Distribution, advice, commands, distribution
from s2ictl.errors import Interrupted, InvalidUsage, LimitReached, Refused, Unreachable
from s2ictl.events import Line, Notice


def register(app: typer.Typer) -> None:
    command(app, "doctor", example="s2ictl doctor --registry registry.example.com")(doctor)


Registry = Annotated[
    list[str] | None, typer.Option("--registry", metavar="HOST", help="A registry to ask, with the login for it.")
]
Fix = Annotated[bool, typer.Option("--fix", help="Install what building without Docker needs and this machine lacks.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before that.")]


def doctor(session: Session, registry: Registry = None, fix: Fix = False, yes: Yes = False) -> None:
    """Ask everything that s2ictl leans on whether it is well, and say what to do where it is not."""
    if fix:
        _fix(session, yes=yes)
    checks = examine(_probes(session, registry or ()), emit=session.emit)
    text = ui.table(("PART", "STATE", "WHAT IT SAYS"), [row for check in checks for row in _rows(check)])
    session.answer(ui.Answer(text=text, names=tuple(check.name for check in checks), data=list(checks)))
    if broken := [check.name for check in checks if check.state == "broken"]:
        raise Unreachable(f"not well: {', '.join(broken)}", hint="below what each says stands what to try")


def _rows(check: Check) -> Iterator[tuple[str, ...]]:
    """What to do stands below what it says: beside it no terminal would be wide enough."""
    first, *more = check.says.splitlines() or [""]
    yield check.name, check.state, first
    yield from (("", "", line) for line in (*more, *([f"try: {check.advice}"] if check.advice else [])))


# ----------------------------------------------------------------------------------------------- what doctor asks

_LITTLE = 2 << 30  # bytes; a base and a builder take one, and an image is written twice before it is pushed


def _probes(session: Session, registries: Iterable[str]) -> Mapping[str, Probe]:
    world = session.world
    daemon, machine = cache(partial(_daemon, session)), cache(partial(_machine, world))
    return {
        "git": lambda: _git(session),
        "disk": lambda: _disk(world),
        "engine": lambda: _engine(world, daemon()),
        "embedded": lambda: _embedded(world, machine),
        "chosen engine": lambda: _chosen(world, daemon, machine),
        **{f"registry {host}": partial(_registry, session, host) for host in registries},
        "cluster": lambda: _cluster(session),
    }


def _git(session: Session) -> str:
    from s2ictl.sources import git_version

    return git_version(session.world.environ)


def _disk(world: World) -> str:
    places = {"cache": cache_directory(world), "state": state_directory(world)}
    free = {name: shutil.disk_usage(_existing(place)).free for name, place in places.items()}
    for name, size in free.items():
        if size < _LITTLE:
            raise LimitReached(f"{size / 1e9:.1f} GB free for the {name}", hint=f"make room below {places[name]}")
    return ", ".join(f"{size / 1e9:.0f} GB free for the {name} in {places[name]}" for name, size in free.items())


def _existing(place: Path) -> Path:
    return next(parent for parent in (place, *place.parents) if parent.exists())


def _daemon(session: Session) -> str | Unreachable:
    """What the engine that the docker program would talk to says of itself, or why it says nothing."""
    try:
        with open_daemon(session.world, session.emit) as daemon:
            return daemon.version()
    except Unreachable as error:
        return error


def _engine(world: World, daemon: str | Unreachable) -> str:
    if isinstance(daemon, str):
        return daemon
    if world.environ.get("DOCKER_HOST"):
        raise daemon
    raise Absent(daemon.message, hint=daemon.hint) from daemon


def _embedded(world: World, machine: Callable[[], Machine]) -> str:
    if wanted(world).engine == "docker":
        raise Absent(f"not asked: {VARIABLE} names docker")
    here = distribution(partial(_find, world))
    if machine().is_able:
        return described(machine(), here)
    raise Absent(machine().lacking, hint="; ".join(filter(None, (advice(lack, here) for lack in machine().lacks))))


def _chosen(world: World, daemon: Callable[[], str | Unreachable], machine: Callable[[], Machine]) -> str:
    """Which engine a build takes that names none, and why."""

    def silence() -> Unreachable | None:
        said = daemon()
        return None if isinstance(said, str) else said

    try:
        here = Surroundings(silence=silence, lacking=lambda: machine().lacking, held=lambda *_: "")
        return str(choose(wanted(world), here))
    except Unreachable as error:
        raise Absent("none can build here", hint="see the rows engine and embedded") from error


def described(machine: Machine, here: Distribution | None) -> str:
    """What a machine that is able to build without a daemon does that with, and what would have it do better."""
    who = "rootless" if machine.rootless else "as root"
    network = Path(machine.network_helper).name if machine.network_helper else "the machine's own network"
    limits = ", ".join(sorted(machine.limits)) or "no limits"
    used = ", ".join((*(Path(each).name for each in machine.overlays), Path(machine.runtime).name, network, limits))
    return "\n".join((f"{who}: {used}", *(_warned(each, here) for each in machine.warnings)))


def _warned(lack: Lack, here: Distribution | None) -> str:
    todo = advice(lack, here)
    return f"{lack.what}: {lack.because}" + (f" (try: {todo})" if todo else "")


def _machine(world: World) -> Machine:
    return explored(world.environ, store=image_store(world))


def _registry(session: Session, host: str) -> str:
    from s2ictl.access import greet
    from s2ictl.addresses import ca_bundle
    from s2ictl.logins import find_login
    from s2ictl.transport import Transport

    world = session.world
    logins = partial(find_login, environ=world.environ, home=world.home)
    bundle = ca_bundle(world.environ, flag=None, cwd=world.cwd)
    with Transport(world.environ, emit=session.emit, ca_bundle=bundle) as transport:
        return str(greet(host, transport=transport, logins=logins))


def _cluster(session: Session) -> str:
    from s2ictl import kubeconfig
    from s2ictl.cluster import open_cluster

    world = session.world
    try:
        access = kubeconfig.locate(environ=world.environ, home=world.home, cwd=world.cwd)
    except Unreachable as error:
        raise Absent(error.message, hint=error.hint) from error
    with open_cluster(access, environ=world.environ, emit=session.emit) as cluster:
        cluster.find("Deployment", namespace=access.namespace, labels={"app.kubernetes.io/managed-by": "s2ictl"})
    return f"{access.context} at {access.server}, namespace {access.namespace}"


# ------------------------------------------------------------------------------------------------------ what it mends


def _fix(session: Session, *, yes: bool) -> None:
    world, find = session.world, partial(_find, session.world)

    def lacking() -> tuple[Command, ...]:
        machine = _machine(world)
        found = commands((*machine.lacks, *machine.warnings), distribution(find))
        return tuple(as_root(words, uid=os.geteuid(), find=find) for words in found)

    agree = partial(agreed, world, yes=yes)
    if not mend(lacking, agree=agree, run=partial(_run, session), emit=session.emit):
        session.emit(Notice(text="nothing is missing that could be installed"))


def as_root(words: Command, *, uid: int, find: Callable[[str], str | None]) -> Command:
    """The command as it is to be run: by root himself, or by sudo for whoever may."""
    if uid == 0:
        return words
    if sudo := find("sudo"):
        return (sudo, *words)
    raise Refused(f"only root may run {shlex.join(words)}, and there is no sudo here", hint="run it as root")


def agreed(world: World, wanted: tuple[Command, ...], *, yes: bool) -> None:
    """Ask whoever sits there, unless he said it beforehand."""
    shown = [shlex.join(words) for words in wanted]
    if yes:
        return
    if not world.stdin.isatty():
        raise InvalidUsage(f"nobody can be asked whether to run {' && '.join(shown)}", hint="say so with --yes")
    world.stderr.write("".join(f"  {line}\n" for line in shown) + "run these? [y/N] ")
    world.stderr.flush()
    if world.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Interrupted("nothing was installed")


def _run(session: Session, words: Command) -> int:
    """Its output is shown as it comes; it asks nothing, but sudo may ask the terminal for a password."""
    with subprocess.Popen(
        words,
        env=session.world.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        for line in process.stdout or ():
            session.emit(Line(text=line.rstrip("\n")))
    return process.returncode


def _find(world: World, program: str) -> str | None:
    return shutil.which(program, path=world.environ.get("PATH", os.defpath))
