"""How things look: events, answers and errors become a live terminal, plain lines, JSON lines or CI groups.

The code below emits values and knows of no terminal; the commands above hand over values and know of no format. What
other programs printed is untrusted: it is shown without control characters, and can neither move the cursor, nor open
a group in a CI log, nor give the CI a command. Every command pays for what this module imports at its head, `--help`
too, so a form that is seldom asked for brings its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TextIO

from s2ictl.errors import S2IError
from s2ictl.events import Emit, Event, Line, Notice, Progress, StepFinished, StepStarted

if TYPE_CHECKING:
    from rich.console import Console

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

_LONGEST_MESSAGE = 250


def printable(text: str) -> str:
    """Escape what a terminal would obey: C0, C1, bidirectional overrides, lone surrogates."""
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def seconds(value: float) -> str:
    if value < 60:
        return f"{value:.1f} s"
    return f"{int(value // 60)} m {int(value % 60):02d} s"


# ---------------------------------------------------------------------------------------------------------- answers

Output = Literal["text", "json", "yaml", "name"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a command says on stdout, once, in each of the four forms."""

    text: str
    names: tuple[str, ...]
    data: object


def print_answer(answer: Answer, output: Output, stdout: TextIO) -> None:
    """Print the answer in the form that was asked for."""
    rendered = _RENDER[output](answer)
    if rendered:
        stdout.write(rendered + "\n")
        stdout.flush()


def _json(answer: Answer) -> str:
    import msgspec

    return msgspec.json.format(msgspec.json.encode(answer.data), indent=2).decode()


def _yaml(answer: Answer) -> str:
    import msgspec

    from s2ictl import documents

    return documents.dump(msgspec.to_builtins(answer.data)).rstrip("\n")


_RENDER: Mapping[Output, Callable[[Answer], str]] = {
    "text": lambda answer: answer.text,
    "name": lambda answer: "\n".join(answer.names),
    "json": _json,
    "yaml": _yaml,
}


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Columns as wide as their widest cell, two blanks between them, no lines: made for reading and for `awk`."""
    cells = [head, *[tuple(printable(cell) for cell in row) for row in rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )


# ----------------------------------------------------------------------------------------------------------- errors


def print_error(error: S2IError, *, as_json: bool, stderr: TextIO) -> None:
    """Say what happened, why, and what to do next."""
    stderr.write((error_json(error) if as_json else error_text(error)) + "\n")
    stderr.flush()


def error_text(error: S2IError) -> str:
    first = f"error: {_shortened(printable(error.message))} ({error.reason})"
    lines = [first, *_paragraph("why:", error.detail), *_paragraph("try:", error.hint)]
    return "\n".join(lines)


def _shortened(message: str) -> str:
    """What was typed may be long; with the reason behind it a first line stays below 300 characters."""
    return message if len(message) <= _LONGEST_MESSAGE else f"{message[: _LONGEST_MESSAGE - 1]}…"


def _paragraph(head: str, text: str) -> list[str]:
    lines = text.splitlines()
    return [f"  {head if number == 0 else '    '}  {printable(line)}" for number, line in enumerate(lines)]


def error_json(error: S2IError) -> str:
    import msgspec

    fields = {
        "error": error.message,
        "reason": error.reason,
        "exit": error.exit_code,
        "why": error.detail,
        "try": error.hint,
    }
    return msgspec.json.encode(fields).decode()


# ------------------------------------------------------------------------------------------------------------ looks


class Look(Protocol):
    """One way to show events as they come."""

    def show(self, event: Event) -> None: ...


@dataclass(frozen=True, slots=True)
class Quiet:
    def show(self, event: Event) -> None:
        """Nobody looks: the answer and errors go another way."""


@dataclass(frozen=True, slots=True)
class JsonLines:
    """One object a line, for programs that follow a build."""

    stderr: TextIO

    def show(self, event: Event) -> None:
        import msgspec

        kind = {"event": type(event).__name__}
        self.stderr.write(msgspec.json.encode(kind | msgspec.to_builtins(event)).decode() + "\n")
        self.stderr.flush()


@dataclass(frozen=True, slots=True)
class Groups:
    """How a CI's log viewer folds a step: a text before and after it, and what must not stand in foreign lines."""

    opens: str
    closes: str
    commands: re.Pattern[str] | None = None


NO_GROUPS = Groups("", "")
GITHUB = Groups("::group::{title}\n", "::endgroup::\n", re.compile(r"::|##\["))
GITLAB = Groups("\x1b[0Ksection_start:{now}:{slug}\r\x1b[0K{title}\n", "\x1b[0Ksection_end:{now}:{slug}\r\x1b[0K\n")


def groups_of(environ: Mapping[str, str]) -> Groups:
    if environ.get("GITHUB_ACTIONS") == "true":
        return GITHUB
    return GITLAB if environ.get("GITLAB_CI") == "true" else NO_GROUPS


