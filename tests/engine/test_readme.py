"""What the README shows of building is what a reader sees, on a real engine and a real registry."""

from __future__ import annotations

from pathlib import Path

from tests import testbed
from tests.engine.readme import reader


def test_what_the_readme_shows_is_what_is_printed(
    engine_facts: testbed.Engine, registry_facts: testbed.Registry, tmp_path: Path
) -> None:
    assert reader(tmp_path, engine_facts, registry_facts).type("engine") == []
