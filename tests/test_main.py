"""The words themselves: codes, forms of errors, general flags, endings."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import pytest
import typer

from s2ictl import __version__
from s2ictl.__main__ import _quietly
from s2ictl.cli.session import Session, Stopped, command
from s2ictl.cli.words import WORDS, Word, program
from s2ictl.errors import Unreachable
from tests.cli import Ran, shell
from tests.docs import all_commands

ROOT = Path(__file__).parent.parent


def test_version_answers_before_typer_is_loaded() -> None:
    code = """
import sys
from s2ictl.__main__ import run
sys.argv[1:] = ["--version"]
try:
    run()
except SystemExit:
    pass
print("typer" in sys.modules)
"""
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert said.stdout == f"s2ictl {__version__}\nFalse\n"


def test_help_loads_no_heavy_library() -> None:
    heavy = ("docker", "kubernetes", "git", "requests", "rich", "urllib3", "aiohttp", "yaml", "sqlite3", "isal")
    code = f"""
import sys
sys.argv[1:] = ["--help"]
from s2ictl.__main__ import run
try:
    run()
except SystemExit:
    pass
print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)
"""
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert said.stdout.startswith("Usage: s2ictl")
    assert said.stderr == "[]\n"


FOR_OTHERS = (  # what a plain build of a directory does not wait for
    *(
        "docker",
        "kubernetes",
        "git",
        "requests",
        "rich",
        "urllib3",
        "aiohttp",
        "ssl",
        "http.client",
        "tarfile",
        "zipfile",
    ),
    *("cluster", "kubeconfig", "manifests", "deploy", "workloads", "refusals", "cli.rollout", "cli.keyring"),
    *("registry", "oci", "access", "logins", "transport", "callbacks", "dockerfiles", "reproducible", "artifacts"),
    *("connections", "tunnels", "yaml", "tempfile", "documents", "config", "bases", "saved", "tarballs", "images"),
    *(
        "engines.embedded.engine",
        "engines.append",
        "engines.performing",
        "engines.injections",
        "engines.salvaging",
        "engines.layers",
    ),
    *(
        "sources.program",
        "sources.mirror",
        "sources.commits",
        "sources.submodules",
        "sources.lfs",
        "sources.largefiles",
    ),
    *("sources.archive", "sources.spool", "sources.secrets", "archives.unpacked", "archives.zip"),
    *("ui.live", "ui.terminal", "ui.row", "cli.running", "serve", "hooks", "doctor", "demo", "b2i"),
)


def test_a_build_of_a_directory_loads_nothing_of_what_other_builds_need(tmp_path: Path) -> None:
    code = f"""
import os, sys
from contextlib import suppress
from pathlib import Path
from s2ictl import sources
from s2ictl.archives import tar_stream

source = sources.parse_source({str(tmp_path)!r}, copy=True, cwd=Path("/"))
options, cache = sources.FetchOptions(), Path({str(tmp_path)!r}, "cache")
with sources.fetch(source, cache=cache, environ={{}}, emit=print, options=options, find_login=print) as tree:
    assert tree.digest() and list(tar_stream(tree.members(), uid=0, gid=0))

def loaded(event, arguments):
    if event == "socket.connect":
        print([name for name in {FOR_OTHERS!r} if {{name, f"s2ictl.{{name}}"}} & set(sys.modules)])
        os._exit(sys.stdout.flush() or 0)

