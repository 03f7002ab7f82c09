"""House-keeping: `doctor`, `completion`, `version`."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from s2ictl import __version__, ui
from s2ictl.cli.engine import open_engine
from s2ictl.cli.places import cache_directory, data_directory, state_directory
from s2ictl.cli.session import Session, World, command
from s2ictl.doctor import Absent, Probe, examine
from s2ictl.errors import InvalidUsage, LimitReached, Unreachable
from s2ictl.files import write_whole

Shell = Literal["bash", "zsh", "fish"]

_FILES: dict[Shell, str] = {"bash": "s2ictl.bash", "zsh": "_s2ictl", "fish": "s2ictl.fish"}


def register(app: typer.Typer) -> None:
    command(app, "doctor", example="s2ictl doctor --registry registry.example.com")(doctor)
    command(app, "version", example="s2ictl version -o json")(version)
    completion = typer.Typer(name="completion", help="Let the shell complete words and flags.", rich_markup_mode=None)
    command(completion, "show", example='eval "$(s2ictl completion show bash)"')(show)
    command(completion, "install", example="s2ictl completion install zsh")(install)
    app.add_typer(completion)


Registry = Annotated[
    list[str] | None, typer.Option("--registry", metavar="HOST", help="A registry to ask, with the login for it.")
]


def doctor(session: Session, registry: Registry = None) -> None:
    """Ask everything that s2ictl leans on whether it is well, and say what to do where it is not."""
    checks = examine(_probes(session, registry or ()), emit=session.emit)
    rows: list[tuple[str, ...]] = [(check.name, check.state, check.says, check.advice) for check in checks]
    text = ui.table(("PART", "STATE", "WHAT IT SAYS", "WHAT TO DO"), rows)
    session.answer(ui.Answer(text=text, names=tuple(check.name for check in checks), data=list(checks)))
    if broken := [check.name for check in checks if check.state == "broken"]:
        raise Unreachable(f"not well: {', '.join(broken)}", hint="see the column WHAT TO DO")


def version(session: Session) -> None:
    """Say which s2ictl this is, and what it runs on."""
    facts = {"version": __version__, "python": platform.python_version(), "platform": platform.platform()}
    session.answer(ui.Answer(text=f"s2ictl {__version__}", names=(__version__,), data=facts))


ShellArgument = Annotated[Shell | None, typer.Argument(help="The shell; by default the one in SHELL.")]


def show(session: Session, shell: ShellArgument = None) -> None:
    """Print the completion script of a shell."""
    chosen = shell or _shell_of(session.world)
    script = completion_script(chosen)
    session.answer(ui.Answer(text=script.rstrip("\n"), names=(chosen,), data={"shell": chosen, "script": script}))


def install(session: Session, shell: ShellArgument = None) -> None:
    """Put the completion script where the shell looks for it."""
    chosen = shell or _shell_of(session.world)
    target = _place(chosen, session.world)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, completion_script(chosen).encode())
    except OSError as error:
        raise InvalidUsage(
            f"could not write {target}: {error.strerror}", hint=f"s2ictl completion show {chosen} >FILE"
        ) from error
    session.answer(ui.Answer(text=str(target), names=(str(target),), data={"shell": chosen, "file": str(target)}))


def completion_script(shell: Shell) -> str:
    """The generated script, from the wheel or from the checkout."""
    package = Path(__file__).parent.parent
    carried, checkout = package / "_completions", package.parent / "completions"
    return ((carried if carried.is_dir() else checkout) / _FILES[shell]).read_text(encoding="utf-8")


def _shell_of(world: World) -> Shell:
    name = Path(world.environ.get("SHELL", "")).name
    for shell in _FILES:
        if shell == name:
            return shell
    raise InvalidUsage(
        f"no completion for the shell {name!r}" if name else "SHELL names no shell",
        hint="s2ictl completion install bash|zsh|fish",
    )


def _place(shell: Shell, world: World) -> Path:
    data = data_directory(world, "XDG_DATA_HOME", ".local/share")
    config = data_directory(world, "XDG_CONFIG_HOME", ".config")
    places: dict[Shell, Path] = {
        "bash": data / "bash-completion/completions/s2ictl",
        "zsh": data / "zsh/site-functions/_s2ictl",
        "fish": config / "fish/completions/s2ictl.fish",
    }
    return places[shell]


# ----------------------------------------------------------------------------------------------- what doctor asks

_LITTLE = 2 << 30  # bytes; a base and a builder take one, and an image is written twice before it is pushed


def _probes(session: Session, registries: Iterable[str]) -> Mapping[str, Probe]:
    return {
        "git": lambda: _git(session),
        "disk": lambda: _disk(session.world),
        "engine": lambda: _engine(session),
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


def _engine(session: Session) -> str:
    try:
        with open_engine(session.world, session.emit) as engine:
            return engine.version()
    except Unreachable as error:
        if session.world.environ.get("DOCKER_HOST"):
            raise
        raise Absent(error.message, hint=error.hint) from error


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
