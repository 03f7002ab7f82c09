"""The one place where words become a command, and an error becomes text and an exit code."""

from __future__ import annotations

import itertools
import os
import signal
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import typer

from s2ictl import __version__, ui
from s2ictl.cli.places import state_directory
from s2ictl.cli.session import ClosedPipe, Stopped, World
from s2ictl.cli.words import WORDS, Word, program
from s2ictl.errors import CLOSED_PIPE, Interrupted, InvalidUsage, S2IError, Terminated
from s2ictl.expressions import expression

_LONGEST_ARGUMENT = 65536
_COMPLETING = "_S2ICTL_COMPLETE"
_ENDING = (signal.SIGTERM, signal.SIGHUP)
_MOUNT = expression(r"-v=?(/[^:]*:/.*)")


def main(world: World, *, words: Sequence[Word] = WORDS) -> int:
    """Run one command line and answer its exit code; nothing is raised."""
    told: list[int] = []
    try:
        with _interruptible(told):
            _check_arguments(world.arguments)
            if _COMPLETING in world.environ:
                _speak_to_the_shell()
            ended = program(words)(list(world.arguments), prog_name="s2ictl", obj=world, standalone_mode=False)
            if ended == Interrupted.exit_code:  # typer's own answer to whatever stops it while it reads the words
                raise Stopped if _is_ended(told) else KeyboardInterrupt
            return int(ended or 0)
    except S2IError as error:
        return _fail(_because_of(told, error), world)
    except typer.TyperException as error:
        return _fail(_wrong_words(error), world)
    except ClosedPipe:
        return CLOSED_PIPE
    except SystemExit as ended:
        # typer ends by itself after it has answered the shell, and with 1 where nobody reads its help any more.
        return int(ended.code or 0) if _COMPLETING in world.environ else CLOSED_PIPE
    except Stopped as stop:
        return _fail(Terminated("terminated").with_traceback(stop.__traceback__), world)
    except (KeyboardInterrupt, typer.Abort) as stop:
        return _fail(Interrupted("interrupted").with_traceback(stop.__traceback__), world)
    except Exception as fault:
        return _fail(_because_of(told, _report(fault, world)), world)


def _check_arguments(arguments: Sequence[str]) -> None:
    for argument in arguments:
        if not argument:
            raise InvalidUsage("an argument is empty", hint="leave the flag out, or give it a value")
        if len(argument) > _LONGEST_ARGUMENT:
            raise InvalidUsage(f"an argument has {len(argument)} characters; the limit is {_LONGEST_ARGUMENT}")
        for position, character in enumerate(argument):
            if (character < " " and character != "\t") or character == "\x7f" or "\ud800" <= character <= "\udfff":
                kind = "a byte that is not UTF-8" if character >= "\ud800" else "a control character"
                raise InvalidUsage(f"{argument[:position]!r}… has {kind} at position {position + 1}")
    _refuse_mounts(arguments)


def _refuse_mounts(arguments: Sequence[str]) -> None:
    """The older tool's `-v HOST:CONTAINER` would be read as --verbose and a source."""
    joined = (before + after for before, after in itertools.pairwise((*arguments, "")) if before == "-v")
    for text in (*arguments, *joined):
        if mount := _MOUNT.fullmatch(text):
            raise InvalidUsage(
                f"-v {mount[1][:80]} is no volume here: -v is --verbose", hint=f"--volume {mount[1][:200]}"
            )


def _speak_to_the_shell() -> None:
    """Register the shells with typer, which does so by itself only beside flags of its own (`--install-completion`)."""
    from typer.completion import completion_init  # type: ignore[attr-defined]

    completion_init()


def _wrong_words(error: typer.TyperException) -> S2IError:
    ctx = getattr(error, "ctx", None)
    path = ctx.command_path if ctx is not None else "s2ictl"
    near = " or ".join(f"'{option}'" for option in getattr(error, "possibilities", None) or ())
    message = f"{error.message}. Did you mean {near}?" if near else error.format_message()
    return InvalidUsage(message, hint=f"{path} --help")


# ------------------------------------------------------------------------------------------------- ending in order


@contextmanager
def _interruptible(told: list[int]) -> Iterator[None]:
    """Let SIGTERM, and the end of the terminal, unwind the stack as Ctrl-C does; the older handlers come back after.

    What has come is in the list: an exception may be turned into something else on its way, or be lost in a finalizer.
    """

    def stop(number: int, _frame: FrameType | None) -> None:
        told.append(number)
        raise Stopped if number in _ENDING else KeyboardInterrupt

    asked = (*_ENDING, signal.SIGINT)
    before = {number: signal.signal(number, stop) for number in asked if signal.getsignal(number) != signal.SIG_IGN}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_ended(told: Sequence[int]) -> bool:
    return any(number in _ENDING for number in told)


def _because_of(told: Sequence[int], error: S2IError) -> S2IError:
    """What failed after a stop was asked for failed because of it, whatever it says of itself."""
    if not told or isinstance(error, Interrupted | Terminated):
        return error
    ended = Terminated if _is_ended(told) else Interrupted
    return ended(ended.__name__.lower(), detail=error.in_passing, hint=error.hint)


def _fail(error: S2IError, world: World) -> int:
    with suppress(BrokenPipeError):
        if "--debug" in world.arguments:
            world.stderr.write("".join(traceback.format_exception(error)))
        as_json = _asks_for_json(world.arguments)
        ui.print_error(error, as_json=as_json, stderr=world.stderr, environ=world.environ)
    return error.exit_code


def _asks_for_json(arguments: Sequence[str]) -> bool:
    """Read before anything is parsed: an error in the words themselves is answered in the form asked for too."""
    joined = {"-ojson", "--output=json"} & set(arguments)
    pairs = itertools.pairwise(arguments)
    return bool(joined) or any(first in ("-o", "--output") and second == "json" for first, second in pairs)


def _report(fault: Exception, world: World) -> S2IError:
    """Keep the traceback in a file that the user may send, and say where it is."""
    directory = state_directory(world)
    report = directory / f"report-{os.getpid()}.txt"
    error = S2IError(
        f"a fault in s2ictl: {type(fault).__name__}: {str(fault)[:200]}",
        hint=f"send {report} to the project, after reading it",
    )
    error.__cause__ = fault
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_private(report, f"s2ictl {__version__}\n\n{''.join(traceback.format_exception(fault))}")
    except OSError as reason:
        error.hint = f"run it again with --debug (the report could not be written: {reason.strerror})"
    return error


def _write_private(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
