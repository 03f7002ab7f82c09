"""What is generated: the completions, and the README's tables and reference between their markers.

`make docs` writes them; tests/test_docs.py compares them, and runs every console block of the README.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from s2ictl import errors
from s2ictl.builders import Blueprint, load_all
from s2ictl.cli.words import program

ROOT = Path(__file__).parent.parent
COMPLETIONS = {"bash": "s2ictl.bash", "zsh": "_s2ictl", "fish": "s2ictl.fish"}


def main() -> None:
    for shell, name in COMPLETIONS.items():
        (ROOT / "completions" / name).write_text(completion(shell), encoding="utf-8")
    readme = ROOT / "README.md"
    readme.write_text(with_generated_parts(readme.read_text(encoding="utf-8")), encoding="utf-8")


def completion(shell: str) -> str:
    """What typer gives a shell to evaluate."""
    said = subprocess.run(
        [sys.executable, "-m", "s2ictl"],
        cwd=ROOT,
        env={**os.environ, "_S2ICTL_COMPLETE": f"source_{shell}"},
        capture_output=True,
        text=True,
        check=True,
    )
    return said.stdout


def commands() -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that is shown to users, with its words, in the order of the help."""
    yield from _below((), program())


def all_commands() -> list[tuple[str, ...]]:
    return [path for path, _ in commands()]


def _below(path: tuple[str, ...], command: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    if command.hidden:
        return
    inner: Mapping[str, Any] = getattr(command, "commands", {})
    if not inner:
        yield path, command
    for name in inner:
        yield from _below((*path, name), inner.get(name))


# ------------------------------------------------------------------------------------------------------- the README


def with_generated_parts(readme: str) -> str:
    """The README with what stands between `<!-- NAME -->` and `<!-- /NAME -->` written anew."""
    for name, write in PARTS.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        before, found, rest = readme.partition(begin)
        _old, closed, after = rest.partition(end)
        if not (found and closed):
            raise ValueError(f"README.md has no place for the generated part {name!r}")
        readme = f"{before}{begin}{write()}\n{end}{after}"
    return readme


def exit_codes() -> str:
    rows = {**_EXIT_CODES_WITHOUT_AN_ERROR, **_codes_of_errors()}
    return "\n".join(["| exit | meaning |", "|---|---|", *[f"| {code} | {rows[code]} |" for code in sorted(rows)]])


_EXIT_CODES_WITHOUT_AN_ERROR = {
    0: "done, also where nothing had to be done",
    141: "nobody reads any more (closed pipe)",
}


def _codes_of_errors() -> dict[int, str]:
    """The tree in the docstring of errors.py names the meaning beside the code."""
    drawn = re.findall(r"^ +(?:[├└]── )?\w+ +(\d+)(?:  (.+))?$", errors.__doc__ or "", re.MULTILINE)
    meanings = {int(code): meaning for code, meaning in drawn}
    return meanings | {130: "interrupted; everything cleaned up", 143: "terminated; everything cleaned up"}


def reference() -> str:
    return "\n".join(_section(path, command) for path, command in commands())


def _section(path: tuple[str, ...], command: Any) -> str:
    shown = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
    head = [f"#### `s2ictl {' '.join(path)}`", "", command.help.split("\n\n")[0].replace("\n", " "), ""]
    example = ["```sh", command.epilog.removeprefix("Example:").strip(), "```", ""]
    return "\n".join([*head, *example, *_tables([each for each in shown if each.name != "help"])])


def _tables(parameters: Iterable[Any]) -> Iterator[str]:
    """One table for each heading of the help, in its order; arguments and what has no heading come first."""
    groups: dict[str, list[str]] = {"": []}
    for parameter in parameters:
        groups.setdefault(getattr(parameter, "rich_help_panel", None) or "", []).append(_row(parameter))
    for heading, rows in groups.items():
        if rows:
            yield from [f"{heading}:", ""] if heading else []
            yield from ["| | |", "|---|---|", *rows, ""]


def _row(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        names = f"`{_bare(parameter.metavar or parameter.name.upper())}`"
    else:
        spellings = ", ".join(f"`{spelling}`" for spelling in (*parameter.opts, *parameter.secondary_opts))
        value = parameter.metavar or "|".join(getattr(parameter.type, "choices", ()))
        names = f"{spellings} `{value}`" if value else spellings
    return "| {} | {} |".format(*(cell.replace("|", "\\|") for cell in (names, _said(parameter))))


def _bare(metavar: str) -> str:
    """An argument's name without the brackets that say it may be left out."""
    optional = metavar.startswith("[") and metavar.endswith(("]", "]..."))
    return metavar.removesuffix("...").removeprefix("[").removesuffix("]") if optional else metavar


def _said(parameter: Any) -> str:
    default = parameter.show_default if isinstance(parameter.show_default, str) else ""
    return f"{parameter.help or ''}{f' Default: {default}.' if default else ''}"


def builders() -> str:
    """Our own builders, as their builder.yaml has them."""
    rows = [_builder(folder.blueprint) for folder in load_all(ROOT / "builders")]
    return "\n".join(
        [
            "| builder | for | kept between builds | own layer for | same layer every time |",
            "|---|---|---|---|---|",
            *rows,
        ]
    )


def _builder(plan: Blueprint) -> str:
    kept, locks = (", ".join(f"`{word}`" for word in words) for words in (plan.caches, plan.dependencies))
    cells = (
        f"`{plan.name}` ({plan.display_name})",
        plan.description,
        kept or "-",
        locks or "-",
        "yes" if plan.reproducible else "-",
    )
    return "| {} | {} | {} | {} | {} |".format(*cells)


PARTS: Mapping[str, Callable[[], str]] = {"builders": builders, "exit codes": exit_codes, "reference": reference}


if __name__ == "__main__":
    main()
