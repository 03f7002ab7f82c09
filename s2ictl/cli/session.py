"""What every command is handed, and the flags that every command understands.

The general flags may stand before or after the command. So `@command` gives each command the same hidden options, and
hands its function one `Session` in which both places are merged: a command never asks where a flag stood, and never
reaches for the process around it.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer
from typer.core import TyperCommand

from s2ictl import ui
from s2ictl.errors import Interrupted, InvalidUsage, Terminated
from s2ictl.events import Emit
from s2ictl.values import dataclass


class Stopped(KeyboardInterrupt):
    """SIGTERM, raised where Ctrl-C would be, so that both unwind the same context managers."""


class ClosedPipe(Exception):
    """Nobody reads any more. Not a BrokenPipeError by name: typer turns that into an exit of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Everything outside of the process that a command may touch."""

    arguments: tuple[str, ...]
    environ: Mapping[str, str]
    cwd: Path
    home: Path
    stdin: TextIO
    stdout: TextIO
    stderr: TextIO


@dataclass(frozen=True, slots=True, kw_only=True)
class General:
    """The general flags, as they were given in one place."""

    file: Path | None = None
    output: ui.Output | None = None
    quiet: bool = False
    verbose: int = 0
    no_color: bool = False
    plain: bool = False
    progress: ui.Looks | None = None
    debug: bool = False

    def joined(self, earlier: General) -> General:
        """What stands after the command together with what stands before it (two different values are refused)."""
        return General(**{f.name: getattr(self, f.name) or getattr(earlier, f.name) for f in fields(self)})

    def appearance(self) -> ui.Appearance:
        return ui.Appearance(
            progress="plain" if self.plain else self.progress or "auto",
            quiet=self.quiet,
            verbose=self.verbose,
            color=not self.no_color,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    world: World
    general: General
    emit: Emit

    def answer(self, answer: ui.Answer) -> None:
        """Print the answer, the only thing that ever goes to stdout."""
        ui.print_answer(answer, self.general.output or "text", self.world.stdout)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Flag:
    kind: Any
    spellings: tuple[str, ...]
    help: str
    metavar: str | None = None
    count: bool = False


_GENERAL_FLAGS = {
    "file": _Flag(kind=Path | None, spellings=("--file", "-f"), help="The s2i.yaml to read.", metavar="FILE"),
    "output": _Flag(kind=ui.Output | None, spellings=("--output", "-o"), help="The form of the answer on stdout."),
    "quiet": _Flag(kind=bool, spellings=("--quiet", "-q"), help="Nothing but the answer and errors."),
    "verbose": _Flag(kind=int, spellings=("--verbose", "-v"), help="Say more; twice: still more.", count=True),
    "no_color": _Flag(kind=bool, spellings=("--no-color",), help="No colors (also NO_COLOR)."),
    "plain": _Flag(kind=bool, spellings=("--plain",), help="Short for --progress plain."),
    "progress": _Flag(kind=ui.Looks | None, spellings=("--progress",), help="How stderr looks."),
    "debug": _Flag(kind=bool, spellings=("--debug",), help="Show the traceback of an error."),
}


def general_parameters(*, hidden: bool, without: frozenset[str] = frozenset()) -> list[inspect.Parameter]:
    """The general flags as parameters of a function, for typer to read."""
    return [_parameter(name, flag, hidden=hidden, without=without) for name, flag in _GENERAL_FLAGS.items()]


def _parameter(name: str, flag: _Flag, *, hidden: bool, without: frozenset[str]) -> inspect.Parameter:
    option = typer.Option(
        *[spelling for spelling in flag.spellings if spelling not in without],
        help=flag.help,
        metavar=flag.metavar,
        count=flag.count,
        show_default=False,
        hidden=hidden,
    )
    default = getattr(General(), name)
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(f"general_{name}", kind, default=default, annotation=Annotated[flag.kind, option])


def pop_general(arguments: dict[str, Any]) -> General:
    """Take the general flags out of what typer parsed."""
    return General(**{name: arguments.pop(f"general_{name}") for name in _GENERAL_FLAGS})


def command(
    app: typer.Typer, name: str, *, example: str, without: frozenset[str] = frozenset(), hidden: bool = False
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function whose first parameter is the session as a command of `app`.

    Its docstring is the help, with `example` below it; `without` names spellings of general flags that this command
    needs for itself (`-f` in `logs`). A parameter whose type is a dataclass stands for all flags that are its fields,
    and its docstring is the heading above them.
    """

    def register(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def run(ctx: typer.Context, **arguments: Any) -> None:
            general = pop_general(arguments)
            root = ctx.find_root()
            _refuse_two_values(ctx, root.obj.arguments)
            together = {name: _pop_group(kind, arguments) for name, kind in groups.items()}
            _run(function, root.obj, general.joined(root.meta["general"]), arguments | together)

        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
        groups: dict[str, type[Any]] = {p.name: p.annotation for p in own if _is_group(p.annotation)}
        context = inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
        headings = {f.name: _heading(group) for group in groups.values() for f in fields(group)}
        parameters = [flag for p in own for flag in (_flags_of(p.annotation) if p.name in groups else [p])]
        parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]
        everywhere = general_parameters(hidden=True, without=without)
        run.__signature__ = inspect.Signature([context, *parameters, *everywhere])  # type: ignore[attr-defined]
        run.__annotations__ = {}
        made: Any = functools.partial(_Command, headings=headings)
        app.command(name, cls=made, epilog=f"Example:  {example}", hidden=hidden)(run)
        return function

    return register


