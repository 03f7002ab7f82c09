"""Which of two roads an artifact takes: every combination that decides, and every one that cannot be had."""

from __future__ import annotations

import pytest

from s2ictl.errors import InvalidUsage
from s2ictl.roads import Chosen, Request, choose_road

FOREIGN = "kubesphere/s2i-binary:v3.2.0"


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [
        (Request(engine="auto"), Chosen(road="append", because="no container is needed")),
        (
            Request(engine="auto", of_a_layer=("--base",)),
            Chosen(road="append", because="no container is needed"),
        ),
        (
            Request(engine="append"),
            Chosen(road="append", because="no container is needed, as --engine append says"),
        ),
        (
            Request(engine="docker", of_a_container=("--memory",)),
            Chosen(road="container", because="a container assembles it, as --engine docker says", engine="docker"),
        ),
        (
            Request(engine="auto", foreign=FOREIGN, of_a_container=("--memory",)),
            Chosen(road="container", because=f"{FOREIGN} assembles it in a container"),
        ),
    ],
)
def test_the_fastest_road_that_can_do_it_is_taken_with_its_reason(asked: Request, chosen: Chosen) -> None:
    assert choose_road(asked) == chosen


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            Request(engine="append", foreign=FOREIGN),
            f"{FOREIGN} assembles in a container, and --engine append has none",
        ),
        (
            Request(engine="auto", of_a_container=("--memory", "--cpus")),
            "--memory is for a container, and this image is made without one",
        ),
        (
            Request(engine="docker", of_a_layer=("--base",)),
            "--base cannot be had, since a container assembles it, as --engine docker says",
        ),
        (
            Request(engine="auto", foreign=FOREIGN, of_a_layer=("--user", "--port")),
            f"--user cannot be had, since {FOREIGN} assembles it in a container",
        ),
    ],
)
def test_what_the_road_does_not_know_is_refused_by_its_flag(asked: Request, message: str) -> None:
    with pytest.raises(InvalidUsage) as caught:
        choose_road(asked)
    assert (caught.value.message, bool(caught.value.hint)) == (message, True)
