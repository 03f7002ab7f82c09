"""`make demo` where there is no engine: no program of one, no socket, nothing but the files of the project."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import s2ictl
from tests.parts import need, need_daemonless

ROOT = Path(s2ictl.__file__).parent.parent
ENGINES = ("docker", "dockerd", "podman", "containerd", "buildah", "nerdctl")
SOCKETS = ("/var/run/docker.sock", "/run/podman/podman.sock")


def test_the_demo_runs_where_there_is_no_engine(tmp_path: Path) -> None:
    need_daemonless()
    need("mmdebstrap")
    copy, home, bed = tmp_path / "copy", tmp_path / "home", Path(f"/var/tmp/s2ibed-demo-{os.getpid()}")
    home.mkdir()
    copy_of_the_project(copy)
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("DOCKER_", "S2ICTL_", "XDG_"))},
        "HOME": str(home),
        "S2ICTL_TESTBED": str(bed),
        "PYTHONPATH": str(copy),
    }
    try:
        command = without_engines(sys.executable, "-m", "tests.demo")
        done = subprocess.run(command, cwd=copy, env=environ, capture_output=True, text=True, check=False)
    finally:
        shutil.rmtree(bed, ignore_errors=True)
    assert done.returncode == 0, done.stderr
    assert "Hello from Python" in done.stdout
    assert done.stderr.splitlines()[0] == "embedded: no Docker or Podman answers"


def copy_of_the_project(target: Path) -> None:
    """What a clone has, and what is not committed yet."""
    listed = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    for name in subprocess.run(listed, check=True, capture_output=True, text=True).stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def without_engines(*command: str) -> list[str]:
    """The command line that runs this where no program of an engine can be started, and none listens."""
    found = filter(None, map(shutil.which, ENGINES))
    covers = [f"mount --bind /dev/null {shlex.quote(path)}" for path in (*found, *filter(os.path.exists, SOCKETS))]
    return ["unshare", "--mount", "sh", "-ec", "; ".join([*covers, 'exec "$0" "$@"']), *command]
