"""What can go wrong while real parts are brought up.

BedError
├── Unavailable    this machine cannot have the part at all: a fixture turns it into a skip that names the reason
└── DidNotComeUp   the part was started and failed: its last log lines are in the message
"""

from __future__ import annotations


class BedError(Exception):
    """Anything that the testbed says about itself."""


class Unavailable(BedError):
    """A part that this machine cannot have, and why."""

    def __init__(self, part: str, reason: str) -> None:
        super().__init__(f"{part} is not available here: {reason}")
        self.part = part
        self.reason = reason


class DidNotComeUp(BedError):
    """A part that was started and did not get ready."""

    def __init__(self, part: str, reason: str, log: str = "") -> None:
        super().__init__(f"{part} did not come up: {reason}" + (f"\n{log}" if log else ""))
        self.part = part
        self.reason = reason
        self.log = log
