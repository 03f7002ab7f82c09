"""A cluster's Secret for git, as Kubernetes and the builders on it know it: read once, and judged before it is used.

Only the names of its keys are ever said, never what stands in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from s2ictl.errors import FetchSourceUnauthorized
from s2ictl.models import Login, Logins, Secret
from s2ictl.sources.options import FetchOptions
from s2ictl.values import dataclass

_KEY, _PASSWORD = "ssh-privatekey", "password"
_NEEDED = {
    "kubernetes.io/basic-auth": (_PASSWORD,),
    "kubernetes.io/ssh-auth": (_KEY,),
    "Opaque": (_PASSWORD, _KEY),
}
_ANYBODY = "git"  # whoever has a token takes any name beside it


@dataclass(frozen=True, slots=True, kw_only=True)
class GitSecret:
    """What a Secret says of git; what it does not say is empty."""

    origin: str
    username: str = _ANYBODY
    password: Secret | None = None
    ssh_key: Secret | None = None
    known_hosts: str = ""
    ca: bytes = b""

    @property
    def logins(self) -> Logins:
        """Its login, for the one host that the source names."""
        return self._login

    def _login(self, host: str) -> Login | None:
        if self.password is None:
            return None
        return Login(host=host, username=self.username, password=self.password, origin=self.origin)

    def added_to(self, options: FetchOptions) -> FetchOptions:
        """The options of a fetch, with the key, the hosts and the authorities of the Secret."""
        return replace(options, ssh_key_content=self.ssh_key, known_hosts_content=self.known_hosts, ca_content=self.ca)


def read_git_secret(name: str, type_: str, data: Mapping[str, bytes]) -> GitSecret:
    """Read a Secret that is called `[NS/]NAME`; what it lacks is named by its key."""
    origin = f"the secret {name}"
    needed = _NEEDED.get(type_)
    if needed is None:
        raise _unusable(f"{origin} is of the type {type_[:80] or '(none)'}, which holds no login for git", data)
    if not any(data.get(key, b"").strip() for key in needed):
        raise _unusable(f"{origin} has nothing at its key {' or '.join(needed)}", data)
    texts = {key: _text(origin, key, data) for key in ("username", _PASSWORD, _KEY, "known_hosts")}
    return GitSecret(
        origin=origin,
        username=texts["username"] or _ANYBODY,
        password=Secret(texts[_PASSWORD]) if texts[_PASSWORD] else None,
        ssh_key=_private_key(origin, texts[_KEY]),
        known_hosts=f"{texts['known_hosts']}\n" if texts["known_hosts"] else "",
        ca=_certificates(origin, data.get("ca.crt", b"")),
    )


def _text(origin: str, key: str, data: Mapping[str, bytes]) -> str:
    """Without the line end that an editor or `echo` has left."""
    try:
        text = data.get(key, b"").decode().replace("\r\n", "\n").strip("\n")
    except UnicodeDecodeError:
        raise FetchSourceUnauthorized(f"{origin} holds something that is no text at its key {key}") from None
    if key in ("username", _PASSWORD) and set(text) & set("\r\n\0"):
        raise FetchSourceUnauthorized(f"{origin} has a line end inside its key {key}")
    return text


def _private_key(origin: str, text: str) -> Secret | None:
    if not text:
        return None
    if not text.lstrip().startswith("-----BEGIN ") or "PRIVATE KEY-----" not in text:
        raise FetchSourceUnauthorized(
            f"{origin} has no private key of OpenSSH at its key {_KEY}", hint="kubectl create secret … --from-file"
        )
    return Secret(f"{text}\n")  # ssh takes no key without its last line end


def _certificates(origin: str, content: bytes) -> bytes:
    if content and b"-----BEGIN CERTIFICATE-----" not in content:
        raise FetchSourceUnauthorized(f"{origin} has no certificate in PEM at its key ca.crt")
    return content


def _unusable(message: str, data: Mapping[str, bytes]) -> FetchSourceUnauthorized:
    return FetchSourceUnauthorized(
        message,
        detail=f"it has {', '.join(sorted(data)) or 'no keys at all'}",
        hint="kubernetes.io/basic-auth with username and password, or kubernetes.io/ssh-auth with ssh-privatekey",
    )
