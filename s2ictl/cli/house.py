"""House-keeping: `completion`, `version`."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Annotated, Literal

import typer

from s2ictl import __version__, ui
from s2ictl.cli.places import data_directory
from s2ictl.cli.session import Session, World, command
from s2ictl.errors import InvalidUsage
from s2ictl.files import write_whole

Shell = Literal["bash", "zsh", "fish"]

_FILES: dict[Shell, str] = {"bash": "s2ictl.bash", "zsh": "_s2ictl", "fish": "s2ictl.fish"}


def register(app: typer.Typer) -> None:
    command(app, "version", example="s2ictl version -o json")(version)
    completion = typer.Typer(name="completion", help="Let the shell complete words and flags.", rich_markup_mode=None)
    command(completion, "show", example='eval "$(s2ictl completion show bash)"')(show)
    command(completion, "install", example="s2ictl completion install zsh")(install)
    app.add_typer(completion)


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
