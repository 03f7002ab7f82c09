"""HTTP to hosts that may be slow, broken or hostile.

What happens between exchanges is decided here, because it is where other clients leak and lose: a login that follows a
redirect, a retry that hides a wrong answer, a wait without an end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from s2ictl import __version__
from s2ictl.addresses import joined, may_lead, origin_of, shown, split
from s2ictl.connections import Connections
from s2ictl.errors import ConnectionLost, LimitReached, Refused
from s2ictl.events import Emit, Notice, Progress
from s2ictl.troubles import unreachable
from s2ictl.values import dataclass
from s2ictl.wire import ProxyRefused, Request, Unreadable

TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_HOPS = 5
_LONGEST_WAIT = 60.0
_CHUNK = 1 << 20
SMALL = 4 << 20
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long one exchange may take in each of its parts, and how often it is repeated.

    `stall` is the silence that is borne; `sending` the same where something is to be kept, which takes thought.
    """

    connect: float = 10.0
    stall: float = 20.0
    sending: float = 60.0
    answer: float = 120.0
    pauses: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)


PATIENT = Patience()
HASTY = Patience(connect=2.0, stall=2.0, answer=4.0, pauses=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A whole answer. The names of the headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Streamed:
    """An answer whose body is still on its way."""

    status: int
    headers: Mapping[str, str]
    chunks: Iterator[bytes]


class Transport:
    """Exchanges with any host, over connections that are kept for the next one."""

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        emit: Emit,
        ca_bundle: Path | None = None,
        patience: Patience = PATIENT,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._connections = Connections(environ, ca_bundle=ca_bundle, patience=patience.connect)
        self._emit = emit
        self.patience = patience
        self._sleep = sleep
        self._now = now
        self._answered: set[tuple[str, str, int]] = set()
        self._known: dict[Hashable, Any] = {}

    def __enter__(self) -> Transport:
        return self

    def __exit__(self, *_: object) -> None:
        self._connections.close()

    def answered(self, url: str) -> bool:
        """Whether the host of this address has ever given an answer."""
        return origin_of(url) in self._answered

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        limit: int = SMALL,
    ) -> Response:
        """Make an exchange that may be repeated, and answer what asking again would not change."""
        return self.persist(lambda: self.once(method, url, headers=headers, body=body, limit=limit))

    def speak_tls(self, url: str) -> bool:
        """Whether the host of this address understands TLS, be it trusted or not."""
        return self._connections.speak_tls(url)

    def known(self, what: Hashable, find: Callable[[], T]) -> T:
        """What is known already of a host, and need not be found out again while this lasts."""
        if what not in self._known:
            self._known[what] = find()
        found: T = self._known[what]
        return found

    def persist(self, attempt: Callable[[], Response], *, reached: Callable[[], int] = lambda: 0) -> Response:
        """Repeat a whole attempt, of however many exchanges, while what it meets is likely to pass.

        What gets further by a good piece each time (`reached`, in bytes) has not failed in a row.
        """
        tries = _Tries(self.patience.pauses)
        while True:
            try:
                response = attempt()
            except ConnectionLost as lost:
                pause = tries.pause(reached())
                if pause is None:
                    raise
                self._wait(lost.message, pause)
            else:
                pause = tries.pause(reached()) if response.status in TRANSIENT else None
                if pause is None:
                    return response
                wanted = retry_after(response.headers.get("retry-after", ""), now=self._now())
                self._wait(f"the answer was {response.status}", pause if wanted is None else wanted)

    def resume(self, start: Callable[[int], Iterator[bytes]]) -> Iterator[bytes]:
        """Stream what `start` gives from a position on, and go on from there when it breaks off."""
        done, tries = 0, _Tries(self.patience.pauses)
        while True:
            try:
                for chunk in start(done):
                    done += len(chunk)
                    yield chunk
                return
            except ConnectionLost as lost:
                pause = tries.pause(done)
                if pause is None:
                    raise
                self._wait(lost.message, pause)

    def download(
        self, url: str, file: BinaryIO, *, headers: Mapping[str, str] | None = None, limit: int, seconds: float
    ) -> Response:
        """Lay an answer down in a file, from its beginning again when it breaks off; only a 200 has a body for it."""
        end = time.monotonic() + seconds
        return self.persist(lambda: self._lay_down(url, file, headers, limit, end))

    def _lay_down(
        self, url: str, file: BinaryIO, headers: Mapping[str, str] | None, limit: int, end: float
    ) -> Response:
        file.seek(0)
        file.truncate()
        with self.open("GET", url, headers=headers) as answer:
            if answer.status == 200:
                self._keep(answer, url, file, limit, end)
        file.flush()
        return Response(status=answer.status, headers=answer.headers)

    def _keep(self, answer: Streamed, url: str, file: BinaryIO, limit: int, end: float) -> None:
        done, total = 0, _length(answer.headers)
        _check_size(total, url, limit)
        for chunk in answer.chunks:
            before, done = done, done + file.write(chunk)
            if done == total or done // _CHUNK > before // _CHUNK:
                self._emit(Progress(subject=shown(url), done=done, total=total))
            _check_size(done, url, limit)
            if time.monotonic() > end:
                raise LimitReached(f"the answer of {shown(url)} takes too long", detail=f"{done} bytes came")

    def once(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | Iterable[bytes] = b"",
        size: int | None = None,
        limit: int = SMALL,
        stall: float | None = None,
    ) -> Response:
        """Make one exchange and read its whole answer, of at most `limit` bytes."""
        with self.open(method, url, headers=headers, body=body, size=size, stall=stall) as answer:
            content = bytearray()
            end = time.monotonic() + self.patience.answer
            for chunk in answer.chunks:
                content += chunk
                _check_size(len(content), url, limit)
                if time.monotonic() > end:
                    raise ConnectionLost(f"the answer of {shown(url)} takes longer than {self.patience.answer:g} s")
            return Response(status=answer.status, headers=answer.headers, body=bytes(content))

    @contextmanager
    def open(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | Iterable[bytes] = b"",
        size: int | None = None,
        stall: float | None = None,
    ) -> Iterator[Streamed]:
        """Make one exchange and read its answer piece by piece; redirects are followed where nothing is sent.

        `stall` is for how long nothing may move, in either direction; how long all of it takes is no matter here.
        """
        sent = {"User-Agent": f"s2ictl/{__version__}", **(headers or {})}
        for _ in range(_MOST_HOPS):
            request = Request(method=method, target="", headers=sent, body=body, size=size)
            with self._exchanged(request, url, stall or self.patience.stall) as answer:
                location = answer.headers.get("location", "") if answer.status in REDIRECTS else ""
                if method not in ("GET", "HEAD") or not location:
                    yield answer
                    return
            target = _followed(url, location)
            if origin_of(target) != origin_of(url):
                sent = {name: value for name, value in sent.items() if name.lower() != "authorization"}
            url = target
        raise Refused(f"{shown(url)} redirects more than {_MOST_HOPS} times")

    @contextmanager
    def _exchanged(self, request: Request, url: str, stall: float) -> Iterator[Streamed]:
        with ExitStack() as stack:
            with self._translated(url):
                head, body = stack.enter_context(self._connections.exchange(request, url, silence=stall))
                if head.status == 407:
                    raise ProxyRefused("it wants a login, or another one")
            self._answered.add(origin_of(url))
            yield Streamed(status=head.status, headers=head.headers, chunks=self._read(body, url))

    def _read(self, body: Iterator[bytes], url: str) -> Iterator[bytes]:
        with self._translated(url):
            yield from body

    @contextmanager
    def _translated(self, url: str) -> Iterator[None]:
        try:
            yield
        except (OSError, Unreadable) as error:
            host = split(url).netloc.rpartition("@")[2]
            failure = unreachable(error, subject=host, was_there=self.answered(url))
            if failure is None:
                raise
            raise failure from error

    def _wait(self, reason: str, seconds: float) -> None:
        self._emit(Notice(text=f"{reason}; asking again in {seconds:g} s", level="warning"))
        self._sleep(seconds)


