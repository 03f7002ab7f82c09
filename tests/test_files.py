"""A file appears whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from s2ictl.files import write_whole


def test_a_file_takes_the_place_of_an_older_one_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text("older, and longer")
    write_whole(path, b"new", mode=0o700)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"new", 0o700)
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_may_be_as_long_as_a_name_can_be(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)
    write_whole(path, b"")
    assert list(tmp_path.iterdir()) == [path]


def test_where_a_directory_stands_nothing_is_written(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    with pytest.raises(IsADirectoryError):
        write_whole(place, b"x")
    assert list(tmp_path.iterdir()) == [place]
