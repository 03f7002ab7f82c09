"""Layers made smaller: what comes out is gzip to everybody else, and always the same."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s2ictl.compression import compressed, plain
from s2ictl.errors import PullBuilderImageFailed


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


@settings(deadline=None)
@given(st.lists(st.binary(max_size=5000), max_size=20), st.integers(min_value=2, max_value=5000))
def test_a_layer_is_read_however_it_is_packed(chunks: list[bytes], size: int) -> None:
    content = b"".join(chunks)
    for packed in (
        gzip.compress(content),
        b"".join(gzip.compress(chunk) for chunk in chunks or [b""]),
        b"tar" + content,
    ):
        pieces = (packed[at : at + size] for at in range(0, len(packed), size))
        expected = packed if packed.startswith(b"tar") else content
        assert b"".join(plain(pieces, error=PullBuilderImageFailed)) == expected


def test_what_grows_without_measure_comes_in_small_pieces() -> None:
    bomb = gzip.compress(bytes(50 << 20))
    pieces = [len(piece) for piece in plain(iter((bomb,)), error=PullBuilderImageFailed)]
    assert (sum(pieces), max(pieces)) == (50 << 20, 1 << 20)


@pytest.mark.parametrize(
    ("packed", "says"),
    [
        (gzip.compress(b"layer")[:-1], "ends in the middle"),
        (gzip.compress(b"layer")[:-8] + bytes(8), "cannot be unpacked"),
        (gzip.compress(b"layer") + b"and more of it", "cannot be unpacked"),
        (b"\x28\xb5\x2f\xfd and more", "zstd"),
    ],
    ids=["cut off", "another sum", "more behind it", "zstd"],
)
def test_a_layer_that_cannot_be_read_is_refused(packed: bytes, says: str) -> None:
    with pytest.raises(PullBuilderImageFailed, match=says):
        b"".join(plain(iter((packed,)), error=PullBuilderImageFailed))
