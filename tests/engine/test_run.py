"""`run`: an image at work, as it is typed, on either engine: where it can be had, what it says, and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import s2ictl
from tests.cli import Ran, shell
from tests.engine import grounds, tiny
from tests.engine.grounds import Ground

HOME = "run-word"
WEB, WORDS = f"{HOME}/web:1", f"{HOME}/words:1"
SERVE = '["sh", "-c", "mkdir /tmp/www; echo hello > /tmp/www/index.html; exec busybox httpd -f -p 8080 -h /tmp/www"]'


@pytest.fixture
def here(ground: Ground, api: Any, tmp_path: Path) -> Iterator[Ground]:
    grounds.made(ground, WEB, tiny.rootfs({}), "ENV PATH=/bin", "USER user", "EXPOSE 8080", f"CMD {SERVE}")
    grounds.made(ground, WORDS, tiny.rootfs({}), "ENV PATH=/bin GREETING=none", 'CMD ["sh", "-c", "echo $GREETING"]')
    yield ground
    tiny.remove_named(api, f"{HOME}/", f"/{HOME}/")


def test_it_answers_at_its_address_until_ctrl_c(here: Ground, tmp_path: Path) -> None:
    root = Path(s2ictl.__file__).parent.parent
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(root), **here.environ}
    command = [sys.executable, "-m", "s2ictl", "run", WEB, "-q"]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        address = running.stdout.readline().strip()
        answer = fetched(address)
        running.send_signal(signal.SIGINT)
    assert (answer, running.returncode) == ("hello\n", 130)


def fetched(address: str) -> str:
    """What it answers, once it does: its port is open before its program listens."""
    for _ in range(200):
        try:
            with urllib.request.urlopen(address, timeout=5) as response:
                return str(response.read().decode())
        except OSError:
            time.sleep(0.02)
    raise AssertionError(f"nothing answers at {address}")


def test_a_command_that_ends_by_itself_ends_it(here: Ground, tmp_path: Path) -> None:
    ran = shell(tmp_path, **here.environ).run("run", WORDS, "--env", "GREETING=good morning")
    assert (ran.status, ran.stdout) == (0, f"{WORDS}\n"), ran.stderr
    assert "good morning" in ran.stderr.splitlines()[-1]


def test_an_image_that_is_nowhere_is_missed(here: Ground, tmp_path: Path) -> None:
    ran = shell(tmp_path, **here.environ).run("run", f"{HOME}/nowhere:1", "--pull-policy", "never")
    assert (ran.status, ran.stdout) == (6, "")
    assert f"there is no image {HOME}/nowhere:1" in ran.stderr


def test_a_directory_is_no_image(tmp_path: Path) -> None:
    typed = shell(tmp_path)
    (typed.cwd / "shop").mkdir()
    said = "error: shop is a directory, and run takes an image (InvalidUsage)\n  try:  s2ictl build shop --run\n"
    assert typed.run("run", "shop") == Ran(status=2, stdout="", stderr=said)
