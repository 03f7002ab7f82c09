from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2ictl.archives import reader_of
from s2ictl.engines import streams
from s2ictl.errors import LimitReached
from s2ictl.events import Line


def frame(stream: int, payload: bytes) -> bytes:
    return bytes((stream, 0, 0, 0)) + len(payload).to_bytes(4, "big") + payload


@given(st.lists(st.tuples(st.sampled_from((1, 2)), st.binary(max_size=40))), st.integers(min_value=1, max_value=9))
def test_output_is_the_same_however_the_wire_cuts_it(frames: list[tuple[int, bytes]], size: int) -> None:
    wire = b"".join(frame(stream, payload) for stream, payload in frames)
    cut = [wire[start : start + size] for start in range(0, len(wire), size)]
    assert _joined(streams.pieces(cut)) == _joined(streams.pieces([wire]))


def _joined(parts: Iterator[tuple[streams.Stream, bytes]]) -> dict[str, bytes]:
    whole = {"stdout": b"", "stderr": b""}
    for stream, data in parts:
        whole[stream] += data
    return whole


def test_lines_of_both_streams_are_kept_apart_and_the_last_needs_no_end() -> None:
    parts: list[tuple[streams.Stream, bytes]] = [
        ("stdout", b"on"),
        ("stderr", b"bad\r\n"),
        ("stdout", b"e\n\xc3"),
        ("stdout", b"\xa4"),
    ]
    assert list(streams.lines(parts)) == [
        Line(text="bad", stream="stderr"),
        Line(text="one"),
        Line(text="ä"),
    ]


@given(st.integers(min_value=1, max_value=4))
def test_a_line_without_end_is_told_in_bounded_parts(times: int) -> None:
    endless = (("stdout", b"x" * 50_000) for _ in range(times * 10))
    told = list(streams.lines(endless))  # type: ignore[arg-type]
    assert max(len(line.text) for line in told) <= streams.LONGEST_LINE
    assert sum(len(line.text) for line in told) == times * 500_000


@given(st.lists(st.binary(max_size=20)), st.lists(st.integers(min_value=1, max_value=30), min_size=1))
def test_chunks_are_read_as_a_file_is_read(chunks: list[bytes], sizes: list[int]) -> None:
    read, got, turn = reader_of(iter(chunks)), b"", 0
    while data := read(sizes[turn % len(sizes)]):
        assert len(data) <= sizes[turn % len(sizes)]
        got, turn = got + data, turn + 1
    assert got == b"".join(chunks)


def test_a_silence_is_noticed_each_time_and_ends_nothing() -> None:
    here, there = socket.socketpair()
    noticed: list[int] = []

    def speak() -> None:
        noticed.append(1)
        if len(noticed) == 2:
            there.sendall(b"at last")
            there.close()

    silence = streams.Silence(seconds=0.01, heard=speak)
    with here:
        assert list(streams.received(here, streams.Limit.of("assemble", 30), silence)) == [b"at last"]
    assert len(noticed) == 2


def test_what_lasts_too_long_is_stopped_and_the_flag_is_named() -> None:
    here, there = socket.socketpair()
    with here, there, pytest.raises(LimitReached, match="assemble did not end within 0 s") as failure:
        list(streams.received(here, streams.Limit.of("assemble", 0.02)))
    assert failure.value.hint == "allow more with --timeout"
