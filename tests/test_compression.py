"""Layers made smaller: what comes out is gzip to everybody else, and always the same."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s2ictl.compression import compressed


@settings(deadline=None)
@given(st.lists(st.binary(max_size=5000), max_size=20))
def test_others_read_what_was_compressed(chunks: list[bytes]) -> None:
    packed = b"".join(compressed(chunks))
    assert gzip.decompress(packed) == b"".join(chunks)
    assert packed == b"".join(compressed(chunks))


def test_neither_a_name_nor_a_time_is_in_it() -> None:
    assert b"".join(compressed((b"layer",)))[3:8] == bytes(5)


@pytest.mark.parametrize("size", [1000, 1 << 16, (1 << 20) + 1, 5 << 20])
def test_in_which_pieces_it_came_is_not_seen(size: int) -> None:
    content = bytes(range(256)) * 4000 + b"the same again and again" * 80_000
    pieces = [content[at : at + size] for at in range(0, len(content), size)]
    assert b"".join(compressed(pieces)) == b"".join(compressed((content,)))
