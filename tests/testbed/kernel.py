"""Settings of the running kernel that a part needs or changes, put back when the last part that claimed them goes.

They are the machine's, so the claims of all testbeds stand in one file, which a restart of the machine forgets just as
it forgets the settings.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypedDict

from tests.testbed.bed import Bed, exclusive, write_whole
from tests.testbed.models import Name

CLAIMS = Path("/run/s2ictl-testbed.json")


class Claim(TypedDict):
    """What a setting was before, and the directories of the parts that hold it."""

    before: str
    holders: list[str]


def claim(bed: Bed, part: Name, wanted: Mapping[str, str | None]) -> None:
    """Remember settings as they are, then set those that have a wanted value; servers change the others themselves."""
    with claims_of_this_machine() as claims:
        for setting in filter(exists, wanted):
            held = claims.setdefault(setting, Claim(before=at(setting).read_text().strip(), holders=[]))
            held["holders"] = sorted({*held["holders"], str(bed.at(part))})
    for setting, value in wanted.items():
        if value is not None and exists(setting):
            at(setting).write_text(value)


def release(bed: Bed, part: Name) -> None:
    """Let go of what the part claimed, and put back what nobody claims any more."""
    with claims_of_this_machine() as claims:
        for setting, held in list(claims.items()):
            held["holders"] = [holder for holder in held["holders"] if stands(holder, but=bed.at(part))]
            if not held["holders"]:
                put_back(setting, held["before"])
                del claims[setting]


def stands(holder: str, *, but: Path) -> bool:
    return holder != str(but) and Path(holder).exists()


@contextlib.contextmanager
def claims_of_this_machine() -> Iterator[dict[str, Claim]]:
    """The claims as they are, written as they were left; no file where there are none."""
    lock = CLAIMS.with_suffix(".lock")
    with exclusive(lock, lambda: None):
        claims: dict[str, Claim] = json.loads(CLAIMS.read_text()) if CLAIMS.exists() else {}
        yield claims
        if claims:
            write_whole(CLAIMS, json.dumps(claims, indent=2) + "\n")
        else:
            CLAIMS.unlink(missing_ok=True)


def put_back(setting: str, value: str) -> None:
    # A setting of a device that is gone needs nothing.
    with contextlib.suppress(FileNotFoundError):
        if at(setting).read_text().strip() != value:
            at(setting).write_text(value)


def exists(setting: str) -> bool:
    return at(setting).exists()


def at(setting: str) -> Path:
    return Path("/proc/sys", *setting.split("."))
