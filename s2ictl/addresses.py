"""What an address says before anybody is asked: whose it is, how near it is, and whether one may lead to the other; and
what the environment says of the way there.

Pure, because these decisions guard logins: each is tested with every spelling that a hostile answer could use.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import SplitResult, urljoin, urlsplit

from s2ictl.errors import InvalidUsage

DOCKER_HUB = "docker.io"
DOCKER_HUB_NAMES = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"})

_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")


def split(url: str) -> SplitResult:
    """Take an address apart; what is none has no parts. Half of these texts come from other hosts."""
    try:
        return urlsplit(url)
    except ValueError:
        return SplitResult("", "", "", "", "")


def joined(url: str, target: str) -> str:
    """Where an answer of `url` points to; "" for nowhere."""
    try:
        return urljoin(url, target)
    except ValueError:
        return ""


def origin_of(url: str) -> tuple[str, str, int]:
    """What must be the same for a login to be sent: scheme, host and port."""
    parts = split(url)
    return parts.scheme, (parts.hostname or "").lower(), _port(parts)


def is_loopback(host: str) -> bool:
    """Whether this host, a name or an address in any spelling, is the machine itself."""
    address = _address(host)
    return host.lower().rstrip(".") == "localhost" or (address is not None and address.is_loopback)


def is_private(host: str) -> bool:
    """Whether this host, an address in any spelling, is one that the world cannot reach."""
    address = _address(host)
    if isinstance(address, ipaddress.IPv6Address):
        address = _carried(address) or address
    return is_loopback(host) or (address is not None and not address.is_global)


def may_lead(origin: str, target: str) -> bool:
    """Whether an answer of `origin` may send us to `target`: never to less safety, never behind our own walls."""
    here, there = split(origin), split(target)
    if there.scheme not in ("http", "https") or not there.hostname or _port(there) < 1:
        return False
    if there.scheme == "http" and here.scheme == "https":
        return False
    return not is_private(there.hostname) or is_private(here.hostname or "")


def _port(parts: SplitResult) -> int:
    try:
        return parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    except ValueError:
        return 0


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    host = _ascii(host)
    try:
        address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        try:
            # The resolver also takes 2130706433, 0x7f.1 and 017700000001 for 127.0.0.1.
            return ipaddress.IPv4Address(socket.inet_aton(host))
        except (OSError, ValueError):
            return None
    return getattr(address, "ipv4_mapped", None) or address


def _ascii(host: str) -> str:
    """As the resolver reads it: digits of other widths, and other full stops, are digits and dots to it."""
    try:
        return host if host.isascii() else host.encode("idna").decode()
    except UnicodeError:
        return host


def _carried(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The older address that packets to a newer one end up at: by 6to4, or by the network's own translation."""
    translated = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if address in _TRANSLATED else None
    return translated or address.sixtofour


def proxy_for(url: str, environ: Mapping[str, str]) -> str:
    """The proxy that the environment names for this address; "" for none. This machine is never asked through one."""
    parts = split(url)
    host = parts.hostname or ""
    names = (f"{parts.scheme}_proxy", f"{parts.scheme}_proxy".upper(), "all_proxy", "ALL_PROXY")
    name = next((name for name in names if environ.get(name)), "")
    if not name or is_loopback(host) or _bypassed(parts, environ):
        return ""
    proxy = environ[name] if "://" in environ[name] else f"http://{environ[name]}"
    if split(proxy).scheme not in ("http", "https") or not split(proxy).hostname:
        raise InvalidUsage(f"{name} does not name an http or https proxy", hint=f"{name}=http://HOST:PORT")
    return proxy


def ca_bundle(environ: Mapping[str, str], *, flag: Path | None, cwd: Path) -> Path | None:
    """Choose the file of additional certificate authorities that the user means; None for the system's alone."""
    names = ("S2ICTL_CA_BUNDLE", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
    named = next((Path(environ[name]) for name in names if environ.get(name)), None)
    chosen = flag or named
    return cwd / chosen if chosen else None


def _bypassed(parts: SplitResult, environ: Mapping[str, str]) -> bool:
    host, port = (parts.hostname or "").lower(), _port(parts)
    entries = (environ.get("no_proxy") or environ.get("NO_PROXY") or "").replace(",", " ").lower().split()
    return any(_stands_for(entry, host, port) for entry in entries)


def _stands_for(entry: str, host: str, port: int) -> bool:
    """One entry of NO_PROXY: `*`, an address, a network, or a name with all that is below it."""
    if entry == "*":
        return True
    address, network = _address(host), _network(entry)
    if network:
        return address is not None and address in network
    name = entry.removesuffix(f":{port}").strip("[]").removeprefix("*").removeprefix(".").rstrip(".")
    return bool(name) and f".{host.rstrip('.')}".endswith(f".{name}")


def _network(entry: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """An entry that is an address, or all of them that begin alike."""
    try:
        return ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        return None


def shown(url: str) -> str:
    """An address without what may be secret in it: user, query and fragment."""
    parts = split(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
