"""Which of several addresses is called when, and what is said when none of them answers."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from s2ictl.dialling import Address, dialled, in_turn, reached
from s2ictl.wire import Nameless, NoRoute, Silent

OLD, NEW = socket.AF_INET, socket.AF_INET6


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def listening(stack: ExitStack) -> Address:
    return OLD, stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()


def refusing(stack: ExitStack) -> Address:
    """A port that is taken, and on which nobody listens."""
    taken = stack.enter_context(socket.socket())
    taken.bind(("127.0.0.1", 0))
    return OLD, taken.getsockname()


def silent(stack: ExitStack) -> Address:
    """A port whose queue is full: who calls there is not answered at all."""
    listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
    stack.enter_context(socket.create_connection(listener.getsockname()))
    return OLD, listener.getsockname()


def called(*addresses: Address, seconds: float = 9.0) -> object:
    with reached(addresses, seconds=seconds) as wire:
        assert wire.gettimeout() == seconds
        return wire.getpeername()


def test_the_first_address_is_called_first(stack: ExitStack) -> None:
    first, second = listening(stack), listening(stack)
    assert called(first, second) == first[1]


def test_where_one_is_refused_the_next_is_called(stack: ExitStack) -> None:
    there = listening(stack)
    assert called(refusing(stack), refusing(stack), there) == there[1]


def test_nobody_waits_for_one_that_is_silent_while_there_is_another(stack: ExitStack) -> None:
    there = listening(stack)
    assert called(silent(stack), there, seconds=60.0) == there[1]


def test_what_has_no_way_out_or_is_of_an_unknown_kind_is_passed_over(stack: ExitStack) -> None:
    there, unknown = listening(stack), socket.AF_APPLETALK
    assert called((socket.AF_UNIX, "/nonexistent"), (unknown, ""), there) == there[1]


def test_where_all_are_refused_that_is_said(stack: ExitStack) -> None:
    with pytest.raises(NoRoute) as caught:
        called(refusing(stack), refusing(stack))
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)


def test_where_none_answers_that_is_said(stack: ExitStack) -> None:
    with pytest.raises(Silent):
        called(silent(stack), seconds=0.05)


@pytest.mark.parametrize("host", ["a..b", "\u00fc..de", "x" * 64 + ".invalid"])
def test_what_is_no_name_is_called_nowhere(host: str) -> None:
    with pytest.raises(Nameless):
        dialled(host, 80, seconds=0.05)


def test_the_kinds_of_addresses_take_turns() -> None:
    found: list[Address] = [(NEW, "a"), (NEW, "b"), (NEW, "c"), (OLD, "d"), (OLD, "e")]
    assert [name for _, name in in_turn(found)] == ["a", "d", "b", "e", "c"]
