"""Questions and answers between the two processes: JSON with its length before it, descriptors beside.

A line is asked by one side and answered by the other, in turn; whoever hangs up has said that it needs nothing more.
"""

from __future__ import annotations

import array
import json
import os
import socket
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LENGTH = struct.Struct("!I")
_MOST_DESCRIPTORS = 8


class Line:
    """One end of a line."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    def fileno(self) -> int:
        return self._end.fileno()

    def say(self, message: Any, *descriptors: int) -> None:
        """Send it; the descriptors stay open here."""
        content = json.dumps(message).encode()
        beside = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        sent = self._end.sendmsg([_LENGTH.pack(len(content)), content], beside)
        rest = memoryview(_LENGTH.pack(len(content)) + content)[sent:]
        if rest:
            self._end.sendall(rest)

    def hear(self) -> tuple[Any, list[int]] | None:
        """The next message, with the descriptors that are now ours; None when the other side has hung up."""
        descriptors = array.array("i")
        room = socket.CMSG_SPACE(_MOST_DESCRIPTORS * descriptors.itemsize)
        try:
            head, beside, _, _ = self._end.recvmsg(_LENGTH.size, room, socket.MSG_CMSG_CLOEXEC | socket.MSG_WAITALL)
        except ConnectionResetError:
            return None
        for _, _, data in beside:
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
        content = self._exactly(_LENGTH.unpack(head)[0]) if len(head) == _LENGTH.size else None
        if content is None:
            for descriptor in descriptors:
                os.close(descriptor)
            return None
        return json.loads(content), list(descriptors)

    def hang_up(self) -> None:
        """Say that no more is asked, also where another process has a copy of this end; answers may still come."""
        try:
            self._end.shutdown(socket.SHUT_WR)
        except OSError:  # the other side was quicker
            return

    def close(self) -> None:
        self._end.close()

    def _exactly(self, size: int) -> bytes | None:
        content = bytearray()
        while len(content) < size:
            more = self._end.recv(min(size - len(content), 1 << 20))
            if not more:
                return None
            content += more
        return bytes(content)


def pair() -> tuple[Line, Line]:
    one, other = socket.socketpair()
    return Line(one), Line(other)


def line_of(descriptor: int) -> Line:
    """The line whose end this descriptor is."""
    return Line(socket.socket(fileno=descriptor))
