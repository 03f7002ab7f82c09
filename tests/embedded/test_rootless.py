"""The same for an ordinary user, whose containers live in a user namespace: by another pytest, which he runs."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import testbed
from tests.embedded.rooms import is_root

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.skipif(not is_root(), reason="an ordinary user runs those tests already")
@pytest.mark.parametrize(
    "file", ["test_confinement.py", "test_warden.py", "test_endings.py", "test_embedded_engine.py"]
)
def test_an_ordinary_user_has_the_same(user_facts: testbed.User, daemonless: None, file: str) -> None:
    scratch = user_facts.home / f"scratch-{file}"
    pytest_of_his = [sys.executable, "-m", "pytest", "-q", "--embedded", "--only-layers", f"tests/embedded/{file}"]
    try:
        done = subprocess.run(
            [*with_fuse(user_facts.home), *testbed.as_user(user_facts, *pytest_of_his, f"--basetemp={scratch}")],
            cwd=ROOT,
            env=user_facts.environ(PYTHONDONTWRITEBYTECODE="1"),
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        shutil.rmtree(scratch)
    assert done.returncode == 0, done.stdout + done.stderr


def with_fuse(place: Path) -> list[str]:
    """Where /dev/fuse is anybody's, as every distribution has it and a bare kernel has not."""
    node = shlex.quote(str(place / "fuse"))
    script = f"rm -f {node}; mknod -m 666 {node} c 10 229; mount --bind {node} /dev/fuse"
    return ["unshare", "--mount", "sh", "-ec", f'{script}; exec "$@"', "sh"]
