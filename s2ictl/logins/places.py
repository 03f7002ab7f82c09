"""What a login is for: a registry, or a part of one. One spelling for each, because logins are found by exactly that.

There is no nearest match (CVE-2026-59891): a key that is not plainly the name of what is asked for is somebody else's.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from s2ictl.addresses import DOCKER_HUB, DOCKER_HUB_NAMES, is_loopback, split
from s2ictl.models import Login
from s2ictl.values import dataclass

_DOCKER_HUB_KEY = "https://index.docker.io/v1/"
_VERSIONS = ("v1", "v2")  # a key may be the address of the API, which is no part of a registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A registry by its host and port, and what lies below a path of it; "" for all of it."""

    host: str
    path: str = ""

    @staticmethod
    def parse(text: str) -> Place:
        """Read the key of an entry, or what is asked for: [SCHEME://]HOST[:PORT][/PATH]."""
        scheme, rest = _apart(text)
        host, _, path = rest.partition("/")
        if scheme not in ("http", "https") or "@" in host:
            return Place(host=shown(text))
        # The port 80 stays: an image whose name has no port is looked for at 443.
        host = _ascii(host) if scheme == "http" else _ascii(host).removesuffix(":443")
        path = path.strip("/")
        return Place(
            host=DOCKER_HUB if host in DOCKER_HUB_NAMES else host, path="" if path.lower() in _VERSIONS else path
        )

    def __str__(self) -> str:
        return f"{self.host}/{self.path}" if self.path else self.host


def normal_host(text: str) -> str:
    """One spelling for one registry: without scheme and path, in lower case, Docker Hub by its one name."""
    return Place.parse(text).host


def one_name(text: str) -> str:
    """One spelling for a registry or a part of one: HOST[:PORT][/PATH]."""
    return str(Place.parse(text))


def key_of(place: Place) -> str:
    """The name by which Docker and its helpers know a registry."""
    return _DOCKER_HUB_KEY if place == Place(host=DOCKER_HUB) else str(place)


def place_of(login: Login) -> Place:
    return Place(host=login.host, path=login.path)


def covers(whole: Place, part: Place) -> bool:
    """Whether a login for the one is a login for the other."""
    return whole.host == part.host and (
        not whole.path or part.path == whole.path or part.path.startswith(f"{whole.path}/")
    )


def covering(keys: Iterable[str], wanted: Place) -> list[str]:
    """The keys that stand for a place, as Podman takes them: the one for the smallest part of the registry first."""
    known = [(key, Place.parse(key)) for key in keys]
    fitting = [(key, place) for key, place in known if covers(place, wanted)]
    return [key for key, _ in sorted(fitting, key=lambda each: -len(each[1].path))]


def is_pattern_for(pattern: Place, wanted: Place) -> bool:
    """Whether others would take this key for the place, as the kubelet does: to be said, and never to be followed."""
    return "*" in pattern.host and fnmatchcase(wanted.host, pattern.host)


def without_tls(key: str) -> bool:
    """Whether a key says of a registry that it has no TLS. This machine needs none, and Docker Hub has it."""
    host = Place.parse(key).host
    return _apart(key)[0] == "http" and host != DOCKER_HUB and not is_loopback(split(f"//{host}").hostname or "")


def shown(key: str) -> str:
    """A key as it may be said: somebody may have written a login into it."""
    return key if "@" not in key else f"…@{key.rpartition('@')[2]}"


def _apart(key: str) -> tuple[str, str]:
    scheme, separator, rest = key.partition("://")
    return (scheme.lower(), rest) if separator else ("https", key)


def _ascii(host: str) -> str:
    """The spelling that goes over the wire; only where both standards for such names agree what that is."""
    if host.isascii():
        return host.lower()
    try:
        plain = host.encode("idna").decode()
        return plain if plain.encode().decode("idna") == host.lower() else host
    except UnicodeError:
        return host
