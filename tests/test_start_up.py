"""What is loaded before the first useful thing happens: nothing that another command, road or look needs.

A build of a directory has its own list in test_main.py; one in which nothing has changed is judged in tests/engine/.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.fakes.images import program

ROOT = Path(__file__).parent.parent

# Printed when the process ends, or when it first calls somebody of whom nothing more is wanted.
_TELLING = """
import json, os, sys
others, calls = json.loads(sys.argv.pop(1))
lists = lambda: [name for name in others if {name, f"s2ictl.{name}"} & set(sys.modules)]
def told(event, arguments):
    if event == "socket.connect" and not calls:
        print(json.dumps(lists()), file=sys.stderr)
        os._exit(0)
sys.addaudithook(told)
from s2ictl.__main__ import run
try:
    run()
except SystemExit:
    print(json.dumps(lists()), file=sys.stderr)
"""
FOR_A_COMMAND = ("typer", "msgspec", "sqlite3", "hashlib", "socket", "yaml", "rich")
FOR_A_BUILD = ("msgspec", "sqlite3", "hashlib", "yaml", "rich", "cli.flags", "models", "ledger", "journal", "engines")
FOR_OTHER_ARTIFACTS = (
    *("docker", "kubernetes", "git", "requests", "rich", "urllib3", "aiohttp", "yaml", "ssl", "http.client"),
    *("tarfile", "zipfile", "gzip", "tempfile", "encodings.idna", "isal"),
    *("documents", "config", "bases", "saved", "tarballs", "callbacks", "dockerfiles", "reproducible"),
    *("cluster", "kubeconfig", "manifests", "deploy", "workloads", "refusals", "cli.rollout", "cli.keyring"),
    *("engines.docker", "engines.client", "engines.performing", "engines.layers", "engines.embedded", "images"),
    *("sources.directory", "sources.archive", "sources.spool", "sources.program", "sources.mirror", "sources.commits"),
    *("archives.zip", "tunnels", "ui.live", "ui.terminal", "ui.row", "cli.running", "cli.making", "serve", "hooks"),
)


def loaded(others: tuple[str, ...], *words: str, environ: Mapping[str, str], calls: bool = False) -> list[str]:
    """Those of the others that a command has loaded all the same, at its end, or before it `calls` anybody."""
    command = [sys.executable, "-c", _TELLING, json.dumps((others, calls)), *words]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environ, check=True)
    found: list[str] = json.loads(said.stderr.splitlines()[-1])
    return found


def alone(home: Path) -> dict[str, str]:
    return {"HOME": str(home), "PATH": os.environ["PATH"]}


def test_the_version_needs_no_command(tmp_path: Path) -> None:
    assert loaded(FOR_A_COMMAND, "--version", environ=alone(tmp_path)) == []


def test_the_help_needs_nothing_of_a_build(tmp_path: Path) -> None:
    assert loaded(FOR_A_BUILD, "--help", environ=alone(tmp_path)) == []


def test_an_artifact_is_sent_with_nothing_loaded_that_others_need(tmp_path: Path) -> None:
    file = tmp_path / "app"
    file.write_bytes(program())
    words = ("b2i", str(file), "--base", "scratch", "--tag", "127.0.0.1:9/app:1", "--push", "--engine", "append")

    assert loaded(FOR_OTHER_ARTIFACTS, *words, environ=alone(tmp_path)) == []
