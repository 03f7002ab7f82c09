"""`make demo`: `s2ictl demo` on the engine that answers here; without one where none does, or else on the testbed's."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from s2ictl.engines.embedded.machine import explored
from tests import testbed
from tests.testbed.engine import answers

# What makes the base of our builders where none can be pulled.
BASE = "mmdebstrap"


def main() -> int:
    command = [sys.executable, "-m", "s2ictl", "demo", *sys.argv[1:]]
    try:
        with engine() as environ:
            return subprocess.run(command, env={**os.environ, **environ}, check=False).returncode
    except testbed.Unavailable as reason:
        print(f"no engine answers, and none can be started here: {reason}", file=sys.stderr)
        return 10


@contextmanager
def engine() -> Iterator[Mapping[str, str]]:
    """The variables that name an engine, while the context lasts; none are needed where `auto` finds one."""
    if found := testbed.facts("engine"):
        yield {"DOCKER_HOST": found.docker_host}
    elif answers(testbed.Bed.of(os.environ).docker_host) or is_able():
        yield {}
    else:
        began = time.monotonic()
        started = testbed.up("engine")
        print(f"engine at {started.docker_host}  {time.monotonic() - began:.1f} s", file=sys.stderr)
        try:
            yield {"DOCKER_HOST": started.docker_host}
        finally:
            testbed.down("engine")


def is_able() -> bool:
    """Whether containers can be made here without an engine; what that lacks is installed, by who may."""
    with suppress(testbed.Unavailable):
        testbed.need_daemonless()
        testbed.need(BASE)
    with tempfile.TemporaryDirectory(dir=Path.home()) as store:
        machine = explored(os.environ, store=Path(store))
    for lack in machine.lacks:
        print(f"not without an engine: {lack.what}: {lack.because}", file=sys.stderr)
    return machine.is_able


if __name__ == "__main__":
    sys.exit(main())
