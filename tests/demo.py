"""`make demo`: `s2ictl demo` on the engine that answers here, or on the testbed's where none does."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from tests import testbed


def main() -> int:
    before = testbed.facts("engine")
    began = time.monotonic()
    try:
        engine = testbed.up("engine")
    except testbed.Unavailable as reason:
        print(f"no engine answers, and none can be started here: {reason}", file=sys.stderr)
        return 10
    print(f"engine at {engine.docker_host}  {time.monotonic() - began:.1f} s", file=sys.stderr)
    try:
        command = [sys.executable, "-m", "s2ictl", "demo", *sys.argv[1:]]
        return subprocess.run(command, env={**os.environ, "DOCKER_HOST": engine.docker_host}, check=False).returncode
    finally:
        if before is None:
            testbed.down("engine")


if __name__ == "__main__":
    sys.exit(main())