sys.addaudithook(loaded)
sys.argv[1:] = ["build", {str(tmp_path)!r}, "some/builder", "shop", "--copy"]
from s2ictl.__main__ import run
run()
"""
    (tmp_path / "app.py").write_text("")
    environ = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "DOCKER_HOST": f"unix://{tmp_path}/none.sock"}
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, env=environ)
    assert (said.stdout, said.returncode) == ("[]\n", 0), said.stderr


@pytest.mark.parametrize(
    "arguments", [("-o", "json", "version"), ("version", "-o", "json"), ("version", "--output=json")]
)
def test_general_flags_stand_before_or_after_the_command(arguments: tuple[str, ...], tmp_path: Path) -> None:
    ran = shell(tmp_path).run(*arguments)
    assert (ran.status, json.loads(ran.stdout)["version"], ran.stderr) == (0, __version__, "")


@pytest.mark.parametrize(
    ("arguments", "first_line"),
    [
        (("vresion",), "error: No such command 'vresion'. Did you mean 'version'? (InvalidUsage)"),
        (("version", "--ouptut", "json"), "error: No such option: --ouptut. Did you mean '--output'? (InvalidUsage)"),
        (("version", ""), "error: an argument is empty (InvalidUsage)"),
        (("version", "a\nb"), "error: 'a'… has a control character at position 2 (InvalidUsage)"),
        (("version", "a\udc80"), "error: 'a'… has a byte that is not UTF-8 at position 2 (InvalidUsage)"),
        (("version", "x" * 70000), "error: an argument has 70000 characters; the limit is 65536 (InvalidUsage)"),
        (("version", "-o", "name", "-o", "yaml"), "error: --output is given twice: name and yaml (InvalidUsage)"),
        (("-o", "name", "version", "-o", "yaml"), "error: --output is given twice: name and yaml (InvalidUsage)"),
    ],
)
def test_wrong_words_are_2_with_one_clear_line(arguments: tuple[str, ...], first_line: str, tmp_path: Path) -> None:
    ran = shell(tmp_path).run(*arguments)
    assert (ran.status, ran.stdout, ran.stderr.splitlines()[0]) == (2, "", first_line)


def test_wrong_words_are_answered_in_json_when_json_was_asked_for(tmp_path: Path) -> None:
    ran = shell(tmp_path).run("vresion", "-o", "json")
    assert json.loads(ran.stderr) == {
        "error": "No such command 'vresion'. Did you mean 'version'?",
        "reason": "InvalidUsage",
        "exit": 2,
        "why": "",
        "try": "s2ictl --help",
    }


@pytest.mark.parametrize("word", WORDS, ids=lambda word: word.name)
def test_the_table_of_words_says_what_the_commands_say(word: Word) -> None:
    command = program().commands.get(word.name)
    assert (command.help.splitlines()[0].rstrip("."), command.hidden) == (word.says.rstrip("."), word.hidden)


@pytest.mark.parametrize("path", all_commands(), ids=" ".join)
def test_every_command_has_help_with_an_example(
    path: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shell(tmp_path).run(*path, "--help").status == 0
    example = capsys.readouterr().out.partition("Example:")[2]
    assert f"s2ictl {' '.join(path)}" in " ".join(example.split())


@pytest.mark.parametrize("words", [("completion", "show", "bash"), ("--version",), ("--help",)], ids=" ".join)
def test_a_closed_pipe_is_quiet(words: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        said = subprocess.run(
            [sys.executable, "-m", "s2ictl", *words], cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, check=False
        )
    finally:
        os.close(writer)
    assert (said.returncode, said.stderr) == (141, b"")


@pytest.mark.parametrize(
    ("number", "status", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated"), (signal.SIGHUP, 143, "terminated")],
)
def test_a_signal_cleans_up_and_says_so(number: signal.Signals, status: int, word: str, tmp_path: Path) -> None:
    script = tmp_path / "waits.py"
    script.write_text(WAITS)
    with subprocess.Popen([sys.executable, script], cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "begun\n"
        os.kill(process.pid, number)
        said = process.stderr.read()
    assert (process.returncode, said.splitlines()[0]) == (status, "cleaned")
    assert word in said


WAITS = """
import sys, time
sys.path.insert(0, ".")
import typer
from contextlib import suppress
from pathlib import Path
from typing import Annotated
from s2ictl.cli import main as m
from s2ictl.cli.session import World, command
from s2ictl.cli.words import Word

def wait(session):
    "Wait."
    try:
        print("begun", file=sys.stderr, flush=True)
        time.sleep(30)
    finally:
        print("cleaned", file=sys.stderr, flush=True)

class Family:
    @staticmethod
    def register(app):
        command(app, "wait", example="s2ictl wait")(wait)

