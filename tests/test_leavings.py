"""An engine's list of what has changed, as it comes; and whose files may be read instead."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2ictl.engines import upper
from s2ictl.engines.leavings import Change, told, tree_of
from s2ictl.errors import CommitContainerFailed

MODIFIED, ADDED, DELETED = range(3)


@given(st.lists(st.tuples(st.text(min_size=1), st.integers(0, 2)), max_size=20), st.integers(min_value=1, max_value=50))
def test_the_list_is_read_wherever_it_is_cut(listed: list[tuple[str, int]], size: int) -> None:
    text = json.dumps([{"Path": path, "Kind": kind} for path, kind in listed], ensure_ascii=False)
    content = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace").encode()
    chunks = [content[start : start + size] for start in range(0, len(content), size)]
    assert list(told(chunks)) == [(each["Path"], each["Kind"]) for each in json.loads(content)]


@pytest.mark.parametrize("said", [b"null\n", b"[]", b""])
def test_nothing_has_changed_in_more_than_one_word(said: bytes) -> None:
    assert tree_of(told([said])) == Change()


def test_of_what_is_new_no_more_is_kept_than_its_name() -> None:
    listed = [("/opt", MODIFIED), ("/opt/new", ADDED), ("/opt/new/file", ADDED), ("/opt/old", DELETED), ("/a", ADDED)]
    assert tree_of(listed) == Change(
        inside={
            "opt": Change(kind=MODIFIED, inside={"new": Change(kind=ADDED), "old": Change(kind=DELETED)}),
            "a": Change(kind=ADDED),
        }
    )


def test_a_new_directory_that_is_told_after_what_is_in_it_is_one_all_the_same() -> None:
    assert tree_of([("/new/file", ADDED), ("/new", ADDED)]) == Change(inside={"new": Change(kind=ADDED)})


def test_a_name_that_the_engine_cannot_tell_is_said_and_never_left_out() -> None:
    with pytest.raises(CommitContainerFailed) as failure:
        tree_of([("/opt/caf\ufffd", ADDED)])
    assert failure.value.hint == "have the image made by the engine itself: --to docker"


# ------------------------------------------------------------------------------------------------------ whose files


def facts(name: str = "overlay2", **places: str) -> dict[str, Any]:
    return {"GraphDriver": {"Name": name, "Data": places}}


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"GraphDriver": None},
        facts(),
        facts("btrfs", UpperDir="/", LowerDir="/"),
        facts(UpperDir="/nonexistent/diff", LowerDir="/"),
        facts(UpperDir="/", LowerDir="/nonexistent/diff"),
        facts(UpperDir="/"),
    ],
)
def test_files_that_are_not_certainly_there_are_asked_for(said: dict[str, Any]) -> None:
    assert upper.trees(said) is None


def test_what_was_mounted_for_nobody_but_the_engine_is_found_in_no_image(tmp_path: Path) -> None:
    (tmp_path / "top").mkdir()
    (tmp_path / "low/run/there").mkdir(parents=True)
    (tmp_path / "low/var").mkdir()
    (tmp_path / "low/var/run").symlink_to("../run")
    there = upper.Trees(upper=str(tmp_path / "top"), lowers=(str(tmp_path / "top"), str(tmp_path / "low")))
    mounted = ("/run/there", "/run/secrets", "/var/run/there", "/opt/kept")
    assert upper.made(there, mounted) == ("/run/secrets", "/opt/kept")
