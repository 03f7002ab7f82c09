"""`make test`: every layer, one after the other, on parts that are brought up before and taken down after.

The servers of the cluster compile while the first layers run. At the end stands how long each layer took, how much of
the code it has seen, and what was skipped and why.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests import testbed

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    name: str
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    layer: Layer
    failed: bool
    summary: str
    skipped: tuple[str, ...]
    seconds: float
    coverage: str


# Who may not start an engine has but one, and what runs side by side on one engine is in each other's way. Files are
# taken in the order in which they were collected, the slowest first.
ENGINES = ("-n", "2", "--dist", "loadfile", "--no-loadscope-reorder") if os.geteuid() == 0 else ()

# Containers without a daemon have nothing in common but the machine.
CONTAINERS = ("-n", "2", "--dist", "loadfile") if os.geteuid() == 0 else ()

# The testbed's own tests bring up a node of their own, and one machine holds only one: so they stand before the layer
# that brings up the common one.
LAYERS = (
    Layer(name="first", flags=("-n", "auto")),
    Layer(name="embedded", flags=("--embedded", "--only-layers", *CONTAINERS)),
    Layer(name="engine", flags=("--engine", "--only-layers", *ENGINES)),
    Layer(name="bed", flags=("--bed", "--only-layers")),
    Layer(name="cluster", flags=("--cluster", "--only-layers")),
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.all", description=__doc__)
    parser.add_argument("--soak", action="store_true", help="the long form of every campaign")
    parser.add_argument("layers", nargs="*", choices=[[], *[layer.name for layer in LAYERS]], help="only these")
    options = parser.parse_args()
    # Behind a shell's `&` a process begins deaf to Ctrl-C, behind nohup to a lost terminal; and so would all that the
    # tests start and interrupt. What has a handler here is as usual in whatever is started.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)
    chosen = [layer for layer in LAYERS if not options.layers or layer.name in options.layers]
    extra = ("--soak",) if options.soak else ()
    try:
        with compiling(any(layer.name in ("bed", "cluster") for layer in chosen)):
            outcomes = [run(layer, extra) for layer in chosen]
    finally:
        testbed.down()
    report(outcomes)
    return 1 if any(failed(outcome) for outcome in outcomes) else 0


@contextmanager
def compiling(wanted: bool) -> Iterator[None]:
    """Compile the cluster's servers behind the first layers; the cluster layer waits for the same lock."""
    if not wanted:
        yield
        return
    with tempfile.TemporaryFile() as log:
        compiler = subprocess.Popen(
            ["nice", sys.executable, "-m", "tests.testbed", "compile"], cwd=ROOT, stdout=log, stderr=log
        )
        try:
            yield
        finally:
            compiler.terminate()
            compiler.wait()


def run(layer: Layer, extra: tuple[str, ...]) -> Outcome:
    """One pytest run; its output is passed on line by line, and read for what it skipped."""
    print(f"\n===== {layer.name} layer =====", flush=True)
    began = time.monotonic()
    data = ROOT / f".coverage.{layer.name}"
    lines = list(_pytest(data, (*layer.flags, *extra)))
    status = lines.pop()
    return Outcome(
        layer=layer,
        failed=status != "0",
        summary=next(
            (line.strip("= ") for line in reversed(lines) if re.search(r"\d+ (passed|failed|skipped)", line)), ""
        ),
        skipped=tuple(line for line in lines if line.startswith("SKIPPED")),
        seconds=time.monotonic() - began,
        coverage=_coverage(data),
    )


def _pytest(data: Path, flags: tuple[str, ...]) -> Iterator[str]:
    command = [sys.executable, "-m", "pytest", "--cov", "--cov-report=", *flags]
    environ = {**os.environ, "COVERAGE_FILE": str(data), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True, errors="replace"
    ) as pytest:
        assert pytest.stdout is not None
        for line in pytest.stdout:
            print(line, end="", flush=True)
            yield line.rstrip("\n")
    yield str(pytest.returncode)


def _coverage(data: Path) -> str:
    total = [sys.executable, "-m", "coverage", "report", f"--data-file={data}", "--format=total"]
    answer = subprocess.run(total, cwd=ROOT, capture_output=True, text=True, check=False)
    return f"{answer.stdout.strip()} %" if answer.returncode == 0 else "none"


def failed(outcome: Outcome) -> bool:
    return outcome.failed or (bool(outcome.skipped) and os.environ.get("CI") == "true")


def report(outcomes: list[Outcome]) -> None:
    print("\n===== all layers =====")
    for outcome in outcomes:
        verdict = "FAILED" if failed(outcome) else "ok"
        took = f"{outcome.seconds / 60:.1f} min"
        print(f"{outcome.layer.name:8} {verdict:7} {took:>9}  {outcome.summary}; coverage {outcome.coverage}")
    print(f"{'all':8} {sum(outcome.seconds for outcome in outcomes) / 60:17.1f} min")
    skipped = [line for outcome in outcomes for line in outcome.skipped]
    print("nothing was skipped" if not skipped else "\n".join(["skipped, and why:", *skipped]))


if __name__ == "__main__":
    sys.exit(main())