here, streams = Path("."), {"stdin": sys.stdin, "stdout": sys.stdout, "stderr": sys.stderr}
world = World(arguments=("wait",), environ={}, cwd=here, home=here, **streams)
sys.exit(m.main(world, words=(Word("wait", "", lambda: Family),)))
"""


class Early:
    """A family that is told to end while its words are read."""

    @staticmethod
    def register(app: typer.Typer) -> None:
        def early(
            _session: Session,
            *,
            number: Annotated[int, typer.Option(callback=lambda value: signal.raise_signal(value))],
        ) -> None:
            """Wait."""

        command(app, "early", example="s2ictl early")(early)


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (signal.SIGINT, "130 error: interrupted (Interrupted)\n"),
        (signal.SIGTERM, "143 error: terminated (Terminated)\n"),
    ],
)
def test_what_is_stopped_while_the_words_are_read_says_so(number: int, said: str, tmp_path: Path) -> None:
    ran = shell(tmp_path).run("early", "--number", str(number), words=(Word("early", "", lambda: Early),))
    assert f"{ran.status} {ran.stderr}" == said


class Deaf:
    """A family whose one command loses what stops it, as a finalizer does, and then fails of what that left."""

    @staticmethod
    def register(app: typer.Typer) -> None:
        command(app, "deaf", example="s2ictl deaf")(Deaf.deaf)

    @staticmethod
    def deaf(_session: Session) -> None:
        """Wait."""
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        raise Unreachable("could not inspect the container", detail="its answer broke off")


def test_what_fails_after_it_was_stopped_was_stopped(tmp_path: Path) -> None:
    ran = shell(tmp_path).run("deaf", words=(Word("deaf", "", lambda: Deaf),))
    said = "error: interrupted (Interrupted)\n  why:  could not inspect the container: its answer broke off\n"
    assert ran == Ran(status=130, stdout="", stderr=said)


class Swallowing:
    """A family whose one command loses what stops it in a library, which then fails as if it were our fault."""

    @staticmethod
    def register(app: typer.Typer) -> None:
        command(app, "swallow", example="s2ictl swallow")(Swallowing.swallow)

    @staticmethod
    def swallow(_session: Session) -> None:
        """Wait."""
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        raise TypeError("encoding is unsupported")


def test_what_looks_like_a_fault_after_a_stop_is_no_fault(tmp_path: Path) -> None:
    ran = shell(tmp_path, S2ICTL_STATE=str(tmp_path)).run("swallow", words=(Word("swallow", "", lambda: Swallowing),))
    assert (ran.status, ran.stderr.splitlines()[:2]) == (
        143,
        [
            "error: terminated (Terminated)",
            "  why:  a fault in s2ictl: TypeError: encoding is unsupported",
        ],
    )


class Impatient:
    """A family whose one command is stopped again while it clears away what it began."""

    @staticmethod
    def register(app: typer.Typer) -> None:
        command(app, "impatient", example="s2ictl impatient")(Impatient.impatient)

    @staticmethod
    def impatient(_session: Session) -> None:
        """Wait."""
        try:
            raise KeyboardInterrupt
        finally:
            raise Stopped


def test_whoever_stops_the_clearing_away_is_not_told_that_it_is_done(tmp_path: Path) -> None:
    ran = shell(tmp_path).run("impatient", words=(Word("impatient", "", lambda: Impatient),))
    said = "error: terminated; what is not removed yet the next start takes away (Terminated)\n"
    assert ran == Ran(status=143, stdout="", stderr=said)


def test_an_interruption_before_anything_was_begun_is_quiet() -> None:
    def interrupted() -> int:
        raise KeyboardInterrupt

    assert _quietly(interrupted) == 130


class Faulty:
    """A family whose one command fails as no command should."""

    @staticmethod
    def register(app: typer.Typer) -> None:
        command(app, "fault", example="s2ictl fault")(Faulty.fault)

    @staticmethod
    def fault(_session: Session) -> None:
        """Divide by zero."""
        raise ZeroDivisionError("one over none")


def test_a_fault_is_1_and_its_report_lies_in_the_state_directory(tmp_path: Path) -> None:
    ran = shell(tmp_path, S2ICTL_STATE=str(tmp_path)).run("fault", words=(Word("fault", "", lambda: Faulty),))
    report = tmp_path / f"report-{os.getpid()}.txt"
    assert ran == Ran(
        status=1,
        stdout="",
        stderr="error: a fault in s2ictl: ZeroDivisionError: one over none (S2IError)\n"
        f"  try:  send {report} to the project, after reading it\n",
    )
    assert "ZeroDivisionError: one over none" in report.read_text()
    assert report.stat().st_mode & 0o777 == 0o600


def test_the_help_of_a_command_shows_its_flags_by_groups(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shell(tmp_path).run("build", "--help").status == 0
    shown = capsys.readouterr().out
    heads = [line for line in shown.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert heads == [
        "Arguments:",
        "Which source:",
        "How it is built:",
        "What becomes of the image:",
        "What stays in the image:",
        "What assemble is given, and nobody after it:",
        "How it is fetched, and with which login:",
        "What the earlier image of the same name is good for:",
        "What earlier builds have left:",
        "On a smaller image for running:",
        "The container that assembles:",
        "How it runs on the cluster:",
        "When it is over:",
        "Options:",
    ]
    assert "--scripts " not in shown


@pytest.mark.parametrize(
    ("said", "means"),
    [
        ("--copy=true", ["--copy"]),
        ("--copy=false", []),
        ("--ignore-submodules=true", ["--ignore-submodules"]),
        ("--ignore-submodules=false", ["--submodules"]),
        ("--quiet=true", ["--quiet"]),
    ],
)
def test_a_switch_may_have_a_value_as_in_the_older_tool(said: str, means: list[str], tmp_path: Path) -> None:
    words = ("build", ".", "b:1", "--dry-run", "-o", "json")
    assert shell(tmp_path).run(*words, said) == shell(tmp_path).run(*words, *means)


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_completion_goes_where_the_shell_looks(name: str, tmp_path: Path) -> None:
    ran = shell(tmp_path, SHELL=f"/bin/{name}").run("completion", "install")
    installed = Path(ran.stdout.strip())
    assert ran.status == 0
    assert installed.is_relative_to(tmp_path / "home")
    assert "_S2ICTL_COMPLETE" in installed.read_text()


def test_where_completion_cannot_be_written_that_is_said(tmp_path: Path) -> None:
    typed = shell(tmp_path, SHELL="/bin/fish")
    (typed.home / ".config").write_text("a file")
    ran = typed.run("completion", "install")
    assert (ran.status, ran.stdout) == (2, "")
    assert ran.stderr.splitlines()[0].startswith("error: could not write ")
    assert "s2ictl completion show fish >FILE" in ran.stderr
