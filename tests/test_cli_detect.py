"""`detect` as it is typed: for every kind of source, and for none."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from s2ictl import ui
from s2ictl.builders import load
from s2ictl.cli.detect import chosen
from s2ictl.detection import Choice
from tests.cli import Shell, shell
from tests.fakes.artifacts import packed, runnable, war
from tests.fakes.images import program
from tests.fakes.registry import FakeRegistry, Fault, running
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
    python = load(Path(__file__).parent.parent / "builders" / "python")
    name, stdout = os.fsdecode(b"a\xff\x1b[2J\n.py"), io.StringIO()
    choice = Choice(folder=python, because=f"{name}: a Python file")
    ui.print_answer(chosen(choice, tree({name: b""})), output, stdout)
    said = stdout.getvalue()
    assert ("\x1b" in said, "python" in said.encode().decode()) == (False, True)


def test_the_source_may_come_by_standard_input(typed: Shell) -> None:
    done = typed.run("detect", "-", stdin=tarred(typed.cwd / "app.py"))
    assert (done.status, done.stdout) == (0, "python  (app.py: a Python application)\n"), done.stderr


def test_the_source_may_be_an_archive(typed: Shell) -> None:
    (typed.cwd / "shop.tar").write_bytes(tarred(typed.cwd / "app.py"))
    done = typed.run("detect", "shop.tar", "-o", "name")
    assert (done.status, done.stdout) == (0, "python\n"), done.stderr


def tarred(file: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(file, arcname=file.name)
    return buffer.getvalue()


# ---------------------------------------------------------------------------------------------------------- artifacts


def test_a_war_is_shown_with_what_runs_it(typed: Shell) -> None:
    (typed.cwd / "shop.war").write_bytes(packed(war("javax", 8)))
    done = typed.run("detect", "shop.war")
    assert done.stdout.splitlines() == [
        "tomcat  (shop.war: a war for javax servlets, Java 8)",
        "on    Java 21, Tomcat 9",
        "base  s2ictl/tomcat:9",
        "run   catalina.sh run",
        "port  8080, at /shop",
    ], done.stderr
    assert json.loads(typed.run("detect", "shop.war", "-o", "json").stdout) == {
        "kind": "war",
        "builder": "tomcat",
        "because": "shop.war: a war for javax servlets, Java 8",
        "runner-up": None,
        "java": {"level": 8, "servlet": "javax", "server": None, "spring-boot": None, "main-class": None},
        "binary": None,
        "base": "s2ictl/tomcat:9",
        "run": "catalina.sh run",
        "port": 8080,
        "context-path": "/shop",
    }


def test_so_is_a_program(typed: Shell) -> None:
    (typed.cwd / "server").write_bytes(program())
    assert json.loads(typed.run("detect", "server", "-o", "json").stdout) == {
        "kind": "binary",
        "builder": "binary",
        "because": "server: a program for linux/amd64, linked statically",
        "runner-up": None,
        "java": None,
        "binary": {"machine": "amd64", "linkage": "static", "interpreter": None},
        "base": "scratch",
        "run": "/opt/app-root/bin/server",
        "port": 8080,
        "context-path": None,
    }


def test_flags_count_more_than_what_the_artifact_says(typed: Shell) -> None:
    (typed.cwd / "shop.jar").write_bytes(packed(runnable()))
    words = ("--java", "25", "--base", "eclipse-temurin:25", "--jvm-opts", "-Xmx1g -ea", "--args", "'a b'")
    assert typed.run("detect", "shop.jar", *words).stdout.splitlines()[1:] == [
        "on    Java 25",
        "base  eclipse-temurin:25",
        "run   java -Xmx1g -ea -jar /deployments/shop.jar 'a b'",
        "port  8080",
    ]


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("x;rm -rf $HOME.jar", "x-rm--rf-HOME.jar"),
        ("-jar", "jar.jar"),
        ("..jar", "jar.jar"),
        ("[/x] ::set-env.jar", "x-set-env.jar"),
    ],
)
def test_a_crafted_name_is_a_plain_one_in_the_image(name: str, place: str, typed: Shell) -> None:
    (typed.cwd / name.replace("/", "")).write_bytes(packed(runnable()))
    done = typed.run("detect", f"./{name.replace('/', '')}")
    assert f"java -jar /deployments/{place}\n" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["shop.tar.gz", "shop.zip", "shop"])
def test_an_archive_is_known_by_its_content_and_never_by_its_name(name: str, typed: Shell) -> None:
    (typed.cwd / name).write_bytes(tarred(typed.cwd / "app.py"))
    assert typed.run("detect", name, "-o", "name").stdout == "python\n"


def test_an_artifact_may_come_by_standard_input(typed: Shell) -> None:
    done = typed.run("detect", "-", "-o", "name", stdin=packed(runnable()))
    assert (done.status, done.stdout) == (0, "jar\n"), done.stderr


def test_or_from_an_address_with_its_name(typed: Shell) -> None:
    content = packed(war())
    digest = hashlib.sha256(content).hexdigest()
    with running(FakeRegistry()) as server:
        server.faults += [Fault(method="GET", path="/dl/a%23b.war", status=200, body=content) for _ in range(2)]
        address = f"http://{server.host}/dl/a%23b.war"
        done = typed.run("detect", f"{address}#sha256={digest}")
        wrong = typed.run("detect", f"{address}#sha256={'0' * 64}")
    assert done.stdout.splitlines()[-1:] == ["port  8080, at /a/b"], done.stderr
    assert (wrong.status, "was expected" in wrong.stderr) == (5, True)


def test_an_address_that_tells_nothing_is_a_files_where_its_type_is_said(typed: Shell) -> None:
    with running(FakeRegistry()) as server:
        server.faults.append(Fault(method="GET", path="/dl/server", status=200, body=program()))
        done = typed.run("detect", f"http://{server.host}/dl/server", "--type", "binary", "-o", "name")
    assert (done.status, done.stdout) == (0, "binary\n"), done.stderr


def test_an_archive_of_source_is_brought_once(typed: Shell) -> None:
    with running(FakeRegistry()) as server:
        content = tarred(typed.cwd / "app.py")
        server.faults.append(Fault(method="GET", path="/shop.tar", status=200, body=content))
        done = typed.run("detect", f"http://{server.host}/shop.tar", "-o", "name")
    assert (done.status, done.stdout) == (0, "python\n"), done.stderr


def test_plain_http_beyond_this_machine_is_refused(typed: Shell) -> None:
    done = typed.run("detect", "http://example.com/shop.war")
    assert (done.status, "--allow-http" in done.stderr) == (12, True)


@pytest.mark.parametrize(
    ("content", "status"),
    [(b"<html>Log in</html>", 5), (b"", 5), (packed(war())[:-30], 5), (b"\x7fELF" + bytes(60), 5)],
)
def test_what_is_no_artifact_stops_with_its_reason(content: bytes, status: int, typed: Shell) -> None:
    (typed.cwd / "shop.war").write_bytes(content)
    assert typed.run("detect", "shop.war").status == status


def test_a_zip_of_source_is_source(typed: Shell) -> None:
    (typed.cwd / "shop.zip").write_bytes(packed({"app.py": b"print()\n"}))
    assert typed.run("detect", "shop.zip", "-o", "name").stdout == "python\n"
