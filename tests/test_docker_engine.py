"""The fake engine keeps the contract of the real one; and what docker.py says and reads, as data."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from s2ictl.models import ImageFacts
from tests.fakes.engine import FakeEngine, Script, committed
from tests.fakes.engine_contract import *  # noqa: F403  (the tests themselves)
from tests.fakes.engine_contract import CONFIG, SCRIPTS


@dataclass(slots=True)
class Fake:
    engine: FakeEngine = field(default_factory=FakeEngine)

    def builder(self, assemble: Script, *, user: str = "user", entrypoint: tuple[str, ...] = ()) -> ImageFacts:
        facts = replace(committed(CONFIG), user=user, entrypoint=entrypoint)
        self.engine.images["contract/builder:1"] = facts
        self.engine.programs[facts.id] = {f"{SCRIPTS}/assemble": assemble, f"{SCRIPTS}/run": Script(text="")}
        return facts


@pytest.fixture
def world() -> Fake:
    return Fake()
