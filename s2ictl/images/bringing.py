"""Several blobs on their way at once: one connection rarely has all that the line can carry."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from queue import Empty, SimpleQueue

from s2ictl import oci
from s2ictl.events import Moving

_AT_ONCE = 3
_LOOK = 0.2
_FAREWELL = 1.0

Take = Callable[[oci.Blob, Callable[[], None]], None]


class _LeftOver(Exception):
    """Another blob has failed, or the user has had enough: nobody wants this one any more."""


class _Way:
    """How far all of it is."""

    def __init__(self, blobs: Sequence[oci.Blob]) -> None:
        self._open = deque(blobs)
        self._over = False
        self._moved = [0] * _AT_ONCE  # each thread counts for itself
        self.ended: SimpleQueue[BaseException | None] = SimpleQueue()

    @property
    def moved(self) -> int:
        return sum(self._moved)

    def end(self) -> None:
        self._over = True

    def go_on(self) -> None:
        if self._over:
            raise _LeftOver

    def work(self, number: int, take: Take) -> None:
        try:
            for blob in self._next():
                take(replace(blob, chunks=partial(self._counted, number, blob)), self.go_on)
        except BaseException as error:  # whoever waits for it raises it
            self.ended.put(error)
        else:
            self.ended.put(None)

    def _next(self) -> Iterator[oci.Blob]:
        with suppress(IndexError):  # another one took the last
            while True:
                yield self._open.popleft()

    def _counted(self, number: int, blob: oci.Blob) -> Iterator[bytes]:
        for chunk in blob.chunks():
            self.go_on()
            self._moved[number] += len(chunk)
            yield chunk


def bring(blobs: Sequence[oci.Blob], take: Take, moving: Moving) -> None:
    """Have each of them taken; the first failure ends all.

    `take` is called by several threads, and calls now and then what it is given beside the blob. A registry that has
    fallen silent is not waited for by who goes: his thread ends with the process.
    """
    way = _Way(blobs)
    workers: list[threading.Thread] = []
    try:
        for number in range(min(_AT_ONCE, len(blobs))):
            worker = threading.Thread(target=way.work, args=(number, take), name=f"blob {number}", daemon=True)
            worker.start()
            workers.append(worker)
        for _ in workers:
            if error := _ended(way, moving):
                raise error
    finally:
        way.end()
        for worker in workers:
            worker.join(_FAREWELL)
    moving.end(way.moved)


def _ended(way: _Way, moving: Moving) -> BaseException | None:
    """How the next of them ended."""
    while True:
        try:
            return way.ended.get(timeout=_LOOK)
        except Empty:
            moving.tell(way.moved)
