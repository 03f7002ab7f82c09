"""Why a host could not be reached, in words, whichever library of HTTP it was that noticed.

The cluster's client brings urllib3, which is home here: each of its exceptions has its line in one table with our own
and the system's. Nothing is loaded for that. An exception of a library that nobody has loaded cannot have been raised.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from typing import Any, Literal

from s2ictl.errors import ConnectionLost, Unreachable
from s2ictl.values import dataclass
from s2ictl.wire import Lost, Nameless, NoRoute, ProxyRefused, Silent, Unreadable


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
_NO_RESOLVER = _Trouble(
    "its name cannot be looked up now", "check that this machine can resolve names", "if it was there"
)
_REFUSED = _Trouble("connection refused", "check the port, and that something listens there", "if it was there")
_NO_SOCKET = _Trouble("its socket does not exist", "check that it runs, and the address that the environment names")
_DENIED = _Trouble("permission to connect was denied", "check who may use its socket")
_TLS = _Trouble("it does not speak TLS as expected", "for a registry without TLS: --insecure-registry HOST")
_NO_ROUTE = _Trouble("there is no way to it from here", "check the network", "if it was there")
_SILENT = _Trouble("it does not answer", "check the address, and whether a firewall is in between", "if it was there")
_STALLED = _Trouble("it fell silent", "try again", "perhaps")
_BROKE_OFF = _Trouble("the connection broke off", "try again", "perhaps")
_UNREADABLE = _Trouble("it does not answer as an HTTP server", "check the address", "perhaps")
_ODD = _Trouble("it does not answer as an HTTP server", "check the address")
_BROKEN = ("ProtocolError", "IncompleteRead", "InvalidChunkLength")

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
            trouble = _nearer(cause, trouble)
            lost = trouble.passes == "perhaps" or (was_there and trouble.passes == "if it was there")
            error = ConnectionLost if lost else Unreachable
            return error(f"could not reach {subject}: {trouble.text}", detail=str(cause)[:500], hint=trouble.hint)
    return None


def _troubles() -> list[tuple[tuple[type[BaseException], ...], _Trouble]]:
    """What the exceptions mean, the most telling first: several of them stand in one chain of causes."""
    return [
        ((ProxyRefused, *_of_urllib3("ProxyError", "ProxySchemeUnknown", "ProxySchemeUnsupported")), _BY_PROXY),
        (_loaded("ssl", "SSLCertVerificationError"), _CERTIFICATE),
        ((socket.gaierror, *_of_urllib3("NameResolutionError")), _NO_NAME),
        ((Nameless,), _NO_NAME),
        ((ConnectionRefusedError,), _REFUSED),
        ((FileNotFoundError,), _NO_SOCKET),
        ((PermissionError,), _DENIED),
        (_loaded("ssl", "SSLEOFError", "SSLZeroReturnError"), _BROKE_OFF),
        ((*_loaded("ssl", "SSLError"), *_of_urllib3("SSLError")), _TLS),
        ((Silent, *_of_urllib3("ConnectTimeoutError")), _SILENT),
        ((NoRoute, *_of_urllib3("NewConnectionError")), _NO_ROUTE),
        ((TimeoutError, *_of_urllib3("TimeoutError")), _STALLED),
        ((Unreadable,), _UNREADABLE),
        ((Lost, ConnectionError, *_loaded("http.client", "HTTPException"), *_of_urllib3(*_BROKEN)), _BROKE_OFF),
        (_of_urllib3("HTTPError"), _ODD),
    ]


def _nearer(cause: BaseException, trouble: _Trouble) -> _Trouble:
    """What a cause says by a number."""
    if isinstance(cause, socket.gaierror) and cause.errno == socket.EAI_AGAIN:
        return _NO_RESOLVER
    return _BY_VERIFY_CODE.get(getattr(cause, "verify_code", 0), trouble)


def _of_urllib3(*names: str) -> tuple[type[BaseException], ...]:
    return _loaded("urllib3.exceptions", *names)


def _loaded(module: str, *names: str) -> tuple[type[BaseException], ...]:
    """These exceptions of a library, if anybody has loaded it."""
    library = sys.modules.get(module)
    return tuple(getattr(library, name) for name in names) if library else ()


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
