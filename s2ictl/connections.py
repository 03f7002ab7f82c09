"""Connections to any host, by whatever stands in between. Several threads may use them at once."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from s2ictl.addresses import origin_of, proxy_for, split
from s2ictl.dialling import dialled
from s2ictl.errors import InvalidUsage
from s2ictl.pools import Pool
from s2ictl.values import dataclass
from s2ictl.wire import Connection, Head, Nameless, ProxyRefused, Request, Silent, Unreadable, Way, Wire

if TYPE_CHECKING:
    import ssl

_PRINTABLE = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"  # what an address holds is not to be spelled anew


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a connection leads, and by which proxy."""

    scheme: str
    host: str
    port: int
    proxy: str


class Connections:
    """What is open at the moment, and how more is opened, for which nobody waits longer than `patience`."""

    def __init__(self, environ: Mapping[str, str], *, ca_bundle: Path | None, patience: float) -> None:
        self._environ = environ
        self._ca_bundle = ca_bundle
        self._patience = patience
        self._context: ssl.SSLContext | None = None
        self._pools: dict[_Place, Pool] = {}

    def close(self) -> None:
        for pool in tuple(self._pools.values()):
            pool.close()

    def exchange(
        self, request: Request, url: str, *, silence: float
    ) -> AbstractContextManager[tuple[Head, Iterator[bytes]]]:
        """Ask an address, and read what is answered while the context lasts; of the request only the target is set."""
        place = self._place(url)
        pool = self._pools.setdefault(place, Pool(partial(self._connected, place)))
        return pool.exchange(_addressed(request, url, place), silence=silence)

    def speak_tls(self, url: str) -> bool:
        """Whether who is there understands TLS, be he trusted or not."""
        try:
            self._connected(self._place(url)).close()
        except OSError as error:
            return hasattr(error, "verify_code")
        return True

    def _place(self, url: str) -> _Place:
        scheme, host, port = origin_of(url)
        return _Place(scheme, _plain(host), port, proxy=proxy_for(url, self._environ))

    # ------------------------------------------------------------------------------------------------------- opening

    def _connected(self, place: _Place) -> Connection:
        if "https" in (place.scheme, split(place.proxy).scheme):
            self._trusted()  # a bundle that is none is found out before anybody is called
        with ExitStack() as opened:
            wire = self._proxied(place) if place.proxy else self._dialled(place.host, place.port)
            opened.callback(wire.close)
            if place.scheme == "https":
                wire = _secured(wire, place.host, self._trusted())
            opened.pop_all()
            return Connection(Way(wire=wire, close=wire.close))

    def _dialled(self, host: str, port: int) -> Wire:
        return dialled(host, port, seconds=self._patience)

    def _trusted(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = _certificates(self._ca_bundle)
        return self._context

    def _proxied(self, place: _Place) -> Wire:
        """A wire to the proxy, or through it to who is asked with TLS: he alone can read what is said then."""
        scheme, host, port = origin_of(place.proxy)
        with ExitStack() as opened:
            try:
                wire = self._dialled(host, port)
                opened.callback(wire.close)
                if scheme == "https":
                    wire = _secured(wire, host, self._trusted())
                if place.scheme == "https":
                    _tunnel(wire, place)
            except (OSError, Unreadable) as error:
                raise ProxyRefused(str(error)) from error
            opened.pop_all()
            return wire


def _secured(wire: Wire, host: str, context: ssl.SSLContext) -> Wire:
    import ssl

    name = host.rstrip(".")  # the last dot is for the resolver alone: no certificate has it
    try:
        if isinstance(wire, socket.socket) and not isinstance(wire, ssl.SSLSocket):
            # An end without a word is no end: whoever stands in between could have made it.
            return context.wrap_socket(wire, server_hostname=name, suppress_ragged_eofs=False)
        from s2ictl.tunnels import Inner

        return Inner(wire, context, name)
    except TimeoutError as error:
        raise Silent(str(error)) from error


def _tunnel(wire: Wire, place: _Place) -> None:
    """Have the proxy carry bytes to a host from now on."""
    target = f"[{place.host}]:{place.port}" if ":" in place.host else f"{place.host}:{place.port}"
    request = Request(method="CONNECT", target=target, headers={"Host": target, **_login(place.proxy)})
    head = Connection(Way(wire=wire, close=wire.close)).ask(request)
    if not 200 <= head.status < 300:
        raise ProxyRefused(f"it answered {head.status} to CONNECT {target}")


def _certificates(bundle: Path | None) -> ssl.SSLContext:
    import ssl

    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    if bundle:
        try:
            context.load_verify_locations(bundle)
        except (OSError, ssl.SSLError) as error:
            raise InvalidUsage(
                f"{bundle} is not a file of certificates",
                detail=str(error),
                hint="name a PEM file with --ca-bundle or S2ICTL_CA_BUNDLE",
            ) from error
    return context


# ------------------------------------------------------------------------------------------------------------ requests


def _addressed(request: Request, url: str, place: _Place) -> Request:
    """The request as this place wants to hear it: a proxy without a tunnel is told the whole address."""
    parts = split(url)
    by_proxy = bool(place.proxy) and place.scheme == "http"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    host = _plain(parts.netloc.rpartition("@")[2])
    headers = {"Host": host, "Accept-Encoding": "identity", **request.headers}
    login = _login(place.proxy) if by_proxy else {}
    target = quote(f"http://{host}{path}" if by_proxy else path, safe=_PRINTABLE)
    return replace(request, target=target, headers={**headers, **login})


def _plain(host: str) -> str:
    """The name as it goes over the wire. Another host may have said it, so it can be anything."""
    try:
        plain = host if host.isascii() else host.encode("idna").decode()
    except UnicodeError as error:
        raise Nameless(str(error)) from error
    if not plain.isprintable() or " " in plain:
        raise Nameless(f"{plain[:200]!r} is no name of a host")
    return plain


def _login(proxy: str) -> dict[str, str]:
    from base64 import b64encode

    parts = split(proxy)
    if not parts.username:
        return {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
    return {"Proxy-Authorization": f"Basic {b64encode(pair).decode()}"}
