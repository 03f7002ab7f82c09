"""One build as every look shows it, compared with what is recorded; `make docs` writes the recordings anew."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TextIO

import pytest

from tests.cli import Shell, shell
from tests.fakes.images import program
from tests.recordings import HERE, STORIES, pty, recordings, visible
from tests.recordings.screen import Screen


@pytest.mark.parametrize("look", recordings())
@pytest.mark.parametrize("story", STORIES)
def test_a_build_looks_as_it_is_recorded(story: str, look: str) -> None:
    recorded = (HERE / f"{story}.{look}.txt").read_text(encoding="utf-8")
    assert recordings()[look](STORIES[story]) == recorded


def test_nothing_is_recorded_that_nobody_compares() -> None:
    files = {path.name for path in HERE.glob("*.txt")}
    assert files == {f"{story}.{look}.txt" for story in STORIES for look in recordings()}


# ------------------------------------------------------------------------------------------------ the program itself

B2I = ("b2i", "app", "--to", "oci:out")
PLAIN = """\
read  app
read: done in … s
append: no container is needed
base  scratch
base: done in … s
append  /opt/app-root/bin/app
append: done in … s, 129 B
deliver  oci:HERE/out
deliver: done in … s
Build completed successfully
"""
GITHUB = """\
::group::read  app
::endgroup::
read: done in … s
append: no container is needed
::group::base  scratch
::endgroup::
base: done in … s
::group::append  /opt/app-root/bin/app
::endgroup::
append: done in … s, 129 B
::group::deliver  oci:HERE/out
::endgroup::
deliver: done in … s
Build completed successfully
"""
GITLAB = """\
␛[0Ksection_start:…:read␍␛[0Kread  app
␛[0Ksection_end:…:read␍␛[0K
read: done in … s
append: no container is needed
␛[0Ksection_start:…:base␍␛[0Kbase  scratch
␛[0Ksection_end:…:base␍␛[0K
base: done in … s
␛[0Ksection_start:…:append␍␛[0Kappend  /opt/app-root/bin/app
␛[0Ksection_end:…:append␍␛[0K
append: done in … s, 129 B
␛[0Ksection_start:…:deliver␍␛[0Kdeliver  oci:HERE/out
␛[0Ksection_end:…:deliver␍␛[0K
deliver: done in … s
Build completed successfully
"""
TERMINAL = """\
✓ read  app  … s
append: no container is needed
✓ base  scratch  … s
✓ append  /opt/app-root/bin/app  … s  129 B
✓ deliver  oci:HERE/out  … s
Build completed successfully
"""


@pytest.fixture
def here(tmp_path: Path) -> Shell:
    here = shell(tmp_path)
    (here.cwd / "app").write_bytes(program())
    return here


def told(text: str, here: Shell) -> str:
    """Without what differs from run to run."""
    timeless = re.sub(r"section_(start|end):\d+", r"section_\1:…", re.sub(r"\d+\.\d s", "… s", text))
    return visible(timeless.replace(str(here.cwd), "HERE"))


@pytest.mark.parametrize(
    ("environ", "expected"),
    [({}, PLAIN), ({"GITHUB_ACTIONS": "true"}, GITHUB), ({"GITLAB_CI": "true"}, GITLAB), ({"TF_BUILD": "True"}, PLAIN)],
    ids=["a file", "GitHub", "GitLab", "Azure"],
)
def test_the_program_tells_a_build_as_it_is_looked_at(environ: dict[str, str], expected: str, here: Shell) -> None:
    ran = replace(here, environ={**here.environ, **environ}).run(*B2I)
    assert (ran.status, told(ran.stderr, here)) == (0, expected)


def test_the_program_tells_a_build_in_json_lines(here: Shell) -> None:
    ran = here.run(*B2I, "--progress", "json")
    lines = [json.loads(line) for line in ran.stderr.splitlines()]
    assert [line["name"] for line in lines if line["event"] == "StepFinished"] == ["read", "base", "append", "deliver"]
    assert [line["at"] for line in lines] == sorted(line["at"] for line in lines)
    assert (ran.status, lines[-1]["text"]) == (0, "Build completed successfully")


def test_the_program_that_is_quiet_tells_its_answer_alone(here: Shell) -> None:
    ran = here.run(*B2I, "-q")
    assert (ran.status, ran.stderr, ran.stdout[:4]) == (0, "", "oci:")


def test_the_program_tells_a_build_on_a_terminal_and_gives_it_back(here: Shell) -> None:
    def show(stream: TextIO) -> None:
        environ = {**here.environ, "TERM": "xterm-256color", "PYTHONPATH": str(HERE.parent.parent)}
        command = [sys.executable, "-m", "s2ictl", *B2I]
        subprocess.run(command, cwd=here.cwd, env=environ, stdout=subprocess.DEVNULL, stderr=stream, check=True)

    screen = Screen(300, 24)
    screen.feed(pty.printed(show, columns=300, rows=24))
    assert told(screen.everything(), here) == TERMINAL
    assert screen.cursor_shown


def test_a_terminal_that_was_closed_is_a_closed_pipe(here: Shell) -> None:
    environ = {**here.environ, "TERM": "xterm", "PYTHONPATH": str(HERE.parent.parent)}
    command = [sys.executable, "-m", "s2ictl", *B2I]
    with pty.opened(columns=80, rows=24) as (master, slave):
        os.close(master)
        ran = subprocess.run(command, cwd=here.cwd, env=environ, stdout=subprocess.PIPE, stderr=slave, check=False)
    assert (ran.returncode, ran.stdout) == (141, b"")


WAITS = """
import sys, time
from pathlib import Path
from s2ictl.cli.main import main
from s2ictl.cli.session import World, command
from s2ictl.cli.words import Word
from s2ictl.events import step

class Family:
    @staticmethod
    def register(app):
        command(app, "wait", example="s2ictl wait")(wait)

def wait(session):
    "Wait."
    with step("assemble", "app", session.emit):
        print("begun", flush=True)
        time.sleep(30)

here, streams = Path("."), {"stdin": sys.stdin, "stdout": sys.stdout, "stderr": sys.stderr}
world = World(arguments=("wait",), environ={"TERM": "xterm"}, cwd=here, home=here, **streams)
sys.exit(main(world, words=(Word("wait", "", lambda: Family),)))
"""


@pytest.mark.parametrize(
    ("number", "status", "word"), [(signal.SIGINT, 130, "Interrupted"), (signal.SIGTERM, 143, "Terminated")]
)
def test_a_signal_gives_the_terminal_back(number: signal.Signals, status: int, word: str) -> None:
    def show(stream: TextIO) -> None:
        command, here = [sys.executable, "-c", WAITS], HERE.parent.parent
        with subprocess.Popen(command, cwd=here, stdout=subprocess.PIPE, stderr=stream, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "begun\n"
            process.send_signal(number)
        assert process.returncode == status

    screen = Screen(80, 24)
    screen.feed(pty.printed(show, columns=80, rows=24))
    step, error = screen.everything().splitlines()
    assert re.fullmatch(r"✗ assemble  app  \d+\.\d s", step)
    assert error.endswith(f"({word})")
    assert screen.cursor_shown
