"""What is remembered of an image, and when it is asked again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from s2ictl.engines.anatomy import Anatomy, Memory
from s2ictl.engines.containers import Container
from s2ictl.values import dataclass

IMAGE = "sha256:" + "a" * 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked(Container):
    """A container in which everything is a directory, and who asked for what."""

    asked: list[str] = field(default_factory=list)

    def mode(self, path: str) -> int | None:
        self.asked.append(path)
        return 0o40755


@contextmanager
def looking(directory: Path | None, *mounted: str, image: str = IMAGE) -> Iterator[tuple[Anatomy, list[str]]]:
    """A new container of the image; what is learnt of it is kept at the end."""
    container = Looked(api=None, id="1", image="b:1")  # type: ignore[arg-type]  # nobody asks an engine here
    anatomy = Anatomy(container=container, memory=Memory.of(image, directory), mounted=mounted)
    yield anatomy, container.asked
    anatomy.memory.keep(now=1e9)


def test_what_was_seen_once_is_not_asked_again(tmp_path: Path) -> None:
    for expected in (["/bin/sh"], []):
        with looking(tmp_path / "images") as (anatomy, asked):
            assert [anatomy.mode("/bin/sh"), anatomy.mode("/bin/sh")] == [0o40755] * 2
            assert asked == expected


@pytest.mark.parametrize("image", ["sha256:" + "b" * 64, "app:1", "sha256:../../x"])
def test_another_image_is_asked_for_itself_and_a_name_says_nothing(tmp_path: Path, image: str) -> None:
    with looking(tmp_path) as (anatomy, _):
        anatomy.mode("/bin/sh")
    with looking(tmp_path, image=image) as (anatomy, asked):
        anatomy.mode("/bin/sh")
        assert asked == ["/bin/sh"]


@pytest.mark.parametrize("place", ["/opt/cache/pip", "/opt", "/opt/cache"])
def test_what_is_mounted_over_the_image_is_not_taken_for_the_image(tmp_path: Path, place: str) -> None:
    with looking(tmp_path) as (anatomy, _):
        anatomy.mode("/opt/cache")
    with looking(tmp_path, place) as (anatomy, asked):
        anatomy.mode("/opt/cache")
        assert asked == ["/opt/cache"]


@pytest.mark.parametrize("mode", [0o777, 0o770])
def test_what_somebody_else_could_have_written_is_not_believed(tmp_path: Path, mode: int) -> None:
    with looking(tmp_path) as (anatomy, _):
        anatomy.mode("/bin/sh")
    tmp_path.chmod(mode)
    with looking(tmp_path) as (anatomy, asked):
        anatomy.mode("/bin/sh")
        assert asked == ["/bin/sh"]


def test_where_nothing_is_kept_it_is_still_asked_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for directory in (None, tmp_path / "file" / "images"):
        with looking(directory) as (anatomy, asked):
            anatomy.mode("/bin/sh")
            anatomy.mode("/bin/sh")
            assert asked == ["/bin/sh"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(
    st.one_of(
        st.binary(max_size=100),
        st.sampled_from(
            [b"[]", b"null", b'{"mode /bin/sh": "x"}', b'{"mode /bin/sh": true}', b'{"mode /bin/sh": 1.5}']
        ),
    )
)
def test_a_file_that_is_not_understood_is_only_asked_again(tmp_path: Path, content: bytes) -> None:
    (tmp_path / f"{'a' * 64}.json").write_bytes(content)
    with looking(tmp_path) as (anatomy, asked):
        assert anatomy.mode("/bin/sh") == 0o40755
        assert asked == ["/bin/sh"]


def test_what_was_learnt_long_ago_or_of_too_many_is_forgotten(tmp_path: Path) -> None:
    for number in range(210):
        file = tmp_path / f"{number:064x}.json"
        file.write_text("{}")
        os.utime(file, (1e9 - number, 1e9 - number))
    os.utime(tmp_path / f"{3:064x}.json", (0, 0))
    with looking(tmp_path) as (anatomy, _):
        anatomy.mode("/bin/sh")
    left = {file.name for file in tmp_path.iterdir()}
    assert len(left) == 200
    assert f"{3:064x}.json" not in left
    assert f"{'a' * 64}.json" in left
