"""What a machine cannot have: a skip with its reason for a person, a failure in CI, where nothing may be missing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests import testbed


@contextmanager
def available() -> Iterator[None]:
    """Skip, or in CI fail, when a part or a package that is asked for inside cannot be had here."""
    try:
        yield
    except testbed.Unavailable as reason:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{reason} (a skip is a failure in CI)", pytrace=False)
        pytest.skip(str(reason))


def need_daemonless() -> None:
    """Have what the engine without a daemon stands on."""
    with available():
        testbed.need_daemonless()


def need(*packages: str) -> None:
    """Have these system packages."""
    with available():
        testbed.need(*packages)
