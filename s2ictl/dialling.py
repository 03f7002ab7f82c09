"""A socket to a name that may stand for several addresses, of which some may lead nowhere.

Each is called a moment after the one before it, and not only once that has failed (RFC 8305). Where one kind of address
has no way out of the house, every connection would else wait for it as long as anything is waited for.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

from s2ictl.wire import Nameless, NoRoute, Silent

_MOMENT = 0.25

Address = tuple[socket.AddressFamily, Any]


def dialled(host: str, port: int, *, seconds: float) -> socket.socket:
    """A connection to a host, for which nobody waits longer than this once its name is known."""
    try:
        # As bytes, where that is the same: for text Python loads all that there is to know of names in other scripts.
        name = host.encode() if host.isascii() else host
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # a name that is none of a host is found out when it is looked up
        raise Nameless(str(error)) from error
    wire = reached(in_turn((family, address) for family, _, _, _, address in found), seconds=seconds)
    # A head and its body are two writes; the second must not wait until the first is acknowledged.
    wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return wire


def in_turn(addresses: Iterable[Address]) -> list[Address]:
    """The same, one kind after the other: what keeps one of a kind from answering keeps all of them."""
    before: Counter[socket.AddressFamily] = Counter()
    placed: list[tuple[int, Address]] = []
    for address in addresses:
        placed.append((before[address[0]], address))
        before[address[0]] += 1
    return [address for _, address in sorted(placed, key=lambda each: each[0])]


def reached(addresses: Iterable[Address], *, seconds: float) -> socket.socket:
    """A connection to the first of these that answers."""
    race = _Race()
    try:
        wire = race.won(list(addresses), time.monotonic() + seconds)
        wire.settimeout(seconds)
        return wire
    finally:
        race.close()


class _Race:
    """The calls that are under way."""

    def __init__(self) -> None:
        self._calls: dict[int, socket.socket] = {}
        self._failed = errno.EADDRNOTAVAIL

    def close(self) -> None:
        for call in self._calls.values():
            call.close()

    def won(self, waiting: list[Address], end: float) -> socket.socket:
        while waiting or self._calls:
            if waiting:
                self._call(*waiting.pop(0))
            left = end - time.monotonic()
            if left <= 0:
                raise Silent("timed out")
            if wire := self._answered(min(_MOMENT, left) if waiting else left):
                return wire
        raise NoRoute(os.strerror(self._failed)) from OSError(self._failed, os.strerror(self._failed))

    def _call(self, family: socket.AddressFamily, address: Any) -> None:
        try:
            call = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:  # a system without this kind of address
            self._failed = error.errno or self._failed
            return
        self._calls[call.fileno()] = call
        call.setblocking(False)
        failed = call.connect_ex(address)
        if failed not in (0, errno.EINPROGRESS):
            self._give_up(call.fileno(), failed)

    def _answered(self, seconds: float) -> socket.socket | None:
        """The call that is answered; None when one is refused, or the time is over."""
        if not self._calls:
            return None
        calls = select.poll()
        for number in self._calls:
            calls.register(number, select.POLLOUT)
        for number, _ in calls.poll(seconds * 1000):
            failed = self._calls[number].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if not failed:
                return self._calls.pop(number)
            self._give_up(number, failed)
        return None

    def _give_up(self, number: int, failed: int) -> None:
        self._calls.pop(number).close()
        self._failed = failed