@dataclass(frozen=True, slots=True)
class Plain:
    """Lines in the order of things, for logs and for those who cannot see a moving terminal."""

    stderr: TextIO
    groups: Groups = NO_GROUPS
    verbose: int = 0
    now: float = 0.0

    def show(self, event: Event) -> None:
        text = self._render(event)
        if text:
            self.stderr.write(text)
            self.stderr.flush()

    def _render(self, event: Event) -> str:
        match event:
            case StepStarted(name=name, subject=subject):
                return self._fold(self.groups.opens, f"{name}  {printable(subject)}".rstrip()) or (
                    f"{name}  {printable(subject)}".rstrip() + "\n"
                )
            case StepFinished(name=name, seconds=spent, failed=failed):
                said = f"{name}: {'failed after' if failed else 'done in'} {seconds(spent)}\n"
                return self._fold(self.groups.closes, name) + said
            case Line(text=text):
                return f"  | {self._harmless(printable(text))}\n"
            case Notice(text=text, level=level):
                return f"{'warning: ' if level == 'warning' else ''}{self._harmless(printable(text))}\n"
            case Progress(subject=subject, done=done, total=total):
                return f"  . {printable(subject)} {done}/{total}\n" if self.verbose else ""

    def _fold(self, template: str, title: str) -> str:
        slug = re.sub(r"[^a-z0-9]+", "_", title.split("  ")[0].lower())
        return template.format(title=title, slug=slug, now=int(self.now))

    def _harmless(self, text: str) -> str:
        commands = self.groups.commands
        return commands.sub(lambda match: " ".join(match[0]), text) if commands else text


@dataclass(slots=True)
class Live:
    """One moving line for the step at work; finished steps stay above it with the time they took."""

    console: Console
    verbose: int = 0
    _status: Any = field(default=None)
    _step: str = field(default="")

    def show(self, event: Event) -> None:
        match event:
            case StepStarted(name=name, subject=subject):
                self._begin(f"{name}  {printable(subject)}".rstrip())
            case StepFinished(name=name, seconds=spent, failed=failed):
                self._end()
                mark, style = ("✗", "red") if failed else ("✓", "green")
                self._say(f"{mark} {self._step or name}  {seconds(spent)}", style)
            case Line(text=text):
                self._line(printable(text))
            case Notice(text=text, level=level):
                self._say(printable(text), "yellow" if level == "warning" else "")
            case Progress(subject=subject, done=done, total=total):
                self._tail(f"{printable(subject)} {_megabytes(done)}{' of ' + _megabytes(total) if total else ''}")

    def close(self) -> None:
        self._end()

    def _begin(self, title: str) -> None:
        self._step = title
        self._status = self.console.status(_literal(title), spinner="dots")
        self._status.start()

    def _end(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None

    def _line(self, text: str) -> None:
        if self.verbose:
            self._say(f"  | {text}", "dim")
        else:
            self._tail(text)

    def _tail(self, text: str) -> None:
        if self._status is not None:
            width = max(20, self.console.width - len(self._step) - 8)
            self._status.update(_literal(f"{self._step}  {text[:width]}"))

    def _say(self, text: str, style: str) -> None:
        self.console.print(_literal(text, style), highlight=False)


def _literal(text: str, style: str = "") -> Any:
    from rich.text import Text

    return Text(text, style=style)


def _megabytes(count: int) -> str:
    return f"{count / 1_000_000:.1f} MB"


@dataclass(frozen=True, slots=True, kw_only=True)
class Appearance:
    """How stderr shall look, as the flags say it."""

    progress: Literal["auto", "live", "plain", "json"] = "auto"
    quiet: bool = False
    verbose: int = 0
    color: bool = True


@contextmanager
def showing(appearance: Appearance, *, stderr: TextIO, environ: Mapping[str, str], now: float) -> Iterator[Emit]:
    """Choose the look and hold it open: a terminal is given back as it was found, whatever happens."""
    look = _choose(appearance, stderr, environ, now)
    try:
        yield look.show
    finally:
        if isinstance(look, Live):
            look.close()


def _choose(appearance: Appearance, stderr: TextIO, environ: Mapping[str, str], now: float) -> Look:
    if appearance.quiet:
        return Quiet()
    if appearance.progress == "json":
        return JsonLines(stderr)
    looked_at = stderr.isatty() and environ.get("TERM", "dumb") != "dumb" and not environ.get("CI")
    if appearance.progress == "live" or (appearance.progress == "auto" and looked_at):
        return Live(_console(stderr, appearance.color and "NO_COLOR" not in environ), appearance.verbose)
    return Plain(stderr, groups_of(environ), appearance.verbose, now)


def _console(stderr: TextIO, color: bool) -> Console:
    from rich.console import Console

    return Console(file=stderr, no_color=not color, soft_wrap=True, markup=False, emoji=False)
