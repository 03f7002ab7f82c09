"""python -m tests.testbed: the testbed by hand."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from types import FrameType

from tests import testbed


def main(arguments: list[str]) -> int:
    """Do what the words say; 3 tells that a part is not available here."""
    signal.signal(signal.SIGTERM, terminated)
    words = parser().parse_args(arguments)
    try:
        commands = {"up": up, "down": down, "status": status, "compile": compile_servers}
        commands[words.command](getattr(words, "parts", []))
    except testbed.Unavailable as error:
        print(error, file=sys.stderr)
        return 3
    except testbed.BedError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def parser() -> argparse.ArgumentParser:
    program = argparse.ArgumentParser(prog="python -m tests.testbed", description="Real parts for the tests.")
    commands = program.add_subparsers(dest="command", required=True)
    parts = list(testbed.PARTS)
    up = commands.add_parser("up", help="bring parts up; at once when they are")
    up.add_argument("parts", nargs="+", choices=parts)
    down = commands.add_parser("down", help="take parts down, all of them when none is named")
    down.add_argument("parts", nargs="*", choices=[*parts, []], metavar="part")
    commands.add_parser("status", help="show how every part stands")
    commands.add_parser("compile", help="compile the servers of cluster and forge ahead of time")
    return program


def up(parts: list[testbed.Name]) -> None:
    for part in parts:
        started = time.monotonic()
        facts = testbed.up(part)
        print(f"{part} is up ({time.monotonic() - started:.2f} s): {facts}")


def down(parts: list[testbed.Name]) -> None:
    testbed.down(*parts)


def status(_: list[testbed.Name]) -> None:
    for found in testbed.status():
        print(f"{found.part:<10}{found.state:<8}{found.facts or ''}")


def compile_servers(_: list[testbed.Name]) -> None:
    testbed.compile_servers()


def terminated(_signal: int, _frame: FrameType | None) -> None:
    """End like an interruption does: through every clean-up on the way."""
    raise SystemExit(143)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
