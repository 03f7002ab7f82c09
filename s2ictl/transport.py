"""HTTP to hosts that may be slow, broken or hostile; the only importer of urllib3.

urllib3 is used for one exchange on one connection. What happens between exchanges is decided here, because it is where
other clients leak and lose: a login that follows a redirect, a retry that hides a wrong answer, a wait without an end.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from s2ictl import __version__
from s2ictl.addresses import joined, may_lead, origin_of, proxy_for, shown, split
from s2ictl.errors import ConnectionLost, InvalidUsage, LimitReached, Refused, S2IError, Unreachable
from s2ictl.events import Emit, Notice, Progress

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_HOPS = 5
_LONGEST_WAIT = 60.0
_CHUNK = 1 << 20
SMALL = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long one exchange may take in each of its parts, and how often it is repeated."""

    connect: float = 10.0
    stall: float = 20.0
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
        self._environ = environ
        self._emit = emit
        self._ca_bundle = ca_bundle
        self._patience = patience
        self._sleep = sleep
        self._now = now
        self._pools: dict[tuple[str, str], PoolManager] = {}
        self._answered: set[tuple[str, str, int]] = set()

    def __enter__(self) -> Transport:
        return self

    def __exit__(self, *_: object) -> None:
        for pool in self._pools.values():
            pool.clear()

    def answered(self, url: str) -> bool:
        """Whether the host of this address has ever given an answer."""
        return origin_of(url) in self._answered

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        limit: int = SMALL,
    ) -> Response:
        """Make an exchange that may be repeated, and answer what asking again would not change."""
        return self.persist(lambda: self.once(method, url, headers=headers, body=body, limit=limit))

    def persist(self, attempt: Callable[[], Response]) -> Response:
        """Repeat a whole attempt, of however many exchanges, while what it meets is likely to pass."""
        for pause in self._patience.pauses:
            try:
                response = attempt()
            except ConnectionLost as lost:
                self._wait(lost.message, pause)
            else:
                if response.status not in TRANSIENT:
                    return response
                wanted = retry_after(response.headers.get("retry-after", ""), now=self._now())
                self._wait(f"the answer was {response.status}", pause if wanted is None else wanted)
        return attempt()

    def resume(self, start: Callable[[int], Iterator[bytes]]) -> Iterator[bytes]:
        """Stream what `start` gives from a position on, and go on from there when it breaks off."""
        done = 0
        for pause in (*self._patience.pauses, None):
            try:
                for chunk in start(done):
                    done += len(chunk)
                    yield chunk
                return
            except ConnectionLost as lost:
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
            done, total = 0, _length(answer.headers)
            for chunk in answer.chunks if answer.status == 200 else ():
                before, done = done, done + file.write(chunk)
                if done == total or done // _CHUNK > before // _CHUNK:
                    self._emit(Progress(subject=shown(url), done=done, total=total))
                if max(done, total) > limit:
                    raise LimitReached(f"the answer of {shown(url)} is larger than {limit} bytes")
                if time.monotonic() > end:
                    raise LimitReached(f"the answer of {shown(url)} takes too long", detail=f"{done} bytes came")
        file.flush()
        return Response(status=answer.status, headers=answer.headers)

    def once(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | Iterator[bytes] | None = None,
        limit: int = SMALL,
        stall: float | None = None,
    ) -> Response:
        """Make one exchange and read its whole answer, of at most `limit` bytes."""
        with self.open(method, url, headers=headers, body=body, stall=stall) as answer:
            content = bytearray()
            end = time.monotonic() + self._patience.answer
            for chunk in answer.chunks:
                content += chunk
                if len(content) > limit:
                    raise LimitReached(f"the answer of {shown(url)} is larger than {limit} bytes")
                if time.monotonic() > end:
                    raise ConnectionLost(f"the answer of {shown(url)} takes longer than {self._patience.answer:g} s")
            return Response(status=answer.status, headers=answer.headers, body=bytes(content))

    @contextmanager
    def open(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | Iterator[bytes] | None = None,
        stall: float | None = None,
    ) -> Iterator[Streamed]:
        """Make one exchange and read its answer piece by piece; redirects are followed where nothing is sent."""
        patience = replace(self._patience, connect=stall, stall=stall) if stall else self._patience
        url, raw = self._follow(method, url, {"User-Agent": f"s2ictl/{__version__}", **(headers or {})}, body, patience)
        try:
            names = {name.lower(): raw.headers[name] for name in raw.headers}
            yield Streamed(status=raw.status, headers=names, chunks=self._read(raw, url))
        finally:
            raw.close()

    def _follow(
        self, method: str, url: str, headers: dict[str, str], body: bytes | Iterator[bytes] | None, patience: Patience
    ) -> tuple[str, BaseHTTPResponse]:
        for _ in range(_MOST_HOPS):
            raw = self._send(method, url, headers, body, patience)
            location = raw.headers.get("location", "") if raw.status in REDIRECTS else ""
            if method not in ("GET", "HEAD") or not location:
                return url, raw
            raw.close()
            target = joined(url, location)
            if not may_lead(url, target):
                raise Refused(
                    f"{shown(url)} redirects to {shown(target)}, which is not followed",
                    detail="a redirect may lead neither from https to http nor from a public host to a private address",
                )
            if origin_of(target) != origin_of(url):
                headers = {name: value for name, value in headers.items() if name.lower() != "authorization"}
            url = target
        raise Refused(f"{shown(url)} redirects more than {_MOST_HOPS} times")

    def _send(
        self, method: str, url: str, headers: dict[str, str], body: bytes | Iterator[bytes] | None, patience: Patience
    ) -> BaseHTTPResponse:
        from urllib3 import Timeout

        with self._translated(url):
            raw = self._pool(url).urlopen(
                method,
                url,
                headers=headers,
                body=body,
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
                timeout=Timeout(connect=patience.connect, read=patience.stall),
            )
        self._answered.add(origin_of(url))
        return raw

    def _read(self, raw: BaseHTTPResponse, url: str) -> Iterator[bytes]:
        # As it comes: filling a whole chunk from a host that drips would take hours, with nobody to look at the clock.
        with self._translated(url):
            while data := raw.read1(_CHUNK, decode_content=False):
                yield data

    @contextmanager
    def _translated(self, url: str) -> Iterator[None]:
        try:
            yield
        except S2IError:
            raise
        except Exception as error:
            host = split(url).netloc.rpartition("@")[2]
            failure = unreachable(error, subject=host, was_there=self.answered(url))
            if failure is None:
                raise
            raise failure from error

    def _pool(self, url: str) -> PoolManager:
        proxy = proxy_for(url, self._environ)
        key = (split(url).scheme, proxy)
        if key not in self._pools:
            self._pools[key] = self._open_pool(proxy, secure="https" in (key[0], split(proxy).scheme))
        return self._pools[key]

    def _open_pool(self, proxy: str, *, secure: bool) -> PoolManager:
        from urllib3 import PoolManager, ProxyManager, make_headers

        context = self._certificates() if secure else None
        if not proxy:
            return PoolManager(ssl_context=context)
        parts = split(proxy)
        login = f"{parts.username}:{parts.password or ''}" if parts.username else None
        return ProxyManager(
            f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}",
            proxy_headers=make_headers(proxy_basic_auth=login),
            ssl_context=context,
            proxy_ssl_context=context,
        )

    def _certificates(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self._ca_bundle:
            try:
                context.load_verify_locations(self._ca_bundle)
            except (OSError, ssl.SSLError) as error:
                raise InvalidUsage(
                    f"{self._ca_bundle} is not a file of certificates",
                    detail=str(error),
                    hint="name a PEM file with --ca-bundle or S2ICTL_CA_BUNDLE",
                ) from error
        return context

    def _wait(self, reason: str, seconds: float) -> None:
        self._emit(Notice(text=f"{reason}; asking again in {seconds:g} s", level="warning"))
        self._sleep(seconds)


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


# -------------------------------------------------------------------------------------------------- what went wrong


@dataclass(frozen=True, slots=True)
class _Trouble:
    text: str
    hint: str
    passes: Literal["never", "if it was there", "perhaps"] = "never"


_BY_PROXY = _Trouble("the proxy did not let it through", "check HTTPS_PROXY, HTTP_PROXY and NO_PROXY")
_CERTIFICATE = _Trouble("its certificate is not trusted", "name the authority that signed it with --ca-bundle FILE")
_EXPIRED = _Trouble("its certificate is not valid now", "renew the certificate, or set this machine's clock")
_ANOTHER = _Trouble("its certificate is for another host", "use the name that stands in the certificate")
_NO_NAME = _Trouble("there is no such host name", "check the spelling, and that this machine can resolve names")
_REFUSED = _Trouble("connection refused", "check the port, and that something listens there", "if it was there")
_NO_SOCKET = _Trouble("its socket does not exist", "check that it runs, and the address that the environment names")
_DENIED = _Trouble("permission to connect was denied", "check who may use its socket")
_TLS = _Trouble("it does not speak TLS as expected", "for a registry without TLS: --insecure-registry HOST")
_NO_ROUTE = _Trouble("there is no way to it from here", "check the network", "if it was there")
_SILENT = _Trouble("it does not answer", "check the address, and whether a firewall is in between", "if it was there")
_STALLED = _Trouble("it fell silent", "try again", "perhaps")
_BROKE_OFF = _Trouble("the connection broke off", "try again", "perhaps")
_ODD = _Trouble("it does not answer as an HTTP server", "check the address")

_BY_VERIFY_CODE = {
    9: _EXPIRED,  # X509_V_ERR_CERT_NOT_YET_VALID
    10: _EXPIRED,  # X509_V_ERR_CERT_HAS_EXPIRED
    62: _ANOTHER,  # X509_V_ERR_HOSTNAME_MISMATCH
    64: _ANOTHER,  # X509_V_ERR_IP_ADDRESS_MISMATCH
}


def unreachable(
    exception: BaseException, *, subject: str = "the server", was_there: bool = False
) -> Unreachable | None:
    """Say why a host could not be reached, if that is what this exception of any HTTP library means.

    What has answered before and refuses now is being restarted; what never answered is a wrong address.
    """
    causes = list(_causes(exception))
    for kinds, trouble in _troubles():
        cause = next((cause for cause in causes if isinstance(cause, kinds)), None)
        if cause is not None:
            trouble = _BY_VERIFY_CODE.get(getattr(cause, "verify_code", 0), trouble)
            lost = trouble.passes == "perhaps" or (was_there and trouble.passes == "if it was there")
            error = ConnectionLost if lost else Unreachable
            return error(f"could not reach {subject}: {trouble.text}", detail=str(cause)[:500], hint=trouble.hint)
    return None


def _troubles() -> list[tuple[tuple[type[BaseException], ...], _Trouble]]:
    """What the exceptions mean, the most telling first: several of them stand in one chain of causes."""
    from http.client import HTTPException

    from urllib3 import exceptions as of

    return [
        ((of.ProxyError, of.ProxySchemeUnknown, of.ProxySchemeUnsupported), _BY_PROXY),
        ((ssl.SSLCertVerificationError,), _CERTIFICATE),
        ((of.NameResolutionError, socket.gaierror), _NO_NAME),
        ((ConnectionRefusedError,), _REFUSED),
        ((FileNotFoundError,), _NO_SOCKET),
        ((PermissionError,), _DENIED),
        ((ssl.SSLEOFError, ssl.SSLZeroReturnError), _BROKE_OFF),
        ((ssl.SSLError, of.SSLError), _TLS),
        ((of.NewConnectionError,), _NO_ROUTE),
        ((of.ConnectTimeoutError,), _SILENT),
        ((of.TimeoutError, TimeoutError), _STALLED),
        ((of.ProtocolError, of.IncompleteRead, of.InvalidChunkLength, ConnectionError, HTTPException), _BROKE_OFF),
        ((of.HTTPError,), _ODD),
    ]


def _causes(exception: BaseException) -> Iterator[BaseException]:
    """Everything that this exception holds or came from; each library hides the cause in another place."""
    waiting: list[Any] = [exception]
    seen: set[int] = set()
    while waiting and len(seen) < 50:
        cause = waiting.pop(0)
        if not isinstance(cause, BaseException) or id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        held = (getattr(cause, "reason", None), getattr(cause, "original_error", None))
        waiting += [*held, *cause.args, cause.__cause__, cause.__context__]
