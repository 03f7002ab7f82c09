"""`detect` as it is typed: for every kind of source, and for none."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from s2ictl import ui
from s2ictl.builders import Choice
from s2ictl.cli.detect import chosen
from s2ictl.cli.workshop import our_builders
from tests.cli import Shell, shell
from tests.workbench import tree


@pytest.fixture
def typed(tmp_path: Path) -> Shell:
    made = shell(tmp_path)
    (made.cwd / "app.py").write_text("print('hello')\n")
    return made


def test_detect_says_which_builder_and_why(typed: Shell) -> None:
    assert typed.run("detect").stdout == "python  (app.py: a Python application)\n"
    assert json.loads(typed.run("detect", ".", "-o", "json").stdout) == {
        "kind": "source",
        "builder": "python",
        "because": "app.py: a Python application",
        "runner-up": None,
        "java": None,
        "binary": None,
        "base": "debian:trixie-slim",
        "run": "/usr/libexec/s2i/run",
        "port": 8080,
        "context-path": None,
    }


def test_detect_of_nothing_names_what_was_looked_for(typed: Shell) -> None:
    (typed.cwd / "app.py").rename(typed.cwd / "notes.txt")
    done = typed.run("detect")
    assert (done.status, done.stdout) == (5, "")
    assert "requirements.txt" in done.stderr


def test_a_source_that_is_not_there_is_exit_5(typed: Shell) -> None:
    assert typed.run("detect", "./missing").status == 5


@pytest.mark.parametrize("output", ["text", "json", "yaml", "name"])
def test_the_name_of_a_file_may_be_no_text(output: ui.Output) -> None:
    (python,) = (folder for folder in our_builders() if folder.name == "python")
    name, stdout = os.fsdecode(b"a\xff\x1b[2J\n.py"), io.StringIO()
    choice = Choice(folder=python, because=f"{name}: a Python file")
    ui.print_answer(chosen(choice, tree({name: b""})), output, stdout)
    said = stdout.getvalue()
    assert ("\x1b" in said, "python" in said.encode().decode()) == (False, True)


def test_the_source_may_come_by_standard_input(typed: Shell) -> None:
    done = typed.run("detect", "-", stdin=packed(typed.cwd / "app.py"))
    assert (done.status, done.stdout) == (0, "python  (app.py: a Python application)\n"), done.stderr


def test_the_source_may_be_an_archive(typed: Shell) -> None:
    (typed.cwd / "shop.tar").write_bytes(packed(typed.cwd / "app.py"))
    done = typed.run("detect", "shop.tar", "-o", "name")
    assert (done.status, done.stdout) == (0, "python\n"), done.stderr


def packed(file: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(file, arcname=file.name)
    return buffer.getvalue()
