"""The table of all commands, and the program that typer makes of it.

Only the family of the command that was typed is imported: `--help` reads this table and nothing else, which keeps it
ten times quicker. A test holds the table against the commands' own help.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import Annotated, Any, Protocol

import typer
from typer.core import TyperGroup

from s2ictl import __version__
from s2ictl.cli.session import general_parameters, pop_general
from s2ictl.values import dataclass


class Family(Protocol):
    """A module of commands."""

    def register(self, app: typer.Typer) -> None: ...


@dataclass(frozen=True, slots=True)
class Word:
    """A command as the help names it, and where it is found when it is typed."""

    name: str
    says: str
    family: Callable[[], Family]
    hidden: bool = False


def _in(module: str) -> Callable[[], Any]:
    return partial(import_module, f"s2ictl.cli.{module}")


# In the order in which a newcomer needs them.
WORDS = (
    Word("build", "Turn source into an image.", _in("build")),
    Word("rebuild", "Build an image again, from what its labels say of its source.", _in("rebuild")),
    Word("b2i", "Turn a finished artifact into an image, with a container engine or without.", _in("b2i")),
    Word("detect", "Say which builder fits a source or a finished artifact, and why.", _in("detect")),
    Word("push", "Push images that are there already: from the engine, an OCI layout, or a file.", _in("push")),
    Word("run", "Run an image here with its ports on loopback, until it ends or Ctrl-C.", _in("run")),
    Word("demo", "Build a sample application, run it, and show what it answers.", _in("demo")),
    Word("deploy", "Put an image on the cluster, and wait until it answers.", _in("deploy")),
    Word("status", "Show how the apps on the cluster stand.", _in("deploy")),
    Word("delete", "Remove an app from the cluster.", _in("deploy")),
    Word("builds", "What was built, and what waits to be.", _in("builds")),
    Word("builders", "Builders: those that come with s2ictl, and your own.", _in("builders")),
    Word("serve", "Wait for deliveries of a forge, and build and roll out what they announce.", _in("serve")),
    Word("work", "Do one job of the queue and record what came of it: `serve` starts this.", _in("serve"), hidden=True),
    Word("cache", "What is kept for later builds: see what it takes up, and let go of it.", _in("cache")),
    Word("login", "Keep a login for a registry, after the registry has taken it.", _in("auth")),
    Word("logout", "Take a login for a registry away again.", _in("auth")),
    Word("auth", "Which login a registry gets, where it comes from, and what it may do.", _in("auth")),
    Word(
        "doctor",
        "Ask everything that s2ictl leans on whether it is well, and say what to do where it is not.",
        _in("health"),
    ),
    Word("completion", "Let the shell complete words and flags.", _in("house")),
    Word("version", "Say which s2ictl this is, and what it runs on.", _in("house")),
)


def program(words: Sequence[Word] = WORDS) -> Any:
    """What runs a command line: the general flags, then one of the words."""
    app = typer.Typer(
        name="s2ictl",
        help="Source code or a finished artifact becomes a running service, without a Dockerfile.",
        epilog="Example:  s2ictl build . --tag registry.example.com/team/shop --push",
        cls=_Program,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root())
    made: Any = typer.main.get_command(app)
    made.commands = _Commands({word.name: word for word in words})
    return made


class _Commands(dict[str, Any]):
    """Words by name; asked for one, it gives the command itself, imported then and not before."""

    def get(self, name: str, default: Any = None) -> Any:
        return _load(self.word(name)) if name in self else default

    def word(self, name: str) -> Word:
        word: Word = super().__getitem__(name)
        return word


class _Program(TyperGroup):
    """A group whose help is a table."""

    commands: _Commands

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        shown = [self.commands.word(name) for name in self.commands]
        with formatter.section("Commands"):
            formatter.write_dl([(word.name, word.says) for word in shown if not word.hidden])


def _load(word: Word) -> Any:
    app = typer.Typer(rich_markup_mode=None)
    app.callback()(lambda: None)  # without one, typer makes a family of one command that command
    word.family().register(app)
    family: Any = typer.main.get_command(app)
    return family.commands[word.name]


def _root() -> Callable[..., None]:
    """The words before the command: `--version` and the general flags, which every command takes as well."""

    def root(ctx: typer.Context, **arguments: Any) -> None:
        if arguments.pop("version"):
            ctx.obj.stdout.write(f"s2ictl {__version__}\n")
            raise typer.Exit
        ctx.meta["general"] = pop_general(arguments)

    context = inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    option = typer.Option("--version", help="Print the version and end.", show_default=False)
    version = inspect.Parameter(
        "version", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Annotated[bool, option]
    )
    root.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [context, version, *general_parameters(hidden=False)]
    )
    root.__annotations__ = {}
    return root