class _Tries:
    """How often something has failed in a row, and how long to wait after each time."""

    def __init__(self, pauses: tuple[float, ...]) -> None:
        self._pauses = pauses
        self._failed, self._reached = 0, 0

    def pause(self, reached: int) -> float | None:
        """Seconds to wait after one more failure; None when it is enough."""
        if reached >= self._reached + _CHUNK:
            self._failed, self._reached = 0, reached
        self._failed += 1
        return self._pauses[self._failed - 1] if self._failed <= len(self._pauses) else None


def _followed(url: str, location: str) -> str:
    """Where a redirect leads, if anybody may be led there."""
    target = joined(url, location)
    if not may_lead(url, target):
        raise Refused(
            f"{shown(url)} redirects to {shown(target)}, which is not followed",
            detail="a redirect may lead neither from https to http nor from a public host to a private address",
        )
    return target


def _check_size(size: int, url: str, limit: int) -> None:
    if size > limit:
        raise LimitReached(f"the answer of {shown(url)} is larger than {limit} bytes")


def _length(headers: Mapping[str, str]) -> int:
    """What a host says of the length of its answer, 0 for nothing that could be meant."""
    text = headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0


def retry_after(text: str, *, now: float) -> float | None:
    """Read a Retry-After header, of seconds or of a date; nobody is waited for longer than a minute."""
    if text.strip().isascii() and text.strip().isdigit():
        return min(float(text.strip()[:9]), _LONGEST_WAIT)
    from email.utils import parsedate_to_datetime

    try:
        return min(max(parsedate_to_datetime(text).timestamp() - now, 0.0), _LONGEST_WAIT)
    except (ValueError, OverflowError):
        return None
