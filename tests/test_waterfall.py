"""The waterfall: within its width, whatever the times are."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from s2ictl.cli.waterfall import draw
from s2ictl.journal import Span
from s2ictl.ui.terminal import ASCII

BUILD = (
    Span(name="fetch", began=0.0, seconds=0.4, finished=True, size=1_200_000),
    Span(name="choose builder", began=0.4, seconds=4.0, finished=True),
    Span(name="base", began=0.4, seconds=0.1, finished=True, depth=1, cached=True),
    Span(name="assemble", began=4.4, seconds=12.0, finished=True),
    Span(name="deliver", began=16.4, seconds=3.6, finished=True, failed=True),
)
SPANS = st.lists(
    st.builds(
        Span,
        name=st.text(max_size=60),
        began=st.floats(0, 1e9),
        seconds=st.floats(0, 1e9),
        depth=st.integers(0, 50),
        finished=st.booleans(),
        failed=st.booleans(),
        cached=st.booleans(),
        size=st.integers(0, 2**50),
    ),
    max_size=6,
)


def test_each_step_lies_where_it_lay_in_time() -> None:
    assert draw(BUILD, width=60) == (
        "fetch            0.4 s  ▇  1.2 MB\n"
        "choose builder   4.0 s   ▇▇▇▇▇\n"
        "  base           0.1 s   ▏  cached\n"
        "assemble        12.0 s        ▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇\n"
        "deliver          3.6 s                         ▇▇▇▇▇  failed"
    )


def test_where_the_encoding_has_no_blocks_it_is_ascii() -> None:
    assert draw(BUILD[:3], marks=ASCII, width=60) == (
        "fetch           0.4 s  ###  1.2 MB\n"
        "choose builder  4.0 s     ##########################\n"
        "  base          0.1 s     |  cached"
    )


def test_a_step_at_work_is_told_from_one_that_is_over() -> None:
    assert (
        draw((Span(name="assemble", began=0.0, seconds=1.0),), width=40) == "assemble  1.0 s  ▇▇▇▇▇▇▇▇▇▇  not finished"
    )


def test_nothing_is_drawn_of_nothing() -> None:
    assert draw(()) == ""


@settings(max_examples=60, deadline=None)
@given(spans=SPANS)
def test_whatever_the_times_are_no_line_is_wider_than_its_room(spans: list[Span]) -> None:
    lines = draw(spans, width=110).split("\n")
    assert max(map(len, lines)) <= 110
    assert len(lines) == max(1, len(spans))