def _is_group(kind: object) -> bool:
    return isinstance(kind, type) and is_dataclass(kind)


def _flags_of(group: type[Any]) -> list[inspect.Parameter]:
    kinds = inspect.get_annotations(group, eval_str=True)
    return [
        inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=kinds[f.name])
        for f in fields(group)
    ]


def _heading(group: type[Any]) -> str:
    return (inspect.getdoc(group) or "").rstrip(".")


class _Command(TyperCommand):
    """A command whose help shows its flags by groups: typer itself does so only with rich, which is never loaded.

    `headings` are those of flags that belong to a group, by their names as parameters.
    """

    def __init__(self, *args: Any, headings: Mapping[str, str], **settings: Any) -> None:
        super().__init__(*args, **settings)
        grouped: list[Any] = [parameter for parameter in self.params if parameter.name in headings]
        for parameter in grouped:
            parameter.rich_help_panel = headings[parameter.name]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, _plainly(args, dict(self._opposites())))
        except typer.TyperException as error:
            # The parser does not always say whose words were wrong, and the hint is to name that command's help.
            error.ctx = getattr(error, "ctx", None) or ctx  # type: ignore[attr-defined]
            raise

    def _opposites(self) -> Iterator[tuple[str, str]]:
        for switch in (parameter for parameter in self.params if getattr(parameter, "is_flag", False)):
            yes, no = switch.opts, switch.secondary_opts
            yield from ((spelling, no[0] if no else "") for spelling in yes)
            yield from ((spelling, yes[0]) for spelling in no)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            heading = getattr(parameter, "rich_help_panel", None)
            usual = "Arguments" if parameter.param_type_name == "argument" else "Options"
            if record is not None:
                sections.setdefault(heading or usual, []).append(record)
        sections["Options"] = sections.pop("Options")  # what is of no group, `--help` among it, stands last
        sections["Options"].append(("-o, -q, -v, …", "What every command understands: s2ictl --help."))
        for heading, records in sections.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)


def _plainly(arguments: list[str], opposites: Mapping[str, str]) -> list[str]:
    """`--copy=true` and `--copy=false`, as the older tool takes them: the flag, and its opposite if there is one."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    plain = []
    for argument in arguments[:end]:
        flag, _, value = argument.rpartition("=")
        said = {"true": flag, "false": opposites[flag]} if flag in opposites else {}
        plain.append(said.get(value, argument))
    return [argument for argument in plain if argument] + arguments[end:]


def _pop_group(group: type[Any], arguments: dict[str, Any]) -> Any:
    return group(**{f.name: arguments.pop(f.name) for f in fields(group)})


def _run(function: Callable[..., None], world: World, general: General, arguments: dict[str, Any]) -> None:
    appearance = general.appearance()
    try:
        with ui.showing(appearance, stderr=world.stderr, environ=world.environ, clock=steady_clock()) as emit:
            function(Session(world=world, general=general, emit=emit), **arguments)
    except BrokenPipeError as gone:
        raise ClosedPipe from gone
    except Stopped as stop:
        raise Terminated(f"terminated; {_what_became(stop)}") from stop
    except KeyboardInterrupt as stop:
        raise Interrupted(f"interrupted; {_what_became(stop)}") from stop


def steady_clock() -> Callable[[], float]:
    """The time of day, never set back or forth while a command runs."""
    began = time.time() - time.monotonic()
    return lambda: began + time.monotonic()


def _what_became(stop: KeyboardInterrupt) -> str:
    """What the user may believe: a second stop, while the first was clearing away, leaves something behind."""
    earlier = stop.__context__
    while earlier is not None and not isinstance(earlier, KeyboardInterrupt):
        earlier = earlier.__context__
    if earlier is None:
        return "everything that was begun has been removed"
    return "what is not removed yet the next start takes away"


def _refuse_two_values(ctx: typer.Context, arguments: tuple[str, ...]) -> None:
    """A flag that takes one value and was given two different ones is a mistake, not a choice of the last."""
    for parameter in ctx.command.params:
        if getattr(parameter, "multiple", False) or getattr(parameter, "is_flag", True):
            continue
        values = _values_of(parameter.opts, arguments)
        if len(values) > 1:
            raise InvalidUsage(f"{parameter.opts[0]} is given twice: {' and '.join(sorted(values))}")


def _values_of(spellings: list[str], arguments: tuple[str, ...]) -> set[str]:
    following = {after for before, after in itertools.pairwise(arguments) if before in spellings}
    joined = {a.partition("=")[2] for a in arguments if a.partition("=")[0] in spellings and "=" in a}
    return following | joined
