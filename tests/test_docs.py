"""The documents are true: what is generated is current, what is shown runs, and what exists is named."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import s2ictl
from s2ictl import config, errors
from tests import console, docs
from tests.cli import shell

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
MODULES = sorted(path.relative_to(ROOT / "s2ictl").as_posix() for path in (ROOT / "s2ictl").rglob("*.py"))


@pytest.mark.parametrize("kind", docs.COMPLETIONS)
def test_the_completions_are_what_the_words_give(kind: str) -> None:
    assert (ROOT / "completions" / docs.COMPLETIONS[kind]).read_text(encoding="utf-8") == docs.completion(kind)


def test_the_generated_parts_of_the_readme_are_current() -> None:
    assert docs.with_generated_parts(README) == README, "run `make docs`"


@pytest.mark.parametrize(
    "example", [e for e in console.examples(ROOT / "README.md") if e.layer == "first"], ids=lambda e: f"line {e.line}"
)
def test_what_the_readme_shows_is_what_is_printed(example: console.Example, tmp_path: Path) -> None:
    here = shell(tmp_path)
    printed = console.run(example, cwd=here.cwd, environ=here.environ, names={})
    assert console.matches(example.expected, printed), printed


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        ("a\n", "a\n", True),
        ("a\n", "b\n", False),
        ("a ... c\n", "a b c\n", True),
        ("a ... c\n", "a b\nc\n", False),
        ("a\n...\nz\n", "a\nb\nc\nz\n", True),
        ("a\n...\nz\n", "a\nz\n", True),
        ("a\n...\n", "b\n", False),
        ("", "a\n", False),
    ],
)
def test_dots_stand_for_text_within_a_line_or_for_lines(expected: str, printed: str, same: bool) -> None:
    assert console.matches(expected, printed) is same


def test_every_command_is_in_the_readme() -> None:
    assert [path for path in docs.all_commands() if f"s2ictl {' '.join(path)}`" not in README] == []


def test_the_changelog_names_the_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.findall(r"^## \[(\d[^\]]*)\]", changelog, re.MULTILINE)[0]
    assert newest == s2ictl.__version__


def test_every_module_is_in_the_map() -> None:
    drawn = set(re.findall(r"\w+", s2ictl.__doc__ or ""))
    at_the_top = {Path(name).parts[0].removesuffix(".py") for name in MODULES} - {"__init__", "__main__"}
    assert at_the_top - drawn == set()


def test_every_s2i_yaml_of_the_readme_loads() -> None:
    blocks = re.findall(r"^```yaml\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert [config.parse(block, "README.md").name for block in blocks if "apiVersion" not in block] == ["shop"]


@pytest.mark.parametrize("module", MODULES)
def test_every_module_says_why_it_is(module: str) -> None:
    assert ast.get_docstring(ast.parse((ROOT / "s2ictl" / module).read_text(encoding="utf-8")))


def test_every_builder_has_a_sample_and_says_what_it_answers() -> None:
    folders = [path for path in (ROOT / "builders").iterdir() if path.is_dir()]
    assert folders
    assert [f.name for f in folders if not ((f / "sample").is_dir() and (f / "expect.yaml").is_file())] == []


def test_every_exit_code_of_the_errors_is_in_the_readme() -> None:
    codes = {c.exit_code for c in vars(errors).values() if isinstance(c, type) and issubclass(c, errors.S2IError)}
    assert [code for code in sorted(codes) if f"| {code} |" not in README] == []
