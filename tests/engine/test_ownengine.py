"""An engine of one test's own is ended with its test, and by the next one where that could not be."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.engine.ownengine import own_engine
from tests.testbed import engine

KILLED = """
import os, signal
from tests.engine.ownengine import own_engine

with own_engine() as own:
    print(own.bed.directory, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_an_engine_that_a_killed_run_has_left_does_not_stand_in_the_way_of_the_next() -> None:
    root = Path(__file__).parents[2]
    killed = subprocess.run([sys.executable, "-c", KILLED], cwd=root, capture_output=True, text=True, check=False)
    with own_engine() as own:
        assert engine.answers(own.docker_host)
    assert killed.stdout.startswith("/var/tmp/"), killed.stderr
    assert not Path(killed.stdout.strip()).exists()
