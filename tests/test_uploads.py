"""What a container is sent before it starts."""

from __future__ import annotations

from pathlib import Path

from s2ictl.builders import load
from s2ictl.uploads import folder_entries

GO = load(Path(__file__).parent.parent / "builders" / "go")


def test_a_builder_of_ours_has_a_place_for_secrets_and_its_own_files() -> None:
    sent = {member.path: (member.kind, member.mode) for member, _ in folder_entries(GO, "/tmp")}
    assert sent["run/secrets"] == ("directory", 0o755)
    assert {path for path in sent if path.startswith("tmp/")} == {"tmp/src", "tmp/src/install"}
