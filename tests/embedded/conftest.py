"""The engine's helper process, on this machine's own overlays and runtime, without any engine's daemon.

As root its containers have limits; the same tests run for an ordinary user in test_rootless.py, by another pytest.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from s2ictl.engines.embedded.wardens import Warden
from tests import testbed
from tests.embedded.rooms import Rooms, is_root, rooms_in
from tests.parts import available


@pytest.fixture(scope="session")
def daemonless() -> None:
    """What containers are made with here; an ordinary user finds it installed."""
    if is_root():
        with available():
            testbed.need_daemonless()


@pytest.fixture
def rooms(daemonless: None, tmp_path: Path) -> Iterator[Rooms]:
    """A warden at work in a directory of its own, with one image."""
    with rooms_in(tmp_path / "store") as rooms:
        yield rooms


@pytest.fixture
def warden(rooms: Rooms) -> Warden:
    return rooms.warden
