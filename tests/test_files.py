"""A file appears whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from s2ictl.files import exists, is_directory, is_file, open_regular, read_small, taken, write_whole


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


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(OSError, match="it is no regular file"):
            open_regular(path)


def test_of_a_file_no_more_is_read_than_it_may_have(tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(b"four")
    assert read_small(tmp_path / "small", most=4) == b"four"
    with pytest.raises(OSError, match="it has more than 3 bytes"):
        read_small(tmp_path / "small", most=3)


@pytest.mark.parametrize("name", ["n" * 300, "loop", "loop/inside", "file/inside"])
def test_a_name_that_no_file_can_bear_is_that_of_none(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    assert [question(tmp_path / name) for question in (exists, is_file, is_directory)] == [False] * 3


def test_a_file_is_had_by_one_alone_until_he_closes_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with path.open("wb") as first, path.open("wb") as second:
        before = (taken(first.fileno()), taken(second.fileno()))
        first.close()
        assert (*before, taken(second.fileno())) == (True, False, True)
