from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2ictl.cli import outputs
from s2ictl.cli.session import World
from s2ictl.events import Event, Notice

DIGEST = f"sha256:{'d' * 64}"


@dataclass(frozen=True, slots=True)
class Made:
    image: str
    tags: tuple[str, ...]
    digest: str


ONE = Made(f"r.example.com/shop:1@{DIGEST}", ("r.example.com/shop:1", "r.example.com/shop:latest"), DIGEST)


def read(content: str) -> dict[str, str]:
    """As the forge reads it: a name, a mark, and all lines until that mark stands alone."""
    found, lines = {}, iter(content.split("\n"))
    for line in lines:
        if line:
            name, _, mark = line.partition("<<")
            found[name] = "\n".join(iter(lambda: next(lines), mark))
    return found


@pytest.fixture
def world(tmp_path: Path, shown: World) -> World:
    named = {"GITHUB_OUTPUT": "output", "GITHUB_STEP_SUMMARY": "summary"}
    return replace(shown, cwd=tmp_path, environ={"GITHUB_ACTIONS": "true", **named})


@pytest.fixture
def shown(tmp_path: Path) -> World:
    import io

    nowhere = io.StringIO()
    return World(arguments=(), environ={}, cwd=tmp_path, home=tmp_path, stdin=nowhere, stdout=nowhere, stderr=nowhere)


def test_later_steps_read_image_digest_and_tags(world: World, events: list[Event]) -> None:
    (world.cwd / "output").write_text("earlier=yes\n")
    outputs.tell([ONE], world, events.append)
    earlier, _, content = (world.cwd / "output").read_text().partition("\n")
    assert earlier == "earlier=yes"
    assert read(content) == {"image": ONE.image, "digest": DIGEST, "tags": "\n".join(ONE.tags)}
    assert events == []


def test_people_read_a_table(world: World, events: list[Event]) -> None:
    outputs.tell([ONE], world, events.append)
    assert (world.cwd / "summary").read_text().splitlines() == [
        "| image | digest |",
        "|---|---|",
        f"| `r.example.com/shop:1` | `{DIGEST}` |",
        f"| `r.example.com/shop:latest` | `{DIGEST}` |",
    ]


@given(st.text(), st.text())
def test_no_value_ends_its_own_output_or_begins_another(image: str, tag: str) -> None:
    content = outputs.outputs([Made(image, (tag,), "")])
    assert read(content) == {"image": image, "digest": "", "tags": tag}


@given(st.text())
def test_no_name_becomes_markup(name: str) -> None:
    assert len(outputs.summary([Made(name, (name,), DIGEST)]).split("\n")) == 4


@pytest.mark.parametrize("environ", [{}, {"GITHUB_OUTPUT": "output"}, {"GITHUB_ACTIONS": "true"}])
def test_nothing_is_written_elsewhere(environ: dict[str, str], world: World, events: list[Event]) -> None:
    outputs.tell([ONE], replace(world, environ=environ), events.append)
    assert (list(world.cwd.iterdir()), events) == ([], [])


def test_a_file_that_cannot_be_written_costs_a_warning(world: World, events: list[Event]) -> None:
    (world.cwd / "output").mkdir()
    outputs.tell([ONE], world, events.append)
    (notice,) = events
    assert isinstance(notice, Notice)
    assert "which GITHUB_OUTPUT names: Is a directory" in notice.text
